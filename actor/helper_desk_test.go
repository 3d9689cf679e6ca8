package actor_test

// Workers of pools. Their messages travel over roads.

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tandem-go/tandem/actor"
)

type (
	// Slip is a one-way message, and Whom a request that is answered with the worker's name.
	Slip struct {
		Customer string
		N        int
	}
	Whom struct {
		actor.Returns[string]
		Customer string
	}
	// Linger is a Whom whose worker waits until the test lets it go on, or its caller cancels.
	Linger struct{ actor.Returns[string] }
	// Series is answered with a stream of numbers.
	Series struct{ actor.Streams[int] }
	// Blunder is a request that fails, and Shy one that is refused.
	Blunder struct{ actor.Returns[string] }
)

func (m Slip) Key() string { return m.Customer }
func (m Whom) Key() string { return m.Customer }

// keyed is what tickets and queries have in common.
type keyed interface{ Key() string }

// Desk is what the workers of a pool share with the test.
type Desk struct {
	Diary
	arrived chan string   // gets the name of a worker that waits
	whoms   atomic.Int64  // how many Whoms were handled
	leave   chan struct{} // has one of them go on
}

func newDesk() *Desk {
	return &Desk{arrived: make(chan string, 100), leave: make(chan struct{})}
}

type deskman struct{ d *Desk }

func number(ctx *actor.Context) string {
	name := ctx.Self().Name()
	return name[strings.LastIndex(name, "/")+1:]
}

func (c deskman) Slip(ctx *actor.Context, m Slip) error {
	c.d.note("%s: %s %d by %s", number(ctx), m.Customer, m.N, ctx.Node())
	return nil
}
func (c deskman) Whom(ctx *actor.Context, m Whom) (string, error) {
	c.d.whoms.Add(1)
	return number(ctx), nil
}
func (c deskman) Linger(ctx *actor.Context, m Linger) (string, error) {
	c.d.arrived <- number(ctx)
	select {
	case <-c.d.leave:
		return number(ctx), nil
	case <-ctx.Done():
		c.d.note("%s: cancelled", number(ctx))
		return "", ctx.Err()
	}
}
func (c deskman) Blunder(ctx *actor.Context, m Blunder) (string, error) { panic("on purpose") }
func (c deskman) Run(ctx *actor.Context, m Run) (string, error)         { return m.F(ctx) }
func (c deskman) Note(ctx *actor.Context, m Note) error                 { return m.F(ctx) }

// clerks is the kind of workers at desk d.
func (d *Desk) clerks(opts ...actor.KindOption) *actor.Kind {
	return actor.Define("test.deskman", func() deskman { return deskman{d} },
		actor.Handle(deskman.Slip), actor.Answer(deskman.Whom), actor.Answer(deskman.Linger), actor.Answer(deskman.Blunder),
		actor.Answer(deskman.Run), actor.Handle(deskman.Note)).With(opts...)
}

// askWho asks for the name of the worker that answers.
func askWho(t testing.TB, r actor.Ref, customer string) string {
	t.Helper()
	who, err := actor.Call(t.Context(), r, Whom{Customer: customer})
	if err != nil {
		t.Error(err)
	}
	return who
}

func tickets(t testing.TB, r actor.Ref, customers string, n int) {
	t.Helper()
	for i := range n {
		for _, c := range strings.Fields(customers) {
			if err := actor.Tell(t.Context(), r, Slip{c, i}); err != nil {
				t.Error(err)
			}
		}
	}
}

// counts returns how many lines of the diary each worker has written.
func (d *Desk) counts() map[string]int {
	n := map[string]int{}
	for _, line := range d.read() {
		who, _, _ := strings.Cut(line, ":")
		n[who]++
	}
	return n
}
