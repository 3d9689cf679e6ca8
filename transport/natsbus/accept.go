package natsbus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// onOpen handles the open of a peer, in the callback; b is the packet's bytes.
func (t *Transport) onOpen(p packet, principal string, b []byte) {
	keys, rest, err := parseOffer(p.payload)
	var h transport.Hello
	if err == nil {
		h, err = transport.ParseHello(rest)
	}
	if err != nil || !p.fromDialler || transport.ValidName("principal", principal) != nil ||
		transport.ValidName("node", h.Node) != nil || transport.ValidName("epoch", h.Epoch) != nil {
		t.malformed.Add(1)
		return
	}
	l := t.newLink(linkKey{id: p.link})
	l.token, l.hello, l.subject = principal, h, t.names.to(h.Node, h.Epoch, t.cfg.Principal)
	result, other := t.links.add(l, t.cfg.MaxLinks, t.cfg.MaxLinksPerPrincipal)
	switch result {
	case addInstead:
		other.end(fmt.Errorf("%w: %d more opens came before it was greeted", transport.ErrClosed, maxHalfOpen), false)
		fallthrough
	case added:
		go t.serve(l, keys, b)
	case addKnown: // a copy: a half-open link repeats its welcome by itself
		if other.token != principal {
			t.foreign.Add(1)
		}
	case addFull:
		t.refuse(l, fmt.Sprintf("%d links are open, which is the limit (natsbus.Config.MaxLinks)", t.cfg.MaxLinks))
	case addShare:
		t.refuse(l, fmt.Sprintf("this principal has %d links open, which is the limit (natsbus.Config.MaxLinksPerPrincipal)", t.cfg.MaxLinksPerPrincipal))
	case addClosed: // soon nobody subscribes here any more, and the server tells the peer so
	}
}

// refuse answers an open for which there is no room.
func (t *Transport) refuse(l *link, reason string) {
	t.refused.Add(1)
	if t.links.worthSaying(time.Now()) {
		t.local.Logger.Warn("natsbus: links are refused", "latest", l.token, "node", l.hello.Node, "reason", reason)
	}
	w := transport.Answer(t.local, l.hello).Refuse(transport.StatusBusy, reason)
	t.say(l.subject, l.packet(packetRefuse, w.Append(nil)))
}

// serve is the goroutine of a link that a peer opened with the packet open.
func (t *Transport) serve(l *link, keys offer, open []byte) {
	principal, err := t.greeted(l, keys, open)
	if err != nil {
		l.end(err, false)
		t.links.remove(l)
		t.links.done()
		return
	}
	t.links.proved(l)
	l.peer = transport.Peer{Node: l.hello.Node, Epoch: l.hello.Epoch, Principal: principal}
	l.opened(t.accept(l))
	l.run()
}

// greeted answers the open of l until the peer has proved that it has the keys it named,
// and returns the peer's principal.
func (t *Transport) greeted(l *link, keys offer, open []byte) (principal string, err error) {
	w := transport.Answer(t.local, l.hello)
	known, trouble := t.known(l, keys, false)
	refuse := func(s transport.Status, reason string) {
		if w.Status == transport.StatusOK {
			w = w.Refuse(s, reason)
		}
	}
	switch {
	case keys.hides && !t.cfg.Encrypt:
		refuse(transport.StatusDenied, "you require encryption, and I am not set up for it")
	case !keys.hides && t.cfg.Encrypt:
		refuse(transport.StatusDenied, "I take encrypted links only")
	case errors.Is(trouble, transport.ErrDenied):
		refuse(transport.StatusDenied, trouble.Error())
	}
	welcome, err := t.welcome(l, keys, open, w)
	if err != nil {
		return "", err
	}
	if w.Status != transport.StatusOK {
		t.refused.Add(1)
		t.publish(l.subject, "", welcome)
		return "", w.Err()
	}
	l.out.Agree(t.local, l.hello.Terms())
	if err := l.untilProved(welcome); err != nil {
		return "", err
	}
	if known == unknownPeer || trouble != nil { // the cache may be outdated
		known, trouble = t.known(l, keys, true)
	}
	if trouble != nil {
		t.refused.Add(1)
		t.publish(l.subject, "", l.sealed(packetClose, 0, []byte(trouble.Error())))
		return "", trouble
	}
	if known == unknownPeer {
		return transport.Anonymous, nil
	}
	return principalOf(l.token), nil
}

