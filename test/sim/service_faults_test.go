// What happens to a service in a term: restarts, joins, leaves and illnesses of its instances.

package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
)

// episode is a step as it happened.
type episode struct {
	step
	host     string
	from, to time.Duration // to: all is as before, or an instance is well
	over     bool
	alone    bool // nothing else befell the service
}

func (e *episode) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s of %s", e.What, e.Ailment, e.host))
}

// step does one step, and waits until everything is as before.
func (w *term) step(s *step) {
	e := w.begin(s, s.Beside == nil)
	if s.Beside != nil {
		var beside sync.WaitGroup
		beside.Go(func() {
			time.Sleep(s.After)
			b := w.begin(s.Beside, false)
			w.act(b)
			if b.What == "join" {
				l := w.begin(&step{What: "leave"}, false)
				w.act(l)
			}
		})
		defer beside.Wait()
	}
	w.act(e)
	time.Sleep(e.aftermath() + settled)
}

// settled is how long after a step nothing of it has an effect any more.
const settled = 3 * time.Second

func (w *term) begin(s *step, alone bool) *episode {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := w.hosts[s.Host]
	if s.What == "leave" {
		for _, h = range slices.Backward(w.hosts) {
			if h.now != nil {
				break
			}
		}
	} else if s.What == "restart" && !alone && h.name == w.episodes[len(w.episodes)-1].host {
		h = w.hosts[(s.Host+1)%w.plan.Hosts]
	}
	e := &episode{step: *s, host: h.name, from: w.truth.Now(), alone: alone}
	if s.What == "join" {
		e.host = fmt.Sprintf("s%d", len(w.hosts))
	}
	w.episodes = append(w.episodes, e)
	w.truth.Note("STEP %+v", *e)
	return e
}

func (w *term) act(e *episode) {
	switch e.What {
	case "restart":
		h := w.host(e.host)
		if e.Ailment == "cut" {
			w.net.PartitionOneWay("", h.name, "")
			time.Sleep(e.After)
		}
		w.closeDown(h, false)
		w.net.Heal("", h.name, "")
		time.Sleep(e.For)
		w.open(h, e.step)
	case "join":
		w.open(w.newHost(), e.step)
	case "leave":
		w.closeDown(w.host(e.host), true)
	case "sick":
		w.sick(e)
		return
	}
	w.ended(e)
}

func (w *term) host(name string) *host {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hosts[slices.IndexFunc(w.hosts, func(h *host) bool { return h.name == name })]
}

func (w *term) ended(e *episode) {
	w.mu.Lock()
	e.to, e.over = w.truth.Now(), true
	w.mu.Unlock()
	w.truth.Note("STEP %v is over", e)
}

// closeDown shuts a start of a host down gracefully.
func (w *term) closeDown(h *host, forGood bool) {
	w.mu.Lock()
	l := h.now
	h.now = nil
	h.past = append(h.past, l)
	h.claimed = !forGood
	w.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := l.sys.Shutdown(ctx); err != nil {
		w.truth.Bad("shutdown of %s: %v", h.name, err)
	}
	w.gone(h)
}

// sick makes instances fail for a while.
func (w *term) sick(e *episode) {
	var ill sync.WaitGroup
	var all []*host
	for i := range e.Hosts {
		h := w.host(fmt.Sprintf("s%d", (e.Host+i)%w.plan.Hosts))
		all = append(all, h)
		ill.Go(func() { w.befall(e, h) })
	}
	ill.Wait()
	w.ended(e)
	w.mu.Lock()
	for _, h := range all {
		clear(h.served)
	}
	w.mu.Unlock()
	for _, h := range all {
		for _, c := range w.customers {
			w.getsCalls(e, h, c)
		}
	}
}

func (w *term) befall(e *episode, h *host) {
	w.mu.Lock()
	l := h.now
	w.mu.Unlock()
	names := []string{""}
	if e.Host%2 == 0 && e.Ailment == "cut" { // from customers alone
		names = nil
		for _, c := range w.customers {
			names = append(names, c.name)
		}
	}
	heal := func(road string) {
		for _, name := range names {
			w.net.Heal(road, h.name, name)
		}
	}
	switch e.Ailment {
	case "slow":
		l.set(time.Second+e.For/4, nil)
		time.Sleep(e.For)
		l.set(0, nil)
	case "hung", "refusing":
		well := make(chan struct{})
		l.set(0, well)
		if e.Ailment == "refusing" {
			for n := 0; ; n++ { // the first ones are taken out at once
				if err := actor.Tell(context.Background(), l.sys.Ref("server@"+h.name), Siesta{N: n}); err != nil && n > 0 {
					break
				}
				if n == 0 {
					time.Sleep(time.Millisecond)
				}
			}
		}
		time.Sleep(e.For)
		l.set(0, nil)
		close(well)
	case "silent":
		w.net.Hold("", h.name, "")
		w.net.Hold("", "", h.name)
		for _, g := range l.gates {
			g.Stop(e.For)
		}
		time.Sleep(e.For)
		w.net.Heal("", h.name, "")
	case "cut", "cut on one road":
		road := ""
		if e.Ailment == "cut on one road" {
			road = w.plan.Roads[0]
		}
		for _, name := range names {
			w.net.Partition(road, h.name, name)
		}
		time.Sleep(e.For)
		heal(road)
	case "killed":
		w.mu.Lock()
		h.now = nil
		h.past = append(h.past, l)
		w.mu.Unlock()
		for _, g := range l.gates {
			g.Shut(e.Word)
		}
		if e.Known {
			w.gone(h)
			_ = w.reg.Evict(context.Background(), h.name, l.sys.Epoch())
		}
		time.Sleep(e.For)
		if !e.Known {
			_ = w.reg.Evict(context.Background(), h.name, l.sys.Epoch())
			w.gone(h)
		}
		w.open(h, e.step)
	}
}

func (l *tenancy) set(slow time.Duration, well chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.slow, l.well = slow, well
}
