package actor_test

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/compress"
	"github.com/tandem-go/tandem/transport/memnet"
)

// The messages of an actor that keeps orders.
type (
	Supply struct {
		actor.Returns[Supplies]
		Customer, Currency string
		Amount             int64
		Lines              []SupplyLine
	}
	SupplyLine struct {
		Article string
		Count   int32
	}
	Supplies struct {
		Number   int64
		Customer string
		Lines    []SupplyLine
	}
	Supplied struct{ actor.Returns[[]string] }
)

type supplier struct{ log []string }

func (s *supplier) supply(_ *actor.Context, m Supply) (Supplies, error) {
	s.log = append(s.log, m.Customer)
	return Supplies{m.Amount, m.Customer, m.Lines}, nil
}
func (s *supplier) supplied(*actor.Context, Supplied) ([]string, error) { return s.log, nil }

var supplierKind = actor.Define("compactshop", func() *supplier { return new(supplier) }, actor.Answer((*supplier).supply), actor.Answer((*supplier).supplied))

// seenBodies is a Compressor that compresses nothing and notes the bodies that are sent.
type seenBodies struct {
	*compress.Compressor
	mu   sync.Mutex
	seen []uint8 // their codecs
	size int
}

func watchBodies() *seenBodies { return &seenBodies{Compressor: compress.New(compress.Config{})} }

// Pack implements transport.Compression.
func (s *seenBodies) Pack(codec uint8, _ uint64, body []byte) *transport.Packed {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen, s.size = append(s.seen, codec), s.size+len(body)
	return nil
}

// take returns the codecs of the bodies that were sent since the last call.
func (s *seenBodies) take() []uint8 {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := s.seen
	s.seen = nil
	return got
}

func aSupply(customer string) Supply {
	return Supply{Customer: customer, Currency: "EUR", Amount: 7, Lines: []SupplyLine{{"pen", 2}, {"ink", 1}}}
}

// compactWorld is world with two systems that use compact bodies, and what each sends.
func compactWorld(t *testing.T, roads []string, run func(t *testing.T, a, b *actor.System, sent map[string]*seenBodies), change ...func(*actor.Config)) {
	t.Helper()
	sent := map[string]*seenBodies{}
	world(t, roads, func(t *testing.T, _ *memnet.Network, a, b *actor.System) { run(t, a, b, sent) },
		append([]func(*actor.Config){func(cfg *actor.Config) {
			sent[cfg.Name] = watchBodies()
			cfg.Compact, cfg.Compression = true, sent[cfg.Name]
		}}, change...)...)
}

// TestCompactCall: the first request and its reply have names; once both ends know that they have the same
// schemas, neither has.
func TestCompactCall(t *testing.T) {
	for _, road := range []string{"direct", "bus"} {
		t.Run(road, func(t *testing.T) {
			compactWorld(t, []string{road}, func(t *testing.T, a, b *actor.System, sent map[string]*seenBodies) {
				spawn(t, b, "shop", supplierKind)
				ref := a.Ref("shop@b")
				for i, want := range []uint8{codec.IDMsgpack, codec.IDCompact, codec.IDCompact} {
					got, err := actor.Call(t.Context(), ref, aSupply("Ann"))
					if err != nil || got.Customer != "Ann" || len(got.Lines) != 2 || got.Lines[0] != (SupplyLine{"pen", 2}) || got.Number != 7 {
						t.Fatalf("%d: %+v, %v", i, got, err)
					}
					synctest.Wait() // for the answer of the other node
					from, to := sent["a"].take(), sent["b"].take()
					if i == 0 { // with the question, which goes with names
						from, to = slices.Compact(from), slices.Compact(to)
					}
					if !slices.Equal(from, []uint8{want}) || !slices.Equal(to, []uint8{want}) {
						t.Errorf("%d: bodies of codecs %v there, %v back, want %d", i, from, to, want)
					}
				}
			})
		})
	}
}
