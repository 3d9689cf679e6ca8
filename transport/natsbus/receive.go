package natsbus

import (
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/transport"
)

// The callbacks below run in nats.go's goroutines, one for each subscription. They never
// wait and never publish: their answers go through Transport.answers.

// onPacket handles what peers publish to this node.
func (t *Transport) onPacket(m *nats.Msg) {
	p, principal, ok := t.parse(m, t.names.toNode)
	if !ok {
		return
	}
	switch p.kind {
	case packetOpen:
		t.onOpen(p, principal, m.Data)
	case packetWelcome, packetRefuse:
		t.onWelcome(p, principal, m.Data)
	case packetProbe:
		if p.link == t.probe {
			t.heardOnce.Do(func() { close(t.heard) })
		}
	case packetReset:
		if l := t.links.get(linkKey{id: p.link, dialled: !p.fromDialler}); l != nil {
			if theirs := l.theirs.Load(); theirs == nil || l.token != principal {
				t.foreign.Add(1)
			} else {
				l.hint()
			}
		}
	default:
		t.onLinkPacket(p, principal, m)
	}
}

// onFind handles opens of peers that do not know this node's epoch.
func (t *Transport) onFind(m *nats.Msg) {
	p, principal, ok := t.parse(m, t.names.toName)
	switch {
	case !ok:
	case p.kind != packetOpen:
		t.malformed.Add(1)
	default:
		t.onOpen(p, principal, m.Data)
	}
}

// parse reads a message whose subject should be prefix and a principal. Messages that parts
// of the server publish in a user's name can have headers, and another subject than the one
// to which they were published.
func (t *Transport) parse(m *nats.Msg, prefix string) (p packet, principal string, ok bool) {
	t.packetsIn.Add(1)
	principal, ok = strings.CutPrefix(m.Subject, prefix)
	if !ok || len(m.Header) > 0 {
		t.forged.Add(1)
		return p, "", false
	}
	p, err := parsePacket(m.Data)
	if err != nil {
		t.malformed.Add(1)
	}
	return p, principal, err == nil
}

// onGone handles the server's message that nobody subscribes where a link publishes. It
// cannot be authenticated, but it names the link, whose id only the two ends can know.
func (t *Transport) onGone(m *nats.Msg) {
	id, ok := linkOf(m.Subject)
	if !ok || len(m.Data) != 0 || m.Reply != "" || m.Header.Get("Status") != "503" {
		t.malformed.Add(1)
		return
	}
	for _, dialled := range [...]bool{true, false} {
		if l := t.links.get(linkKey{id, dialled}); l != nil {
			l.end(fmt.Errorf("%w on the bus", transport.ErrAbsent), false)
		}
	}
}

// onLinkPacket handles a packet that has the tag of the link's peer.
func (t *Transport) onLinkPacket(p packet, principal string, m *nats.Msg) {
	l := t.links.get(linkKey{id: p.link, dialled: !p.fromDialler})
	if l == nil {
		if p.kind == packetData || p.kind == packetAsk {
			t.unknown.Add(1)
			if node, epoch, ok := t.names.sender(m.Reply); ok {
				t.reset(node, epoch, p)
			}
		}
		return
	}
	switch theirs := l.theirs.Load(); {
	case theirs == nil: // the keys of the link are not agreed on yet
		t.forged.Add(1)
	case l.token != principal:
		t.foreign.Add(1)
	case !theirs.open(t.nonce[:], &p, m.Data):
		t.forged.Add(1)
	default:
		l.receive(p)
	}
}

// reset tells a node that this one does not know the link of p. Both names are claims, but
// the answer reveals no more than that.
func (t *Transport) reset(node, epoch string, p packet) {
	t.say(t.names.to(node, epoch, t.cfg.Principal), packet{kind: packetReset, fromDialler: !p.fromDialler, link: p.link}.append(nil))
}

// answer is a packet that a callback wants to publish.
type answer struct {
	subject string
	packet  []byte
}

// say queues an answer. If too many are waiting, the answer is dropped and counted: a lost
// confirm is requested again, and the next packet causes another reset.
func (t *Transport) say(subject string, packet []byte) {
	select {
	case t.answers <- answer{subject, packet}:
	default:
		t.unsaid.Add(1)
	}
}

// publishAnswers publishes the answers of the callbacks until the links have ended.
func (t *Transport) publishAnswers() {
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
