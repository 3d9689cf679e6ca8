package natsbus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// victims are two nodes with a link, on a server whose users are confined as
// docs/nats-permissions.md says, somebody who hears everything, and somebody who may use
// JetStream, and publish to no node.
type victims struct {
	bank, shop *bus
	from, to   *end // the link's ends at bank and at shop
	tap        *nats.Subscription
	mallory    *nats.Conn
	streams    int
}

func startVictims(t *testing.T) *victims {
	node := func(name string) *server.User {
		return &server.User{Username: name, Password: "pw", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"test.node.*.*." + name, "test.find.*." + name}},
			Subscribe: &server.SubjectPermission{Allow: []string{"test.node." + name + ".*.*", "test.find." + name + ".*", "test.gone." + name + ".*.*"}},
		}}
	}
	srv := startServer(t, embedded.Config{Configure: func(o *server.Options) {
		o.Users = []*server.User{node("bank"), node("shop"), {Username: "tap", Password: "pw"},
			{Username: "mallory", Password: "pw", Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: []string{"$JS.API.>", "mallory.>"}},
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
			}}}
	}})
	as := func(name string) *nats.Conn { return connect(t, srv.URL(), nats.UserInfo(name, "pw")) }
	v := &victims{mallory: as("mallory"), tap: listen(t, as("tap"))}
	v.bank, v.shop = startBus(t, as("bank"), "bank", natsbus.Config{}), startBus(t, as("shop"), "shop", natsbus.Config{})
	v.from, v.to = link(t, v.bank, v.shop)
	return v
}

// listen subscribes to all that is said on the bus.
func listen(t *testing.T, nc *nats.Conn) *nats.Subscription {
	t.Helper()
	tap, err := nc.SubscribeSync("test.>")
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return tap
}

// store has JetStream keep packets of mallory's, under the subject named if that is not empty.
func (v *victims) store(t *testing.T, subject string, packets ...[]byte) (js nats.JetStreamContext, stream string) {
	t.Helper()
	js, err := v.mallory.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	v.streams++
	stream = fmt.Sprintf("m%d", v.streams)
	own := fmt.Sprintf("mallory.%d", v.streams)
	cfg := &nats.StreamConfig{Name: stream, Subjects: []string{own}, Storage: nats.MemoryStorage, AllowDirect: true}
	if subject != "" {
		cfg.SubjectTransform = &nats.SubjectTransformConfig{Source: own, Destination: subject}
	}
	if _, err := js.AddStream(cfg); err != nil {
		t.Fatal(err)
	}
	for _, p := range packets {
		if _, err := js.Publish(own, p); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := js.AddConsumer(stream, &nats.ConsumerConfig{Durable: "c", AckPolicy: nats.AckNonePolicy, FilterSubject: subject}); err != nil {
		t.Fatal(err)
	}
	return js, stream
}

// inject has JetStream publish packets to a subject, as they would be if the subject's own
// user had published them.
func (v *victims) inject(t *testing.T, subject string, packets ...[]byte) {
	t.Helper()
	_, stream := v.store(t, subject, packets...)
	for range packets {
		if err := v.mallory.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+stream+".c", subject, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// untilStats waits until the counters of b satisfy ok.
func untilStats(t *testing.T, b *bus, what string, ok func(natsbus.Stats) bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(b.Stats()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s; %+v", what, b.Stats())
		}
	}
}

// The link goes on, and neither end has got anything but what the other sent.
func (v *victims) unharmed(t *testing.T) {
	t.Helper()
	v.from.send(1001)
	v.to.send(1002)
	if got := v.to.untilGot(1); !slices.Equal(got, []uint64{1001}) {
		t.Errorf("shop got %d", got)
	}
	if got := v.from.untilGot(1); !slices.Equal(got, []uint64{1002}) {
		t.Errorf("bank got %d", got)
	}
	if len(v.shop.accepted)+len(v.bank.accepted) > 0 {
		t.Error("a link was accepted that nobody opened")
	}
}

// linkID is that of the victims' link.
func (v *victims) linkID(t *testing.T) string {
	t.Helper()
	for {
		m, err := v.tap.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(m.Subject, "test.node.shop.") && m.Data[1] == kindConfirm|fromDialler {
			return string(m.Data[2:18])
		}
	}
}

// What parts of NATS publish in a peer's name is not the peer's word.
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

	// In an old link nobody hears anything, and what is a hint only is looked into: bank, which
	// has heard itself and a welcome, is asked.
	v.inject(t, subject, forger.packet(kindData|fromDialler, id2, data(t, 1, 66)), forger.packet(kindReset|fromDialler, id, nil))
	untilStats(t, v.bank, "an ask", func(s natsbus.Stats) bool { return s.PacketsIn == 3 })

	if err := v.mallory.PublishRequest("$JS.API.STREAM.INFO."+stream, subject, nil); err != nil {
		t.Fatal(err)
	}
	untilStats(t, v.shop, "an answer of JetStream's to be dropped", func(s natsbus.Stats) bool { return s.Malformed+s.Forged >= 7 })
	v.unharmed(t)
}

// What was recorded on the bus is good for nothing.
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
	if n := v.shop.Stats().Replayed; n != 1 {
		t.Errorf("%d old packets counted at shop, want that of the link which lives", n)
	}
}

