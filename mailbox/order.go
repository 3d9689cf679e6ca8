package mailbox

import (
	"cmp"
	"math"
	"slices"
)

// order is what an ordered box holds instead of a chain of batches, and decides which message is
// next. It has no lock, no clock and no goroutine: the box's mutex guards it.
//
// Each class has one lane for each sender of whom a message waits in it, or a single one in a box
// that is not fair. A lane is a FIFO. In front are the messages that have a place, behind them
// those that wait for one: the backlog, and those of producers that block. A message may come out
// although it never had a place, if its class has its turn and its lane has nothing else.
//
// As long as the box has a free place, no message waits for one whose lane may have it.
type order[T any] struct {
	place    func(*T) Place
	fair     bool
	overtake int   // see Config.Overtake
	most     int32 // messages of one lane that may have a place
	room     int32 // free places
	count    int   // all messages in here
	blocked  int   // those of them whose producers wait
	backlog  int   // those of them that wait for a place without a producer
	filled   int   // lanes that may have no further place
	arrived  uint64
	classes  [classCount]class[T] // the lowest first
}

// class is the messages of one class.
type class[T any] struct {
	all    list[entry[T], *entry[T]] // in the order of their arrival
	count  int
	passed int                     // messages of higher classes that came out since one of this class did last, or there was none
	turns  list[lane[T], *lane[T]] // lanes with messages, in the order of their turns
	hungry list[lane[T], *lane[T]] // lanes with messages that may have a place as soon as there is one
	lanes  map[Sender]*lane[T]     // those with messages; nil in a box that is not fair
	only   *lane[T]                // of a box that is not fair
}

// lane is the messages of one class and one sender.
type lane[T any] struct {
	links    [2]links[lane[T]]
	class    *class[T]
	sender   Sender
	messages list[entry[T], *entry[T]]
	waiting  *entry[T] // the first one without a place
	placed   int32     // how many have a place

	inTurn, isHungry, isFilled bool // where it is counted: see settle
}

// entry is one message.
type entry[T any] struct {
	links   [2]links[entry[T]]
	v       T
	lane    *lane[T]
	arrived uint64     // by its number the oldest of several can be told
	placed  bool       // it has a place
	blocked *waiter[T] // the producer that waits; nil for most
}

// The lists in which an entry or a lane is.
const (
	byLane   = 0 // an entry
	byClass  = 1
	byTurn   = 0 // a lane
	byHunger = 1
)

func (e *entry[T]) in(which int) *links[entry[T]] { return &e.links[which] }
func (l *lane[T]) in(which int) *links[lane[T]]   { return &l.links[which] }

// newOrder returns the order of an empty box.
func newOrder[T any](c *Config, place func(*T) Place) *order[T] {
	o := &order[T]{place: place, fair: c.Fair, overtake: c.overtake(), most: math.MaxInt32, room: c.capacity()}
	if c.PerSender > 0 {
		o.most = int32(min(c.PerSender, math.MaxInt32))
	}
	for i := range o.classes {
		if k := &o.classes[i]; c.Fair {
			k.lanes = map[Sender]*lane[T]{}
		} else {
			k.only = &lane[T]{class: k}
		}
	}
	return o
}

// spot is where a message belongs.
type spot[T any] struct {
	class  *class[T]
	sender Sender
	lane   *lane[T] // nil: nothing of this sender waits in this class
}

// spotOf finds where a message belongs.
func (o *order[T]) spotOf(v *T) (s spot[T]) {
	p := o.place(v)
	s.class = &o.classes[min(max(p.Class, Low), Urgent)-Low]
	if p.Last {
		for i := range o.classes {
			if k := &o.classes[i]; k.count > s.class.count {
				s.class = k
			}
		}
	}
	if !o.fair {
		s.lane = s.class.only
		return s
	}
	s.sender, s.lane = p.Sender, s.class.lanes[p.Sender]
	return s
}

// hasRoom reports whether a message may have a place at once.
func (o *order[T]) hasRoom(s spot[T]) bool {
	return o.room > 0 && (s.lane == nil || s.lane.placed < o.most)
}

// fits is hasRoom for a message that is not in an entry.
func (o *order[T]) fits(v T) bool { return o.hasRoom(o.spotOf(&v)) }

// isTight reports whether there may be messages that would find no place.
func (o *order[T]) isTight() bool { return o.room <= 0 || o.filled > 0 }

