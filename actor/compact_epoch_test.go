package actor_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/deadletter"
	"github.com/tandem-go/tandem/ledger/storetest"
	"github.com/tandem-go/tandem/placement/memory"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// compactNet is systems in a bubble, and what each of them sends.
type compactNet struct {
	t    *testing.T
	net  *memnet.Network
	reg  *static.Registry
	sent map[string]*seenBodies
}

func newCompactNet(t *testing.T) *compactNet {
	return &compactNet{t, memnet.New(memnet.Config{Seed: 1, PackTells: true}), static.New(), map[string]*seenBodies{}}
}

func (n *compactNet) start(name string, change ...func(*actor.Config)) *actor.System {
	if n.sent[name] == nil {
		n.sent[name] = watchBodies()
	}
	cfg := actor.Config{Name: name, Registry: n.reg, Logger: quiet, Compact: true, Compression: n.sent[name], Transports: []transport.Transport{n.net.Transport("direct", true)}}
	for _, fn := range change {
		fn(&cfg)
	}
	return newSystem(n.t, cfg)
}

// compacts reports whether a body without names was sent by a node since the last call.
func (n *compactNet) compacts(node string) bool {
	synctest.Wait()
	return slices.Contains(n.sent[node].take(), codec.IDCompact)
}

// supplyTwice calls a supplier twice, so that the second call is compact if it may be.
func supplyTwice(t *testing.T, a *actor.System, at string) {
	t.Helper()
	for range 2 {
		if r, err := actor.Call(t.Context(), a.Ref(at), aSupply("Ann")); err != nil || r.Customer != "Ann" || r.Number != 7 || len(r.Lines) != 2 {
			t.Fatalf("%+v, %v", r, err)
		}
		synctest.Wait()
	}
}

// SupplyV2 is Supply in the next version of the program, with its fields in another order.
type SupplyV2 struct {
	actor.Returns[SuppliesV2]
	Amount             int64
	Currency, Customer string
	Lines              []SupplyLine
}

type SuppliesV2 struct {
	Lines    []SupplyLine
	Customer string
	Number   int64
}

func (Supply) WireName() string     { return "test.supply" }
func (SupplyV2) WireName() string   { return "test.supply" }
func (Supplies) WireName() string   { return "test.supplies" }
func (SuppliesV2) WireName() string { return "test.supplies" }

var supplierV2Kind = actor.Define("compactshop", func() *supplier { return new(supplier) },
	actor.Answer(func(s *supplier, _ *actor.Context, m SupplyV2) (SuppliesV2, error) {
		s.log = append(s.log, m.Customer)
		return SuppliesV2{m.Lines, m.Customer, m.Amount}, nil
	}), actor.Answer((*supplier).supplied))

// TestCompactAcrossRestart: what was agreed upon holds for one start of a node. The next start has another version
// of the types; what is sent to it, one-way too, arrives as it was meant, and so it does at the one after, which has the first version again.
func TestCompactAcrossRestart(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n := newCompactNet(t)
		a, b := n.start("a"), n.start("b")
		spawn(t, b, "shop", supplierKind)
		supplyTwice(t, a, "shop@b")
		if !n.compacts("a") {
			t.Fatal("nothing was agreed upon")
		}
		for version, kind := range []*actor.Kind{supplierV2Kind, supplierKind} {
			if err := b.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			b = n.start("b")
			spawn(t, b, "shop", kind)
			n.compacts("a")
			for range 40 { // the first ones wait for the link
				if err := actor.Tell(t.Context(), a.Ref("shop@b"), aSupply("Bob")); err != nil {
					t.Fatal(err)
				}
			}
			supplyTwice(t, a, "shop@b")
			log, err := actor.Call(t.Context(), a.Ref("shop@b"), Supplied{})
			if err != nil || len(log) != 42 || slices.Contains(log, "EUR") || log[0] != "Bob" || log[41] != "Ann" {
				t.Errorf("version %d: %v, %v", version, log, err)
			}
		}
	})
}

// TestCompactFromAnOlderVersion: a node that does not know the question gets names.
func TestCompactFromAnOlderVersion(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n := newCompactNet(t)
		a, b := n.start("a"), n.start("b")
		actor.BecomeOlder(b)
		spawn(t, b, "shop", supplierKind)
		supplyTwice(t, a, "shop@b")
		supplyTwice(t, a, "shop@b")
		if n.compacts("a") || n.compacts("b") {
			t.Error("a compact body was sent")
		}
	})
}

