package tandemotel

import (
	"context"
	"maps"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// watcher reads the metrics of a system that are not recorded by interceptors, until the system has ended.
type watcher struct {
	sys  *actor.System
	node string

	events metric.Int64Counter
	plain  []metric.Float64Observable
	by     []metric.Float64Observable

	mu      sync.Mutex // guards what follows
	failing map[string]float64
	down    map[string]bool // peers to which no road leads, maxDown at most
}

// watch begins to report on sys. It ends by itself when sys has ended.
func watch(sys *actor.System, meter metric.Meter, node string, failing map[string]float64) error {
	w := &watcher{sys: sys, node: node, failing: failing, down: map[string]bool{}}
	var err error
	if w.events, err = meter.Int64Counter(events.Name, metric.WithUnit(events.Unit), metric.WithDescription(events.About)); err != nil {
		return err
	}
	var all []metric.Observable
	add := func(m Metric, to *[]metric.Float64Observable) {
		if err != nil {
			return
		}
		var o metric.Float64Observable
		if m.Type == counter {
			o, err = meter.Float64ObservableCounter(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.About))
		} else {
			o, err = meter.Float64ObservableGauge(m.Name, metric.WithUnit(m.Unit), metric.WithDescription(m.About))
		}
		*to, all = append(*to, o), append(all, o)
	}
	for _, o := range observed() {
		add(o.Metric, &w.plain)
	}
	for _, o := range byLabel() {
		add(o.Metric, &w.by)
	}
	if err != nil {
		return err
	}
	registered, err := meter.RegisterCallback(w.collect, all...)
	if err != nil {
		return err
	}
	feed := sys.Events(context.Background()) // closed when the system has ended
	go func() {
		for e := range feed {
			w.note(e)
		}
		_ = registered.Unregister()
	}()
	return nil
}

// collect is called for each collection.
func (w *watcher) collect(_ context.Context, o metric.Observer) error {
	s := snapshot{stats: w.sys.Stats(), peers: w.sys.Peers(), services: w.sys.Services(), sessions: len(w.sys.Sessions())}
	w.mu.Lock()
	s.failing, s.down = maps.Clone(w.failing), len(w.down)
	w.mu.Unlock()
	node := labelNode.String(w.node)
	own := metric.WithAttributeSet(attribute.NewSet(node))
	for i, m := range observed() {
		o.ObserveFloat64(w.plain[i], m.value(&s.stats), own)
	}
	for i, m := range byLabel() {
		for value, n := range m.values(&s) {
			if m.label == "" {
				o.ObserveFloat64(w.by[i], n, own)
				continue
			}
			o.ObserveFloat64(w.by[i], n, metric.WithAttributeSet(attribute.NewSet(node, m.label.String(value))))
		}
	}
	return nil
}

// note counts an event, and those that were lost before it.
func (w *watcher) note(e actor.Event) {
	name := Other // applications have events of their own
	if knownEvent(e.Type) {
		name = string(e.Type)
	}
	w.events.Add(context.Background(), int64(1+e.Lost), metric.WithAttributeSet(attribute.NewSet(labelNode.String(w.node), labelEvent.String(name))))
	w.mu.Lock()
	defer w.mu.Unlock()
	if store, failing := storeEvent(e.Type); store != "" {
		w.failing[store] = failing
	}
	switch e.Type {
	case rpc.PeerDown:
		if len(w.down) < maxDown {
			w.down[e.Peer] = true
		}
	case rpc.PeerUp, actor.NodeLeft:
		delete(w.down, e.Peer)
	}
}

// maxDown is how many peers are remembered to be down.
const maxDown = 10_000

// storeEvent returns which store an event is about, and whether it fails: 1 or 0.
func storeEvent(t rpc.EventType) (store string, failing float64) {
	switch t {
	case rpc.StoreFailing:
		return "ledger", 1
	case rpc.StoreWorks:
		return "ledger", 0
	case actor.StatesAway:
		return "state", 1
	case actor.StatesBack:
		return "state", 0
	case actor.TopicsGone:
		return "topic", 1
	case actor.TopicsBack:
		return "topic", 0
	case actor.RemindersLost:
		return "reminder", 1
	}
	return "", 0
}

// knownEvent reports whether Tandem itself raises events of that type.
func knownEvent(t rpc.EventType) bool {
	switch t {
	case rpc.LinkUp, rpc.LinkDown, rpc.RoadChanged, rpc.PeerDown, rpc.PeerUp, rpc.SessionGone, rpc.JoinDenied, rpc.MemoryFull, rpc.LinkForeign,
		rpc.StoreFailing, rpc.StoreWorks, actor.ActorRestarted, actor.ActorStopped, actor.NodeJoined, actor.NodeLeft, actor.NameTaken, actor.NodeFenced,
		actor.InstanceEjected, actor.InstanceBack, actor.StatesAway, actor.StatesBack, actor.ActivationReplaced, actor.StateUnreadable, actor.Limited,
		actor.MessageGivenUp, actor.OutboxFull, actor.ActivationsFenced, actor.AccessDenied, actor.MirrorFailing, actor.MirrorBack,
		actor.TopicsGone, actor.TopicsBack, actor.KeptActive, actor.KeptInactive, actor.RemindersLost, actor.ReminderFailed:
		return true
	}
	return false
}
