package actor

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/rpc"
)

// KindOption changes what Kind.With makes.
type KindOption func(*Kind)

// With returns a kind like k, of the same name, with further properties:
//
//	var LedgerKind = actor.Define("ledger", newLedger, ...).With(actor.Durable())
func (k *Kind) With(opts ...KindOption) *Kind {
	with := *k
	for _, opt := range opts {
		opt(&with)
	}
	return &with
}

// Durable has every request to an actor of this kind from another node recorded in
// Config.Store, before its handler is called and with its reply after. So a retry that
// finds the node started anew gets the stored reply, or NotRun if the handler had not
// started; if it had, and was not done, OutcomeUnknown. Each request waits for the
// store twice; all that wait share one write.
//
// Jobs are recorded when they are submitted: their tokens and results outlive the node,
// and what had not begun when it was lost runs once an actor of that name is spawned
// again; while the store is away, accepted jobs wait. One-way messages and requests from the same node are not recorded: their
// senders die with the actor. The kind must be in Config.Kinds.
func Durable() KindOption { return func(k *Kind) { k.durable = true } }

// Transactional says that handlers of this kind put a completion record into the
// transaction of their effect, see Completion. So even a crash between effect and
// record leaves no doubt: after a restart a retry gets the recorded reply, or NotRun.
// It needs no Config.Store. The kind must be in Config.Kinds.
func Transactional(records dedup.Completions) KindOption {
	return func(k *Kind) { k.completions = records }
}

// Retries is when requests that actors of this kind make of other nodes are made anew;
// it takes the place of Config.Retry. rpc.WithRetry goes before both.
func Retries(r rpc.Retry) KindOption { return func(k *Kind) { k.retry = &r } }

// Completion returns what a handler of a Transactional kind stores in the transaction
// of its effect: record under the primary key id. reply must be what the handler
// returns once it has committed. If the key is taken, the request was settled
// otherwise meanwhile, and the handler must roll back and return the error.
func Completion[R any](c *Context, reply R) (id string, record []byte, err error) {
	in, ok := c.req.(*rpc.Inbound)
	if !ok { // nobody can ask for it: the caller dies with this process
		return uuid.NewString(), []byte{}, nil
	}
	typeID, body, err := c.System().encodeReply(in, reply, reflect.TypeFor[R]())
	if err != nil {
		return "", nil, err
	}
	return in.RequestID(), rpc.Record(typeID, in.Codec, body), nil
}

// maxAhead bounds how many requests of a durable actor are recorded as begun in one go:
// after a crash they may be reported as OutcomeUnknown though they had not begun.
const maxAhead = 64

// pace says how many to begin in one go: so many that their handlers take about as long
// as their record, and no more. It is a pure structure.
type pace struct {
	ahead  int
	waited time.Duration // for the record of those begun last
	since  time.Time     // when that was there
}

// next returns how many to begin now, when those begun last took ran to handle.
func (p *pace) next(ran time.Duration) int {
	switch {
	case p.ahead == 0:
		p.ahead = 1
	case ran < p.waited:
		p.ahead = min(2*p.ahead, maxAhead)
	default:
		p.ahead = max(p.ahead/2, 1)
	}
	return p.ahead
}

// recorded reports whether requests need preparing before their turn.
func (k *Kind) recorded() bool { return k.durable || k.completions != nil }

// prepare does what must be done before the handlers of the next messages of the batch
// may be called: it waits until their beginnings are recorded.
func (c *cell) prepare(w *worker) {
	if w.done < w.begun {
		return
	}
	if c.pace == nil {
		c.pace = new(pace)
	}
	began := time.Now()
	w.begun = min(w.done+c.pace.next(began.Sub(c.pace.since)), len(w.batch))
	defer func() {
		c.pace.since = time.Now()
		c.pace.waited = c.pace.since.Sub(began)
	}()
	var ins []*rpc.Inbound
	var jobs []*job
	var records []*rpc.JobRecord
	for _, it := range w.batch[w.done:w.begun] {
		switch r := it.req.(type) {
		case *rpc.Inbound:
			if !r.Receipt {
				ins = append(ins, r)
			}
		case *job:
			switch {
			case r.record == nil || r.now().State.Over():
			case r.remote && !c.self.sys.jobs.starts(r, len(jobs)):
				r.putOff()
			default:
				jobs, records = append(jobs, r), append(records, r.record)
			}
		}
	}
	if len(ins)+len(jobs) == 0 || c.stopped.Load() {
		return
	}
	if c.kind.completions != nil {
		for _, in := range ins {
			c.settled(in)
		}
	}
	if c.kind.durable {
		c.self.sys.node.Begin(ins, records...)
		for _, j := range jobs {
			switch {
			case j.record.Begun:
			case c.self.sys.node.Fenced(): // the start that has its record runs it
				j.fail(rpc.Errorf(rpc.Unavailable, rpc.NotRun, "the job's beginning could not be recorded: another start of node %s has taken its records over", c.self.sys.cfg.Name))
			default: // the store is away
				j.putOff()
			}
		}
	}
}

// settled ends a keyed request that the application has committed before, perhaps in an
// earlier start of the node.
func (c *cell) settled(in *rpc.Inbound) {
	if !in.Keyed() {
		return
	}
	at, ok := in.Deadline()
	if !ok {
		at = time.Now().Add(c.self.sys.cfg.Timeout)
	}
	ctx, cancel := context.WithDeadline(c.self.sys.ctx, at)
	defer cancel()
	record, found, err := c.kind.completions.Completed(ctx, in.RequestID())
	switch {
	case err != nil:
		in.Refuse(rpc.Errorf(rpc.Unavailable, rpc.NotRun, "the application's records could not be asked: %w", err))
	case found:
		in.Replay(record)
	}
}

// Durability tells the remote side what can be found out about requests to an actor.
func (v server) Durability(target string) rpc.Durability {
	c := v.s.refs.live(target)
	if c == nil {
		return rpc.Durability{Known: strings.HasPrefix(target, streamName)} // a stream dies with its node
	}
	return rpc.Durability{Known: true, Kind: c.kind.name, Durable: c.kind.durable, Completions: c.kind.completions}
}

// checkDurable returns why this system cannot host a kind, if it cannot.
func (s *System) checkDurable(k *Kind) error {
	switch {
	case k.durable && s.cfg.Store == nil:
		return fmt.Errorf("actor: kind %s is Durable, and Config.Store is nil", k.name)
	case k.recorded() && (s.kinds[k.name] == nil || !s.kinds[k.name].recorded()):
		return fmt.Errorf("actor: kind %s keeps records and must be in Config.Kinds, so that other nodes know from the start", k.name)
	}
	return nil
}
