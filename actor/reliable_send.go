package actor

import (
	"cmp"
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/deadletter"
	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/outbox"
	"github.com/tandem-go/tandem/rpc"
)

const (
	outboxTry      = 24 * time.Hour // how long one attempt may take; links that are lost, and starts of the node that end, end it earlier
	outboxAttempts = 1024           // how many attempts may be under way at a time, so that they leave room for other requests
)

// outboxStage is how far an outbox has come. It only ever changes to a later stage.
type outboxStage uint8

const (
	outboxResting outboxStage = iota // messages are taken, and wait until the node serves
	outboxOpen                       // they are sent
	outboxClosed                     // none is taken any more
)

// outboxes is the outbox of a system. For each actor to which something is to be sent there is a goroutine;
// it ends when nothing is left.
type outboxes struct {
	sys     *System
	cfg     outbox.Config
	tokens  chan struct{} // holds one for each attempt that is under way
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup // the goroutines

	handled, again, givenUp, refused atomic.Uint64

	mu       sync.Mutex // guards what follows
	box      *outbox.Box[*parked]
	recalls  map[*outbox.Message[*parked]]context.CancelFunc // attempts at messages that stored actors keep
	lent     int                                             // how many messages in it are kept by stored actors
	stage    outboxStage
	room     chan struct{} // closed, and made anew, when a message has left the box; nil: nobody waits for that
	full     bool          // an event has said that it is full, and there was no room since
	toldFull time.Time
}

func (o *outboxes) init(s *System) {
	o.sys, o.cfg = s, s.cfg.Outbox
	o.box = outbox.New[*parked](o.cfg, s.epoch)
	o.tokens = make(chan struct{}, outboxAttempts)
	o.recalls = map[*outbox.Message[*parked]]context.CancelFunc{}
	o.ctx, o.cancel = context.WithCancel(s.ctx)
}

// open begins to send, when the node serves.
func (o *outboxes) open() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stage != outboxResting {
		return
	}
	o.stage = outboxOpen
	for _, to := range o.box.Receivers() {
		o.serveLocked(to)
	}
}

// stored says that a message is kept, and has it sent.
func (o *outboxes) stored(msg *outbox.Message[*parked]) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.box.Stored(msg)
	o.serveLocked(msg.To)
}

// serveLocked starts the goroutine that sends to an actor, unless there is one or nothing is to be
// sent. o.mu is held.
func (o *outboxes) serveLocked(to string) {
	if o.stage == outboxOpen && o.box.Serve(to) {
		o.running.Go(func() { o.serve(to) })
	}
}

// abandon removes a message that could not be stored. What is behind it may be sent now.
func (o *outboxes) abandon(msg *outbox.Message[*parked]) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.box.Abandon(msg)
	o.leftLocked()
	o.serveLocked(msg.To)
}

// leftLocked wakes those who wait for room. o.mu is held.
func (o *outboxes) leftLocked() {
	o.full = false
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
}

// roomLocked returns what is closed when a message has left the box. o.mu is held.
func (o *outboxes) roomLocked() <-chan struct{} {
	if o.room == nil {
		o.room = make(chan struct{})
	}
	return o.room
}

// serve sends what is there for one actor, one message after the other.
func (o *outboxes) serve(to string) {
	for o.ctx.Err() == nil {
		now := time.Now()
		o.mu.Lock()
		msg := o.box.Next(to, now)
		if msg == nil {
			o.mu.Unlock()
			return
		}
		d, late := o.box.Expire(msg, now)
		o.mu.Unlock()
		var err error
		if late {
			err = rpc.Errorf(rpc.Expired, d.Verdict, "its time has passed")
		} else {
			var kept bool
			kept, err = o.attempt(msg)
			outcome := outbox.Outcome{Verdict: rpc.HasRun, Kept: kept}
			if err != nil {
				outcome.Verdict, outcome.Code = rpc.Ran(err), rpc.CodeOf(err)
			}
			o.mu.Lock()
			d = o.box.Settle(msg, outcome, time.Now(), rand.Float64())
			o.mu.Unlock()
		}
		switch d.Fate {
		case outbox.Handled:
			o.handled.Add(1)
			o.left(msg)
		case outbox.GivenUp:
			o.giveUp(msg, d.Verdict, err)
			o.left(msg)
		default:
			o.again.Add(1)
			o.pause(d.Pause)
		}
	}
}

// left frees the record of a message that has left the box, and makes room for others.
func (o *outboxes) left(msg *outbox.Message[*parked]) {
	if r := msg.Carries.record; r != nil {
		r.Free()
	}
	if left := msg.Carries.left; left != nil {
		left()
	}
	o.mu.Lock()
	if msg.Carries.left != nil {
		o.lent--
	}
	o.leftLocked()
	o.mu.Unlock()
}

func (o *outboxes) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-o.ctx.Done():
	}
}

