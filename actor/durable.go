package actor

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tandem-go/tandem/internal/engine/journal"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/rpc"
)

// KindOption changes the kind that Kind.With makes.
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

// Durable has every request from another node to an actor of this kind recorded in
// Config.Store: before its handler is called, and again with its reply. So a retry after a
// restart of the node gets the stored reply, or NotRun if the handler had not started, or
// OutcomeUnknown if it had started and not finished. Each request waits for the store twice;
// requests that wait at the same time share one write.
//
// Jobs are recorded when they are submitted. Their tokens and results outlive the node, and
// jobs that had not started run once an actor of that name is spawned again. While the store
// cannot be reached, accepted jobs wait. One-way messages are not recorded, except those of
// TellReliably, nor are requests from the same node, whose callers die with the actor. The kind must be in Config.Kinds.
func Durable() KindOption { return func(k *Kind) { k.durable = true } }

// Transactional says that handlers of this kind write a completion record in the
// transaction of their effect, see Completion. Effect and record then stand or fall together:
// after a restart a retry gets the recorded reply, or NotRun.
// It needs no Config.Store. The kind must be in Config.Kinds.
func Transactional(records ledger.Completions) KindOption {
	return func(k *Kind) { k.completions = records }
}

// Retries says when requests that actors of this kind send to other nodes are retried. It
// takes precedence over Config.Retry, and rpc.WithRetry over both.
func Retries(r rpc.Retry) KindOption { return func(k *Kind) { k.retry = &r } }

// Completion returns what a handler of a Transactional kind stores in the transaction
// of its effect: record, under the primary key id. reply must be what the handler returns
// after it has committed. If the key already exists, the request has got another outcome
// meanwhile: the handler must roll back and return the error.
func Completion[R any](c *Context, reply R) (id string, record []byte, err error) {
	in, ok := c.req.(*server.Inbound)
	if !ok { // nobody can ask for the record, because the caller dies with this process
		return uuid.NewString(), []byte{}, nil
	}
	typeID, body, err := c.System().encodeReply(in, reply, reflect.TypeFor[R]())
	if err != nil {
		return "", nil, err
	}
	return in.RequestID(), server.Record(typeID, replyCodec(in), body), nil
}

// maxAhead bounds how many requests of a durable actor are recorded as begun in one write.
// After a crash they may be reported as OutcomeUnknown although they had not begun.
const maxAhead = 64

// pace decides how many requests to record as begun in one write: as many as the actor handles
// in about the time of the write. It has no clock; callers tell it how long things took.
type pace struct {
	ahead  int
	waited time.Duration // how long the last write took
	since  time.Time     // when it was done
}

// next returns how many requests to begin now. ran is how long those of the last write took to
// handle.
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

// recorded reports whether requests have to be prepared before their turn.
func (k *Kind) recorded() bool { return k.durable || k.completions != nil }

// prepare is called before the handlers of the next messages of the batch. It waits until it
// is recorded that they begin.
func (c *cell) prepare(w *worker) {
	if w.done < w.begun {
		return
	}
	a := c.annexed()
	if a.pace == nil {
		a.pace = new(pace)
	}
	began, p := time.Now(), a.pace
	w.begun = min(w.done+p.next(began.Sub(p.since)), len(w.batch))
	defer func() {
		p.since = time.Now()
		p.waited = p.since.Sub(began)
	}()
	var ins []*server.Inbound
	var jobs []*job
	var records []*journal.JobRecord
	for _, it := range w.batch[w.done:w.begun] {
		switch r := it.req.(type) {
		case *server.Inbound:
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
	if len(ins)+len(jobs) == 0 || c.life.now() == ending {
		return
	}
	if c.kind.completions != nil {
		for _, in := range ins {
			c.replayCompleted(in)
		}
	}
	if c.kind.durable {
		c.self.sys.node.Server.Begin(ins, records...)
		for _, j := range jobs {
			switch {
			case j.record.Begun:
			case c.self.sys.node.Fenced(): // the process that has taken the records over runs it
				j.fail(rpc.Errorf(rpc.Unavailable, rpc.NotRun, "the job's beginning could not be recorded: another start of node %s has taken its records over", c.self.sys.cfg.Name))
			default: // the store cannot be reached
				j.putOff()
			}
		}
	}
}

// replayCompleted ends a keyed request that the application has already committed, perhaps in
// an earlier start of the node: with the recorded reply.
func (c *cell) replayCompleted(in *server.Inbound) {
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
		in.Fail(rpc.Errorf(rpc.Unavailable, rpc.NotRun, "the application's records could not be asked: %w", err))
	case found:
		in.Replay(record)
	}
}

// Durability implements server.Handler: it says what can be found out about requests to an actor.
func (v dispatcher) Durability(target string) server.Durability {
	if key, placed := activationOf(target); placed { // no activation is recorded, and each ends with its node
		kind := v.s.kinds[key.Kind]
		return server.Durability{Known: true, Kind: key.Kind, Stored: kind != nil && kind.keeps != nil}
	}
	c := v.s.refs.live(target)
	if c == nil {
		return server.Durability{Known: strings.HasPrefix(target, streamName)} // a stream is never recorded, and ends with its node
	}
	return server.Durability{Known: true, Kind: c.kind.name, Durable: c.kind.durable, Completions: c.kind.completions}
}

// checkDurable returns an error if this system cannot host a kind.
func (s *System) checkDurable(k *Kind) error {
	switch {
	case k.durable && s.cfg.Store == nil:
		return fmt.Errorf("actor: kind %s is Durable, and Config.Store is nil", k.name)
	case k.recorded() && (s.kinds[k.name] == nil || !s.kinds[k.name].recorded()):
		return fmt.Errorf("actor: kind %s keeps records and must be in Config.Kinds, so that other nodes know from the start", k.name)
	}
	return nil
}
