package actor

import "sync"

// waitLists are the lists of requests that wait at actors, such as the pulls of an Offer. The
// requests end at once when their actor ends, or the system.
type waitLists struct {
	mu     sync.Mutex // guards what follows
	byCell map[*cell][]waitList
}

// waitList is the list of one owner.
type waitList struct {
	owner any    // *Offer[T] or *jobTable
	nudge func() // has the owner answer its requests, because the system drains
	end   func() // ends the requests; called when the actor has ended, or restarted with fresh state
}

func (l *waitLists) add(c *cell, x waitList) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byCell == nil {
		l.byCell = map[*cell][]waitList{}
	}
	l.byCell[c] = append(l.byCell[c], x)
}

func (l *waitLists) drop(c *cell, of any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var rest []waitList
	for _, x := range l.byCell[c] {
		if x.owner != of {
			rest = append(rest, x)
		}
	}
	if l.byCell[c] = rest; rest == nil {
		delete(l.byCell, c)
	}
}

// end ends the requests that wait at an actor whose state is gone.
func (l *waitLists) end(c *cell) {
	l.mu.Lock()
	gone := l.byCell[c]
	delete(l.byCell, c)
	l.mu.Unlock()
	for _, x := range gone {
		x.end()
	}
}

// nudgeAll has all owners answer their requests, because a shutdown would wait for them. Later
// requests see that the system drains.
func (l *waitLists) nudgeAll() {
	l.mu.Lock()
	var all []func()
	for _, of := range l.byCell {
		for _, x := range of {
			all = append(all, x.nudge)
		}
	}
	l.mu.Unlock()
	for _, nudge := range all {
		nudge()
	}
}
