package observer

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/gateway"
)

// Limits of live pages.
const (
	manyNodes  = 32 // more are looked at every two ticks
	maxPages   = 256
	writeWait  = 10 * time.Second // a page that does not take a picture for so long is cut off
	pictureOld = 10 * time.Second // what is older is not continued: rates would be of another time
)

// live looks at the cluster while there are pages, and sends all of them the same pictures.
type live struct {
	cluster *admin.Cluster
	tick    time.Duration
	log     *slog.Logger

	mu     sync.Mutex // guards what follows
	pages  map[chan []byte]bool
	latest []byte // the picture as it is sent
	at     time.Time
	on     bool // a goroutine looks; it ends when there are no pages
	last   *picture

	closing chan struct{} // closed by close
	once    sync.Once
	owned   sync.WaitGroup
}

func (l *live) init(c *admin.Cluster, cfg Config) {
	l.cluster, l.tick, l.log, l.pages, l.last = c, cfg.Tick, cfg.Logger, map[chan []byte]bool{}, &picture{}
	l.closing = make(chan struct{})
}

// close ends all pages, and waits until nobody looks.
func (l *live) close() {
	l.mu.Lock()
	l.once.Do(func() { close(l.closing) })
	l.mu.Unlock()
	l.owned.Wait()
}

func (l *live) closed() bool {
	select {
	case <-l.closing:
		return true
	default:
		return false
	}
}

// enter adds a page, which gets pictures on the channel; a page that is slow gets the latest one only. It returns nil if there are too many.
func (l *live) enter() chan []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pages) >= maxPages || l.closed() {
		return nil
	}
	page := make(chan []byte, 1)
	l.pages[page] = true
	if l.on {
		if l.latest != nil {
			page <- l.latest
		}
		return page
	}
	if l.on = true; time.Since(l.at) > pictureOld {
		l.latest, l.last = nil, &picture{}
	}
	l.owned.Go(l.look)
	return page
}

func (l *live) leave(page chan []byte) {
	l.mu.Lock()
	delete(l.pages, page)
	l.mu.Unlock()
}

// look makes pictures until there is no page any more.
func (l *live) look() {
	for {
		begun := time.Now()
		p := l.last.next(begun, l.ask())
		text, err := json.Marshal(p)
		if err != nil {
			l.log.Error("observer: a picture cannot be encoded", "err", err)
		}
		l.mu.Lock()
		l.last, l.latest, l.at = p, text, begun
		for page := range l.pages {
			select {
			case <-page: // it has not taken the one before
			default:
			}
			page <- text
		}
		if len(l.pages) == 0 || l.closed() {
			l.on = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		select {
		case <-time.After(time.Until(begun.Add(l.pause(len(p.Nodes))))):
		case <-l.closing:
		}
	}
}

func (l *live) pause(nodes int) time.Duration {
	switch {
	case l.tick > 0:
		return l.tick
	case nodes > manyNodes:
		return 2 * time.Second
	}
	return time.Second
}

// ask asks all nodes.
func (l *live) ask() []answer {
	ctx, cancel := context.WithTimeout(context.Background(), allWait)
	defer cancel()
	overviews := admin.All(ctx, l.cluster, admin.Overview{})
	if len(overviews) == 1 && overviews[0].Node == "" { // nobody says which nodes there are: then all are asked that were there
		err := overviews[0].Err
		overviews = nil
		for node := range l.last.seen {
			overviews = append(overviews, admin.Answer[admin.OverviewInfo]{Node: node, Err: err})
		}
	}
	answers := make([]answer, len(overviews))
	slots := make(chan struct{}, asksAtATime)
	var asking sync.WaitGroup
	for i, o := range overviews {
		answers[i] = answer{node: o.Node, info: o.Reply, err: o.Err}
		if o.Err != nil {
			answers[i].err = problemText(o.Err)
			continue
		}
		slots <- struct{}{}
		asking.Go(func() {
			defer func() { <-slots }()
			was := l.last.seen[o.Node]
			after := was.next
			if was.line.Epoch != o.Reply.Epoch {
				after = 0
			}
			if e, err := admin.Ask(ctx, l.cluster, o.Node, admin.Events{After: after, Limit: maxEvents}); err == nil {
				answers[i].events = e
			} else {
				answers[i].events.Next = after
			}
		})
	}
	asking.Wait()
	return answers
}

// problemText is an error without the name of its package and its verdict, which say nothing to somebody who looks at a node.
type shortError string

func (e shortError) Error() string { return string(e) }

func problemText(err error) error { return shortError(gateway.ErrorOf(err).Message) }

// serve sends pictures as Server-Sent Events, until the client leaves.
func (l *live) serve(w http.ResponseWriter, r *http.Request) {
	page := l.enter()
	if page == nil {
		refuse(w, http.StatusServiceUnavailable, "too many pages are open, or the program ends")
		return
	}
	defer l.leave(page)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep them
	to := http.NewResponseController(w)
	for {
		select {
		case text := <-page:
			_ = to.SetWriteDeadline(time.Now().Add(writeWait))
			if _, err := w.Write(append(append([]byte("data: "), text...), "\n\n"...)); err != nil {
				return
			}
			if to.Flush() != nil {
				return
			}
		case <-r.Context().Done():
			return
		case <-l.closing:
			return
		}
	}
}