// answering is a raw peer and a node that dials it.
func answering(t *testing.T, cfg natsbus.Config) (*raw, *bus, *raw) {
	srv := startServer(t, embedded.Config{})
	a := startBus(t, connect(t, srv.URL()), "a", cfg)
	return newRaw(t, srv.URL(), "test", "x", "e"), a, newRaw(t, srv.URL(), "test", "mallory", "e")
}

// answer answers the open that r hears, as node x, with static as the own key.
func (r *raw) answer(a *bus, principal, link string, open []byte, w transport.Welcome) {
	r.t.Helper()
	payload := w.Append(slices.Concat([]byte{0}, r.fresh.PublicKey().Bytes(), r.static.PublicKey().Bytes()))
	welcome := slices.Concat([]byte{1, kindWelcome}, []byte(link), payload)
	r.agree(link, false, r.static, open[1:33], open[33:65], slices.Concat([]byte{1, kindOpen | fromDialler}, []byte(link), open), welcome, "anonymous "+principal)
	r.say(a.end, principal, kindWelcome, link, payload)
}

func (r *raw) heardOpen() (link string, open []byte) {
	r.t.Helper()
	kind, link, open := r.heard()
	if kind != kindOpen|fromDialler {
		r.t.Fatalf("heard kind %d, want an open", kind)
	}
	return link, open
}

var okay = transport.Welcome{Version: transport.Version, Node: "x", Epoch: "e"}

// Somebody who knows node, epoch and link cannot answer in the peer's place, nor refuse.
func TestForgedWelcome(t *testing.T) {
	x, a, mallory := answering(t, natsbus.Config{})
	dialled := make(chan error, 1)
	go func() {
		_, err := a.dial(t, transport.Endpoint{Node: "x", Epoch: "e", Addr: x.address()})
		dialled <- err
	}()
	link, open := x.heardOpen()
	refused := okay
	refused.Status, refused.Reason = transport.StatusDenied, "go away"
	mallory.answer(a, "x", link, open, okay)
	mallory.answer(a, "x", link, open, refused)
	mallory.say(a.end, "x", kindRefuse, link, refused.Append(nil))
	bare := slices.Concat([]byte{0}, x.fresh.PublicKey().Bytes(), x.static.PublicKey().Bytes()) // the key is public
	delete(mallory.mine, link)
	mallory.say(a.end, "x", kindWelcome, link, okay.Append(slices.Clone(bare)))
	mallory.say(a.end, "x", kindWelcome, link, refused.Append(slices.Clone(bare)))
	mallory.say(a.end, "x", kindWelcome, link, []byte("junk"))
	untilStats(t, a, "forged welcomes", func(s natsbus.Stats) bool { return s.Forged == 4 && s.Malformed == 1 })
	x.answer(a, "x", link, open, okay)
	if err := <-dialled; err != nil {
		t.Fatal(err)
	}
	if kind, _, _ := x.heard(); kind != kindConfirm|fromDialler {
		t.Errorf("the peer hears kind %d, want a confirm", kind)
	}
	x.answer(a, "x", link, open, okay) // whose confirm was lost
	if kind, _, _ := x.heard(); kind != kindConfirm|fromDialler {
		t.Errorf("the peer hears kind %d, want the confirm again", kind)
	}
}

