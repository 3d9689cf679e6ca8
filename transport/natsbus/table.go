package natsbus

import (
	"sync"
	"time"
)

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
	warned   time.Time          // when a refusal was last worth a log line
	running  bool               // between start and stop
	stopped  bool               // stop was called
	alive    sync.WaitGroup     // counts what was added and not yet done
}

// start opens the table; false means that stop came first.
func (t *linkTable) start() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.links = make(map[linkKey]*link)
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
)

// add enters l. Each link that was added must be ended by remove and done. maxAccepted
// bounds the links that peers opened, and share those that one principal did.
func (t *linkTable) add(l *link, maxAccepted, share int) (addResult, *link) {
	principal := l.peer.Principal
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
	if !l.key.dialled {
		t.accepted[l.key] = principal
		t.of[principal]++
	}
	t.alive.Add(1)
	return added, nil
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
