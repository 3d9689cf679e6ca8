package natsbus

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/internal/natswait"
	"github.com/tandem-go/tandem/transport"
)

// opens is how many times Dial sends its open, should the bus lose one, before
// Config.OpenTimeout is over.
const opens = 5

// Dial implements transport.Transport. If to.Epoch is empty it takes the first of the
// node's epochs that answers. A node that is not on the bus is ErrNoPeer at once, for
// the server says so; one that does not answer is ErrNoPeer after Config.OpenTimeout, and
// ErrDenied sooner if the server does not let this connection publish there;
// without a connection to the server it is ErrClosed.
func (t *Transport) Dial(ctx context.Context, to transport.Endpoint, open func(transport.Link) transport.Receiver) (transport.Link, error) {
	l, err := t.dialled(to)
	if err != nil {
		return nil, fmt.Errorf("natsbus: dialling %s: %w", to.Node, err)
	}
	if err := t.greet(ctx, l); err != nil {
		l.end(err, false)
		t.links.remove(l)
		t.links.done()
		return nil, fmt.Errorf("natsbus: dialling %s: %w", to.Node, err)
	}
	l.opened(open(l))
	go l.run()
	return l, nil
}

// dialled enters a new link to the table, which waits for its welcome.
func (t *Transport) dialled(to transport.Endpoint) (*link, error) {
	if err := transport.ValidName("node", to.Node); err != nil {
		return nil, fmt.Errorf("%w: %w", transport.ErrNoPeer, err)
	}
	if to.Epoch != "" {
		if err := transport.ValidName("epoch", to.Epoch); err != nil {
			return nil, fmt.Errorf("%w: %w", transport.ErrNoPeer, err)
		}
	}
	if !t.links.open() {
		return nil, fmt.Errorf("%w: transport not running", transport.ErrClosed)
	}
	key := linkKey{dialled: true}
	rand.Read(key.id[:])
	l := t.newLink(key)
	l.hello = transport.Greet(t.local, to)
	if result, _ := t.links.add(l, 0, 0); result != added {
		return nil, errTransportClosed
	}
	return l, nil
}

// greet sends l's open until the peer answers it.
func (t *Transport) greet(ctx context.Context, l *link) error {
	giveUp := time.NewTimer(t.cfg.OpenTimeout)
	defer giveUp.Stop()
	again := time.NewTicker(t.cfg.OpenTimeout / opens)
	defer again.Stop()
	subject := t.names.to(l.hello.WantNode, l.hello.WantEpoch, t.cfg.Principal)
	packet := l.packet(packetOpen, l.hello.Append(nil))
	before := t.nc.LastError()
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: %w", transport.ErrNoPeer, err)
		}
		if err := t.publish(subject, l.gone, packet); err != nil {
			return fmt.Errorf("%w: %w", transport.ErrClosed, err)
		}
		select {
		case w := <-l.answer:
			return l.greeted(w)
		case <-again.C:
			if err := t.nc.LastError(); err != before && natswait.DeniedSubject(err) == subject {
				return fmt.Errorf("%w: this connection may not publish there (docs/nats-permissions.md has the list): %w", transport.ErrDenied, err)
			}
			continue
		case <-l.done:
		case <-t.stop:
		case <-ctx.Done():
		case <-giveUp.C:
		}
		select { // an answer that came beats giving up
		case w := <-l.answer:
			return l.greeted(w)
		default:
		}
		switch cause, _ := l.why(); {
		case cause != nil:
			return cause
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", transport.ErrNoPeer, ctx.Err())
		case !t.links.open():
			return errTransportClosed
		}
		return fmt.Errorf("%w: no answer within %v", transport.ErrNoPeer, t.cfg.OpenTimeout)
	}
}

// greeted judges the answer to l's open.
func (l *link) greeted(w transport.Welcome) error {
	if err := w.Err(); err != nil {
		return err
	}
	if w.Version < transport.MinVersion || w.Version > transport.Version {
		return fmt.Errorf("%w: peer wants to speak version %d", transport.ErrVersion, w.Version)
	}
	l.out.SendLarge(l.t.local.Common(w.Largest))
	return nil
}

// onWelcome takes the answer to an open, in the callback.
func (t *Transport) onWelcome(p packet, principal string) {
	w, err := transport.ParseWelcome(p.payload)
	if err != nil || p.fromDialler || w.Status == transport.StatusOK &&
		(transport.ValidName("node", w.Node) != nil || transport.ValidName("epoch", w.Epoch) != nil || transport.ValidName("principal", principal) != nil) {
		t.malformed.Add(1)
		return
	}
	from := transport.Peer{Node: w.Node, Epoch: w.Epoch, Principal: principalOf(principal)}
	l := t.links.get(linkKey{id: p.link, dialled: true})
	switch {
	case l == nil || l.greetedBy != transport.Peer{} && l.greetedBy != from:
		// Dial has given up, or a second process goes by the peer's name. It must not
		// keep a link that nobody uses.
		t.unknown.Add(1)
		if w.Status == transport.StatusOK {
			t.reset(w.Node, w.Epoch, p)
		}
		return
	case l.greetedBy != transport.Peer{}:
		return // a copy
	}
	l.greetedBy = from
	if w.Status == transport.StatusOK && (w.Node != l.hello.WantNode || l.hello.WantEpoch != "" && w.Epoch != l.hello.WantEpoch) {
		t.reset(w.Node, w.Epoch, p)
		w.Status, w.Reason = transport.StatusIdentity, "I am somebody else"
	}
	l.peer, l.token, l.subject = from, principal, t.names.to(w.Node, w.Epoch, t.cfg.Principal)
	l.answer <- w // holds one, and this is the only one
}
