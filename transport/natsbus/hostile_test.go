package natsbus_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/natsbus/permissions"
)

// data is a data packet's payload with one tell of number seq.
func data(t testing.TB, number, seq uint64) []byte {
	return dataOf(t, number, transport.Envelope{Verb: transport.VerbTell, Seq: seq})
}

func dataOf(t testing.TB, number uint64, envelope transport.Envelope) []byte {
	e, err := envelope.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := binary.BigEndian.AppendUint64(nil, number)
	return append(binary.BigEndian.AppendUint32(b, uint32(len(e))), e...)
}

const id1, id2 = "0123456789abcdef", "fedcba9876543210"

func rawPair(t testing.TB, cfg natsbus.Config) (*raw, *bus) {
	srv := startServer(t, embedded.Config{})
	b := startBus(t, connect(t, srv.URL()), "b", cfg)
	return newRaw(t, srv.URL(), "test", "x", "e"), b
}

func TestGarbage(t *testing.T) {
	r, b := rawPair(t, natsbus.Config{})
	to := r.open(b, id1)
	for _, junk := range [][]byte{nil, {1}, bytes.Repeat([]byte{1}, 18), bytes.Repeat([]byte{9}, 100), append([]byte{1, kindOpen | fromDialler}, id2...)} {
		for _, subject := range []string{"test.node.b.e-b.eve", "test.find.b.eve", "test.gone.b.e-b.zz"} {
			if err := r.nc.Publish(subject, junk); err != nil {
				t.Fatal(err)
			}
		}
	}
	bad := r.hello(b)
	bad.Node = "x.>"
	r.say(b.end, "eve", kindOpen|fromDialler, id2, r.offering(bad))
	r.say(b.end, "eve", kindData|fromDialler, id1, data(t, 1, 1))
	to.untilGot(1) // everything above was handled

	cut := data(t, 2, 2)
	r.say(b.end, "eve", kindData|fromDialler, id1, cut[:len(cut)-1])
	if err := to.untilClosed(); !errors.Is(err, transport.ErrProtocol) {
		t.Errorf("link with a cut frame ends with %v, want ErrProtocol", err)
	}
	if kind, link, _ := r.heard(); kind != kindClose || link != id1 {
		t.Errorf("after a cut frame the peer hears kind %d of link %q, want a close", kind, link)
	}
	if n := b.Stats().Malformed; n < 7 {
		t.Errorf("%d malformed packets counted", n)
	}
}

