package sim

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// hostiles are the principals of hostile peers, as their roads give them: each may have
// several peers, under several names of nodes.
var hostiles = []string{"mallory", "trudy"}

// knowledge is what hostile peers know: names, grants and numbers are no secrets, so all that honest
// nodes send each other is here, save what their own secrets are in.
type knowledge struct {
	mu     sync.Mutex // guards what follows
	seen   []transport.Envelope
	grants []transport.Grant
	actors []string // that hold streams
	tokens []string // of jobs
	leases [][3]uint64
}

// most bounds each list: what is new takes the place of what is old.
const most = 64

func keep[T any](list *[]T, v T) {
	if len(*list) == most {
		*list = (*list)[1:]
	}
	*list = append(*list, v)
}

// overhear takes in what honest nodes send each other. The tokens of deliveries are secrets.
func (k *knowledge) overhear(e *transport.Envelope) {
	if e.Target == "bin" {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if e.Grant != (transport.Grant{}) && !slices.Contains(k.grants, e.Grant) {
		keep(&k.grants, e.Grant)
	}
	if strings.Contains(e.Target, "stream-") && !slices.Contains(k.actors, e.Target) {
		keep(&k.actors, e.Target)
	}
	if e.Verb != transport.VerbPing && e.Verb != transport.VerbPong && len(e.Body) < 4096 {
		keep(&k.seen, e.Clone())
	}
}

func (k *knowledge) grant(g transport.Grant) {
	k.mu.Lock()
	defer k.mu.Unlock()
	keep(&k.grants, g)
}

func (k *knowledge) token(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	keep(&k.tokens, id)
}

func (k *knowledge) lease(t [3]uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	keep(&k.leases, t)
}

// draw returns one of a list, or the zero value.
func draw[T any](k *knowledge, r *rand.Rand, list *[]T) (v T) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(*list) == 0 {
		return v
	}
	return (*list)[len(*list)-1-min(int(r.ExpFloat64()*8), len(*list)-1)]
}

// What the system's own actors take, as hostile peers write it.
type (
	forgedSubmit struct {
		Target string
		TypeID uint64
		Codec  uint8
		Body   []byte
	}
	forgedToken struct {
		ID   string
		Turn time.Duration
	}
	forgedNext struct{ N uint64 }
	forgedPush struct {
		N     uint64
		Items []byte
		Last  bool
	}
	forgedSign struct{ Stop bool }
	batch      struct{ Items []byte }
	report     struct {
		TypeID uint64
		Body   []byte
	}
)

func typeOf(name string) uint64 {
	if !strings.HasPrefix(name, "tandem.") {
		name = "github.com/tandem-go/tandem/test/sim." + name
	}
	return transport.TypeID(name)
}

// hostile is a peer with a certificate, or user, of its own, that says that it is some node.
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

// start has the peer answer where it says that it is somebody, too.
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
	// A name of its own may be had by whoever comes first.
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

// run attacks until there is nobody left to attack.
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

