package stored

import (
	"bytes"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/state"
)

// Loaded is what an activation begins with: the result of a Load under its claim.
type Loaded struct {
	Key      state.Key
	Record   state.Record
	Revision state.Revision
	None     bool      // there is no record: Load said state.ErrNone
	Token    uint64    // of the activation's claim
	At       time.Time // when it was loaded: the callers in the record count as heard then

	// Contested says that the claim was taken from a holder that may not know that yet, not from
	// one that was Quiet and has given it back. Without a record, this decides whether the
	// activation has to commit before it answers.
	Contested bool

	// State is the state as it was decoded, or newly made if there was none, encoded again:
	// Handled compares the states that it gets with it. nil: as it is in the record.
	State []byte
}

// Activation is the decisions of one activation of one stored virtual actor. H is what its caller
// knows a message in hand by. It is not safe for concurrent use.
type Activation[H any] struct {
	cfg     *Config
	token   uint64
	frame   int // bytes of a record in which there is nothing
	largest int // the most bytes of a record

	phase     phase
	fence     bool           // the last commit may be another holder's, so nothing may be answered yet
	last      state.Revision // the last commit
	committed uint64         // number of the last commit of this activation, which counts them
	seen      uint64         // number of the commit with which everything is stored that a handler sees now
	wanted    bool           // somebody waits for a commit that is not under way yet

	current  image
	requests table[H]
	box      outbox
	pending  *pending[H] // nil: nothing waits, no commit is under way, and the current state is the kept one
}

// pending is what an activation has in hand that is not stored.
type pending[H any] struct {
	kept   image    // the state in the last commit
	flight group[H] // what waits for the commit that is under way
	next   group[H] // what waits for the one after it

	// Of the commit that is under way:
	record state.Record
	image  image // the state in it
	adds   int   // how many messages it adds to the outbox
	cleans bool  // it has removed messages that the last record still has
}

// phase is what an activation is doing:
//
//	          ┌────────────── Failed: not stored ──────────────┐
//	          ▼                                                │
//	gathering ──Next──► committing ──Failed: unknown──► doubtful ──Next──► committing
//	   ▲  │                │   │                            │
//	   │  └──End──► over ◄─┼───┴── Failed: for good, End ───┘
//	   └──── Committed ────┘
type phase uint8

const (
	gathering  phase = iota // no commit is under way
	committing              // one is under way
	doubtful                // one was made, and must be made again to learn its fate
	over                    // this activation commits and answers nothing more
)

// image is a state of the actor.
type image struct {
	version uint32
	data    []byte // as it is in the record
	equal   []byte // the encoding that a handler which has changed nothing leaves behind
}

// group is what waits for one commit.
type group[H any] []waiting[H]

// waiting is a message that was handled, or a further copy of one.
type waiting[H any] struct {
	handle  H
	request *Request[H] // nil: it has no name
}

// New returns the activation that goes on from a record. cfg has its defaults filled in, and is not
// changed; many activations may share it. The error wraps [state.ErrFenced] if the record was committed
// under a higher token, or [state.ErrFormat] if an outcome in it cannot be decoded.
func New[H any](cfg *Config, l Loaded) (*Activation[H], error) {
	if l.Revision.Token > l.Token {
		return nil, fmt.Errorf("%w: %d, and that of this activation is %d", state.ErrFenced, l.Revision.Token, l.Token)
	}
	a := &Activation[H]{cfg: cfg, token: l.Token, last: l.Revision, frame: (&state.Stored{Key: l.Key}).Size(), largest: cfg.MaxRecord}
	if !l.None {
		a.current = image{version: l.Record.TypeVersion, data: l.Record.State, equal: l.Record.State}
		if err := a.requests.load(l.Record.Outcomes); err != nil {
			return nil, err
		}
		for _, c := range a.requests.callers {
			c.heard = l.At.UnixNano()
		}
		a.box.load(l.Record.Outbox, l.Revision.Seq)
	}
	if l.State != nil {
		a.current.equal = l.State
	}
	a.fence = l.Revision.Token < l.Token && (!l.None || l.Contested)
	a.wanted = a.fence
	a.settle()
	return a, nil
}

// settle sets seen after the state has become the one that is kept.
func (a *Activation[H]) settle() {
	a.seen = a.committed
	if a.fence {
		a.seen++
	}
}

