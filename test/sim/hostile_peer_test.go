package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// hostiles are the principals of hostile peers, as their roads give them. Each may have several
// peers with several names of nodes.
var hostiles = []string{"mallory", "trudy"}

// hostile is a peer with its own certificate or user. It claims to be some node.
type hostile struct {
	w     *siege
	r     *rand.Rand
	no    int
	given string // who it proves to be
	claim string // the node that it says it is
	road  string
	to    string // the node that it dials
	tr    transport.Transport
	ids   uint64

	mu    sync.Mutex // guards what follows
	masks []*mask
}

// mask is a link of a hostile peer.
type mask struct {
	of   *hostile
	link transport.Link
	as   string // the principal that the other side takes it for
	foe  bool   // the other side is honest

	mu     sync.Mutex // guards what follows
	r      *rand.Rand // of its answers
	grants []transport.Grant
	seq    uint64 // the latest of its own
	opens  uint64
	chunks uint64
	closed bool
}

// start makes the peer listen under the name that it claims.
func (h *hostile) start() error {
	prefix := map[string]string{"direct": "tls:", "bus": "nats:"}[h.road]
	h.tr = h.w.net.TransportAs(h.road, h.road == "direct", prefix+h.given)
	epoch := fmt.Sprintf("hostile%d", h.no)
	if victim := h.w.honest[h.claim]; victim != nil && (h.road == "direct" || h.w.plan.Impostors) {
		epoch = victim.Epoch()
	}
	addr, err := h.tr.Start(context.Background(), transport.Local{Cluster: actor.DefaultCluster, Node: h.claim, Epoch: epoch, Logger: quiet},
		func(l transport.Link) transport.Receiver { return h.mask(l) })
	if err != nil || h.claim != h.given {
		return err
	}
	// Whoever comes first may have a name of its own.
	_ = h.w.reg.Register(context.Background(), registry.Node{Name: h.claim, Epoch: epoch, Addrs: map[string]string{h.road: addr}})
	return nil
}

func (h *hostile) mask(l transport.Link) *mask {
	prefix := map[string]string{"direct": "tls:", "bus": "nats:"}[h.road]
	m := &mask{of: h, link: l, as: rpc.PrincipalOf(h.road, transport.Peer{Node: h.claim, Principal: prefix + h.given})}
	m.foe = isHonest(rpc.PrincipalOf(h.road, l.Peer()))
	h.mu.Lock()
	defer h.mu.Unlock()
	m.r = h.w.rng(fmt.Sprintf("link %d of peer %d", len(h.masks), h.no))
	h.masks = append(h.masks, m)
	return m
}

// run attacks until no victim is left.
func (h *hostile) run(ctx context.Context, steps int) {
	for range steps {
		time.Sleep(time.Duration(h.r.ExpFloat64() * float64(h.w.plan.Pace)))
		if ctx.Err() != nil {
			return
		}
		m := h.pick()
		if m == nil {
			m = h.dial()
		}
		if m != nil {
			h.attack(m)
		}
	}
}

// pick returns one of the links, or sometimes none, so that another one is dialled.
func (h *hostile) pick() *mask {
	h.mu.Lock()
	defer h.mu.Unlock()
	if draw.Chance(h.r, 0.02) {
		return nil
	}
	for range 4 {
		if len(h.masks) == 0 {
			return nil
		}
		if m := h.masks[h.r.IntN(len(h.masks))]; !m.isClosed() {
			return m
		}
	}
	return nil
}

func (h *hostile) dial() (m *mask) {
	sys := h.w.honest[h.to]
	n, err := h.w.reg.Lookup(context.Background(), h.to)
	if err != nil {
		return nil
	}
	_, err = h.tr.Dial(context.Background(), transport.Endpoint{Node: h.to, Epoch: sys.Epoch(), Addr: n.Addrs[h.road]}, func(l transport.Link) transport.Receiver {
		m = h.mask(l)
		return m
	})
	if err != nil {
		return nil
	}
	m.mu.Lock()
	m.opens++
	e := transport.Envelope{Verb: transport.VerbOpen, Seq: m.opens}
	m.mu.Unlock()
	m.send(&e)
	return m
}

func (m *mask) isClosed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

func (m *mask) send(e *transport.Envelope) {
	m.note("sends", e)
	_, _ = m.link.Send(e)
}

