package actor

import "sync"

// lines are the offers that have pulls in line, by their actors: for those pulls to end
// at once when the actor does, or the system.
type lines struct {
	mu     sync.Mutex // guards what follows
	byCell map[*cell][]line
}

// line is of one offer.
type line struct {
	of    any    // *Offer[T]
	nudge func() // has the actor look at it, in its turn
	end   func() // when nothing of the actor runs any more, or it has another state
}

func (l *lines) add(c *cell, x line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byCell == nil {
		l.byCell = map[*cell][]line{}
	}
	l.byCell[c] = append(l.byCell[c], x)
}

func (l *lines) drop(c *cell, of any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var rest []line
	for _, x := range l.byCell[c] {
		if x.of != of {
			rest = append(rest, x)
		}
	}
	if l.byCell[c] = rest; rest == nil {
		delete(l.byCell, c)
	}
}

// end ends the lines of an actor whose state is gone.
func (l *lines) end(c *cell) {
	l.mu.Lock()
	gone := l.byCell[c]
	delete(l.byCell, c)
	l.mu.Unlock()
	for _, x := range gone {
		x.end()
	}
}

// dissolve has all lines end, for a shutdown would wait for them. New ones see that the
// system is draining.
func (l *lines) dissolve() {
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