// State returns the state that the next handler has to see, with the version of its type: that in
// the record, or the last one that Handled got. Version 0 says that there is none yet: the actor is
// new. The bytes must not be changed.
func (a *Activation[H]) State() (version uint32, data []byte) {
	return a.current.version, a.current.data
}

// Decision is what Admit decides about a copy of a request.
type Decision uint8

// The decisions. All but the first three are refusals: this copy is not handled. With Stale and
// Reused that says nothing of other copies. With Full and Ended it proves that the attempt has left
// no trace.
const (
	Run     Decision = iota + 1 // run its handler, and call Handled or Withdraw
	Replay                      // answer with the outcome
	Join                        // an earlier copy is in hand, or waits for its commit: this one gets the same
	Stale                       // the caller has said that it needs the outcome no more, or the key's time is over
	Reused                      // another request has this name
	Full                        // the caller, or all callers, have too many outcomes that they need
	Invalid                     // the name is beyond the limits of package state
	Ended                       // the activation is over
)

var decisionNames = [...]string{"none", "run", "replay", "join", "stale", "reused", "full", "invalid", "ended"}

// String returns the decision's name.
func (d Decision) String() string { return decisionNames[min(int(d), len(decisionNames)-1)] }

// Admission is the result of Admit.
type Admission[H any] struct {
	Decision Decision
	Request  *Request[H] // for Run, if the message has a name
	Outcome  []byte      // for Replay; see Parse
}

// Admit decides about a copy of a request, before its handler runs. A message whose handler only
// reads need not be admitted. handle is kept for Join only: the copy is among those that Handled,
// Withdraw, Committed, Failed or End returns, with the outcome of the earlier copy.
func (a *Activation[H]) Admit(n Name, handle H, now time.Time) Admission[H] {
	switch {
	case a.phase == over:
		return Admission[H]{Decision: Ended}
	case n.Caller == "" && !n.key():
		return Admission[H]{Decision: Run}
	case (&state.Outcome{Caller: n.Caller, Expires: n.Expires}).Valid() != nil:
		return Admission[H]{Decision: Invalid}
	}
	a.requests.expire(now)
	c := a.requests.of(&n)
	if !n.key() {
		a.requests.ack(c, n.Below)
		c.hears(now)
	}
	if stale(&n, c, now) {
		return Admission[H]{Decision: Stale}
	}
	r := a.requests.find(&n, c)
	switch {
	case r == nil && !a.requests.room(&n, c, a.cfg):
		return Admission[H]{Decision: Full}
	case r == nil:
		r = a.requests.add(&n, c)
		r.caller.hears(now)
		return Admission[H]{Decision: Run, Request: r}
	case r.print != n.Print:
		return Admission[H]{Decision: Reused}
	case r.stage == running:
		r.joined = append(r.joined, handle)
		return Admission[H]{Decision: Join}
	case r.needs > a.committed:
		g := a.waitsIn(r.needs)
		*g = append(*g, waiting[H]{handle, r})
		return Admission[H]{Decision: Join}
	}
	return Admission[H]{Decision: Replay, Outcome: r.body}
}

// Ack says that a caller needs no outcome of its requests below this number, as Name.Below does.
func (a *Activation[H]) Ack(caller string, below uint64) {
	a.requests.ack(a.requests.named(caller), below)
}

// Silent returns the callers of which something is known, and that have asked for nothing since then.
func (a *Activation[H]) Silent(since time.Time) (callers []string) {
	for _, c := range a.requests.callers {
		if c.heard < since.UnixNano() {
			callers = append(callers, c.name)
		}
	}
	return callers
}

// Forget drops all outcomes of a caller whose lease is over, and its ack mark. From now on it is the
// shell that has to refuse late copies of its requests.
func (a *Activation[H]) Forget(caller string) { a.requests.forget(caller) }

// Withdraw says that the handler of an admitted request does not run. It returns the further copies,
// which are not run either.
func (a *Activation[H]) Withdraw(r *Request[H]) []H {
	if r == nil {
		return nil
	}
	a.requests.drop(r)
	return r.takeJoined()
}

func (r *Request[H]) takeJoined() (joined []H) {
	if r != nil {
		joined, r.joined = r.joined, nil
	}
	return joined
}