// A bus may lose, duplicate and delay chunks. Chunks that cannot come from that end the link.
func TestHostileChunks(t *testing.T) {
	r, b := rawPair(t, natsbus.Config{})
	whole, err := (&transport.Envelope{Verb: transport.VerbTell, Seq: 7, Body: make([]byte, 100)}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	chunk := func(from, to int) transport.Envelope {
		return transport.Envelope{Verb: transport.VerbChunk, Seq: 1, Mark: transport.Mark{Below: uint64(len(whole))}, TypeID: uint64(from), Body: whole[from:to]}
	}
	to := r.open(b, id1)
	for i, e := range []transport.Envelope{chunk(50, 80), chunk(0, 40), chunk(0, 40), chunk(60, 100), chunk(30, 60), chunk(60, len(whole)), chunk(60, len(whole))} {
		r.say(b.end, "eve", kindData|fromDialler, id1, dataOf(t, uint64(i+1), e))
	}
	r.say(b.end, "eve", kindData|fromDialler, id1, data(t, 8, 8))
	if got := to.untilGot(2); got[0] != 7 || got[1] != 8 {
		t.Errorf("got %d, want the message in chunks, once, and the one behind it", got)
	}
	beyond := chunk(60, len(whole))
	beyond.Seq, beyond.TypeID = 2, uint64(len(whole)-10)
	r.say(b.end, "eve", kindData|fromDialler, id1, dataOf(t, 9, beyond))
	if err := to.untilClosed(); !errors.Is(err, transport.ErrProtocol) {
		t.Errorf("a chunk beyond the end of its message: %v, want ErrProtocol", err)
	}
}

func TestForeignPrincipal(t *testing.T) {
	r, b := rawPair(t, natsbus.Config{})
	to := r.open(b, id1)
	if to.Peer().Principal != "nats:eve" {
		t.Fatalf("peer is %+v", to.Peer())
	}
	r.say(b.end, "mallory", kindData|fromDialler, id1, data(t, 1, 1))
	r.say(b.end, "mallory", kindClose|fromDialler, id1, nil)
	r.say(b.end, "mallory", kindOpen|fromDialler, id1, r.offering(r.hello(b)))
	r.say(b.end, "eve", kindData|fromDialler, id1, data(t, 1, 2))
	if got := to.untilGot(1)[0]; got != 2 {
		t.Errorf("got number %d, want the link's own peer's", got)
	}
	if n := b.Stats().Foreign; n != 3 {
		t.Errorf("%d foreign packets counted, want 3", n)
	}
}

// A link notices what the bus loses. A packet that comes again is dropped, because only somebody who
// has recorded it can have sent it.
func TestGapsAndCopies(t *testing.T) {
	r, b := rawPair(t, natsbus.Config{})
	to := r.open(b, id1)
	say := func(number uint64) { r.say(b.end, "eve", kindData|fromDialler, id1, data(t, number, number)) }
	disturbed := func() int { to.mu.Lock(); defer to.mu.Unlock(); return to.disturbed }
	for _, n := range []uint64{1, 2, 2, 1, 3} {
		say(n)
	}
	if got := to.untilGot(3); !slices.Equal(got, []uint64{1, 2, 3}) {
		t.Errorf("got %d", got)
	}
	if n := disturbed(); n != 0 {
		t.Errorf("disturbed %d times by copies", n)
	}
	say(5)
	say(4)
	say(6)
	if got := to.untilGot(5); !slices.Equal(got, []uint64{1, 2, 3, 5, 6}) {
		t.Errorf("got %d", got)
	}
	if n := disturbed(); n != 1 {
		t.Errorf("disturbed %d times by one gap", n)
	}
	if n := b.Stats().Replayed; n != 3 {
		t.Errorf("%d old packets counted, want 3", n)
	}
}

func TestOpenTwice(t *testing.T) {
	r, b := rawPair(t, natsbus.Config{MaxLinks: 1})
	to := r.open(b, id1)
	r.say(b.end, "eve", kindOpen|fromDialler, id1, r.opens[id1])
	r.say(b.end, "eve", kindOpen|fromDialler, id2, r.offering(r.hello(b)))
	kind, link, payload := r.heard()
	if w, err := transport.ParseWelcome(payload); kind != kindRefuse || link != id2 || err != nil || !errors.Is(w.Err(), transport.ErrBusy) {
		t.Errorf("one link too many: kind %d of link %q, %+v, %v, want a refusal with ErrBusy", kind, link, w, err)
	}
	if len(b.accepted) != 0 {
		t.Error("accepted more than one link")
	}
	r.say(b.end, "eve", kindClose|fromDialler, id1, []byte("enough"))
	if err := to.untilClosed(); !errors.Is(err, transport.ErrClosed) {
		t.Errorf("closed with %v", err)
	}
	r.open(b, id2)
}

// A welcome is repeated until the dialler has proved that it has its keys, by a confirm or by any other
// packet of the link. Before that nothing is accepted.
func TestLostConfirm(t *testing.T) {
	r, b := rawPair(t, natsbus.Config{OpenTimeout: time.Second})
	r.hail(b.end, "eve", id1, r.hello(b))
	if kind, link, _ := r.heard(); kind != kindWelcome || link != id1 {
		t.Fatalf("heard kind %d of link %q, want the welcome again", kind, link)
	}
	if len(b.accepted) != 0 {
		t.Error("accepted before the dialler has proved anything")
	}
	r.say(b.end, "eve", kindData|fromDialler, id1, data(t, 1, 1))
	(<-b.accepted).untilGot(1)
}

func TestUnknownLink(t *testing.T) {
	t.Parallel()
	r, b := rawPair(t, natsbus.Config{})
	r.say(b.end, "eve", kindData|fromDialler, id2, data(t, 1, 1))
	if kind, link, _ := r.heard(); kind != kindReset || link != id2 {
		t.Errorf("data of an unknown link is answered with kind %d of link %q, want a reset", kind, link)
	}
	to := r.open(b, id1)
	r.say(b.end, "eve", kindReset|fromDialler, id1, nil)
	if kind, link, _ := r.heard(); kind != kindAsk || link != id1 {
		t.Errorf("a reset is answered with kind %d of link %q, want an ask", kind, link)
	}
	if err := to.untilClosed(); !errors.Is(err, transport.ErrClosed) {
		t.Errorf("a link that its peer does not know ends with %v", err)
	}
}

// The server's permissions restrict which principal a user can have.
func TestPermissions(t *testing.T) {
	user := func(name, node string) *server.User {
		may := permissions.Node{Cluster: "test", Name: node, Principal: name}.Bus()
		return &server.User{Username: name, Password: "pw", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: may.Publish},
			Subscribe: &server.SubjectPermission{Allow: may.Subscribe},
		}}
	}
	srv := startServer(t, embedded.Config{Configure: func(o *server.Options) {
		halfDeaf := user("carol", "c")
		halfDeaf.Permissions.Subscribe.Allow = halfDeaf.Permissions.Subscribe.Allow[:2] // not "gone"
		o.Users = []*server.User{user("alice", "a"), user("bob", "b"), halfDeaf}
	}})
	as := func(name string) *nats.Conn { return connect(t, srv.URL(), nats.UserInfo(name, "pw")) }
	a := startBus(t, as("alice"), "a", natsbus.Config{Principal: "alice", OpenTimeout: time.Hour})
	b := startBus(t, as("bob"), "b", natsbus.Config{Principal: "bob"})
	from, to := link(t, a, b)
	if from.Peer().Principal != "nats:bob" || to.Peer().Principal != "nats:alice" {
		t.Errorf("peers are %+v and %+v", from.Peer(), to.Peer())
	}
	byName, err := a.dial(t, transport.Endpoint{Node: "b"})
	if err != nil || byName.Peer() != from.Peer() {
		t.Errorf("dial without an epoch: %v", err)
	}
	<-b.accepted // it was accepted, too
	if _, err := a.dial(t, transport.Endpoint{Node: "c"}); !errors.Is(err, transport.ErrNoPeer) {
		t.Errorf("dial nobody: %v, want ErrNoPeer", err)
	}
	before := b.Stats().PacketsIn
	if err := b.nc.Publish("test.node.b.e-b.alice", []byte("bob as alice")); err != nil {
		t.Fatal(err)
	}
	from.send(1)
	to.untilGot(1)
	if n := b.Stats().PacketsIn - before; n != 1 {
		t.Errorf("%d packets came through, want only alice's own", n)
	}

	for name, c := range map[string]struct{ user, principal, node string }{
		"somebody else's principal": {"bob", "alice", "b"},
		"nobody's principal":        {"bob", transport.Anonymous, "b"},
		"somebody else's node":      {"bob", "bob", "a"},
		"one subject missing":       {"carol", "carol", "c"},
	} {
		tr := natsbus.New(as(c.user), natsbus.Config{Principal: c.principal})
		local := b.local
		local.Node, local.Epoch = c.node, "other"
		if _, err := tr.Start(t.Context(), local, nil); !errors.Is(err, natsbus.ErrPermissions) {
			t.Errorf("%s: %v, want ErrPermissions", name, err)
		}
	}
}