// TestCompactOneSided: a node that does not ask answers all the same, and what it sends itself has names.
func TestCompactOneSided(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n := newCompactNet(t)
		a, b := n.start("a"), n.start("b", func(cfg *actor.Config) { cfg.Compact = false })
		spawn(t, a, "shop", supplierKind)
		spawn(t, b, "shop", supplierKind)
		supplyTwice(t, a, "shop@b")
		if !n.compacts("a") || !n.compacts("b") {
			t.Error("it does not take compact requests, or does not answer them so")
		}
		supplyTwice(t, b, "shop@a")
		if n.compacts("b") || n.compacts("a") {
			t.Error("it sends compact requests")
		}
	})
}

// TestCompactAtRecordedKinds: requests of which a record may outlive the process have names, and so have their replies. A kind
// that comes later, for messages that were agreed upon, refuses their compact form, which the caller does not notice.
func TestCompactAtRecordedKinds(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n := newCompactNet(t)
		a, store := n.start("a"), new(storetest.Memory)
		durable := supplierKind.With(actor.Durable())
		recorded := func(cfg *actor.Config) { cfg.Store, cfg.Kinds = store, []*actor.Kind{durable} }
		b := n.start("b", recorded)
		spawn(t, b, "plain", supplierKind)
		spawn(t, b, "durable", durable)
		for _, at := range []string{"plain@b", "durable@b"} {
			supplyTwice(t, a, at)
			if n.compacts("a") || n.compacts("b") {
				t.Errorf("%s: a message that a recorded kind takes, too, is compact", at)
			}
		}
		actor.Unrecord[Supply](b) // so that the other node agrees all the same
		supplyTwice(t, n.start("a2"), "plain@b")
		if !n.compacts("a2") {
			t.Fatal("nothing was agreed upon")
		}
		a = n.start("a3")
		supplyTwice(t, a, "plain@b")
		n.compacts("a3")
		n.compacts("b")
		if r, err := actor.Call(t.Context(), a.Ref("durable@b"), aSupply("Ann")); err != nil || r.Customer != "Ann" {
			t.Fatalf("%+v, %v", r, err)
		}
		synctest.Wait()
		if from, to := n.sent["a3"].take(), n.sent["b"].take(); !slices.Equal(from, []uint8{codec.IDCompact, codec.IDMsgpack}) || !slices.Equal(to, []uint8{codec.IDMsgpack}) {
			t.Errorf("codecs %v there, %v back", from, to)
		}
		if _, err := actor.Call(t.Context(), a.Ref("durable@b"), aSupply("Ann"), rpc.Key("k")); err != nil {
			t.Fatal(err)
		}
		n.compacts("a3")
		n.compacts("b")
		if err := b.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		b = n.start("b", recorded)
		spawn(t, b, "durable", durable)
		r, err := actor.Call(t.Context(), a.Ref("durable@b"), aSupply("Ann"), rpc.Key("k")) // the recorded outcome
		if err != nil || r.Customer != "Ann" {
			t.Errorf("%+v, %v", r, err)
		}
		supplyTwice(t, a, "durable@b")
		if n.compacts("a3") || n.compacts("b") {
			t.Error("a body of a recorded request is compact")
		}
		log, err := actor.Call(t.Context(), a.Ref("durable@b"), Supplied{})
		if err != nil || len(log) != 2 {
			t.Errorf("%v, %v", log, err)
		}
	})
}

// TestCompactLettersHaveNames: what a node keeps of a compact message that nobody took can be read by later versions.
func TestCompactLettersHaveNames(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n := newCompactNet(t)
		a, b := n.start("a"), n.start("b")
		spawn(t, b, "shop", supplierKind)
		for range 2 {
			if err := actor.Tell(t.Context(), a.Ref("shop@b"), aSupply("Ann")); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		for range 40 { // many make rows
			if err := actor.Tell(t.Context(), a.Ref("nobody@b"), aSupply("Bob")); err != nil {
				t.Fatal(err)
			}
		}
		if !n.compacts("a") {
			t.Error("nothing was agreed upon")
		}
		kept := b.KeptLetters(deadletter.Filter{})
		if len(kept) != 40 {
			t.Errorf("%d letters", len(kept))
		}
		for _, l := range kept {
			if l.Encoded == nil || l.Encoded.Codec != codec.IDMsgpack || !strings.Contains(string(l.Encoded.Body), "Customer") || l.Type != "test.supply" {
				t.Fatalf("%+v", l)
			}
		}
	})
}

// The messages of a virtual actor that says where it is, and what it was told.
type placeOf struct {
	actor.Returns[placeAnswer]
	Text string
	N    int32
}

type placeAnswer struct {
	Node, Text string
	N          int32
}

type placeTold struct {
	Text string
	N    int32
}

