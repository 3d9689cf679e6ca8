package actor_test

// An actor that runs functions of the test.

import (
	"sync"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
)

// Run makes the actor run a function of the test. It is local only.
type Run struct {
	actor.Returns[string]
	F func(*actor.Context) (string, error) `msgpack:"-" json:"-"`
}

// Note is Run as a one-way message.
type Note struct {
	F func(*actor.Context) error `msgpack:"-" json:"-"`
}

// Puppet runs the functions that it is sent. N counts what it has handled since its last
// start.
type Puppet struct{ N int }

var PuppetKind = actor.Define("test.puppet", func() *Puppet { return new(Puppet) },
	actor.Answer(func(p *Puppet, ctx *actor.Context, m Run) (string, error) { p.N++; return m.F(ctx) }),
	actor.Handle(func(p *Puppet, ctx *actor.Context, m Note) error { p.N++; return m.F(ctx) }),
	actor.Answer(func(p *Puppet, ctx *actor.Context, m Count) (int, error) { return p.N, nil }))

// Count is answered with N.
type Count struct{ actor.Returns[int] }

// run returns a Run of f.
func run(f func(*actor.Context) (string, error)) Run { return Run{F: f} }

// note returns a Note of f, which cannot fail.
func note(f func(*actor.Context)) Note {
	return Note{F: func(ctx *actor.Context) error { f(ctx); return nil }}
}

// plug makes an actor's handler wait until unplug is called, so that its mailbox fills.
func plug(t testing.TB, ref actor.Ref) (unplug func()) {
	t.Helper()
	entered, leave := make(chan struct{}), make(chan struct{})
	if err := actor.Tell(t.Context(), ref, note(func(*actor.Context) { close(entered); <-leave })); err != nil {
		t.Fatal(err)
	}
	<-entered
	return sync.OnceFunc(func() { close(leave) })
}

// small gives an actor a mailbox for n messages.
func small(n int, p mailbox.Policy) actor.SpawnOption {
	return actor.Mailbox(mailbox.Config{Capacity: n, Policy: p})
}
