package natsbus

import (
	"slices"
	"sync"
	"time"
)

// maxHalfOpen is how many links of one principal may be half open at once.
const maxHalfOpen = 128

// linkKey names one end of a link in this transport.
type linkKey struct {
	id      linkID
	dialled bool // this end dialled; both ends are here if a node has a link to itself
}

// linkTable holds the links of a transport from their first packet until their Receivers got
// Closed. Methods may be called concurrently.
type linkTable struct {
	mu       sync.RWMutex // guards what follows
	links    map[linkKey]*link
	accepted map[linkKey]string // links in the table that peers opened, and the principal that each counts for
	of       map[string]int     // how many of them each principal has
	half     map[string][]*link // those of them whose peers have proved nothing yet, by principal, the oldest first
	warned   time.Time          // when a refusal was logged last
	running  bool               // between start and stop
	stopped  bool               // stop was called
	alive    sync.WaitGroup     // counts the links that were added and are not yet done
}

// start opens the table. It returns false if stop was called before.
func (t *linkTable) start() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.links, t.half = make(map[linkKey]*link), make(map[string][]*link)
	t.accepted, t.of = make(map[linkKey]string), make(map[string]int)
	t.running = !t.stopped
	return t.running
}

// stop closes the table for new links, and reports whether it was open.
func (t *linkTable) stop() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.running
	t.running, t.stopped = false, true
	return was
}

// addResult is the result of add.
type addResult uint8

const (
	added addResult = iota
	addClosed
	addFull  // there are as many links as there may be
	addShare // the principal has as many links as it may have
	addKnown
	addInstead // the link was added, and the one that is returned must make room
)

// add adds l. For each link that was added, remove and done must be called. maxAccepted bounds the
// links that peers opened, and share those of one principal. Of the links whose peers have proved
// nothing yet, a principal may have maxHalfOpen; then the oldest makes room for the next.
func (t *linkTable) add(l *link, maxAccepted, share int) (addResult, *link) {
	principal := l.token
	t.mu.Lock()
	defer t.mu.Unlock()
	if known := t.links[l.key]; known != nil {
		return addKnown, known
	}
	switch {
	case !t.running:
		return addClosed, nil
	case !l.key.dialled && len(t.accepted) >= maxAccepted:
		return addFull, nil
	case !l.key.dialled && t.of[principal] >= share:
		return addShare, nil
	}
	t.links[l.key] = l
	t.alive.Add(1)
	if l.key.dialled {
		return added, nil
	}
	t.accepted[l.key] = principal
	t.of[principal]++
	half := t.half[l.token]
	t.half[l.token] = append(half, l)
	if len(half) >= maxHalfOpen {
		return addInstead, half[0]
	}
	return added, nil
}

// proved records that the peer of l has proved its identity.
func (t *linkTable) proved(l *link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.whole(l)
}

// whole removes l from those that are half open. t.mu is held.
func (t *linkTable) whole(l *link) {
	half := t.half[l.token]
	if i := slices.Index(half, l); i >= 0 {
		half = slices.Delete(half, i, i+1)
	}
	if t.half[l.token] = half; len(half) == 0 {
		delete(t.half, l.token)
	}
}

func (t *linkTable) get(key linkKey) *link {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.links[key]
}

// open reports whether links may be added.
func (t *linkTable) open() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.running
}

func (t *linkTable) len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.links)
}

// remove removes l. From now on packets for it count as unknown.
func (t *linkTable) remove(l *link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.links[l.key] == l {
		delete(t.links, l.key)
		if principal, accepted := t.accepted[l.key]; accepted {
			delete(t.accepted, l.key)
			if t.of[principal]--; t.of[principal] == 0 {
				delete(t.of, principal)
			}
			t.whole(l)
		}
	}
}

// worthSaying reports whether to log a refusal now: at most one in a minute is logged.
func (t *linkTable) worthSaying(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.warned.IsZero() && now.Sub(t.warned) < time.Minute {
		return false
	}
	t.warned = now
	return true
}

// done records that a link which was added has no goroutine any more.
func (t *linkTable) done() { t.alive.Done() }

// wait waits until every link is done. It may be called only after stop.
func (t *linkTable) wait() { t.alive.Wait() }

// each calls f for every link, without holding the lock.
func (t *linkTable) each(f func(*link)) {
	t.mu.RLock()
	all := make([]*link, 0, len(t.links))
	for _, l := range t.links {
		all = append(all, l)
	}
	t.mu.RUnlock()
	for _, l := range all {
		f(l)
	}
}
