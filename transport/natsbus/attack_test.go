package natsbus_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// A packet that parts of NATS publish in a peer's name is not accepted as the peer's.
func TestJetStreamSpeaksInAPeersName(t *testing.T) {
	v := startVictims(t)
	id := v.linkID(t)
	forger := &raw{t: t}
	tell := forger.packet(kindData|fromDialler, id, data(t, 1, 66))
	subject := "test.node.shop.e-shop.bank"
	if err := v.mallory.Publish(subject, tell); err != nil { // the server forbids it
		t.Fatal(err)
	}
	forged := func(n uint64) func(natsbus.Stats) bool {
		return func(s natsbus.Stats) bool { return s.Forged >= n }
	}

	_, stream := v.store(t, "", forger.packet(kindReset|fromDialler, id, nil)) // which has no tag
	if err := v.mallory.PublishRequest("$JS.API.DIRECT.GET."+stream, subject, []byte(`{"seq":1}`)); err != nil {
		t.Fatal(err)
	}
	untilStats(t, v.shop, "a direct get, which has headers, to be dropped", forged(1))

	if err := v.mallory.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+stream+".c", subject, nil); err != nil {
		t.Fatal(err)
	}
	untilStats(t, v.shop, "a consumer's message, which has another subject, to be dropped", forged(2))

	v.inject(t, subject, tell, forger.packet(kindClose|fromDialler, id, []byte("over")), forger.packet(kindAsk|fromDialler, id, data(t, 1, 1)[:8]),
		forger.packet(kindConfirm|fromDialler, id, nil))
	untilStats(t, v.shop, "messages like the peer's own, which have wrong tags, to be dropped", forged(6))

	// On an existing link such packets are dropped, and a hint makes the link ask its peer: bank,
	// which has got its own packets and a welcome, is asked.
	v.inject(t, subject, forger.packet(kindData|fromDialler, id2, data(t, 1, 66)), forger.packet(kindReset|fromDialler, id, nil))
	untilStats(t, v.bank, "an ask", func(s natsbus.Stats) bool { return s.PacketsIn == 3 })

	if err := v.mallory.PublishRequest("$JS.API.STREAM.INFO."+stream, subject, nil); err != nil {
		t.Fatal(err)
	}
	untilStats(t, v.shop, "an answer of JetStream's to be dropped", func(s natsbus.Stats) bool { return s.Malformed+s.Forged >= 7 })
	v.unharmed(t)
}

// Packets that were recorded on the bus are not accepted again.
func TestRecordedPackets(t *testing.T) {
	v := startVictims(t)
	other, otherEnd := link(t, v.bank, v.shop)
	other.send(7)
	otherEnd.untilGot(1)
	otherEnd.send(8)
	other.untilGot(1)
	other.Close(errors.New("over"))
	otherEnd.untilClosed()
	other.untilClosed()
	v.from.send(1)
	v.to.untilGot(1)
	v.to.send(2)
	v.from.untilGot(1)

	var toShop, toBank [][]byte
	for {
		m, err := v.tap.NextMsg(200 * time.Millisecond)
		if err != nil {
			break
		}
		switch {
		case strings.HasPrefix(m.Subject, "test.node.shop.e-shop.bank"):
			toShop = append(toShop, m.Data)
		case strings.HasPrefix(m.Subject, "test.node.bank.e-bank.shop"):
			toBank = append(toBank, m.Data)
		}
	}
	if len(toShop) < 7 || len(toBank) < 4 {
		t.Fatalf("recorded %d and %d packets", len(toShop), len(toBank))
	}
	shopBefore, bankBefore := v.shop.Stats(), v.bank.Stats()
	v.inject(t, "test.node.shop.e-shop.bank", toShop...)
	v.inject(t, "test.node.bank.e-bank.shop", toBank...)
	untilStats(t, v.shop, "all that was recorded", func(s natsbus.Stats) bool { return s.PacketsIn >= shopBefore.PacketsIn+uint64(len(toShop)) })
	untilStats(t, v.bank, "all that was recorded", func(s natsbus.Stats) bool { return s.PacketsIn >= bankBefore.PacketsIn+uint64(len(toBank)) })
	v.from.send(3)
	v.to.send(4)
	if got := v.to.untilGot(2); !slices.Equal(got, []uint64{1, 3}) {
		t.Errorf("shop got %d", got)
	}
	if got := v.from.untilGot(2); !slices.Equal(got, []uint64{2, 4}) {
		t.Errorf("bank got %d", got)
	}
	if len(v.shop.accepted) > 0 {
		t.Error("a recorded open was accepted")
	}
	untilStats(t, v.shop, "the old packet of the link which lives", func(s natsbus.Stats) bool { return s.Replayed > 0 }) // other packets may have come meanwhile
	if n := v.shop.Stats().Replayed; n != 1 {
		t.Errorf("%d old packets counted at shop, want that of the link which lives", n)
	}
}

