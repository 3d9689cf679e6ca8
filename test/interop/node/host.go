package main

import (
	"fmt"
	"iter"
	"os"
	"slices"
	"time"

	"github.com/tandem-go/tandem/actor"
)

// The messages of an actor that takes part in the patterns.
type (
	Note  struct{ N int } // one-way; all of them come in order
	Notes struct{ actor.Returns[[]int] }
	Dbl   struct {
		actor.Returns[int]
		N int
	}
	Later struct { // answered after its handler has returned
		actor.Returns[int]
		N int
	}
	Bad struct{ actor.Returns[int] } // answered with an error of the application
	Big struct {
		actor.Returns[[]byte]
		Data []byte
	}
	Upto struct {
		actor.Streams[int]
		N int
	}
	Sum  struct{ actor.Collects[int, int] }
	Echo struct{ actor.Converses[int, int] }
	News struct{ N int }
	Hear struct {
		actor.Returns[bool]
		Stop bool
	}
	Heard struct{ actor.Returns[[]int] }
	Item  struct{ N int }
)

// The messages of actors whose requests are counted.
type (
	// Deposit takes some time, if it is to be outstanding for a while.
	Deposit struct {
		actor.Returns[int]
		ID   int
		Work time.Duration
	}
	// Done is what a stored account knows: how often each deposit was made.
	Done struct{ actor.Returns[map[int]int] }
	// Hold runs until its context ends.
	Hold struct{ actor.Returns[int] }
)

func (Note) WireName() string    { return "interop.Note" }
func (Notes) WireName() string   { return "interop.Notes" }
func (Dbl) WireName() string     { return "interop.Dbl" }
func (Later) WireName() string   { return "interop.Later" }
func (Bad) WireName() string     { return "interop.Bad" }
func (Big) WireName() string     { return "interop.Big" }
func (Upto) WireName() string    { return "interop.Upto" }
func (Sum) WireName() string     { return "interop.Sum" }
func (Echo) WireName() string    { return "interop.Echo" }
func (News) WireName() string    { return "interop.News" }
func (Hear) WireName() string    { return "interop.Hear" }
func (Heard) WireName() string   { return "interop.Heard" }
func (Item) WireName() string    { return "interop.Item" }
func (Deposit) WireName() string { return "interop.Deposit" }
func (Done) WireName() string    { return "interop.Done" }
func (Hold) WireName() string    { return "interop.Hold" }

var news = actor.NewTopic[News]("interop.>")

type all struct{ notes, heard []int }

var allKind = actor.Define("interop.all", func() *all { return new(all) },
	actor.Handle((*all).note), actor.Answer((*all).noted), actor.Answer((*all).dbl), actor.Answer((*all).later), actor.Answer((*all).bad), actor.Answer((*all).big),
	actor.Produce((*all).upto), actor.Collect((*all).sum), actor.Converse((*all).echo), actor.Handle((*all).news), actor.Answer((*all).hear), actor.Answer((*all).hearings))

func (a *all) note(_ *actor.Context, m Note) error           { a.notes = append(a.notes, m.N); return nil }
func (a *all) noted(*actor.Context, Notes) ([]int, error)    { return slices.Clone(a.notes), nil }
func (a *all) dbl(_ *actor.Context, m Dbl) (int, error)      { return 2 * m.N, nil }
func (a *all) bad(*actor.Context, Bad) (int, error)          { return 0, fmt.Errorf("this is bad") }
func (a *all) big(_ *actor.Context, m Big) ([]byte, error)   { return m.Data, nil }
func (a *all) news(_ *actor.Context, m News) error           { a.heard = append(a.heard, m.N); return nil }
func (a *all) hearings(*actor.Context, Heard) ([]int, error) { return slices.Clone(a.heard), nil }

func (a *all) later(ctx *actor.Context, m Later) (int, error) {
	later := actor.Defer[int](ctx)
	go func() { _ = later.Answer(m.N) }()
	return 0, nil
}

func (a *all) hear(ctx *actor.Context, m Hear) (bool, error) {
	if m.Stop {
		ctx.Unsubscribe(news)
		return true, nil
	}
	a.heard = nil
	return true, ctx.Subscribe(news)
}

func (a *all) upto(_ *actor.Context, m Upto) (iter.Seq2[int, error], error) {
	return func(yield func(int, error) bool) {
		for i := range m.N {
			if !yield(i, nil) {
				return
			}
		}
	}, nil
}

func (a *all) sum(_ *actor.Context, _ Sum, in iter.Seq2[int, error]) (func() (int, error), error) {
	return func() (sum int, err error) {
		for v, err := range in {
			if err != nil {
				return 0, err
			}
			sum += v
		}
		return sum, nil
	}, nil
}

func (a *all) echo(_ *actor.Context, _ Echo, in iter.Seq2[int, error]) (iter.Seq2[int, error], error) {
	return in, nil
}

// bank is an actor whose requests are written down when they run.
type bank struct{ journal *os.File }

func (b *bank) deposit(_ *actor.Context, m Deposit) (int, error) {
	if _, err := fmt.Fprintln(b.journal, m.ID); err != nil { // one write, so that lines stay whole
		panic(err)
	}
	time.Sleep(m.Work)
	return m.ID, nil
}

func (b *bank) hold(ctx *actor.Context, _ Hold) (int, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

// account is a stored virtual actor. Its state says what was done, for a handler may begin again if its node is lost.
type account struct{ Done map[int]int }

func (a *account) deposit(_ *actor.Context, m Deposit) (int, error) {
	a.Done[m.ID]++
	return a.Done[m.ID], nil
}

func (a *account) done(*actor.Context, Done) (map[int]int, error) { return a.Done, nil }

var accountKind = actor.Define("interop-account", func() *account { return &account{Done: map[int]int{}} },
	actor.Answer((*account).deposit), actor.Read((*account).done)).With(actor.Virtual(), actor.Stored(func(a *account) *account { return a }))
