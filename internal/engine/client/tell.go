package client

import (
	"context"
	"errors"
	"time"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// Tell sends a one-way message. If its body is large (transport.LargeBody), it must not change any
// more. Tell blocks while the link's queue is full, while a link is being opened (at most for
// Rare.LinkWait), and while the actor has too many one-way messages left to handle (see credit),
// until ctx or the deadline ends. An error means that the message was not sent and never will be.
func (cl *Client) Tell(ctx context.Context, r Request) error {
	if done, err := cl.TellNow(&r); done {
		return err
	}
	p := cl.lockPeer(r.Node)
	return p.tellLater(ctx, r, p.creditOf(r.Target))
}

// TellNow is Tell, except that it does not wait. It reports false if it would have to; then the
// message was not sent. It does not need the Timeout of r, and keeps no reference to r.
func (cl *Client) TellNow(r *Request) (done bool, err error) {
	if len(r.Body) > cl.cfg.MaxBody {
		return true, rpc.Errorf(rpc.TooLarge, rpc.NotRun, "body of %d bytes, limit %d", len(r.Body), cl.cfg.MaxBody)
	}
	cl.pack(r)
	if r.Rare == nil && r.packed == nil {
		// The row was lent by a session. If that is a later one than what was agreed upon, Start is over.
		if row := cl.peer(r.Node).row.Load(); row != nil && !r.stale() && row.Append(r.Target, r.Codec, r.TypeID, r.Body) {
			return true, nil
		}
	}
	return cl.tellNumbered(r)
}

// tellNumbered is TellNow for a message that takes a number of its own from the peer.
func (cl *Client) tellNumbered(r *Request) (done bool, err error) {
	p := cl.lockPeer(r.Node)
	defer p.mu.Unlock()
	credit := p.creditOf(r.Target)
	if !p.flowing() || p.unsent > 0 || credit.used() || p.closed {
		return false, nil
	}
	if done, err = p.tellNow(r, credit); done && err == nil && r.Rare == nil {
		p.lend(r.Target, credit)
	}
	return done, err
}

// tellNow puts a one-way message on the current link, unless that is full or closed: then it is not
// done. p.mu is held.
func (p *peer) tellNow(r *Request, credit *credit) (done bool, err error) {
	switch err = p.tell(r); {
	case err == nil:
		p.countTell(credit, r.Target, len(r.Body))
	case errors.Is(err, transport.ErrFull), errors.Is(err, transport.ErrClosed):
		return false, nil
	}
	if credit.waiting > 0 {
		credit.pass()
	}
	return true, err
}

// tellLater waits until a one-way message can be sent. It is apart from Tell because the timers
// that it stops would make each Tell pay for a defer in a loop. p.mu is held; it is not on return.
func (p *peer) tellLater(ctx context.Context, r Request, credit *credit) error {
	p.tellers++
	defer func() {
		p.tellers--
		p.mu.Unlock()
	}()
	since := p.attempts + 1
	var timeout, linkless <-chan time.Time
	for {
		changed := p.changed
		switch {
		case p.closed:
			return rpc.Errorf(rpc.Unavailable, rpc.NotRun, "this system is closed")
		case p.flowing() && p.unsent == 0 && !credit.used():
			if done, err := p.tellNow(&r, credit); done {
				return err
			}
		case p.current == nil && p.downSince >= since:
			return p.downErr
		case p.current == nil:
			p.dialRoads()
		}
		behind := credit.used()
		credit.waiting++
		p.mu.Unlock()
		if timeout == nil {
			t := time.NewTimer(r.Timeout)
			defer t.Stop()
			timeout = t.C
			if wait := r.linkWait(); wait > 0 && p.live.Load() == nil {
				l := time.NewTimer(wait)
				defer l.Stop()
				linkless = l.C
			}
		}
		var err error
		select {
		case <-changed:
		case <-credit.came:
		case <-ctx.Done():
			err = rpc.FromContext(ctx, rpc.NotRun)
		case <-linkless:
			linkless = nil
			if p.live.Load() == nil {
				err = rpc.Errorf(rpc.Unavailable, rpc.NotRun, "no link to %s within %v", p.name, r.linkWait())
			}
		case <-timeout:
			err = rpc.Errorf(rpc.Expired, rpc.NotRun, "no road to %s within the deadline", p.name)
			if behind {
				err = rpc.Errorf(rpc.Overloaded, rpc.NotRun, "actor %s on node %s is behind with what it was told", r.Target, p.name)
			}
		}
		p.mu.Lock()
		credit.waiting--
		if err != nil {
			return err
		}
	}
}

// tell puts a one-way message on the current link. p.mu is held.
func (p *peer) tell(r *Request) error {
	if r.stale() {
		return ErrCompact
	}
	e := &p.telling // an Envelope is large, so only the fields that differ are written
	e.Verb, e.Codec, e.Seq, e.TypeID, e.Target, e.Body, e.Packed = transport.VerbTell, r.Codec, p.tells+1, r.TypeID, r.Target, r.Body, r.packed
	if r.Rare != nil {
		e.Sender, e.Trace, e.Headers, e.Class = r.Rare.Sender, r.Rare.Trace, r.Rare.Headers, r.Rare.Class
	}
	if e.Grant = (transport.Grant{}); !p.current.Direct {
		e.Grant = p.grant
	}
	_, err := p.current.Send(e)
	e.Target, e.Body, e.Packed = "", nil, nil
	if r.Rare != nil {
		*e = transport.Envelope{}
	}
	switch {
	case err == nil:
		p.tells++
		p.lastTellOn = p.current
		p.traffic.sent++
		p.sums.tells++
	case errors.Is(err, transport.ErrTooLarge):
		return rpc.Errorf(rpc.TooLarge, rpc.NotRun, "%w", err)
	}
	return err
}

// wakeTells wakes the waiting tells, which then check their conditions again. p.mu is held.
func (p *peer) wakeTells() {
	close(p.changed)
	p.changed = make(chan struct{})
}
