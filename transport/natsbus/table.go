package natsbus

import (
	"slices"
	"sync"
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
	accepted int                // links in the table that peers opened
	half     map[string][]*link // those of them whose peers have proved nothing yet, by who opened them, the oldest first
	running  bool               // between start and stop
	stopped  bool               // stop was called
	alive    sync.WaitGroup     // counts what was added and not yet done
}

// start opens the table; false means that stop came first.
func (t *linkTable) start() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.links, t.half = make(map[linkKey]*link), make(map[string][]*link)
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
	addFull
	addKnown
	addInstead // the link that is returned with it must make room
)

// add enters l. Each link that was added must be ended by remove and done. maxAccepted
// bounds the links that peers opened; of those by whom nothing is proved yet there are
// maxHalfOpen for one principal, and the oldest makes room for the next.
func (t *linkTable) add(l *link, maxAccepted int) (addResult, *link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known := t.links[l.key]; known != nil {
		return addKnown, known
	}
	switch {
	case !t.running:
		return addClosed, nil
	case !l.key.dialled && t.accepted >= maxAccepted:
		return addFull, nil
	}
	t.links[l.key] = l
	t.alive.Add(1)
	if l.key.dialled {
		return added, nil
	}
	t.accepted++
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
		if !l.key.dialled {
			t.accepted--
			t.whole(l)
		}
	}
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
