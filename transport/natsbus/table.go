package natsbus

import "sync"

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
	accepted int            // links in the table that peers opened
	running  bool           // between start and stop
	stopped  bool           // stop was called
	alive    sync.WaitGroup // counts what was added and not yet done
}

// start opens the table; false means that stop came first.
func (t *linkTable) start() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.links = make(map[linkKey]*link)
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
)

// add enters l. Each link that was added must be ended by remove and done. maxAccepted
// bounds the links that peers opened.
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
	if !l.key.dialled {
		t.accepted++
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
		if !l.key.dialled {
			t.accepted--
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