// attempt sends a message, and returns when it is known what became of it, or that this is not known. kept says that
// the receiver is a stored actor.
func (o *outboxes) attempt(msg *outbox.Message[*parked]) (kept bool, err error) {
	ctx, p := o.ctx, msg.Carries
	if !msg.Until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, msg.Until)
		defer cancel()
	}
	select {
	case o.tokens <- struct{}{}:
		defer func() { <-o.tokens }()
	case <-ctx.Done():
		return false, rpc.FromContext(ctx, rpc.NotRun)
	}
	if p.perform != nil {
		ctx, cancel := context.WithTimeout(ctx, o.sys.cfg.Timeout)
		defer cancel()
		if p.ceded != nil {
			var over func()
			ctx, over = o.recallable(ctx, msg)
			defer over()
			if p.ceded() {
				p.left = func() {} // for it has not left
				return true, nil
			}
		}
		return true, verdictAsUnknown(p.perform(ctx, o.sys))
	}
	var start string
	since := msg.SentSince
	if p.elsewhere != nil {
		var over func()
		ctx, over = o.recallable(ctx, msg)
		defer over()
		if p.elsewhere() && (since.IsZero() || p.sinceElsewhere.Before(since)) {
			since = p.sinceElsewhere
		}
	}
	kept, err = o.sys.sendParked(ctx, p, client.Rare{Key: msg.Outbox, Number: msg.Number, SentSince: since, MaybeAt: p.maybeAt, AgeElsewhere: ledger.OutboxLife - 1, SentTo: &start})
	if err != nil && rpc.Ran(err) == rpc.Unknown && p.maybeAt == "" {
		p.maybeAt = start
	}
	return kept, err
}

// recallable returns the context of an attempt that ends if recall is called.
func (o *outboxes) recallable(ctx context.Context, msg *outbox.Message[*parked]) (_ context.Context, over func()) {
	ctx, cancel := context.WithCancel(ctx)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.recalls[msg] = cancel
	return ctx, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.recalls, msg)
		cancel()
	}
}

// recall ends the attempts that are under way at messages of a stored actor whose activation has ended: another one may
// send them from now on, which a receiver has to be told.
func (o *outboxes) recall(name string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for msg, cancel := range o.recalls {
		if msg.Outbox == name {
			cancel()
		}
	}
}

// sendParked sends an encoded message as a request, and returns when it is known whether it has run, or that this is not
// known. kept says that its actor is a stored one.
func (s *System) sendParked(ctx context.Context, p *parked, rare client.Rare) (kept bool, err error) {
	x := s.node.Client.Exchange()
	r := x.Request()
	r.Node, r.Target, r.TypeID, r.Codec, r.Body, r.Timeout = p.addr.node, p.addr.name, p.TypeID, p.Codec, append(r.Body, p.Body...), outboxTry
	rare.Meta, r.Rare = p.meta(), &rare
	if p.addr.node == anywhere {
		at := s.routedCall(ctx, nil, s.refs.target(s, p.addr), nil)
		t, none := at.nextOrWait(ctx)
		if none != nil {
			return false, none
		}
		kept, _ = at.search.stored()
		r.Node, r.Target, r.Retry = t.addr.node, t.addr.name, s.retry.Load()
		at.setRoute(r.Rare)
	}
	_, err = x.Do(ctx)
	err = s.withName(err, p.TypeID)
	x.Free()
	return kept, err
}

// giveUp makes a dead letter of a message.
func (o *outboxes) giveUp(msg *outbox.Message[*parked], verdict rpc.Verdict, why error) {
	err := rpc.Errorf(rpc.CodeOf(why), verdict, "given up in the outbox: %w", why)
	o.givenUp.Add(1)
	to := cmp.Or(msg.Carries.to, msg.To)
	o.sys.parkedLetter(msg.Carries, to, err)
	o.sys.event(Event{Type: MessageGivenUp, Actor: to, Err: err})
}

// parkedLetter makes a dead letter of a message that this node was to send.
func (s *System) parkedLetter(p *parked, to string, err *rpc.Error) {
	d := DeadLetter{To: to, From: p.Sender, Type: p.typeName, Reason: err}
	if d.Type == "" {
		d.Type = s.types.nameOf(p.TypeID)
	}
	if d.From == "" {
		d.From = "@" + s.cfg.Name
	}
	meta := p.meta()
	from := server.Arrival{Origin: &server.Origin{Principal: s.node.OwnPrincipal(), Node: s.cfg.Name, Local: true}, Target: p.addr.name, TypeID: p.TypeID, Tell: true}
	s.encodedLetter(d, deadletter.Encoded{TypeID: p.TypeID, Codec: p.Codec, Body: p.Body}, &letterCame{from: from, meta: &meta})
}

// drain sends what it can until ctx ends, for half of the time that is left, and closes the outbox. What
// is left is in the store, or becomes dead letters.
func (o *outboxes) drain(ctx context.Context) {
	if at, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(at)/2)
		defer cancel()
	}
	o.mu.Lock()
	for o.stage == outboxOpen && !o.cfg.Durable && ctx.Err() == nil {
		if n, _, _ := o.box.Len(); n <= o.lent {
			break
		}
		room := o.roomLocked()
		o.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
		}
		o.mu.Lock()
	}
	o.stage = outboxClosed
	o.mu.Unlock()
	o.cancel()
	o.running.Wait()
	o.mu.Lock()
	rest := o.box.Drain()
	o.leftLocked()
	o.mu.Unlock()
	for _, msg := range rest {
		if msg.Carries.record == nil && msg.Carries.left == nil && !o.cfg.Durable {
			o.giveUp(msg, msg.Verdict(), errShutdown)
		}
	}
}

// stats returns a snapshot.
func (o *outboxes) stats() OutboxStats {
	st := OutboxStats{Handled: o.handled.Load(), Again: o.again.Load(), GivenUp: o.givenUp.Load(), Refused: o.refused.Load()}
	o.mu.Lock()
	st.Waiting, st.Bytes, st.Targets = o.box.Len()
	o.mu.Unlock()
	return st
}
