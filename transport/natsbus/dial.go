package natsbus

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/internal/natswait"
	"github.com/tandem-go/tandem/transport"
)

// opens is how many times Dial sends its open within Config.OpenTimeout, because the bus may
// lose one.
const opens = 5

// Dial implements transport.Transport. With to.Addr, only the node that has that key can
// answer; without it, any node that the server's permissions allow. If to.Epoch is empty,
// Dial takes the first of the node's epochs that answers. If the node is not on the bus, the
// server says so, and the error is ErrNoPeer at once. If the node does not answer, it is
// ErrNoPeer after Config.OpenTimeout, or ErrDenied sooner if the server does not let this
// connection publish there. Without a connection to the server it is ErrClosed.
func (t *Transport) Dial(ctx context.Context, to transport.Endpoint, open func(transport.Link) transport.Receiver) (transport.Link, error) {
	l, err := t.dialled(to)
	if err != nil {
		return nil, fmt.Errorf("natsbus: dialling %s: %w", to.Node, err)
	}
	if err := t.greet(ctx, l, to.Addr); err != nil {
		l.end(err, false)
		t.links.remove(l)
		t.links.done()
		return nil, fmt.Errorf("natsbus: dialling %s: %w", to.Node, err)
	}
	l.opened(open(l))
	go l.run()
	return l, nil
}

// dialled adds a new link, which waits for its welcome, to the table.
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

// opening is the state of a dialler that waits for an answer.
type opening struct {
	*link
	half
	wanted *ecdh.PublicKey // of the peer, nil if unknown
	bytes  []byte          // of the open
	hinted error           // the error of a packet that anybody may have sent
	wrong  bool            // a peer with another key has answered
}

// greet sends l's open until the peer answers it, and then a confirm. addr is the peer's
// address, or empty.
func (t *Transport) greet(ctx context.Context, l *link, addr string) (err error) {
	o := opening{link: l, half: half{static: t.cfg.Key, ephemeral: newKey()}}
	if addr != "" {
		if o.wanted, err = keyOf(addr); err != nil {
			return fmt.Errorf("%w: %w", transport.ErrNoPeer, err)
		}
	}
	giveUp := time.NewTimer(t.cfg.OpenTimeout)
	defer giveUp.Stop()
	again := time.NewTicker(t.cfg.OpenTimeout / opens)
	defer again.Stop()
	subject := t.names.to(l.hello.WantNode, l.hello.WantEpoch, t.cfg.Principal)
	o.bytes = l.packet(packetOpen, l.hello.Append(o.offer(t.cfg.Encrypt).append(nil)))
	before := t.nc.LastError()
	for {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%w: %w", transport.ErrNoPeer, err)
		}
		if err := t.publish(subject, l.gone, o.bytes); err != nil {
			return fmt.Errorf("%w: %w", transport.ErrClosed, err)
		}
		over, answered, err := o.wait(ctx, giveUp.C, again.C)
		switch {
		case answered:
			return err
		case over:
			return o.noAnswer(ctx)
		case o.hinted != nil: // no better answer has come
			return o.hinted
		}
		if err := t.nc.LastError(); err != before && natswait.DeniedSubject(err) == subject {
			return fmt.Errorf("%w: this connection may not publish there (docs/nats-permissions.md has the list): %w", transport.ErrDenied, err)
		}
	}
}

// wait judges packets until it is time to send the open again, or to give up.
func (o *opening) wait(ctx context.Context, giveUp, again <-chan time.Time) (over, answered bool, err error) {
	for {
		select {
		case g := <-o.answers:
			if answered, err = o.judge(ctx, g); answered {
				return false, true, err
			}
			continue
		case <-again:
			return false, false, nil
		case <-o.done:
		case <-o.t.stop:
		case <-ctx.Done():
		case <-giveUp:
		}
		for { // an answer that is there counts, even if the time is over
			select {
			case g := <-o.answers:
				if answered, err = o.judge(ctx, g); answered {
					return false, true, err
				}
				continue
			default:
			}
			return true, false, nil
		}
	}
}

