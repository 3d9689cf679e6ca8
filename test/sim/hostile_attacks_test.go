// What hostile peers send.

package sim

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/internal/queuestore"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// The messages to the system's own actors, as hostile peers write them.
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
	forgedSign    struct{ Stop bool }
	forgedEnqueue struct {
		Item Crate
		ID   string
	}
	forgedOrder struct { // of a consumer, or of who manages a queue
		Op     queuestore.Op
		Max    int
		Wait   time.Duration
		Delay  time.Duration
		Tokens [][3]uint64
	}
	batch  struct{ Items []byte }
	report struct {
		TypeID uint64
		Body   []byte
	}
)

// typeOf returns the type id of a message of this package or, after "tandem.", of a system actor.
func typeOf(name string) uint64 {
	if !strings.HasPrefix(name, "tandem.") {
		name = "github.com/tandem-go/tandem/test/sim." + name
	}
	return transport.TypeID(name)
}

func (h *hostile) grant(m *mask) transport.Grant {
	m.mu.Lock()
	mine := slices.Clone(m.grants)
	m.mu.Unlock()
	switch x := h.r.Float64(); {
	case x < 0.6 && len(mine) > 0:
		return mine[len(mine)-1]
	case x < 0.9:
		return recall(&h.w.known, h.r, &h.w.known.grants)
	case x < 0.95:
		var g transport.Grant
		binary.BigEndian.PutUint64(g[:], h.r.Uint64())
		return g
	}
	return transport.Grant{}
}

// number returns a number for a message: the next one, an earlier one, one that others use, or
// any.
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
	if draw.Chance(h.r, 0.8) {
		return k
	}
	m.mu.Lock()
	k.Below = h.r.Uint64N(m.seq + 2)
	m.mu.Unlock()
	if draw.Chance(h.r, 0.05) { // after which nothing of the session runs
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
		if m.opens += h.r.Uint64N(3); draw.Chance(h.r, 0.1) {
			m.opens = h.r.Uint64N(8)
		}
		e := transport.Envelope{Verb: transport.VerbOpen, Seq: m.opens}
		m.mu.Unlock()
		if draw.Chance(h.r, 0.6) {
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
	e := recall(&h.w.known, h.r, &h.w.known.seen)
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
			e.Key = recall(&h.w.known, h.r, &h.w.known.seen).Key
		case 7:
			e.Code = uint16(h.r.IntN(24))
		case 8:
			e.After, e.Timeout, e.Waiting = h.r.Uint64N(50), time.Duration(h.r.Int64N(int64(time.Minute))), []uint64{h.r.Uint64()}
		}
	}
	m.send(&e)
}

func (h *hostile) target() string {
	if draw.Chance(h.r, 0.2) {
		return recall(&h.w.known, h.r, &h.w.known.actors)
	}
	return draw.Pick(h.r, "till", "till", "vault", "line", "bin", h.w.desk, "nobody")
}

// id returns the id of an operation: a new one, or one that an honest client has.
func (h *hostile) id() uint64 {
	if draw.Chance(h.r, 0.3) {
		return uint64(1+h.r.IntN(4))<<32 | uint64(1+h.r.IntN(20))
	}
	h.ids++
	return uint64(100+h.no)<<32 | h.ids
}

// request returns a request that makes sense in most respects.
func (h *hostile) request(m *mask) transport.Envelope {
	e := transport.Envelope{Verb: transport.VerbRequest, Seq: h.number(m), Grant: h.grant(m), Mark: h.mark(m), Codec: 1,
		Timeout: draw.Span(h.r, 0, time.Minute), Sender: draw.Pick(h.r, "", "till@shop", "till@"+h.given)}
	if draw.Chance(h.r, 0.2) {
		e.Flags = draw.Pick(h.r, transport.FlagAcked, transport.FlagResend, transport.FlagReceipt, transport.FlagRecover)
	}
	if draw.Chance(h.r, 0.2) {
		e.Key = recall(&h.w.known, h.r, &h.w.known.seen).Key
	}
	k := &h.w.known
	body := func(to, name string, v any) {
		if e.Target = to; draw.Chance(h.r, 0.05) {
			e.Target = h.target()
		}
		e.TypeID, e.Body = typeOf(name), pack(v)
	}
	crates := "tandem.%s[github.com/tandem-go/tandem/test/sim.Crate]"
	booth, shelf := draw.Pick(h.r, "till", "till", "vault"), draw.Pick(h.r, "bin", "bin", "line")
	switch h.r.IntN(12) {
	case 0, 1:
		body(booth, "Deed", Deed{ID: h.id(), Work: draw.Span(h.r, 0, 100*time.Millisecond), Next: draw.Pick(h.r, "", "vault@shop"), NextID: h.id()})
	case 2:
		body(booth, "Word", Word{ID: h.id(), Line: draw.Pick(h.r, "line 1", "line 2"), N: h.r.IntN(100)})
	case 3:
		body(booth, "Haul", Haul{ID: h.id(), Count: h.r.IntN(40), Pace: 5 * time.Millisecond})
	case 4:
		body(booth, "Bring", Bring{ID: h.id()})
	case 5:
		body(h.w.desk, "tandem.job.submit", forgedSubmit{draw.Pick(h.r, "till", "vault", h.w.desk), typeOf("Deed"), 1, pack(Deed{ID: h.id(), Work: draw.Span(h.r, 0, time.Second)})})
	case 6:
		body(h.w.desk, draw.Pick(h.r, "tandem.job.poll", "tandem.job.await", "tandem.job.cancel"), forgedToken{recall(k, h.r, &k.tokens), time.Second})
	case 7:
		name, v := "tandem.stream.next", any(forgedNext{uint64(1 + h.r.IntN(4))})
		switch h.r.IntN(4) {
		case 0:
			name, v = "tandem.stream.push", forgedPush{uint64(1 + h.r.IntN(4)), append([]byte{}, pack(Deal{1, 2})...), draw.Chance(h.r, 0.5)}
		case 1:
			name, v = "tandem.stream.sign", forgedSign{draw.Chance(h.r, 0.7)}
		}
		body(recall(k, h.r, &k.actors), name, v)
	case 8:
		body(shelf, fmt.Sprintf(crates, "Enqueue"), forgedEnqueue{Item: Crate{ID: h.id(), On: "line"}, ID: draw.Pick(h.r, "", "id")})
	case 9:
		body(shelf, fmt.Sprintf(crates, "Dequeue"), forgedOrder{Op: queuestore.Pull, Max: 1 + h.r.IntN(3), Wait: draw.Span(h.r, 0, time.Second)})
	case 10:
		t := recall(k, h.r, &k.leases)
		if draw.Chance(h.r, 0.5) {
			t[1+h.r.IntN(2)] ^= 1 << h.r.IntN(64)
		}
		body(shelf, fmt.Sprintf(crates, "Dequeue"), forgedOrder{Op: draw.Pick(h.r, queuestore.Ack, queuestore.Nack, queuestore.Extend, queuestore.Release), Delay: time.Second, Tokens: [][3]uint64{t, {t[0], 0, 1}, {t[0], 1, 1}}})
	case 11:
		body(shelf, fmt.Sprintf(crates, "Oversee"), forgedOrder{Op: draw.Pick(h.r, queuestore.Stats, queuestore.Dead, queuestore.Pause, queuestore.Purge, queuestore.Waiting, queuestore.Cancel), Max: 5})
	}
	return e
}