func (placeOf) WireName() string     { return "test.place" }
func (placeAnswer) WireName() string { return "test.place.answer" }
func (placeTold) WireName() string   { return "test.place.told" }

type placeable struct{ told int32 }

var placeableKind = actor.Define("placeable", func() *placeable { return new(placeable) },
	actor.Answer(func(p *placeable, ctx *actor.Context, m placeOf) (placeAnswer, error) {
		return placeAnswer{ctx.System().Name(), m.Text, m.N + p.told}, nil
	}),
	actor.Handle(func(p *placeable, _ *actor.Context, m placeTold) error { p.told += m.N; return nil })).With(actor.Virtual())

// TestCompactVirtualActorsThatMove: compact requests to virtual actors go on to where these have moved, whatever was agreed upon there.
func TestCompactVirtualActorsThatMove(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		n := newCompactNet(t)
		claims := memory.New()
		host := func(cfg *actor.Config) { cfg.Claims, cfg.Kinds = claims, []*actor.Kind{placeableKind} }
		a := n.start("a", func(cfg *actor.Config) { cfg.Claims = claims })
		hosts := map[string]*actor.System{"b": n.start("b", host), "c": n.start("c", host)}
		time.Sleep(5 * time.Second)
		ref := a.Virtual(placeableKind, "x")
		ask := func() placeAnswer {
			t.Helper()
			r, err := actor.Call(t.Context(), ref, placeOf{Text: "where", N: 7})
			if err != nil || r.Text != "where" {
				t.Fatalf("%+v, %v", r, err)
			}
			synctest.Wait()
			return r
		}
		first := ask()
		if ask(); !n.compacts("a") || !n.compacts(first.Node) {
			t.Error("nothing was agreed upon")
		}
		if err := hosts[first.Node].Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := actor.Tell(t.Context(), ref, placeTold{"told", 3}); err != nil {
			t.Fatal(err)
		}
		second := ask()
		if second.Node == first.Node || second.N != 10 {
			t.Errorf("first %+v, then %+v", first, second)
		}
		n.compacts("a")
		if ask(); !n.compacts("a") {
			t.Error("nothing was agreed upon with the other host")
		}
	})
}

// TestCompactByAllVerbs: Ask, Tell, acked and in rows, Call and jobs.
func TestCompactByAllVerbs(t *testing.T) {
	for _, road := range []bool{true, false} {
		bubble.Test(t, func(t *testing.T) {
			n := newCompactNet(t)
			on := func(cfg *actor.Config) { cfg.Transports = []transport.Transport{n.net.Transport("road", road)} }
			a, b := n.start("a", on), n.start("b", on)
			spawn(t, b, "shop", supplierKind)
			ref := a.Ref("shop@b")
			verbs := map[string]func(ctx context.Context) error{
				"ask": func(ctx context.Context) error {
					_, err := actor.Ask(ctx, ref, aSupply("Ann")).Await(ctx)
					return err
				},
				"tell":  func(ctx context.Context) error { return actor.Tell(ctx, ref, aSupply("Ann")) },
				"acked": func(ctx context.Context) error { return actor.Tell(ctx, ref, aSupply("Ann"), rpc.Acked()) },
				"headers": func(ctx context.Context) error {
					return actor.Tell(ctx, ref, aSupply("Ann"), rpc.WithHeader("k", "v"))
				},
				"call": func(ctx context.Context) error { _, err := actor.Call(ctx, ref, aSupply("Ann")); return err },
			}
			calls := 0
			for name, verb := range verbs {
				for range 30 {
					if err := verb(t.Context()); err != nil {
						t.Errorf("%s: %v", name, err)
					}
					calls++
					synctest.Wait()
				}
				if !n.compacts("a") {
					t.Errorf("%s is not compact", name)
				}
				n.compacts("b")
			}
			token, err := actor.Submit(t.Context(), ref, aSupply("Ann"))
			if err != nil {
				t.Fatal(err)
			}
			if r, err := token.Await(t.Context()); err != nil || r.Customer != "Ann" {
				t.Errorf("a job: %+v, %v", r, err)
			}
			if _, err := actor.Call(t.Context(), ref, aSupply("Ann"), rpc.Key("k")); err != nil {
				t.Error(err)
			}
			if n.compacts("a") || n.compacts("b") {
				t.Error("a job, or a request with a key, is compact")
			}
			log, err := actor.Call(t.Context(), ref, Supplied{})
			if err != nil || len(log) != calls+2 || strings.Join(log, "") != strings.Repeat("Ann", calls+2) {
				t.Errorf("%d of %d messages have arrived: %v", len(log), calls+2, err)
			}
		})
	}
}
