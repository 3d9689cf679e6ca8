//go:build !race

package actor_test

import (
	"context"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"

	"github.com/tandem-go/tandem/actor"
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

// depot says when it has taken as many messages as were announced.
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

// allocations returns how many times each of n operations allocates in the mean, in the
// whole process, without a collection that would empty the pools. What an operation
// needs only now and then, such as contexts by the slab, may cost it a fraction.
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
	const burst = 512 // within a mailbox
	sys := newSystem(t, actor.Config{Logger: quiet})
	d := &depot{want: burst, done: make(chan struct{}), answer: new(parcel)}
	kind := actor.Define("depot", func() *depot { return d },
		actor.Handle((*depot).pointer), actor.Handle((*depot).value), actor.Answer((*depot).ask), actor.Answer((*depot).byValue))
	ref, caller := spawn(t, sys, "depot", kind), spawn(t, sys, "caller", PuppetKind)
	ctx, m, q := context.Background(), new(parcel), new(parcelQuestion)
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
		{"a call", 1, func() {
			for range burst {
				_, err := actor.Call(ctx, ref, q)
				must(err)
			}
		}},
		{"a handler's call", 1, func() {
			_, err := actor.Call(ctx, caller, run(func(ctx *actor.Context) (string, error) {
				for range burst {
					_, err := actor.Call(ctx, ref, q)
					must(err)
				}
				return "", nil
			}))
			must(err)
		}},
		{"a call by value", 1, func() {
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
