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
	dialled bool // this end dialled; both ends are here when a node talks to itself
}

// linkTable holds the links of a transport from their first packet until their
// receiver was told the end. Methods may be called concurrently.
type linkTable struct {
	mu       sync.RWMutex // guards what follows
	links    map[linkKey]*link
	accepted map[linkKey]string // links in the table that peers opened, and the principal that each counts for
	of       map[string]int     // how many of them each principal has
	half     map[string][]*link // those of them whose peers have proved nothing yet, by who opened them, the oldest first
	warned   time.Time          // when a refusal was last worth a log line
	running  bool               // between start and stop
	stopped  bool               // stop was called
	alive    sync.WaitGroup     // counts what was added and not yet done
}

// start opens the table; false means that stop came first.
func (t *linkTable) start() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.links, t.half = make(map[linkKey]*link), make(map[string][]*link)
	t.accepted, t.of = make(map[linkKey]string), make(map[string]int)
	t.running = !t.stopped
	return t.running
}

// stop lets no more links in and reports whether the table was open.
func (t *linkTable) stop() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.running
	t.running, t.stopped = false, true
	return was
}

// addResult says what became of an add.
type addResult uint8

const (
	added addResult = iota
	addClosed
	addFull  // there are as many links as may be
	addShare // the principal has as many as one may have
	addKnown
	addInstead // the link that is returned with it must make room
)

// add enters l. Each link that was added must be ended by remove and done. maxAccepted
// bounds the links that peers opened, and share those that one principal did; of those by
// whom nothing is proved yet there are maxHalfOpen for one principal, and the oldest makes
// room for the next.
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

// proved says that the peer of l has proved who it is.
func (t *linkTable) proved(l *link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.whole(l)
}

// whole takes l out of those that are half open. t.mu is held.
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

// remove takes l out: packets for it are unknown from now on.
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

// worthSaying reports whether a refusal now is worth a log line: one in a minute is.
func (t *linkTable) worthSaying(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.warned.IsZero() && now.Sub(t.warned) < time.Minute {
		return false
	}
	t.warned = now
	return true
}

// done says that a link which was added has no goroutine any more.
func (t *linkTable) done() { t.alive.Done() }

// wait returns when every link is done; only after stop.
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
