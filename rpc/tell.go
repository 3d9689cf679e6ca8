package rpc

import (
	"context"
	"errors"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// Tell sends a one-way message, whose body must not change any more if it is large
// (transport.LargeBody). It blocks while the link's queue is full, while a road is being
// opened (Rare.LinkWait at most), and while the actor is behind with what it was told (see
// credit), until ctx or the deadline ends; an error means that the message was not sent and
// never will be.
func (n *Node) Tell(ctx context.Context, r Request) error {
	if len(r.Body) > n.cfg.MaxBody {
		return Errorf(TooLarge, NotRun, "body of %d bytes, limit %d", len(r.Body), n.cfg.MaxBody)
	}
	p := n.lockPeer(r.Node)
	p.tellers++
	defer func() {
		p.tellers--
		p.mu.Unlock()
	}()
	since := p.attempts + 1
	credit := p.creditOf(r.Target)
	var timeout, linkless <-chan time.Time
	for {
		changed := p.changed
		switch {
		case p.closed:
			return Errorf(Unavailable, NotRun, "this system is closed")
		case p.flowing() && p.unsent == 0 && !credit.used():
			err := p.tell(&r)
			if err == nil {
				p.told(credit, r.Target, len(r.Body))
			}
			if !errors.Is(err, transport.ErrFull) && !errors.Is(err, transport.ErrClosed) {
				if credit.waiting > 0 {
					credit.pass()
				}
				return err
			}
		case p.current == nil && p.downSince >= since:
			return p.downErr
		case p.current == nil:
			p.demand()
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
			err = FromContext(ctx, NotRun)
		case <-linkless:
			linkless = nil
			if p.live.Load() == nil {
				err = Errorf(Unavailable, NotRun, "no link to %s within %v", p.name, r.linkWait())
			}
		case <-timeout:
			err = Errorf(Expired, NotRun, "no road to %s within the deadline", p.name)
			if behind {
				err = Errorf(Overloaded, NotRun, "actor %s on node %s is behind with what it was told", r.Target, p.name)
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
	e := &p.telling // which is large: only what differs is written
	e.Verb, e.Codec, e.Seq, e.TypeID, e.Target, e.Body = transport.VerbTell, r.Codec, p.tells+1, r.TypeID, r.Target, r.Body
	if r.Rare != nil {
		e.Sender, e.Trace, e.Headers = r.Rare.Sender, r.Rare.Trace, r.Rare.Headers
	}
	if e.Grant = (transport.Grant{}); !p.current.direct {
		e.Grant = p.grant
	}
	_, err := p.current.link.Send(e)
	e.Target, e.Body = "", nil
	if r.Rare != nil {
		*e = transport.Envelope{}
	}
	switch {
	case err == nil:
		p.tells++
		p.toldOn = p.current
		p.traffic.sent++
		p.sums.tells++
	case errors.Is(err, transport.ErrTooLarge):
		return Errorf(TooLarge, NotRun, "%w", err)
	}
	return err
}

// wakeTells has the tells that wait look again. p.mu is held.
func (p *peer) wakeTells() {
	close(p.changed)
	p.changed = make(chan struct{})
}