// add adds a message, which gets a place if there is one for it.
func (o *order[T]) add(s spot[T], e *entry[T]) {
	l, k := s.lane, s.class
	if l == nil {
		l = &lane[T]{class: k, sender: s.sender}
		k.lanes[s.sender] = l
	}
	o.arrived++
	e.lane, e.arrived = l, o.arrived
	l.messages.push(byLane, e)
	k.all.push(byClass, e)
	o.count++
	k.count++
	switch {
	case l.waiting == nil && o.hasRoom(spot[T]{lane: l}):
		e.placed = true
		l.placed++
		o.room--
	case e.blocked != nil:
		o.blocked++
	default:
		o.backlog++
	}
	if !e.placed && l.waiting == nil {
		l.waiting = e
	}
	o.settle(l)
}

// remove takes a message out, wherever it is. Its place is free then, and has to be given to
// somebody: see admit.
func (o *order[T]) remove(e *entry[T]) {
	l := e.lane
	if l.waiting == e {
		l.waiting = e.links[byLane].next
	}
	l.messages.remove(byLane, e)
	l.class.all.remove(byClass, e)
	o.count--
	if l.class.count--; l.class.count == 0 {
		l.class.passed = 0
	}
	switch {
	case e.placed:
		l.placed--
		o.room++
	case e.blocked != nil:
		o.blocked--
	default:
		o.backlog--
	}
	o.settle(l)
}

// settle puts a lane that has changed where it belongs.
func (o *order[T]) settle(l *lane[T]) {
	k := l.class
	if has := l.messages.first != nil; has != l.inTurn {
		if l.inTurn = has; has {
			k.turns.push(byTurn, l)
		} else {
			k.turns.remove(byTurn, l)
			if o.fair {
				delete(k.lanes, l.sender)
			}
		}
	}
	if hungry := l.waiting != nil && l.placed < o.most; hungry != l.isHungry {
		if l.isHungry = hungry; hungry {
			k.hungry.push(byHunger, l)
		} else {
			k.hungry.remove(byHunger, l)
		}
	}
	if filled := l.placed >= o.most; filled != l.isFilled {
		if l.isFilled = filled; filled {
			o.filled++
		} else {
			o.filled--
		}
	}
}

// admit gives free places to messages that wait for one: those of the highest class first, and in
// a class those of each lane in turn.
func (o *order[T]) admit() {
	for i := classCount - 1; i >= 0; i-- {
		k := &o.classes[i]
		for o.room > 0 && k.hungry.first != nil {
			l := k.hungry.first
			k.hungry.remove(byHunger, l)
			l.isHungry = false
			e := l.waiting
			if l.waiting = e.links[byLane].next; e.blocked != nil {
				o.blocked--
				e.release(nil)
			} else {
				o.backlog--
			}
			e.placed = true
			l.placed++
			o.room--
			o.settle(l)
		}
	}
}

// next removes the message whose turn it is. There must be one.
func (o *order[T]) next() *entry[T] {
	k := o.turn()
	for i := range o.classes {
		lower := &o.classes[i]
		if lower == k {
			break
		}
		if lower.count > 0 {
			lower.passed++
		}
	}
	k.passed = 0
	l := k.turns.first
	e := l.messages.first
	k.turns.remove(byTurn, l) // the lane goes to the end of the line
	k.turns.push(byTurn, l)
	o.remove(e)
	if e.blocked != nil {
		e.release(nil)
	}
	o.admit()
	return e
}

// turn returns the class whose turn it is: the highest one, unless as many messages have overtaken
// those of a lower one as may. There must be a message.
func (o *order[T]) turn() (k *class[T]) {
	for i := range o.classes {
		if c := &o.classes[i]; c.count > 0 {
			if k = c; k.passed >= o.overtake {
				return k
			}
		}
	}
	return k
}

// victim returns the message that makes way for one that finds no place: the oldest one of its
// lane, if that may have no further place; else the oldest one of the lowest class. It returns nil
// if that class is above the message's own, or nothing has a place.
func (o *order[T]) victim(s spot[T]) *entry[T] {
	if s.lane != nil && s.lane.placed >= o.most {
		return s.lane.messages.first
	}
	for i := range o.classes {
		k := &o.classes[i]
		for e := k.all.first; e != nil; e = e.links[byClass].next {
			if e.placed {
				return e
			}
		}
		if k == s.class {
			return nil
		}
	}
	return nil
}

// takeAll removes the messages that which says yes to, oldest first. Their places are free then.
func (o *order[T]) takeAll(which func(*entry[T]) bool) (all []*entry[T]) {
	for i := range o.classes {
		for e := o.classes[i].all.first; e != nil; {
			next := e.links[byClass].next
			if which(e) {
				o.remove(e)
				all = append(all, e)
			}
			e = next
		}
	}
	slices.SortFunc(all, func(a, b *entry[T]) int { return cmp.Compare(a.arrived, b.arrived) })
	return all
}

// release ends the wait of the producer of e.
func (e *entry[T]) release(err error) {
	e.blocked.end(err)
	e.blocked = nil
}
