package transporttest

import (
	"bytes"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/transport"
)

func testOrderBothWays(t *testing.T, cfg Config) {
	a, b := newPair(t, cfg)
	from, to := link(t, a, b)
	const count = 5000
	var wg sync.WaitGroup
	for _, s := range []side{from, to} {
		wg.Go(func() {
			var last uint64
			for i := range count {
				at := s.push(t, &transport.Envelope{Verb: transport.VerbTell, Seq: uint64(i), Body: make([]byte, i%50)})
				if i > 0 && at <= last {
					t.Errorf("place %d after place %d", at, last)
				}
				last = at
			}
		})
	}
	wg.Wait()
	for _, s := range []side{from, to} {
		for i, got := range s.in.waitFor(count) {
			if got.Seq != uint64(i) || len(got.Body) != i%50 {
				t.Fatalf("envelope %d is number %d with %d bytes", i, got.Seq, len(got.Body))
			}
		}
	}
}

// testRowsOfTells sends one-way messages as fast as it can to several targets in turn, and several
// in a row to each. A road may put such a row into one frame; each must arrive as if it was alone.
func testRowsOfTells(t *testing.T, cfg Config) {
	a, b := newPair(t, cfg)
	from, to := link(t, a, b)
	const count = 20_000
	types := []uint64{transport.TypeID("conformance.tell"), transport.TypeID("conformance.other")}
	sent := make([]transport.Envelope, 0, count)
	for turn := 0; len(sent) < count; turn++ {
		e := transport.Envelope{Verb: transport.VerbTell, Codec: uint8(1 + turn/3%2), TypeID: types[turn/5%2],
			Grant: transport.Grant{15: byte(1 + turn/50%3)}, Target: string(pattern(turn%7, 1+turn%7))}
		if turn%4 > 0 {
			e.Sender = "bob@a"
		}
		if turn%11 == 0 {
			e.Sent = time.Unix(1_700_000_000, int64(turn))
		}
		for range min(1+turn*turn%150, count-len(sent)) {
			e.Seq = uint64(1 + len(sent))
			e.Body = pattern(len(sent), len(sent)%40)
			sent = append(sent, e)
		}
	}
	places := make([]uint64, count)
	for i := range sent {
		places[i] = from.push(t, &sent[i])
	}
	for i, got := range to.in.waitFor(count) {
		want := sent[i]
		if got.Verb != want.Verb || got.Seq != want.Seq || got.Codec != want.Codec || got.TypeID != want.TypeID || got.Grant != want.Grant ||
			got.Target != want.Target || got.Sender != want.Sender || !got.Sent.Equal(want.Sent) || !bytes.Equal(got.Body, want.Body) {
			t.Fatalf("message %d changed on the way:\n got %+v\nwant %+v", i, got, want)
		}
		if i > 0 && places[i] <= places[i-1] {
			t.Fatalf("place %d after place %d", places[i], places[i-1])
		}
		if !from.Handed(places[i]) {
			t.Fatalf("message %d arrived and was not handed over", i)
		}
	}
}

// testManySenders lets many goroutines share a link. The order of each must be kept.
// testRow sends one-way messages through a transport.Row, if the road has them, and others by Send.
// They arrive in the order in which they were sent.
func testRow(t *testing.T, cfg Config) {
	a, b := newPair(t, cfg)
	from, to := link(t, a, b)
	rower, ok := from.Link.(transport.Rower)
	if !ok {
		return
	}
	row := rower.Row()
	const count = 5000
	for seq := uint64(1); seq <= count; {
		from.push(t, &transport.Envelope{Verb: transport.VerbTell, Seq: seq, Target: "alice", Body: pattern(int(seq), 20)})
		seq++
		row.Lend("alice", transport.Grant{}, seq, int(min(seq%100, count+1-seq)))
		for i := seq; row.Append("alice", 0, 0, pattern(int(i), 20)); i++ {
		}
		seq += uint64(row.Settle())
	}
	for i, got := range to.in.waitFor(count) {
		if got.Seq != uint64(i+1) || got.Target != "alice" || !bytes.Equal(got.Body, pattern(i+1, 20)) {
			t.Fatalf("message %d arrived as %+v", i+1, got)
		}
	}
}

