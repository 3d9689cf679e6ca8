package settings

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/admission"
	"github.com/tandem-go/tandem/breaker"
	"github.com/tandem-go/tandem/rpc"
)

// The events of a system whose settings are watched. The Err of each is a *Change.
const (
	Changed rpc.EventType = "settings changed" // a section is in force as it was written, or as the Config says because it was deleted
	Refused rpc.EventType = "settings refused" // a value is wrong; the last good one stays in force
	Away    rpc.EventType = "settings away"    // the source cannot be read; what was read last stays in force
	Back    rpc.EventType = "settings back"    // it can be read again, and what was missed is in force
)

// Change says what has happened to a section.
type Change struct {
	Section Section  // empty for Away and Back
	Version *Version // what is in force, or was refused; nil for Away, Back, and for a section that is as the Config says
	Was     *Version // what was in force before a Changed; nil: what the Config says
	Err     error    // of Refused and Away: why
}

// Error says what has happened, and who wrote it.
func (c *Change) Error() string {
	text := "settings"
	if c.Section != "" {
		text += ": " + string(c.Section)
	}
	switch v := c.Version; {
	case v == nil && c.Section != "":
		text += ": as the Config says"
	case v != nil:
		if v.Node != "" {
			text += " of node " + v.Node
		}
		text += fmt.Sprintf(": revision %d by %q", v.Revision, v.Author)
	}
	if c.Err != nil {
		text += ": " + c.Err.Error()
	}
	return text
}

// Unwrap returns Err.
func (c *Change) Unwrap() error { return c.Err }

// Source is where settings come from: settings/natskv and settings/file have some.
type Source interface {
	// Follow calls take with what there is, and with each change, until ctx ends. Only one call of take runs at a
	// time. It says once when the source cannot be read (Update.Away); the next Whole update says that it can be again.
	// It returns when ctx ends, or with an error if nothing will come any more.
	Follow(ctx context.Context, take func(Update)) error
}

// System is what Watch needs of an *actor.System. Its methods may be called concurrently.
type System interface {
	Name() string
	Access() access.Rules
	SetAccess(access.Rules) error
	Admission() admission.Rules
	SetAdmission(admission.Rules) error
	Retry() rpc.Retry
	SetRetry(rpc.Retry) error
	Weights(service string) map[string]int
	SetWeights(service string, weights map[string]int) error
	Raise(rpc.EventType, error)
}

// Circuits is what Watch needs of a *breaker.Breaker.
type Circuits interface {
	Config() breaker.Config
	Set(breaker.Config) error
}

// DefaultWait is how long Watch waits for the source, unless Targets says otherwise.
const DefaultWait = 5 * time.Second

// Targets say what the settings are applied to.
type Targets struct {
	System   System         // required
	Level    *slog.LevelVar // of the log; nil: the section log is not applied
	Breakers Circuits       // nil: the section breakers is not applied

	// Required says that Watch fails if the source cannot be read. Otherwise the node then begins with its Config,
	// and what the source says is applied as soon as it can be read.
	Required bool

	Wait   time.Duration // how long Watch waits for the source, if ctx does not end before; default DefaultWait
	Logger *slog.Logger  // gets a line for each event; default slog.Default()
}

// Watcher keeps a system as its source says. Its methods may be called concurrently.
type Watcher struct {
	source  Source
	system  System
	log     *slog.Logger
	targets map[Section]func(Value) error // nil applies what the Config says

	// Only the goroutine that runs the source uses these.
	table *Table
	force map[Section]*Version // what is in force; nil: what the Config says
	tell  []func()             // what is to be logged and made an event when Applied says it, too

	cancel context.CancelFunc
	ended  chan struct{} // closed when the source has ended
	read   chan struct{} // closed when the source was read for the first time
	away   chan struct{} // closed when it could not be read for the first time
	begun  [2]sync.Once  // close read and away

	mu     sync.Mutex // guards what follows
	states []State
	lost   error // why the source cannot be read now; nil: it can
}

