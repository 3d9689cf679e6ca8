package actor

import "sync/atomic"

// cellState is how far the life of an actor has come:
//
//	claiming ──claimed──► starting                          of a virtual actor only
//
//	starting ──started──► working ──failed──► suspended     one incarnation
//	   ▲  └────────────────failed────────────►│  │  └─resumed─► working
//	   └──────────────────restarted───────────┘  │
//	   any of the four ──stopped──► ending ──left──► gone
//
// There is no other way between two states. Only the run loop makes these changes; but any
// goroutine may make the actor end (stopped), and then the run loop sees that after the message
// in hand.
type cellState uint32

const (
	working   cellState = iota // it handles messages, or is idle
	starting                   // Started has not returned yet
	claiming                   // an activation of a virtual actor that has no claim yet: see virtuals.activate
	suspended                  // it has failed: see cell.recover
	ending                     // it handles no further message: see cell.finish
	gone                       // its name is free
)

// cellEvent is what changes the state of an actor.
type cellEvent uint8

const (
	cellClaimed   cellEvent = iota // it has its claim
	cellStarted                    // Started has returned nil, or there is no such hook
	cellFailed                     // a failure, see supervise.Failure
	cellResumed                    // it goes on with its state
	cellRestarted                  // it has fresh state
	cellStopped                    // it is to end
	cellLeft                       // everything of it has ended
)

// next returns the state after an event, and false if the event changes nothing in this state.
func (s cellState) next(e cellEvent) (cellState, bool) {
	switch {
	case s == claiming && e == cellClaimed:
		return starting, true
	case s == starting && e == cellStarted, s == suspended && e == cellResumed:
		return working, true
	case (s == starting || s == working) && e == cellFailed:
		return suspended, true
	case s == suspended && e == cellRestarted:
		return starting, true
	case s <= suspended && e == cellStopped:
		return ending, true
	case s == ending && e == cellLeft:
		return gone, true
	}
	return s, false
}

// cellLife is the state of an actor, and what its run loop looks at between two messages. It is
// one word, which is 0 while there is nothing but messages to handle.
type cellLife struct{ word atomic.Uint32 }

const (
	stateBits uint32 = 7
	signaled  uint32 = 1 << 3 // there are signals in the lane
	sealed    uint32 = 1 << 4 // the mailbox takes no more messages; when it is empty, the actor ends
	turned    uint32 = 1 << 5 // before the next message, see cell.turn

	urgent = stateBits | turned // what no message of a batch may overtake
)

func (l *cellLife) now() cellState { return cellState(l.word.Load() & stateBits) }

// move changes the state by an event. It returns false if the event changes nothing.
func (l *cellLife) move(e cellEvent) bool {
	for {
		was := l.word.Load()
		to, ok := cellState(was & stateBits).next(e)
		if !ok {
			return false
		}
		if l.word.CompareAndSwap(was, was&^stateBits|uint32(to)) {
			return true
		}
	}
}

// calls reports whether there is something else to do than to handle messages.
func (l *cellLife) calls() bool { return l.word.Load() != 0 }

// seal notes that the actor is to end when its mailbox is empty.
func (l *cellLife) seal()        { l.word.Or(sealed) }
func (l *cellLife) sealed() bool { return l.word.Load()&sealed != 0 }

// ends reports whether the actor accepts no messages any more.
func (l *cellLife) ends() bool { return l.sealed() || l.now() >= ending }
