package engine

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// takenIn is a Handler that notes what it gets, in order. One-way messages that it gets
// together are joined by "+".
type takenIn struct {
	log   []string
	tells []*server.Inbound
	last  *server.Inbound // request
}

func (h *takenIn) HandleRequest(in *server.Inbound) {
	h.log, h.last = append(h.log, "request "+string(in.Body())), in
	in.Start()
	in.Reply(1, 1, nil)
}

func (h *takenIn) HandleTells(tells []*server.Inbound) {
	var all []string
	for _, in := range tells {
		if in.Left() == 0 {
			all = append(all, string(in.Body()))
		} else {
			all = append(all, bodies(in)...)
		}
	}
	h.log, h.tells = append(h.log, strings.Join(all, "+")), append(h.tells, tells...)
}

func (h *takenIn) LoseTells(tells []*server.Inbound, _ *rpc.Error) {
	for range tells {
		h.log = append(h.log, "lost")
	}
}

func (*takenIn) Durability(string) server.Durability { return server.Durability{} }

// takesIn starts a node with a link from c, on which two sessions are open. From then on the
// test acts as the link's reader.
func takesIn(t *testing.T, r *rig) (h *takenIn, k *conn, grants [2]transport.Grant) {
	b := r.start("b", "b1", twoRoads)
	h = new(takenIn)
	b.instead = h
	c := r.dialRaw("c", "bus", "b")
	for i := range grants {
		grants[i] = one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: uint64(i + 1)})).Grant
	}
	return h, b.liveConns()[0], grants
}

// One-way messages that come in a row are handed on together, in order and once, whether or not
// they come in frames.
func TestRuns(t *testing.T) {
	t.Run("single", func(t *testing.T) { testRuns(t, 1) })
	t.Run("pairs", func(t *testing.T) { testRuns(t, 2) })
	t.Run("rows", func(t *testing.T) { testRuns(t, together) })
}

// testRuns has up to so many one-way messages in a frame.
func testRuns(t *testing.T, most int) {
	type step struct {
		seq    uint64 // of a one-way message; 0: something else
		target string
		grant  int
		what   string
	}
	row := func(from, to uint64) (steps []step) {
		for seq := from; seq <= to; seq++ {
			steps = append(steps, step{seq: seq})
		}
		return steps
	}
	flush, request := step{what: "flush"}, step{what: "request"}
	joined := func(from, to int) string {
		var all []string
		for n := from; n <= to; n++ {
			all = append(all, strconv.Itoa(n))
		}
		return strings.Join(all, "+")
	}
	for _, c := range []struct {
		name            string
		steps           []step
		want            []string
		dropped, missed uint64
	}{
		{"in a row", append(row(1, 3), flush), []string{"1+2+3"}, 0, 0},
		{"not before there is nothing more", row(1, 3), nil, 0, 0},
		{"twice", slices.Concat(row(1, 3), []step{flush}, row(1, 3), []step{flush}), []string{"1+2+3"}, 3, 0},
		{"some of them twice", slices.Concat(row(1, 3), []step{flush}, row(2, 4), []step{flush}), []string{"1+2+3", "4"}, 2, 0},
		{"twice at once", slices.Concat(row(1, 2), row(1, 3), []step{flush}), []string{"1+2", "3"}, 2, 0},
		{"a gap", []step{{seq: 1}, {seq: 4}, {seq: 5}, flush}, []string{"1", "4+5"}, 0, 2},
		{"a gap, and it comes later", []step{{seq: 3}, {seq: 1}, {seq: 2}, {seq: 4}, flush}, []string{"3", "4"}, 2, 2},
		{"two actors", []step{{seq: 1}, {seq: 2, target: "other"}, {seq: 3}, {seq: 4}, flush}, []string{"1", "2", "3+4"}, 0, 0},
		{"a request among them", slices.Concat(row(1, 2), []step{request}, row(3, 4), []step{flush}), []string{"1+2", "request x", "3+4"}, 0, 0},
		{"as many as are handed on together", append(row(1, together), flush), []string{joined(1, together)}, 0, 0},
		{"one more", append(row(1, together+1), flush), []string{joined(1, together), joined(together+1, together+1)}, 0, 0},
		{"the middle of many twice", slices.Concat(row(1, 20), row(10, 40), []step{flush}), []string{joined(1, 20), joined(21, 40)}, 11, 0},
		{"a session that was left", []step{{seq: 1}, {seq: 1, grant: 1}, {seq: 2}, {seq: 3}, flush}, []string{"1", "1"}, 2, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				h, k, grants := takesIn(t, r)
				for i := 0; i < len(c.steps); i++ {
					s := c.steps[i]
					e := transport.Envelope{Verb: transport.VerbTell, Seq: s.seq, Grant: grants[s.grant], Target: "t" + s.target, Body: strconv.AppendUint(nil, s.seq, 10)}
					switch s.what {
					case "flush":
						k.Flush()
						continue
					case "request":
						e.Verb, e.Seq, e.Timeout, e.Body = transport.VerbRequest, 1, time.Hour, []byte("x")
						k.Receive(&e)
						continue
					}
					row := framed(nil, e.Body)
					count := 1
					for next := s; count < most && i+1 < len(c.steps); count++ {
						if next.seq++; c.steps[i+1] != next {
							break
						}
						i++
						row = framed(row, strconv.AppendUint(nil, next.seq, 10))
					}
					if count == 1 {
						k.Receive(&e)
						continue
					}
					e.Body = row
					k.ReceiveRow(&e, count)
					clear(row) // its memory is the link's
				}
				if !slices.Equal(h.log, c.want) {
					t.Errorf("handed on: %q\nwant %q", h.log, c.want)
				}
				if s := k.node.Stats(); s.TellsDropped != c.dropped || s.TellsMissed != c.missed {
					t.Errorf("%d dropped, %d missed; want %d, %d", s.TellsDropped, s.TellsMissed, c.dropped, c.missed)
				}
				k.Flush()
			})
		})
	}
}

