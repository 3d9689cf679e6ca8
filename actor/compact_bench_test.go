package actor_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/transport"
)

// A payment of some 64 bytes, and its receipt.
type (
	Remittance struct {
		actor.Returns[RemittanceReceipt]
		OrderID, CustomerID int64
		AmountCents         int64
		Currency            string
		CreatedAt           int64
		Status              uint8
		Reference           string
	}
	RemittanceReceipt struct {
		OrderID, Sequence int64
		AmountCents       int64
		Accepted          bool
		Reference         string
	}
	RemittanceNote struct {
		OrderID, CustomerID int64
		AmountCents         int64
		Currency            string
		CreatedAt           int64
		Status              uint8
		Reference           string
	}
)

var aRemittance = Remittance{OrderID: 1 << 40, CustomerID: 1 << 33, AmountCents: 129900, Currency: "EUR", CreatedAt: 1764500000, Status: 2, Reference: "inv-2026-0001234"}

type till struct{}

func (till) pay(_ *actor.Context, m Remittance) (RemittanceReceipt, error) {
	return RemittanceReceipt{m.OrderID, 1 << 20, m.AmountCents, true, m.Reference}, nil
}
func (till) note(*actor.Context, RemittanceNote) error { return nil }

var tillKind = actor.Define("bench.till", func() till { return till{} }, actor.Answer(till.pay), actor.Handle(till.note))

// BenchmarkCompact compares bodies with and without the names of fields: a call whose request and reply have some 64 bytes of
// content, and a one-way message. "body-B/op" is the bytes of the bodies of both.
func BenchmarkCompact(b *testing.B) {
	for _, compact := range []bool{false, true} {
		start := func(b *testing.B) actor.Ref {
			reg := static.New()
			node := func(name string) *actor.System {
				return newSystem(b, actor.Config{Name: name, Transports: []transport.Transport{overTCP()}, Registry: reg, Logger: quiet, Compact: compact})
			}
			x, y := node("a"), node("b")
			spawn(b, y, "till", tillKind)
			return x.Ref("till@b")
		}
		c := codec.Msgpack(codec.Limits{})
		if compact {
			c = codec.Compact(codec.Limits{})
		}
		size := func(vs ...any) (n float64) {
			for _, v := range vs {
				body, err := c.Append(nil, v)
				if err != nil {
					b.Fatal(err)
				}
				n += float64(len(body))
			}
			return n
		}
		b.Run(fmt.Sprintf("call/compact=%v", compact), func(b *testing.B) {
			to := start(b)
			for range 1000 {
				if _, err := actor.Call(context.Background(), to, aRemittance); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := actor.Call(context.Background(), to, aRemittance); err != nil {
					b.Fatal(err)
				}
			}
			reply, _ := till{}.pay(nil, aRemittance)
			b.ReportMetric(size(aRemittance, reply), "body-B/op")
		})
		b.Run(fmt.Sprintf("tell/compact=%v", compact), func(b *testing.B) {
			to := start(b)
			p := aRemittance
			m := RemittanceNote{p.OrderID, p.CustomerID, p.AmountCents, p.Currency, p.CreatedAt, p.Status, p.Reference}
			for range 1000 {
				if err := actor.Tell(context.Background(), to, m); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := actor.Tell(context.Background(), to, m); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(size(m), "body-B/op")
		})
	}
}