// Only the newest links of a principal that wait for their peers' proof are kept, up to a limit. The
// links of other principals are not affected.
func TestHalfOpenLinks(t *testing.T) {
	const most = 128
	r, b := rawPair(t, natsbus.Config{OpenTimeout: time.Hour})
	id := func(i int) string { return fmt.Sprintf("%016d", i) }
	for i := range most {
		r.hail(b.end, "eve", id(i), r.hello(b))
	}
	if n := b.Stats().Links; n != most {
		t.Fatalf("%d links wait, want %d", n, most)
	}
	r.hail(b.end, "carol", id2, r.hello(b))
	r.hail(b.end, "eve", id(most), r.hello(b))
	untilStats(t, b, "the oldest to go", func(s natsbus.Stats) bool { return s.Links == most+1 })
	for _, i := range []int{0, 1, most} {
		r.say(b.end, "eve", kindConfirm|fromDialler, id(i), nil)
	}
	r.say(b.end, "carol", kindConfirm|fromDialler, id2, nil)
	for range 3 {
		(<-b.accepted).Close(errors.New("over"))
	}
	if len(b.accepted) > 0 {
		t.Error("the oldest was accepted after all")
	}
}

// With Encrypt nothing of a message can be read on the bus. Either both sides have it, or they refuse
// each other.
func TestEncrypt(t *testing.T) {
	const secret = "the combination is 1-2-3-4-5"
	for _, hides := range []bool{false, true} {
		srv := startServer(t, embedded.Config{})
		a := startBus(t, connect(t, srv.URL()), "a", natsbus.Config{Encrypt: hides})
		b := startBus(t, connect(t, srv.URL()), "b", natsbus.Config{Encrypt: hides})
		tap := listen(t, connect(t, srv.URL()))
		from, to := link(t, a, b)
		bodies := make(chan string, 2)
		to.on = func(e *transport.Envelope) { bodies <- string(e.Body) }
		for range 2 {
			if _, err := from.Send(&transport.Envelope{Verb: transport.VerbTell, Seq: 1, Body: []byte(secret)}); err != nil {
				t.Fatal(err)
			}
			if got := <-bodies; got != secret {
				t.Errorf("got %q", got)
			}
		}
		from.Close(errors.New(secret))
		to.untilClosed()
		seen := false
		for m, err := tap.NextMsg(time.Second); err == nil && m.Data[1] != kindClose|fromDialler; m, err = tap.NextMsg(time.Second) {
			seen = seen || bytes.Contains(m.Data, []byte(secret[4:10]))
		}
		if seen == hides {
			t.Errorf("encryption %v: the bus has seen the secret: %v", hides, seen)
		}
		c := startBus(t, connect(t, srv.URL()), "c", natsbus.Config{Encrypt: !hides})
		for _, pair := range [][2]*bus{{a, c}, {c, a}} {
			if _, err := pair[0].dial(t, pair[1].end); !errors.Is(err, transport.ErrDenied) {
				t.Errorf("%s to %s: %v, want ErrDenied", pair[0].local.Node, pair[1].local.Node, err)
			}
		}
	}
}