// Watch applies what src says to targets, now and whenever it changes, until Close. It returns when everything
// is applied that is there now. If the source cannot be read, see Targets.Required. ctx bounds only Watch
// itself. Call it in actor.Config.Setup: then no other node is served before.
//
// What is in force when Watch is called is what holds for a section that is not set.
func Watch(ctx context.Context, src Source, targets Targets) (*Watcher, error) {
	if src == nil || targets.System == nil {
		return nil, rpc.Errorf(rpc.Invalid, rpc.NotRun, "settings: Watch without a source, or without Targets.System")
	}
	if targets.Logger == nil {
		targets.Logger = slog.Default()
	}
	if targets.Wait <= 0 {
		targets.Wait = DefaultWait
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w := &Watcher{source: src, system: targets.System, log: targets.Logger.With("node", targets.System.Name()), targets: targets.appliers(),
		table: NewTable(targets.System.Name()), force: map[Section]*Version{},
		cancel: cancel, ended: make(chan struct{}), read: make(chan struct{}), away: make(chan struct{})}
	go w.run(life) // until Close
	if err := w.begin(ctx, targets); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// begin waits until the source was read.
func (w *Watcher) begin(ctx context.Context, t Targets) error {
	late := time.NewTimer(t.Wait)
	defer late.Stop()
	away := w.away
	if t.Required {
		away = nil // it may come back in time
	}
	var why error
	select {
	case <-w.read:
		return nil
	case <-away:
		return nil
	case <-late.C:
		why = context.DeadlineExceeded
	case <-ctx.Done():
		why = ctx.Err()
	case <-w.ended:
		why = errors.New("the source has ended")
	}
	if !t.Required && ctx.Err() == nil {
		w.lose(fmt.Errorf("nothing was heard of the source for %v", t.Wait))
		return nil
	}
	if lost := w.Away(); lost != nil {
		why = lost
	}
	return rpc.Errorf(rpc.Unavailable, rpc.NotRun, "settings: the source could not be read: %w", why)
}

// Close ends the watch, and waits until it has ended. What is in force stays so. It may be called several times.
func (w *Watcher) Close() {
	w.cancel()
	<-w.ended
}

// Applied says how far the node has come: which revision of each key is applied, and which was refused and why. A node whose
// revisions are not those of the source lags, see natskv.Store.List.
func (w *Watcher) Applied() []State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]State(nil), w.states...)
}

// Away says why the source cannot be read now; nil: it can be.
func (w *Watcher) Away() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost
}

func (w *Watcher) run(ctx context.Context) {
	defer close(w.ended)
	err := w.source.Follow(ctx, w.take)
	if ctx.Err() == nil {
		w.lose(fmt.Errorf("the source has ended for good: %w", err))
	}
}

// take takes in what the source says.
func (w *Watcher) take(u Update) {
	if u.Away != nil {
		w.lose(u.Away)
		return
	}
	for _, v := range w.table.Take(u) {
		w.tell = append(w.tell, func() { w.refused(v) })
	}
	for _, s := range sections {
		w.apply(s)
	}
	w.mu.Lock()
	w.states = w.table.States()
	for i := range w.states {
		w.states[i].InForce = w.states[i].InForce && w.targets[w.states[i].Section] != nil
	}
	was := w.lost
	if u.Whole {
		w.lost = nil
	}
	w.mu.Unlock()
	for _, tell := range w.tell {
		tell()
	}
	w.tell = w.tell[:0]
	if was != nil && u.Whole {
		w.log.Info("the source of the settings is back")
		w.system.Raise(Back, &Change{})
	}
	if u.Whole {
		w.begun[0].Do(func() { close(w.read) })
	}
}

// apply puts in force what the table says of a section.
func (w *Watcher) apply(s Section) {
	put := w.targets[s]
	if put == nil {
		return
	}
	for {
		is, was := w.table.InForce(s), w.force[s]
		if is == was {
			return
		}
		var value Value
		if is != nil {
			value = is.Value
		}
		err := put(value)
		if err != nil && is != nil {
			v := w.table.Refuse(is, err)
			w.tell = append(w.tell, func() { w.refused(v) })
			continue // with what was good before
		}
		if err != nil { // what the Config says was in force once
			w.log.Error("what the Config says cannot be put in force again", "section", s, "err", err)
		}
		w.force[s] = is
		w.tell = append(w.tell, func() { w.changed(s, was, is) })
		return
	}
}

func (w *Watcher) changed(s Section, was, is *Version) {
	if is == nil {
		w.log.Info("settings are as the Config says again", "section", s)
	} else {
		w.log.Info("settings changed", "section", s, "key", is.Key.String(), "revision", is.Revision, "author", is.Author, "note", is.Note)
	}
	w.system.Raise(Changed, &Change{Section: s, Version: is, Was: was})
}

func (w *Watcher) refused(v *Version) {
	w.log.Warn("settings refused, the last good ones stay in force", "key", v.Key.String(), "revision", v.Revision, "author", v.Author, "err", v.Err)
	w.system.Raise(Refused, &Change{Section: v.Section, Version: v, Err: v.Err})
}

// lose notes that the source cannot be read.
func (w *Watcher) lose(why error) {
	w.mu.Lock()
	known := w.lost != nil
	w.lost = why
	w.mu.Unlock()
	if !known {
		w.log.Warn("the source of the settings cannot be read: the last good ones stay in force", "err", why)
		w.system.Raise(Away, &Change{Err: why})
	}
	w.begun[1].Do(func() { close(w.away) })
}
