//go:build !race

package actor_test

import (
	"context"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
)

type parcel struct{ Data [64]byte }

type parcelQuestion struct {
	actor.Returns[*parcel]
	Data [64]byte
}

type valueQuestion struct {
	actor.Returns[parcel]
	Data [64]byte
}

// undeclared is a request that does not say how it is answered.
type undeclared struct{ Data [64]byte }

// depot is an actor that reports when it has handled as many messages as were announced.
type depot struct {
	taken, want int
	done        chan struct{}
	answer      *parcel
}

func (d *depot) take() error {
	if d.taken++; d.taken == d.want {
		d.taken = 0
		d.done <- struct{}{}
	}
	return nil
}

func (d *depot) pointer(*actor.Context, *parcel) error { return d.take() }
func (d *depot) value(*actor.Context, parcel) error    { return d.take() }
func (d *depot) ask(*actor.Context, *parcelQuestion) (*parcel, error) {
	return d.answer, nil
}

func (d *depot) byValue(_ *actor.Context, q valueQuestion) (parcel, error) {
	return parcel{q.Data}, nil
}

func (d *depot) undeclared(*actor.Context, *undeclared) (*parcel, error) { return d.answer, nil }
func (d *depot) asValue(_ *actor.Context, m undeclared) (parcel, error)  { return parcel(m), nil }

// allocations returns how many allocations each of n operations causes on average, in the
// whole process. The garbage collector is off, because it would empty the pools. An operation
// may take a fraction of an allocation for what is allocated only now and then.
func allocations(n int, round func()) float64 {
	const rounds = 64
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for range rounds { // storage grows, workers start
		round()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		round()
	}
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / float64(n*rounds)
}

func TestAllocations(t *testing.T) {
	const burst = 512 // fits into a mailbox
	sys := newSystem(t, actor.Config{Logger: quiet})
	d := &depot{want: burst, done: make(chan struct{}), answer: new(parcel)}
	kind := actor.Define("depot", func() *depot { return d },
		actor.Handle((*depot).pointer), actor.Handle((*depot).value), actor.Answer((*depot).ask), actor.Answer((*depot).byValue),
		actor.AnswerAs((*depot).undeclared), actor.AnswerAs((*depot).asValue))
	ref, caller := spawn(t, sys, "depot", kind, actor.Expose("depots")), spawn(t, sys, "caller", PuppetKind)
	ctx, m, q, json := context.Background(), new(parcel), new(parcelQuestion), codec.JSON(codec.Limits{})
	depots := sys.Service("depots")
	names := make([]string, 0, 2*64*burst)
	for i := range cap(names) {
		names = append(names, "a"+strconv.Itoa(i))
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		what  string
		most  float64
		round func() // burst operations
	}{
		{"a pointer told", 0, func() {
			for range burst {
				must(actor.Tell(ctx, ref, m))
			}
			<-d.done
		}},
		{"a value told", 0, func() {
			for range burst {
				must(actor.Tell(ctx, ref, *m))
			}
			<-d.done
		}},
		{"a pointer told with an option", 0, func() {
			for range burst {
				must(actor.Tell(ctx, ref, m, rpc.Acked()))
			}
			<-d.done
		}},
		{"a value told with options", 0, func() {
			for range burst {
				must(actor.Tell(ctx, ref, *m, rpc.Acked(), rpc.Affinity("x"), rpc.WithCodec(json)))
			}
			<-d.done
		}},
		{"a call", 0, func() {
			for range burst {
				_, err := actor.Call(ctx, ref, q)
				must(err)
			}
		}},
		{"a call that names its reply", 0, func() {
			u := new(undeclared)
			for range burst {
				_, err := actor.CallAs[*parcel](ctx, ref, u)
				must(err)
			}
		}},
		{"the same, of a value", 0, func() {
			for range burst {
				_, err := actor.CallAs[parcel](ctx, ref, undeclared{})
				must(err)
			}
		}},
		{"a call with an option", 0, func() {
			for range burst {
				_, err := actor.Call(ctx, ref, q, rpc.Idempotent())
				must(err)
			}
		}},
		{"a pointer told to a service", 0, func() {
			for range burst {
				must(actor.Tell(ctx, depots, m))
			}
			<-d.done
		}},
		{"a call of a service", 0, func() {
			for range burst {
				_, err := actor.Call(ctx, depots, q)
				must(err)
			}
		}},
		{"a handler's call", 0, func() {
			_, err := actor.Call(ctx, caller, run(func(ctx *actor.Context) (string, error) {
				for range burst {
					_, err := actor.Call(ctx, ref, q)
					must(err)
				}
				return "", nil
			}))
			must(err)
		}},
		{"a call by value", 0, func() {
			for range burst {
				_, err := actor.Call(ctx, ref, valueQuestion{Data: m.Data})
				must(err)
			}
		}},
		{"a spawn", 3, func() {
			for range burst {
				_, err := sys.Spawn(names[0], kind)
				must(err)
				names = names[1:]
			}
		}},
	} {
		n := allocations(burst, row.round)
		t.Logf("%s: %.3f allocations", row.what, n)
		if n > row.most+0.1 {
			t.Errorf("%s: %.2f allocations, want %v", row.what, n, row.most)
		}
	}
}