// noAnswer returns the error of a dial without an answer.
func (o *opening) noAnswer(ctx context.Context) error {
	switch cause, _ := o.why(); {
	case cause != nil:
		return cause
	case o.hinted != nil:
		return o.hinted
	case o.wrong:
		return fmt.Errorf("%w: who answers has another key than the registry says", transport.ErrDenied)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", transport.ErrNoPeer, ctx.Err())
	case !o.t.links.open():
		return errTransportClosed
	}
	return fmt.Errorf("%w: no answer within %v", transport.ErrNoPeer, o.t.cfg.OpenTimeout)
}

// judge reports whether g is the peer's answer to the open, and if so, what is wrong with it.
// Packets of others are counted and dropped; a refusal without a tag is only a hint.
func (o *opening) judge(ctx context.Context, g greeting) (answered bool, err error) {
	t := o.t
	if g.kind == packetRefuse {
		w, err := transport.ParseWelcome(g.payload)
		if err != nil || w.Status == transport.StatusOK {
			t.malformed.Add(1)
		} else if o.hinted == nil {
			o.hinted = w.Err()
		}
		return false, nil
	}
	theirs, rest, err := parseOffer(g.payload)
	var w transport.Welcome
	if err == nil {
		w, err = transport.ParseWelcome(rest)
	}
	if err != nil || transport.ValidName("node", w.Node) != nil || transport.ValidName("epoch", w.Epoch) != nil || transport.ValidName("principal", g.principal) != nil {
		t.malformed.Add(1)
		return false, nil
	}
	if o.wanted != nil && !o.wanted.Equal(theirs.static) {
		t.forged.Add(1)
		o.wrong = true
		return false, nil
	}
	fromDialler, fromAnswerer, err := o.agree(true, theirs, o.bytes, g.bytes[:len(g.bytes)-tagSize], t.cfg.Principal, g.principal, t.cfg.Encrypt)
	if err != nil || !fromAnswerer.open(make([]byte, nonceSize), &g.packet, g.bytes) {
		t.forged.Add(1)
		return false, nil
	}
	switch err := w.Err(); {
	case err != nil:
		return true, err
	case w.Version < transport.MinVersion || w.Version > transport.Version:
		return true, fmt.Errorf("%w: peer wants to speak version %d", transport.ErrVersion, w.Version)
	case w.Node != o.hello.WantNode || o.hello.WantEpoch != "" && w.Epoch != o.hello.WantEpoch:
		return true, fmt.Errorf("%w: %s in epoch %s", transport.ErrIdentity, w.Node, w.Epoch)
	case theirs.hides != t.cfg.Encrypt:
		return true, fmt.Errorf("%w: one side requires encryption, and the other is not set up for it", transport.ErrDenied)
	}
	if o.wanted != nil {
		if err := t.own(ctx, w.Node, g.principal); err != nil {
			return true, err
		}
	}
	o.out.Agree(t.local, w.Terms())
	o.peer = transport.Peer{Node: w.Node, Epoch: w.Epoch, Principal: principalOf(g.principal)}
	o.subject, o.token, o.mine = t.names.to(w.Node, w.Epoch, t.cfg.Principal), g.principal, fromDialler
	o.theirs.Store(fromAnswerer)
	c := &confirmation{tag: g.tag, packet: o.sealed(packetConfirm, 0, nil)}
	o.confirm.Store(c)
	if err := t.publish(o.subject, o.gone, c.packet); err != nil {
		return true, fmt.Errorf("%w: %w", transport.ErrClosed, err)
	}
	return true, nil
}

// onWelcome passes what may be the answer to an open to Dial, which judges it. It runs in
// the callback.
func (t *Transport) onWelcome(p packet, principal string, b []byte) {
	l := t.links.get(linkKey{id: p.link, dialled: true})
	if l == nil || p.fromDialler { // Dial has given up, and the other side soon will
		t.unknown.Add(1)
		return
	}
	if c := l.confirm.Load(); c != nil {
		if bytes.Equal(c.tag, p.tag) && l.token == principal { // our confirm was lost
			t.say(l.subject, c.packet)
		}
		return
	}
	select {
	case l.answers <- greeting{p, b, principal}:
	default: // the peer will send it again
		t.unsaid.Add(1)
	}
}