// framed appends a body to those of a frame.
func framed(row, body []byte) []byte {
	return append(binary.AppendUvarint(row, uint64(len(body))), body...)
}

// One-way messages of one session that wait on two roads to be handed on together are handed on
// once, and never after a later one.
func TestRunsOnTwoRoads(t *testing.T) {
	const busRoad, direct = 0, 1
	type step struct {
		road     int
		from, to uint64 // 0: nothing more to receive on this road
	}
	for _, c := range []struct {
		name            string
		steps           []step
		want            []string
		dropped, missed uint64
	}{
		{"the later ones first", []step{{busRoad, 1, 2}, {direct, 3, 4}, {direct, 0, 0}, {busRoad, 0, 0}}, []string{"3+4"}, 2, 2},
		{"in their order", []step{{busRoad, 1, 2}, {direct, 3, 4}, {busRoad, 0, 0}, {direct, 0, 0}}, []string{"1+2", "3+4"}, 0, 0},
		{"all of them twice", []step{{busRoad, 1, 3}, {direct, 1, 3}, {direct, 0, 0}, {busRoad, 0, 0}}, []string{"1+2+3"}, 3, 0},
		{"the first ones sooner on the other road", []step{{busRoad, 1, 3}, {direct, 1, 2}, {direct, 0, 0}, {busRoad, 0, 0}}, []string{"1+2", "3"}, 2, 0},
		{"the last one twice", []step{{busRoad, 1, 2}, {direct, 2, 3}, {busRoad, 0, 0}, {direct, 0, 0}}, []string{"1+2", "3"}, 1, 0},
		{"one between two", []step{{busRoad, 1, 1}, {direct, 2, 2}, {busRoad, 3, 3}, {direct, 0, 0}, {busRoad, 0, 0}}, []string{"1", "2", "3"}, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				h, k, grants := takesIn(t, r)
				d := r.dialRaw("c", "direct", "b")
				if got := one(t, d.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1, Grant: grants[1]})).Grant; got != grants[1] {
					t.Fatalf("joined %v, not %v", got, grants[1])
				}
				roads := [2]*conn{busRoad: k}
				for _, other := range k.node.liveConns() {
					if other != k {
						roads[direct] = other
					}
				}
				for _, s := range c.steps {
					if s.from == 0 {
						roads[s.road].Flush()
						continue
					}
					for seq := s.from; seq <= s.to; seq++ {
						roads[s.road].Receive(&transport.Envelope{Verb: transport.VerbTell, Seq: seq, Grant: grants[1], Target: "t", Body: strconv.AppendUint(nil, seq, 10)})
					}
				}
				if !slices.Equal(h.log, c.want) {
					t.Errorf("handed on: %q\nwant %q", h.log, c.want)
				}
				if s := k.node.Stats(); s.TellsDropped != c.dropped || s.TellsMissed != c.missed {
					t.Errorf("%d dropped, %d missed; want %d, %d", s.TellsDropped, s.TellsMissed, c.dropped, c.missed)
				}
			})
		})
	}
}

// The memory of one-way messages is reused after they have been given back, and not before, and
// nothing of them is left in it.
func TestReuseOfTells(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		h, k, grants := takesIn(t, r)
		seq := uint64(0)
		tell := func(body string) *server.Inbound {
			seq++
			k.Receive(&transport.Envelope{Verb: transport.VerbTell, Seq: seq, Grant: grants[0], Target: "t", Sender: "s@c", Flags: transport.FlagAcked | transport.FlagReceipt, Body: []byte(body)})
			k.Flush()
			return h.tells[len(h.tells)-1]
		}
		waits := []*server.Inbound{tell("one"), tell("two"), tell("three")}
		server.FreeAll(waits[:1])
		var later []*server.Inbound
		for range 64 {
			later = append(later, tell("later"))
		}
		if string(waits[1].Body()) != "two" || string(waits[2].Body()) != "three" {
			t.Errorf("those that wait: %q, %q", waits[1].Body(), waits[2].Body())
		}
		if !slices.Contains(later, waits[0]) {
			t.Error("what was given back is not used again")
		}
		server.FreeAll(later)
		k.Receive(&transport.Envelope{Verb: transport.VerbRequest, Seq: 1, Grant: grants[0], Target: "t", Timeout: time.Hour, Body: []byte("x")})
		if in := h.last; !slices.Contains(later, in) || in.Confirm || in.Receipt || in.Meta != nil || in.Seq != 1 {
			t.Errorf("in the memory of a one-way message: %v, request %+v", slices.Contains(later, in), in)
		}
		synctest.Wait()
	})
}

// together is how many one-way messages are handed on together at most.
const together = 64
