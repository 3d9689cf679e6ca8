package actor

import "sync/atomic"

// contextState is how far the handling of a message has come:
//
//	unanswered ──answer──► answered ──own──► owned       the handler runs
//	     │                    │                │
//	     ├────────────────────┴────────────────┤
//	     ▼ handlerReturned                     ▼ release
//	  returned ────────────release─────────► released    it has returned
//
//	unanswered ──stash──► stashed, which goes on like answered
//
// There is no other way between two states. A one-way message is only ever unanswered, stashed or
// returned; what comes from the lane is answered from the beginning.
type contextState uint32

const (
	unanswered contextState = iota // the handler has not answered: if it returns, the request fails
	answered                       // the request has its outcome, or a stream or a Deferred will give it one
	owned                          // it has its outcome, and only the Context still refers to it, so it may be freed
	stashed                        // the message is put aside when the handler returns: it has no outcome
	returned                       // the handler has returned; not set in every Context without a rest
	released                       // msg and req are gone: their memory may belong to another message now
)

// contextLife is the state of a Context. The handler's goroutine changes it. The goroutine that
// answers a Deferred or ends a stream may release it, too. Goroutines that outlive the handler may
// look at it at any time, but need to know only whether the handler has returned, and whether the
// Context was released. So only this is atomic, and the first four states cost no atomic operation.
type contextLife struct {
	handler contextState  // the first four states; only the handler's goroutine uses it, while the handler runs
	after   atomic.Uint32 // returned or released, which count more than handler; 0 while the handler runs
}

// answer, own, stash, unanswered, owned and stashed are for the handler's goroutine, all others for any.
func (l *contextLife) answer() {
	if l.handler == unanswered {
		l.handler = answered
	}
}

func (l *contextLife) own() {
	if l.handler == answered {
		l.handler = owned
	}
}

func (l *contextLife) stash() {
	if l.handler == unanswered {
		l.handler = stashed
	}
}

func (l *contextLife) handlerReturned() { l.after.CompareAndSwap(0, uint32(returned)) }
func (l *contextLife) release()         { l.after.Store(uint32(released)) }

func (l *contextLife) unanswered() bool { return l.handler == unanswered }
func (l *contextLife) owned() bool      { return l.handler == owned }
func (l *contextLife) stashed() bool    { return l.handler == stashed }
func (l *contextLife) running() bool    { return l.after.Load() == 0 }
func (l *contextLife) released() bool   { return l.after.Load() == uint32(released) }

// now is the state. While the handler runs, only its goroutine may ask.
func (l *contextLife) now() contextState {
	if after := l.after.Load(); after != 0 {
		return contextState(after)
	}
	return l.handler
}
