package actor

import (
	"context"
	"errors"
	"reflect"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/sendopt"
	"github.com/tandem-go/tandem/outbox"
	"github.com/tandem-go/tandem/rpc"
)

// TellReliably sends a one-way message to one actor, here or on another node, that is kept until the
// actor has handled it. nil means that it is in this system's outbox: see Config.Outbox, and package
// outbox. ctx bounds only the time until then.
//
// The messages from one system to one actor are handled in the order of the calls, each at most once,
// whatever becomes of roads, links and mailboxes. While its actor or its node does not exist or cannot be
// reached, a message waits, without a limit, unless KeepFor or Config.Outbox sets one. An error or a
// panic of the handler is the receiver's affair, as with Tell: the message was handled.
//
// A message is lost only as a dead letter of this system and an event, MessageGivenUp: if it is refused
// for good (no handler, no right to send it, a pool that is a Broadcast), if its time has passed, or if nobody can know whether it was
// handled. The last happens when the node of its actor was lost while the message was there, and the
// actor is of a kind without records; with Durable and Transactional kinds the records tell. With
// outbox.Config.Durable what waits outlives this process, too: the next start of the node goes on with
// it, and the actors recognise what they have handled, for ledger.OutboxLife. Without it, Shutdown sends
// what it can in half of its time; the rest becomes dead letters.
//
// For its handler the message is like a request without a result: its context ends when the handler
// returns, and with Defer it is handled when the Deferred is answered.
//
// The message is encoded when it is sent, so the caller may change it afterwards. Messages to a
// service, and rpc.Key, are refused. The error when there is no room is rpc.Overloaded, NotRun.
func TellReliably[M any](ctx context.Context, to Ref, m M, opts ...rpc.Option) error {
	from := handling(ctx)
	t, err := targetOf(to, from)
	if err == nil {
		err = contextError(ctx)
	}
	if err != nil {
		return err
	}
	if fns := t.sys.intercepts(ctx, from, t); fns != nil {
		return t.through(ctx, fns, m, access.Send, append([]rpc.Option(nil), opts...), func(ctx context.Context, opts []rpc.Option) error {
			return TellReliably(ctx, to, m, opts...)
		})
	}
	return t.sys.outbox.take(ctx, from, t, m, reflect.TypeFor[M](), settingsOf(opts))
}

// KeepFor is an option of TellReliably: the message is given up after that time, if it was not handled. It
// takes precedence over Config.Outbox.
func KeepFor(d time.Duration) rpc.Option {
	return rpc.Option(sendopt.New(sendopt.Change[rpc.Retry]{Which: sendopt.KeepFor, Time: d}))
}

// The events of outboxes.
const (
	MessageGivenUp rpc.EventType = "message given up" // a message of TellReliably to Actor has become a dead letter because of Err
	OutboxFull     rpc.EventType = "outbox full"      // there was no room for a message to Actor; the next event comes when there was room in between, and a second later at the earliest
)

// OutboxStats are numbers of a system's outbox.
type OutboxStats struct {
	Waiting int // messages that are kept now
	Bytes   int // what they count for
	Targets int // how many actors they are for

	Handled uint64 // messages that were handled
	Again   uint64 // attempts after which a message was kept, to be sent again
	GivenUp uint64 // messages that have become dead letters
	Refused uint64 // messages for which there was no room
}

// errOutboxFull is what a sender gets when there is no room.
func errOutboxFull(to string) *rpc.Error {
	return rpc.Errorf(rpc.Overloaded, rpc.NotRun, "no room in the outbox for a message to %s (Config.Outbox)", to)
}

// take puts a message into the outbox, and returns when it is kept there.
func (o *outboxes) take(ctx context.Context, from *Context, t *target, m any, typ reflect.Type, opts *settings) error {
	switch {
	case opts.IsKeyed():
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "TellReliably gives messages names of its own: rpc.Key is not for it")
	case t.addr.node == anyNode:
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a reliable message is for one actor, and service %s is many", t.addr.name)
	case t.addr.node == anywhere:
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a reliable message is for an actor of one node, and %v is a virtual actor", t.addr)
	case opts != nil && opts.KeepFor < 0:
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "KeepFor is negative: %v", opts.KeepFor)
	}
	if err := ownOnly(opts, "TellReliably"); err != nil {
		return err
	}
	var r client.Request
	if err := o.sys.request(ctx, from, nil, t, m, typ, wording{}, opts, &r); err != nil {
		return err
	}
	if most := o.sys.cfg.RPC.WithDefaults().MaxBody; len(r.Body) > most {
		return rpc.Errorf(rpc.TooLarge, rpc.NotRun, "body of %d bytes, limit %d", len(r.Body), most)
	}
	p := &parked{addr: t.addr, TypeID: r.TypeID, Codec: r.Codec, Body: r.Body}
	if r.Rare != nil {
		p.Sender, p.Trace, p.Headers = r.Rare.Sender, r.Rare.Trace, r.Rare.Headers
	}
	keep := o.cfg.KeepFor
	if opts != nil && opts.KeepFor > 0 {
		keep = opts.KeepFor
	}
	var until time.Time
	if keep > 0 {
		until = time.Now().Add(keep)
	}
	msg, err := o.add(ctx, from, t.addr.String(), p, until)
	if err != nil {
		return err
	}
	if !o.cfg.Durable {
		o.stored(msg)
		return nil
	}
	return o.record(ctx, msg)
}

// add adds a message to the box, or waits for room if the policy says so.
func (o *outboxes) add(ctx context.Context, from *Context, to string, p *parked, until time.Time) (*outbox.Message[*parked], error) {
	if from.inTurn() && o.cfg.Policy == outbox.Wait {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.sys.cfg.SendWait, errOutboxFull(to))
		defer cancel()
	}
	for {
		o.mu.Lock()
		if o.stage >= outboxClosed {
			o.mu.Unlock()
			return nil, errShutdown
		}
		msg, err := o.box.Add(to, p.size(), until, p)
		full := errors.Is(err, outbox.ErrFull)
		var room <-chan struct{}
		if full && o.cfg.Policy == outbox.Wait {
			room = o.roomLocked()
		}
		tell := full && !o.full && time.Since(o.toldFull) >= time.Second
		if tell {
			o.full, o.toldFull = true, time.Now()
		}
		o.mu.Unlock()
		if tell {
			o.sys.event(Event{Type: OutboxFull, Actor: to, Err: errOutboxFull(to)})
		}
		switch {
		case err == nil:
			return msg, nil
		case errors.Is(err, outbox.ErrTooLarge):
			return nil, rpc.Errorf(rpc.TooLarge, rpc.NotRun, "a message of %d bytes to %s: %w", p.size(), to, err)
		case o.cfg.Policy == outbox.Refuse:
			o.refused.Add(1)
			return nil, errOutboxFull(to)
		}
		select {
		case <-room:
		case <-ctx.Done():
			o.refused.Add(1)
			var why *rpc.Error
			if errors.As(context.Cause(ctx), &why) {
				return nil, why
			}
			return nil, rpc.FromContext(ctx, rpc.NotRun)
		}
	}
}
