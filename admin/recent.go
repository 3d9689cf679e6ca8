package admin

import (
	"context"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
)

// recent is the events that a node remembers.
type recent struct {
	mu   sync.Mutex
	all  []EventInfo   // a ring: that of number n is at (n-1) modulo MaxEvents
	last uint64        // number of the latest one
	news chan struct{} // closed with the next one
}

// follow begins to remember events, until the system has ended.
func (r *recent) follow(sys *actor.System) {
	r.news = make(chan struct{})
	events := sys.Events(context.Background()) // closed when the system has ended
	go func() {
		for e := range events {
			r.add(e)
		}
	}()
}

func (r *recent) add(e actor.Event) {
	i := EventInfo{Time: e.Time, Type: string(e.Type), Actor: e.Actor, Peer: e.Peer, Road: e.Road, Service: e.Service, Count: e.Count}
	if e.Err != nil {
		i.Error = e.Err.Error()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last++
	if i.Number = r.last; len(r.all) < MaxEvents {
		r.all = append(r.all, i)
	} else {
		r.all[(i.Number-1)%MaxEvents] = i
	}
	close(r.news)
	r.news = make(chan struct{})
}

// after returns up to n events after a number. If there are none, it waits until ctx ends, or for that long.
func (r *recent) after(ctx context.Context, number uint64, n int, wait time.Duration) EventsInfo {
	late := time.NewTimer(wait)
	defer late.Stop()
	for {
		i, news := r.look(number, n)
		if len(i.Events) > 0 || wait == 0 {
			return i
		}
		select {
		case <-news:
		case <-late.C:
			return i
		case <-ctx.Done():
			return i
		}
	}
}

func (r *recent) look(number uint64, n int) (i EventsInfo, news <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if number > r.last { // it is of an earlier start of the node
		number = 0
	}
	if oldest := r.last - uint64(len(r.all)); number < oldest {
		i.Lost, number = oldest-number, oldest
	}
	for ; number < r.last && len(i.Events) < n; number++ {
		i.Events = append(i.Events, r.all[number%MaxEvents])
	}
	i.Next = number
	return i, r.news
}