// Result is what a handler has left behind.
type Result struct {
	// State is the state after it, encoded under Config.TypeVersion. nil: it is as it was before.
	// That must be so for a handler that only reads, and for one that ended with an error or a
	// panic: what it has changed must have been undone already.
	State   []byte
	Outcome Outcome         // of a named request
	Outbox  []state.Message // empty for a handler that only reads, or that has failed
}

// Fate is what Handled decides about a message that was handled.
type Fate uint8

// The fates. All but the first two are refusals: the state has to go back to State, the reply is
// NotRun, because the handler has left no trace, and the request is not remembered.
const (
	Leaves   Fate = iota + 1 // its reply may leave at once
	Waits                    // its reply has to wait for a commit
	TooLarge                 // with it no record would fit into the store, or the reply is larger than a caller's part
	Crowded                  // there is no room for its reply, or for its messages, before others are acked or sent
	Wrong                    // a message of its outbox is beyond the limits of package state
	Late                     // the activation is over
)

var fateNames = [...]string{"none", "leaves", "waits", "too large", "crowded", "wrong", "late"}

// String returns the fate's name.
func (f Fate) String() string { return fateNames[min(int(f), len(fateNames)-1)] }

// Handled says what a handler has done, and decides when the reply may leave. r is what Admit
// returned, nil if it returned none. The result's byte slices are kept, if anything is, but for the
// body of the outcome. joined are further copies that get the same fate now; if it is Waits, they
// wait, too.
//
// A reply leaves at once if its handler has changed nothing, sends nothing, and has seen nothing
// that is not committed, unless the request has a key. Then nothing is written for it. Its outcome is
// kept in memory, and is in the next commit that is made: see the package comment.
func (a *Activation[H]) Handled(handle H, r *Request[H], res Result) (fate Fate, joined []H) {
	changed := res.State != nil && !bytes.Equal(res.State, a.current.equal)
	size := sizeOfAll(res.Outbox)
	if fate := a.refuses(r, &res, changed, size); fate != 0 {
		if r != nil {
			a.requests.drop(r)
		}
		return fate, r.takeJoined()
	}
	if changed {
		a.open()
		a.current = image{a.cfg.TypeVersion, res.State, res.State}
	}
	if changed || size > 0 {
		a.box.add(res.Outbox, size)
		a.seen = a.gathers()
	}
	needs := a.seen
	if r != nil {
		if r.expires != 0 {
			needs = a.gathers()
		}
		a.requests.finish(r, appendOutcome(make([]byte, 0, res.Outcome.size()), r.print, &res.Outcome), needs)
	}
	if needs <= a.committed {
		return Leaves, r.takeJoined()
	}
	g := a.waitsIn(needs)
	*g = append(*g, waiting[H]{handle, r})
	for _, h := range r.takeJoined() {
		*g = append(*g, waiting[H]{h, r})
	}
	return Waits, nil
}

// refuses returns why a message must leave no trace, or 0. size is that of its outbox.
func (a *Activation[H]) refuses(r *Request[H], res *Result, changed bool, size int) Fate {
	if a.phase == over {
		return Late
	}
	for i := range res.Outbox {
		if res.Outbox[i].Valid() != nil {
			return Wrong
		}
	}
	grows := size
	if r != nil && r.stage == running {
		n := res.Outcome.size() - outcomeSize
		grows += n
		switch {
		case n > a.cfg.CallerBytes-r.size():
			return TooLarge
		case !a.requests.grows(r, n, a.cfg):
			return Crowded
		}
	}
	if len(res.Outbox) > 0 && (len(a.box.messages)+len(res.Outbox) > a.cfg.Messages || a.box.bytes+size > a.cfg.MessageBytes) {
		if len(res.Outbox) > a.cfg.Messages || size > a.cfg.MessageBytes {
			return TooLarge
		}
		return Crowded
	}
	if changed {
		grows += len(res.State) - len(a.current.data)
	}
	if grows > 0 && a.size()+grows > a.largest {
		return TooLarge
	}
	return 0
}

// size is how many bytes the next record takes, at most.
func (a *Activation[H]) size() int {
	return a.frame + len(a.current.data) + a.requests.bytes + a.box.bytes
}
