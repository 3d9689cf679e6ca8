package natsbus

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/transport"
)

// The callbacks below run in nats.go's goroutines, one a subscription. They never
// wait and never publish: what they want to say goes through Transport.answers.

// onPacket gets what peers publish to this node.
func (t *Transport) onPacket(m *nats.Msg) {
	t.packetsIn.Add(1)
	p, err := parsePacket(m.Data)
	if err != nil {
		t.malformed.Add(1)
		return
	}
	principal := lastToken(m.Subject)
	switch p.kind {
	case packetOpen:
		t.onOpen(p, principal)
	case packetWelcome:
		t.onWelcome(p, principal)
	case packetProbe:
		if p.link == t.probe {
			t.heardOnce.Do(func() { close(t.heard) })
		}
	default:
		t.onLinkPacket(p, principal, m.Reply)
	}
}

// onFind gets opens of peers that do not know this node's epoch.
func (t *Transport) onFind(m *nats.Msg) {
	t.packetsIn.Add(1)
	p, err := parsePacket(m.Data)
	if err != nil || p.kind != packetOpen {
		t.malformed.Add(1)
		return
	}
	t.onOpen(p, lastToken(m.Subject))
}

// onGone gets the server's word that nobody listens where a link publishes.
func (t *Transport) onGone(m *nats.Msg) {
	id, ok := linkOf(m.Subject)
	if !ok || len(m.Data) != 0 || m.Header.Get("Status") != "503" {
		t.malformed.Add(1)
		return
	}
	for _, dialled := range [...]bool{true, false} {
		if l := t.links.get(linkKey{id, dialled}); l != nil {
			l.end(fmt.Errorf("%w on the bus", transport.ErrAbsent), false)
		}
	}
}

// onLinkPacket gets a data, close or reset packet.
func (t *Transport) onLinkPacket(p packet, principal, reply string) {
	l := t.links.get(linkKey{id: p.link, dialled: !p.fromDialler})
	switch {
	case l == nil:
		if p.kind == packetData {
			t.unknown.Add(1)
			if node, epoch, ok := t.names.sender(reply); ok {
				t.reset(node, epoch, p)
			}
		}
	case l.token != principal:
		t.foreign.Add(1)
	default:
		l.receive(p)
	}
}

// onOpen gets a peer's wish for a link.
func (t *Transport) onOpen(p packet, principal string) {
	h, err := transport.ParseHello(p.payload)
	if err != nil || !p.fromDialler || transport.ValidName("principal", principal) != nil ||
		transport.ValidName("node", h.Node) != nil || transport.ValidName("epoch", h.Epoch) != nil {
		t.malformed.Add(1)
		return
	}
	peer := transport.Peer{Node: h.Node, Epoch: h.Epoch, Principal: principalOf(principal)}
	key := linkKey{id: p.link}
	if known := t.links.get(key); known != nil {
		t.openAgain(known, peer)
		return
	}
	l := t.newLink(key)
	l.peer, l.token, l.hello, l.subject = peer, principal, h, t.names.to(h.Node, h.Epoch, t.cfg.Principal)
	l.out.SendLarge(t.local.Common(h.Largest))
	w := transport.Answer(t.local, h)
	if w.Status == transport.StatusOK {
		switch result, known := t.links.add(l, t.cfg.MaxLinks, t.cfg.MaxLinksPerPrincipal); result {
		case added:
			go t.serve(l, w)
			return
		case addKnown:
			t.openAgain(known, peer)
			return
		case addClosed:
			return // soon nobody listens here any more, and the server says so
		case addFull:
			w.Status, w.Reason = transport.StatusBusy, fmt.Sprintf("%d links are open, which is the limit (natsbus.Config.MaxLinks)", t.cfg.MaxLinks)
		case addShare:
			w.Status, w.Reason = transport.StatusBusy, fmt.Sprintf("this principal has %d links open, which is the limit (natsbus.Config.MaxLinksPerPrincipal)", t.cfg.MaxLinksPerPrincipal)
		}
		if t.links.worthSaying(time.Now()) {
			t.local.Logger.Warn("natsbus: links are refused", "latest", principal, "node", h.Node, "reason", w.Reason)
		}
	}
	t.refused.Add(1)
	t.say(l.subject, l.packet(packetWelcome, w.Append(nil)))
}

// openAgain answers a copy of the open that made l as the first was answered.
func (t *Transport) openAgain(l *link, peer transport.Peer) {
	if l.peer != peer {
		t.foreign.Add(1)
		return
	}
	t.say(l.subject, l.packet(packetWelcome, transport.Answer(t.local, l.hello).Append(nil)))
}

// serve is the goroutine of a link that a peer opened.
func (t *Transport) serve(l *link, w transport.Welcome) {
	recv := t.accept(l)
	if err := t.publish(l.subject, l.gone, l.packet(packetWelcome, w.Append(nil))); err != nil {
		l.end(fmt.Errorf("%w: %w", transport.ErrClosed, err), false)
	}
	l.opened(recv)
	l.run()
}

// reset tells a node that this one does not know the link p belongs to. Both names
// are claims, but what is published there says no more than that.
func (t *Transport) reset(node, epoch string, p packet) {
	t.say(t.names.to(node, epoch, t.cfg.Principal), packet{kind: packetReset, fromDialler: !p.fromDialler, link: p.link}.append(nil))
}

// answer is a packet that a callback wants published.
type answer struct {
	subject string
	packet  []byte
}

// say queues an answer. When too many are waiting it is dropped, and counted: a lost
// welcome is asked for again, a lost reset comes with the next packet.
func (t *Transport) say(subject string, packet []byte) {
	select {
	case t.answers <- answer{subject, packet}:
	default:
		t.unsaid.Add(1)
	}
}

// speak publishes the answers of the callbacks until the links have ended.
func (t *Transport) speak() {
	defer t.wg.Done()
	for {
		select {
		case a := <-t.answers:
			if t.publish(a.subject, "", a.packet) != nil {
				t.unsaid.Add(1)
			}
		case <-t.stopped:
			return
		}
	}
}