// A node with another key than the registry says is not dialled, and gets nothing.
func TestHostileAnswerer(t *testing.T) {
	t.Parallel()
	x, a, true_ := answering(t, natsbus.Config{OpenTimeout: time.Second})
	dialled := make(chan error, 1)
	go func() {
		_, err := a.dial(t, transport.Endpoint{Node: "x", Epoch: "e", Addr: true_.address()})
		dialled <- err
	}()
	link, open := x.heardOpen()
	x.answer(a, "x", link, open, okay)
	if err := <-dialled; !errors.Is(err, transport.ErrDenied) {
		t.Errorf("got %v, want ErrDenied", err)
	}
	if n := a.Stats().Links; n != 0 {
		t.Errorf("%d links are left", n)
	}
	for _, addr := range []string{"x25519:", "x25519:AAAA", "x25519:" + strings.Repeat("A", 44), "tcp:1", "x25519:?"} {
		if _, err := a.dial(t, transport.Endpoint{Node: "x", Epoch: "e", Addr: addr}); !errors.Is(err, transport.ErrNoPeer) {
			t.Errorf("address %q: %v, want ErrNoPeer", addr, err)
		}
	}
}

// A refusal that anybody may have sent counts once no better answer has come.
func TestRefusedForWantOfRoom(t *testing.T) {
	x, a, _ := answering(t, natsbus.Config{OpenTimeout: 500 * time.Millisecond})
	dialled := make(chan error, 1)
	go func() {
		_, err := a.dial(t, transport.Endpoint{Node: "x", Epoch: "e", Addr: x.address()})
		dialled <- err
	}()
	link, _ := x.heardOpen()
	full := okay
	full.Status, full.Reason = transport.StatusBusy, "full"
	x.say(a.end, "x", kindRefuse, link, full.Append(nil))
	if err := <-dialled; !errors.Is(err, transport.ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
}

// Who a peer is says the registry.
func TestWhoDials(t *testing.T) {
	r := func(addr string, err error) func(bool) (string, error) {
		return func(bool) (string, error) { return addr, err }
	}
	away := errors.New("away")
	for name, c := range map[string]struct {
		lookup func(anew bool) (string, error) // the own key stands for "own"
		want   string
		dial   error
	}{
		"the key of the record":  {r("own", nil), "nats:alice", nil},
		"another key":            {r(natsbus.Address(x25519(t).PublicKey()), nil), "", transport.ErrDenied},
		"a record without a key": {r("", nil), "nats:alice", nil},
		"no record":              {r("", transport.ErrNoPeer), transport.Anonymous, nil},
		"a record not cached yet": {func(anew bool) (string, error) {
			return map[bool]string{true: "own"}[anew], map[bool]error{false: transport.ErrNoPeer}[anew]
		}, "nats:alice", nil},
		"a registry that was away": {func(anew bool) (string, error) {
			return map[bool]string{true: "own"}[anew], map[bool]error{false: away}[anew]
		}, "nats:alice", nil},
	} {
		t.Run(name, func(t *testing.T) {
			srv := startServer(t, embedded.Config{})
			a := startBus(t, connect(t, srv.URL()), "a", natsbus.Config{Principal: "alice"})
			b := startKnowing(t, connect(t, srv.URL()), func(_ context.Context, node, epoch string, anew bool) (string, error) {
				if node == "alice" && epoch == "" {
					return "", transport.ErrNoPeer
				}
				if node != "a" || epoch != "e-a" {
					t.Errorf("asked for %s in epoch %s", node, epoch)
				}
				addr, err := c.lookup(anew)
				if addr == "own" {
					addr = a.end.Addr
				}
				return addr, err
			})
			_, err := a.dial(t, b.end)
			if !errors.Is(err, c.dial) {
				t.Fatalf("dial: %v, want %v", err, c.dial)
			}
			if c.dial != nil {
				if len(b.accepted) > 0 || b.Stats().Refused != 1 {
					t.Errorf("%d links accepted, %+v", len(b.accepted), b.Stats())
				}
				return
			}
			if got := (<-b.accepted).Peer().Principal; got != c.want {
				t.Errorf("the principal is %q, want %q", got, c.want)
			}
		})
	}
}

// Who may have JetStream publish under any subject is no other node by that, neither where it
// dials nor where it answers.
func TestANodesNameAsPrincipal(t *testing.T) {
	addrs := map[string]string{}
	lookup := func(_ context.Context, node, _ string, _ bool) (string, error) {
		if addr, ok := addrs[node]; ok {
			return addr, nil
		}
		return "", transport.ErrNoPeer
	}
	srv := startServer(t, embedded.Config{})
	shop := startBusWith(t, connect(t, srv.URL()), "shop", natsbus.Config{Principal: "shop"}, lookup)
	bank := startBus(t, connect(t, srv.URL()), "bank", natsbus.Config{Principal: "bank"})
	thief := startBus(t, connect(t, srv.URL()), "thief", natsbus.Config{Principal: "bank"})
	honest := startBus(t, connect(t, srv.URL()), "till-1", natsbus.Config{Principal: "till"})
	for _, b := range []*bus{shop, bank, thief, honest} {
		addrs[b.local.Node] = b.end.Addr
	}
	for _, pair := range [][2]*bus{{thief, shop}, {shop, thief}} {
		if _, err := pair[0].dial(t, pair[1].end); !errors.Is(err, transport.ErrDenied) {
			t.Errorf("%s to %s: %v, want ErrDenied", pair[0].local.Node, pair[1].local.Node, err)
		}
	}
	for _, b := range []*bus{bank, honest} {
		link(t, b, shop)
		link(t, shop, b)
	}
}

// What the registry says only when it is asked anew ends a link before it is accepted.
func TestRefusedAfterAll(t *testing.T) {
	for name, later := range map[string]struct {
		addr string
		err  error
	}{"another key": {natsbus.Address(x25519(t).PublicKey()), nil}, "no answer": {"", errors.New("away")}} {
		t.Run(name, func(t *testing.T) {
			srv := startServer(t, embedded.Config{})
			a := startBus(t, connect(t, srv.URL()), "a", natsbus.Config{Principal: "alice"})
			b := startKnowing(t, connect(t, srv.URL()), func(_ context.Context, _, _ string, anew bool) (string, error) {
				if !anew {
					return "", transport.ErrNoPeer
				}
				return later.addr, later.err
			})
			from, err := a.dial(t, b.end)
			if err != nil {
				t.Fatal(err)
			}
			if err := from.untilClosed(); !errors.Is(err, transport.ErrClosed) {
				t.Errorf("the link ends with %v", err)
			}
			if len(b.accepted) > 0 || b.Stats().Refused != 1 {
				t.Errorf("%d links accepted, %+v", len(b.accepted), b.Stats())
			}
		})
	}
}

// Of the links of one principal that wait for their peers' proof only so many are kept, the
// newest ones, and others' do not suffer.
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

// With Encrypt the bus carries nothing of a message that can be read, and both sides want it,
// or neither.
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