// welcome computes l's keys and returns the welcome packet.
func (t *Transport) welcome(l *link, keys offer, open []byte, w transport.Welcome) ([]byte, error) {
	t.greeting.Lock()
	defer t.greeting.Unlock()
	if l.ended.Load() {
		cause, _ := l.why()
		return nil, cause
	}
	own := half{static: t.cfg.Key, ephemeral: newKey()}
	p := packet{kind: packetWelcome, link: l.key.id, payload: w.Append(own.offer(t.cfg.Encrypt).append(nil))}
	theirs, mine, err := own.agree(false, keys, open, p.append(nil), l.token, t.cfg.Principal, t.cfg.Encrypt)
	if err != nil {
		t.malformed.Add(1)
		return nil, fmt.Errorf("%w: %w", transport.ErrProtocol, err)
	}
	l.mine = mine
	l.theirs.Store(theirs)
	return mine.seal(nil, make([]byte, nonceSize), p), nil
}

// untilProved repeats the welcome until a packet comes that only the peer can have made.
func (l *link) untilProved(welcome []byte) error {
	t := l.t
	giveUp := time.NewTimer(t.cfg.OpenTimeout)
	defer giveUp.Stop()
	again := time.NewTicker(t.cfg.OpenTimeout / opens)
	defer again.Stop()
	for {
		if err := t.publish(l.subject, l.gone, welcome); err != nil {
			return fmt.Errorf("%w: %w", transport.ErrClosed, err)
		}
		select {
		case <-l.proof:
			return nil
		case <-again.C:
		case <-l.done:
			cause, _ := l.why()
			return cause
		case <-t.stop:
			return errTransportClosed
		case <-giveUp.C:
			return fmt.Errorf("%w: no answer to a welcome within %v", transport.ErrNoPeer, t.cfg.OpenTimeout)
		}
	}
}

// acquaintance is what the registry says about a peer.
type acquaintance uint8

const (
	unknownPeer acquaintance = iota // nothing
	keyless                         // the node is there, but has no key; or there is no registry
	proven                          // it has the key
)

// known looks up in the registry the peer that opened l. It returns an ErrDenied if the
// registry has another key than the peer.
func (t *Transport) known(l *link, keys offer, fresh bool) (acquaintance, error) {
	if t.local.Lookup == nil {
		return keyless, nil
	}
	ctx, cancel := context.WithTimeout(t.ctx, t.cfg.OpenTimeout)
	defer cancel()
	addr, err := t.local.Lookup(ctx, l.hello.Node, l.hello.Epoch, fresh)
	switch {
	case errors.Is(err, transport.ErrNoPeer):
		return unknownPeer, nil
	case err != nil:
		return unknownPeer, fmt.Errorf("%w: the registry does not say who %s is: %w", transport.ErrBusy, l.hello.Node, err)
	case addr == "":
		t.keylessOnce.Do(func() {
			t.local.Logger.Warn("natsbus: the registry has no key of a node: who it is is known as far as the NATS server confines its users", "node", l.hello.Node)
		})
		return keyless, nil
	case addr != Address(keys.static):
		return unknownPeer, fmt.Errorf("%w: the registry has another key of node %s in epoch %s", transport.ErrDenied, l.hello.Node, l.hello.Epoch)
	}
	return proven, t.own(ctx, l.hello.Node, l.token)
}

// own returns an ErrDenied if principal is the name of another node than the given one. The
// key proves which node a peer is, and the subject normally proves its principal; but a user
// that may make streams can make the server publish under any subject, and must not become
// another node by that.
func (t *Transport) own(ctx context.Context, node, principal string) error {
	if t.local.Lookup == nil || principal == node {
		return nil
	}
	if _, err := t.local.Lookup(ctx, principal, "", false); err != nil {
		return nil // there is no registry
	}
	return fmt.Errorf("%w: %s is the name of another node: %s needs a NATS user of its own, or natsbus.Config.Principal", transport.ErrDenied, principal, node)
}