// slander sends what only a server, or the node itself, may say.
func (h *hostile) slander(m *mask) {
	g, seq := h.grant(m), h.r.Uint64N(100)
	switch h.r.IntN(7) {
	case 0:
		m.send(&transport.Envelope{Verb: transport.VerbOpened, Seq: h.r.Uint64N(10), Grant: g, Mark: transport.Mark{Below: h.r.Uint64N(1000)}, Flags: draw.Pick(h.r, 0, transport.FlagDurable)})
	case 1:
		e := h.forged(h.r, seq)
		m.send(&e)
	case 2:
		m.send(&transport.Envelope{Verb: transport.VerbReply, Seq: draw.Pick(h.r, 0, seq), Grant: g, Code: uint16(rpc.SessionLost)})
	case 3:
		m.send(&transport.Envelope{Verb: transport.VerbStatus, Seq: seq, Code: uint16(h.r.IntN(5))})
	case 4:
		m.send(&transport.Envelope{Verb: draw.Pick(h.r, transport.VerbResync, transport.VerbBye)})
	case 5:
		m.send(&transport.Envelope{Verb: transport.VerbBye, Grant: g, Body: draw.Pick(h.r, []byte{1, 0, 0}, []byte{1, 1, 0, 99, 0}, []byte{1, 0, 1, 0, 99}, []byte{7})})
	case 6:
		m.send(&transport.Envelope{Verb: transport.VerbPong, Seq: draw.Pick(h.r, seq, 1<<63|h.r.Uint64N(5), 1<<62|h.r.Uint64N(5)), Sent: time.Now().Add(draw.Span(h.r, -time.Hour, time.Hour))})
	}
}

// forged returns a made-up answer to a request.
func (h *hostile) forged(r *rand.Rand, seq uint64) transport.Envelope {
	e := transport.Envelope{Verb: transport.VerbReply, Seq: seq}
	switch r.IntN(4) {
	case 0:
		e.Code, e.Flags, e.Message = uint16(r.IntN(24)), draw.Pick(r, 0, transport.FlagNotRun, transport.FlagRan), strings.Repeat("forged ", r.IntN(900))
	case 1:
		e.Code, e.Flags, e.RetryAfter = uint16(rpc.Overloaded), transport.FlagNotRun, draw.Span(r, 0, time.Second)
	default:
		e.TypeID, e.Codec, e.Body = typeOf("Deal"), 1, pack(Deal{r.Uint64N(30) | 1<<32, r.Uint64()})
	}
	return e
}

// control sends messages about requests: acks, cancels, probes and pings.
func (h *hostile) control(m *mask) {
	e := transport.Envelope{Verb: draw.Pick(h.r, transport.VerbAck, transport.VerbCancel, transport.VerbProbe, transport.VerbPing), Grant: h.grant(m), Seq: h.number(m), Mark: h.mark(m)}
	if e.Verb == transport.VerbAck {
		for range h.r.IntN(20) {
			e.Body = binary.BigEndian.AppendUint64(e.Body, h.r.Uint64N(50))
		}
	}
	m.send(&e)
}

// chunk sends parts of a large message: all of them in order, only some, or in random order.
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
	if draw.Chance(h.r, 0.3) {
		total += uint64(h.r.IntN(1 << 20)) // of which the rest never comes
	}
	for at := 0; at < len(whole); {
		n := min(1+h.r.IntN(100), len(whole)-at)
		if draw.Chance(h.r, 0.02) {
			at = h.r.IntN(len(whole) - n + 1)
		}
		m.send(&transport.Envelope{Verb: transport.VerbChunk, Seq: no, Mark: transport.Mark{Below: total}, TypeID: uint64(at), Body: whole[at : at+n]})
		at += n
	}
	if draw.Chance(h.r, 0.05) {
		m.send(&transport.Envelope{Verb: transport.VerbChunked, Seq: h.r.Uint64N(3), Mark: transport.Mark{Below: 10}})
	}
}