// pick is one of the links, now and then none: then another one is dialled.
func (h *hostile) pick() *mask {
	h.mu.Lock()
	defer h.mu.Unlock()
	if chance(h.r, 0.02) {
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

func (h *hostile) grant(m *mask) transport.Grant {
	m.mu.Lock()
	mine := slices.Clone(m.grants)
	m.mu.Unlock()
	switch x := h.r.Float64(); {
	case x < 0.6 && len(mine) > 0:
		return mine[len(mine)-1]
	case x < 0.9:
		return draw(&h.w.known, h.r, &h.w.known.grants)
	case x < 0.95:
		var g transport.Grant
		binary.BigEndian.PutUint64(g[:], h.r.Uint64())
		return g
	}
	return transport.Grant{}
}

// number is one to use: the next, an earlier one, one that others use, or a wild one.
func (h *hostile) number(m *mask) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch x := h.r.Float64(); {
	case x < 0.6:
		m.seq++
		return m.seq
	case x < 0.8:
		return h.r.Uint64N(m.seq + 2)
	case x < 0.97:
		return h.r.Uint64N(100)
	}
	return h.r.Uint64() >> h.r.IntN(64)
}

func (h *hostile) mark(m *mask) (k transport.Mark) {
	if chance(h.r, 0.8) {
		return k
	}
	m.mu.Lock()
	k.Below = h.r.Uint64N(m.seq + 2)
	m.mu.Unlock()
	if chance(h.r, 0.05) { // after which nothing of the session runs
		k.Below = h.r.Uint64()
	}
	for range h.r.IntN(4) {
		k.Except = append(k.Except, h.r.Uint64N(k.Below+1))
	}
	return k
}

// attack sends one thing, or a few.
func (h *hostile) attack(m *mask) {
	switch x := h.r.IntN(100); {
	case x < 12:
		m.mu.Lock()
		if m.opens += h.r.Uint64N(3); chance(h.r, 0.1) {
			m.opens = h.r.Uint64N(8)
		}
		e := transport.Envelope{Verb: transport.VerbOpen, Seq: m.opens}
		m.mu.Unlock()
		if chance(h.r, 0.6) {
			e.Grant = h.grant(m)
		}
		m.send(&e)
	case x < 40:
		h.replay(m)
	case x < 65:
		e := h.request(m)
		m.send(&e)
	case x < 73:
		h.slander(m)
	case x < 82:
		h.control(m)
	case x < 88:
		h.chunk(m)
	case x < 93:
		e := h.request(m)
		e.Verb = transport.VerbTell
		m.send(&e)
	case x < 96:
		e := h.request(m)
		e.Verb = transport.VerbTells
		var rows []byte
		for range 1 + h.r.IntN(4) {
			rows = append(binary.AppendUvarint(rows, uint64(len(e.Body))), e.Body...)
		}
		e.Body = rows
		m.send(&e)
	case x < 98:
		e := h.request(m) // large enough for chunks, and no message
		e.Codec, e.Body = 3, make([]byte, 70<<10+h.r.IntN(200<<10))
		m.send(&e)
	default:
		m.link.Close(nil)
	}
}

// replay sends what was overheard, as it is or with something changed.
func (h *hostile) replay(m *mask) {
	e := draw(&h.w.known, h.r, &h.w.known.seen)
	if e.Verb == 0 {
		return
	}
	for range h.r.IntN(4) {
		switch h.r.IntN(9) {
		case 0:
			e.Grant = h.grant(m)
		case 1:
			e.Seq = h.number(m)
		case 2:
			e.Verb = transport.Verb(1 + h.r.IntN(13))
		case 3:
			e.Mark = h.mark(m)
		case 4:
			e.Flags ^= 1 << h.r.IntN(7)
		case 5:
			e.Target = h.target()
		case 6:
			e.Key = draw(&h.w.known, h.r, &h.w.known.seen).Key
		case 7:
			e.Code = uint16(h.r.IntN(24))
		case 8:
			e.After, e.Timeout, e.Waiting = h.r.Uint64N(50), time.Duration(h.r.Int64N(int64(time.Minute))), []uint64{h.r.Uint64()}
		}
	}
	m.send(&e)
}

func (h *hostile) target() string {
	if chance(h.r, 0.2) {
		return draw(&h.w.known, h.r, &h.w.known.actors)
	}
	return pick(h.r, "till", "till", "vault", "line", "bin", h.w.desk, "nobody")
}

// id is of an operation: its own, or one that an honest client has.
func (h *hostile) id() uint64 {
	if chance(h.r, 0.3) {
		return uint64(1+h.r.IntN(4))<<32 | uint64(1+h.r.IntN(20))
	}
	h.ids++
	return uint64(100+h.no)<<32 | h.ids
}

// request is one that makes sense, in most ways.
func (h *hostile) request(m *mask) transport.Envelope {
	e := transport.Envelope{Verb: transport.VerbRequest, Seq: h.number(m), Grant: h.grant(m), Mark: h.mark(m), Codec: 1,
		Timeout: span(h.r, 0, time.Minute), Sender: pick(h.r, "", "till@shop", "till@"+h.given)}
	if chance(h.r, 0.2) {
		e.Flags = pick(h.r, transport.FlagAcked, transport.FlagResend, transport.FlagReceipt, transport.FlagRecover)
	}
	if chance(h.r, 0.2) {
		e.Key = draw(&h.w.known, h.r, &h.w.known.seen).Key
	}
	k := &h.w.known
	body := func(to, name string, v any) {
		if e.Target = to; chance(h.r, 0.05) {
			e.Target = h.target()
		}
		e.TypeID, e.Body = typeOf(name), pack(v)
	}
	crates := "tandem.%s[github.com/tandem-go/tandem/test/sim.Crate]"
	booth, shelf := pick(h.r, "till", "till", "vault"), pick(h.r, "bin", "bin", "line")
	switch h.r.IntN(12) {
	case 0, 1:
		body(booth, "Deed", Deed{ID: h.id(), Work: span(h.r, 0, 100*time.Millisecond), Next: pick(h.r, "", "vault@shop"), NextID: h.id()})
	case 2:
		body(booth, "Word", Word{ID: h.id(), Line: pick(h.r, "line 1", "line 2"), N: h.r.IntN(100)})
	case 3:
		body(booth, "Haul", Haul{ID: h.id(), Count: h.r.IntN(40), Pace: 5 * time.Millisecond})
	case 4:
		body(booth, "Bring", Bring{ID: h.id()})
	case 5:
		body(h.w.desk, "tandem.job.submit", forgedSubmit{pick(h.r, "till", "vault", h.w.desk), typeOf("Deed"), 1, pack(Deed{ID: h.id(), Work: span(h.r, 0, time.Second)})})
	case 6:
		body(h.w.desk, pick(h.r, "tandem.job.poll", "tandem.job.await", "tandem.job.cancel"), forgedToken{draw(k, h.r, &k.tokens), time.Second})
	case 7:
		name, v := "tandem.stream.next", any(forgedNext{uint64(1 + h.r.IntN(4))})
		switch h.r.IntN(4) {
		case 0:
			name, v = "tandem.stream.push", forgedPush{uint64(1 + h.r.IntN(4)), append([]byte{}, pack(Deal{1, 2})...), chance(h.r, 0.5)}
		case 1:
			name, v = "tandem.stream.sign", forgedSign{chance(h.r, 0.7)}
		}
		body(draw(k, h.r, &k.actors), name, v)
	case 8:
		body(shelf, fmt.Sprintf(crates, "Enqueue"), actor.Enqueue[Crate]{Item: Crate{ID: h.id(), On: "line"}, ID: pick(h.r, "", "id")})
	case 9:
		body(shelf, fmt.Sprintf(crates, "Dequeue"), actor.Dequeue[Crate]{Op: actor.OpPull, Max: 1 + h.r.IntN(3), Wait: span(h.r, 0, time.Second)})
	case 10:
		t := draw(k, h.r, &k.leases)
		if chance(h.r, 0.5) {
			t[1+h.r.IntN(2)] ^= 1 << h.r.IntN(64)
		}
		body(shelf, fmt.Sprintf(crates, "Dequeue"), actor.Dequeue[Crate]{Op: pick(h.r, actor.OpAck, actor.OpNack, actor.OpExtend, actor.OpRelease), Delay: time.Second, Tokens: [][3]uint64{t, {t[0], 0, 1}, {t[0], 1, 1}}})
	case 11:
		body(shelf, fmt.Sprintf(crates, "Oversee"), actor.Oversee[Crate]{Op: pick(h.r, actor.OpStats, actor.OpDead, actor.OpPause, actor.OpPurge, actor.OpWaiting, actor.OpCancel), Max: 5})
	}
	return e
}

// slander says what only a server, or the node itself, can say.
func (h *hostile) slander(m *mask) {
	g, seq := h.grant(m), h.r.Uint64N(100)
	switch h.r.IntN(7) {
	case 0:
		m.send(&transport.Envelope{Verb: transport.VerbOpened, Seq: h.r.Uint64N(10), Grant: g, Mark: transport.Mark{Below: h.r.Uint64N(1000)}, Flags: pick(h.r, 0, transport.FlagDurable)})
	case 1:
		e := h.forged(h.r, seq)
		m.send(&e)
	case 2:
		m.send(&transport.Envelope{Verb: transport.VerbReply, Seq: pick(h.r, 0, seq), Grant: g, Code: uint16(rpc.SessionLost)})
	case 3:
		m.send(&transport.Envelope{Verb: transport.VerbStatus, Seq: seq, Code: uint16(h.r.IntN(5))})
	case 4:
		m.send(&transport.Envelope{Verb: pick(h.r, transport.VerbResync, transport.VerbBye)})
	case 5:
		m.send(&transport.Envelope{Verb: transport.VerbBye, Grant: g, Body: pick(h.r, []byte{1, 0, 0}, []byte{1, 1, 0, 99, 0}, []byte{1, 0, 1, 0, 99}, []byte{7})})
	case 6:
		m.send(&transport.Envelope{Verb: transport.VerbPong, Seq: pick(h.r, seq, 1<<63|h.r.Uint64N(5), 1<<62|h.r.Uint64N(5)), Sent: time.Now().Add(span(h.r, -time.Hour, time.Hour))})
	}
}

// forged is an answer of one's own to a request.
func (h *hostile) forged(r *rand.Rand, seq uint64) transport.Envelope {
	e := transport.Envelope{Verb: transport.VerbReply, Seq: seq}
	switch r.IntN(4) {
	case 0:
		e.Code, e.Flags, e.Message = uint16(r.IntN(24)), pick(r, 0, transport.FlagNotRun, transport.FlagRan), strings.Repeat("forged ", r.IntN(900))
	case 1:
		e.Code, e.Flags, e.RetryAfter = uint16(rpc.Overloaded), transport.FlagNotRun, span(r, 0, time.Second)
	default:
		e.TypeID, e.Codec, e.Body = typeOf("Deal"), 1, pack(Deal{r.Uint64N(30) | 1<<32, r.Uint64()})
	}
	return e
}

// control sends what is about requests.
func (h *hostile) control(m *mask) {
	e := transport.Envelope{Verb: pick(h.r, transport.VerbAck, transport.VerbCancel, transport.VerbProbe, transport.VerbPing), Grant: h.grant(m), Seq: h.number(m), Mark: h.mark(m)}
	if e.Verb == transport.VerbAck {
		for range h.r.IntN(20) {
			e.Body = binary.BigEndian.AppendUint64(e.Body, h.r.Uint64N(50))
		}
	}
	m.send(&e)
}

// chunk sends parts of large messages: in order, all of it or not, or anyhow.
func (h *hostile) chunk(m *mask) {
	m.mu.Lock()
	m.chunks += 1 + h.r.Uint64N(2)
	no := 1000 + m.chunks
	m.mu.Unlock()
	inner := h.request(m)
	whole, err := inner.Append(nil)
	if err != nil {
		return
	}
	total := uint64(len(whole))
	if chance(h.r, 0.3) {
		total += uint64(h.r.IntN(1 << 20)) // of which the rest never comes
	}
	for at := 0; at < len(whole); {
		n := min(1+h.r.IntN(100), len(whole)-at)
		if chance(h.r, 0.02) {
			at = h.r.IntN(len(whole) - n + 1)
		}
		m.send(&transport.Envelope{Verb: transport.VerbChunk, Seq: no, Mark: transport.Mark{Below: total}, TypeID: uint64(at), Body: whole[at : at+n]})
		at += n
	}
	if chance(h.r, 0.05) {
		m.send(&transport.Envelope{Verb: transport.VerbChunked, Seq: h.r.Uint64N(3), Mark: transport.Mark{Below: 10}})
	}
}

// Receive judges what comes, learns from it, and answers, or not.
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
		case chance(r, 0.2):
			a.Grant = draw(&h.w.known, r, &h.w.known.grants)
		case chance(r, 0.2):
			a.Code, a.Grant = uint16(r.IntN(24)), transport.Grant{}
		case a.Grant == (transport.Grant{}):
			binary.BigEndian.PutUint64(a.Grant[:], r.Uint64())
		}
		if chance(r, 0.9) {
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
		if chance(r, 0.9) {
			m.send(&transport.Envelope{Verb: transport.VerbPong, Seq: e.Seq, Sent: time.Now().Add(span(r, -time.Minute, time.Minute))})
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

// answered judges an answer, and takes from it what can be used.
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

// ear is a road of an honest node to which hostile peers listen.
type ear struct {
	transport.Transport
	w *siege
}

func (t *ear) Identity() string {
	return t.Transport.(interface{ Identity() string }).Identity()
}

func (t *ear) Start(ctx context.Context, local transport.Local, accept func(transport.Link) transport.Receiver) (string, error) {
	return t.Transport.Start(ctx, local, func(l transport.Link) transport.Receiver { return accept(&earLink{l, t.w}) })
}

func (t *ear) Dial(ctx context.Context, to transport.Endpoint, open func(transport.Link) transport.Receiver) (transport.Link, error) {
	var heard *earLink
	_, err := t.Transport.Dial(ctx, to, func(l transport.Link) transport.Receiver {
		heard = &earLink{l, t.w}
		return open(heard)
	})
	if err != nil {
		return nil, err
	}
	return heard, nil
}

type earLink struct {
	transport.Link
	w *siege
}

func (l *earLink) Send(e *transport.Envelope) (uint64, error) {
	if p := l.Peer(); isHonest(rpc.PrincipalOf(l.Road(), p)) {
		l.w.known.overhear(e)
	}
	if e.Verb == transport.VerbOpened {
		l.w.books.gave(e.Grant)
	}
	if l.w.tamper != nil {
		return l.w.tamper(l, e)
	}
	return l.Link.Send(e)
}