func (m *mask) note(what string, e *transport.Envelope) {
	if h := m.of; h.w.books.talks {
		h.w.books.note("%s (%d) as %s of %s %s %s over %s: %v seq %d flags %b code %d below %d grant %x to %q key %q type %x", h.given, h.no, h.claim, m.as, what, m.link.Peer().Node, h.road,
			e.Verb, e.Seq, e.Flags, e.Code, e.Mark.Below, e.Grant[:3], e.Target, e.Key, e.TypeID)
	}
}

// Receive checks what arrives, learns from it, and answers it or not.
func (m *mask) Receive(e *transport.Envelope) {
	h := m.of
	b := h.w.books
	b.mu.Lock()
	b.heard++
	b.mu.Unlock()
	m.note("hears", e)
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.r
	switch e.Verb {
	case transport.VerbOpen, transport.VerbRequest, transport.VerbTell, transport.VerbAck, transport.VerbCancel, transport.VerbProbe:
		if m.foe && h.claim != h.given {
			b.bad("%s, which says that it is %s, is sent %v for %q on road %s", h.given, h.claim, e.Verb, e.Target, h.road)
		}
	}
	switch e.Verb {
	case transport.VerbOpen:
		a := transport.Envelope{Verb: transport.VerbOpened, Seq: e.Seq, Grant: e.Grant, Mark: transport.Mark{Below: 1 + r.Uint64N(500)}}
		switch {
		case draw.Chance(r, 0.2):
			a.Grant = recall(&h.w.known, r, &h.w.known.grants)
		case draw.Chance(r, 0.2):
			a.Code, a.Grant = uint16(r.IntN(24)), transport.Grant{}
		case a.Grant == (transport.Grant{}):
			binary.BigEndian.PutUint64(a.Grant[:], r.Uint64())
		}
		if draw.Chance(r, 0.9) {
			m.send(&a)
		}
	case transport.VerbRequest:
		for range r.IntN(3) {
			a := h.forged(r, e.Seq)
			m.send(&a)
		}
	case transport.VerbProbe:
		m.send(&transport.Envelope{Verb: transport.VerbStatus, Seq: e.Seq, Code: uint16(r.IntN(5))})
	case transport.VerbPing:
		if draw.Chance(r, 0.9) {
			m.send(&transport.Envelope{Verb: transport.VerbPong, Seq: e.Seq, Sent: time.Now().Add(draw.Span(r, -time.Minute, time.Minute))})
		}
	case transport.VerbOpened:
		if e.Code == 0 {
			m.grants = append(m.grants, e.Grant)
			h.w.known.grant(e.Grant)
		}
	case transport.VerbReply:
		if m.foe {
			m.answered(e)
		}
	}
}

// answered checks an answer, and notes what can be used of it.
func (m *mask) answered(e *transport.Envelope) {
	b, k := m.of.w.books, &m.of.w.known
	if e.Code != 0 {
		return
	}
	var d Deal
	switch e.TypeID {
	case typeOf("Deal"):
		if packs.Decode(e.Body, &d) == nil {
			b.sees(m.as, "reply", d)
		}
	case typeOf("tandem.job.report"):
		var rep report
		if packs.Decode(e.Body, &rep) == nil && packs.Decode(rep.Body, &d) == nil && rep.TypeID == typeOf("Deal") {
			b.sees(m.as, "job's result", d)
		}
	case transport.TypeID("string"):
		var id string
		if packs.Decode(e.Body, &id) == nil {
			k.token(id)
		}
	case typeOf("tandem.stream.opened"):
		var opened struct{ Actor string }
		if packs.Decode(e.Body, &opened) == nil {
			name, _, _ := strings.Cut(opened.Actor, "@")
			k.mu.Lock()
			keep(&k.actors, name)
			k.mu.Unlock()
		}
	case typeOf("tandem.stream.batch"):
		var items batch
		if packs.Decode(e.Body, &items) == nil {
			for _, d := range unbatch(items.Items) {
				b.sees(m.as, "stream's item", d)
			}
		}
	case transport.TypeID("tandem.Dequeued[github.com/tandem-go/tandem/test/sim.Crate]"):
		var got struct {
			Items []struct {
				Token   [3]uint64
				Message Crate
			}
		}
		if err := packs.Decode(e.Body, &got); err != nil {
			b.bad("a queue's answer: %v", err)
		}
		for _, it := range got.Items {
			if k.lease(it.Token); it.Message.On == "line" {
				b.bad("%s got what is in a queue that is closed to it", m.as)
			}
		}
	}
}

func (*mask) Flush()     {}
func (*mask) Drained()   {}
func (*mask) Disturbed() {}

func (m *mask) Closed(error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
}