func testManySenders(t *testing.T, cfg Config) {
	a, b := newPair(t, cfg)
	from, to := link(t, a, b)
	const senders, each = 32, 300
	var wg sync.WaitGroup
	for s := range senders {
		wg.Go(func() {
			for i := range each {
				from.push(t, &transport.Envelope{Verb: transport.VerbTell, TypeID: uint64(s), Seq: uint64(i)})
			}
		})
	}
	wg.Wait()
	var next [senders]uint64
	for _, got := range to.in.waitFor(senders * each) {
		if got.Seq != next[got.TypeID] {
			t.Fatalf("sender %d: number %d, want %d", got.TypeID, got.Seq, next[got.TypeID])
		}
		next[got.TypeID]++
	}
}

// testManyLinks opens several links between the same two nodes. Each must carry only its own
// messages.
func testManyLinks(t *testing.T, cfg Config) {
	a, b := newPair(t, cfg)
	const links, each = 8, 50
	var from, to [links]side
	for i := range links {
		from[i], to[i] = link(t, a, b)
	}
	for i := range links {
		for range each {
			from[i].push(t, &transport.Envelope{Verb: transport.VerbTell, Seq: uint64(i)})
		}
	}
	for i := range links {
		for _, got := range to[i].in.waitFor(each) {
			if got.Seq != uint64(i) {
				t.Fatalf("link %d got an envelope of link %d", i, got.Seq)
			}
		}
	}
	from[0].Close(errors.New("test over"))
	to[0].in.waitClosed()
	from[1].push(t, &transport.Envelope{Verb: transport.VerbTell, Seq: 1})
	to[1].in.waitFor(each + 1)
}

func testReplyFromReceive(t *testing.T, cfg Config) {
	a, b := newPair(t, cfg)
	b.onAccept = func(l transport.Link, in *inbox) {
		in.on = func(e *transport.Envelope) {
			if _, err := l.Send(&transport.Envelope{Verb: transport.VerbReply, Seq: e.Seq}); err != nil {
				t.Errorf("send from Receive: %v", err)
			}
		}
	}
	from, _ := link(t, a, b)
	const count = 1000
	for i := range count {
		from.push(t, &transport.Envelope{Verb: transport.VerbRequest, Seq: uint64(i)})
		if i < 10 {
			from.in.waitFor(i + 1) // at first one at a time, then a stream
		}
	}
	for i, got := range from.in.waitFor(count) {
		if got.Seq != uint64(i) {
			t.Fatalf("reply %d is number %d", i, got.Seq)
		}
	}
}

// blockReceiver makes b's receivers wait until the returned function is called.
func blockReceiver(t testing.TB, b *node) (unblock func()) {
	gate := make(chan struct{})
	unblock = sync.OnceFunc(func() { close(gate) })
	t.Cleanup(unblock) // runs before the transports close
	b.onAccept = func(_ transport.Link, in *inbox) {
		in.on = func(*transport.Envelope) { <-gate }
	}
	return unblock
}

// fill sends until the queue is full, and returns the positions of the messages that it accepted.
func fill(t testing.TB, s side) (places []uint64) {
	t.Helper()
	body := make([]byte, 32<<10)
	for range 1 << 16 {
		at, err := s.Send(&transport.Envelope{Verb: transport.VerbRequest, Seq: uint64(len(places)), Body: body})
		if errors.Is(err, transport.ErrFull) {
			return places
		}
		if err != nil {
			t.Fatalf("send: %v", err)
		}
		places = append(places, at)
	}
	t.Fatal("2 GiB sent to a peer that does not read, and never ErrFull")
	return nil
}

func testFullAndDrained(t *testing.T, cfg Config) {
	if !cfg.Backpressure {
		t.Skip("this road has no back-pressure")
	}
	a, b := newPair(t, cfg)
	unblock := blockReceiver(t, b)
	from, to := link(t, a, b)
	room := from.in.whenDrained()
	count := len(fill(t, from))
	// The queue refuses new work, but still accepts answers to admitted requests.
	if _, err := from.Send(&transport.Envelope{Verb: transport.VerbReply, Seq: uint64(count)}); err != nil {
		t.Errorf("reply on a full queue: %v", err)
	}
	unblock()
	<-room
	for i, got := range to.in.waitFor(count + 1) {
		if got.Seq != uint64(i) {
			t.Fatalf("envelope %d is number %d", i, got.Seq)
		}
	}
	from.push(t, &transport.Envelope{Verb: transport.VerbRequest})
	to.in.waitFor(count + 2)
}
