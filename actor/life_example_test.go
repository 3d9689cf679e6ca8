package actor_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/supervise"
)

// Index is filled from somewhere before the first message, and says so at its end.
type Index struct{ words map[string]int }

// Lookup is answered with the number of a word.
type Lookup struct {
	actor.Returns[int]
	Word string
}

// Started is called before the first message. An error is a failure, and the actor is restarted.
func (x *Index) Started(ctx *actor.Context) error {
	x.words = map[string]int{"one": 1, "two": 2}
	fmt.Println(ctx.Self().Name(), "has started")
	return nil
}

// Stopping is called after the last message.
func (x *Index) Stopping(ctx *actor.Context, why error) {
	fmt.Println(ctx.Self().Name(), "stops:", why)
}

func (x *Index) Lookup(ctx *actor.Context, m Lookup) (int, error) {
	n, ok := x.words[m.Word]
	if !ok {
		panic("no such word")
	}
	return n, nil
}

var IndexKind = actor.Define("example.index", func() *Index { return new(Index) }, actor.Answer((*Index).Lookup))

// The hooks are methods of the state, found by their names.
func ExampleDefine_hooks() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	index := must(sys.Spawn("index", IndexKind))
	fmt.Println(actor.Call(ctx, index, Lookup{Word: "two"}))
	fmt.Println(sys.Stop(ctx, index))
	// Output:
	// index has started
	// 2 <nil>
	// index stops: <nil>
	// <nil>
}

// An actor that has failed is restarted, unless its kind has another strategy: here it stops at the
// second failure within an hour.
func ExampleSupervise() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	kind := IndexKind.With(actor.Supervise(actor.Strategy{
		Max:    1,
		Window: time.Hour,
		Decide: func(f supervise.Failure) supervise.Directive {
			fmt.Println(f.Actor, "has failed, restarts until now:", f.Restarts)
			return supervise.Restart
		},
	}))
	events := sys.Events(ctx, actor.ActorStopped)
	index := must(sys.Spawn("index", kind))
	for range 2 {
		_, _ = actor.Call(ctx, index, Lookup{Word: "three"})
	}
	fmt.Println((<-events).Type)
	// Output:
	// index has started
	// index@local has failed, restarts until now: 0
	// index has started
	// index@local has failed, restarts until now: 1
	// index stops: rpc: panicked: the handler of actor_test.Lookup panicked: no such word [ran]
	// actor stopped
}

// Crew has a worker for each name, and notices when one has ended.
type Crew struct{ gone chan string }

type Hire struct {
	actor.Returns[actor.Ref]
	Name string
}

type Size struct{ actor.Returns[int] }

func (c *Crew) Hire(ctx *actor.Context, m Hire) (actor.Ref, error) {
	worker, err := ctx.Spawn(m.Name, GreeterKind)
	if err != nil {
		return actor.Ref{}, err
	}
	return worker, ctx.Watch(worker)
}

func (c *Crew) Size(ctx *actor.Context, m Size) (int, error) { return len(ctx.Children()), nil }

func (c *Crew) Ended(ctx *actor.Context, m actor.Terminated) error {
	c.gone <- m.Ref.Name()
	return nil
}

// Children are named after their parent, and end before it.
func ExampleContext_Spawn() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	gone := make(chan string, 1)
	crew := must(sys.Spawn("crew", actor.Define("example.crew", func() *Crew { return &Crew{gone} },
		actor.Answer((*Crew).Hire), actor.Answer((*Crew).Size), actor.Handle((*Crew).Ended))))
	worker := must(actor.Call(ctx, crew, Hire{Name: "ann"}))
	fmt.Println(worker)
	fmt.Println(actor.Call(ctx, crew, Size{}))
	fmt.Println(sys.Stop(ctx, worker), <-gone)
	fmt.Println(actor.Call(ctx, crew, Size{}))
	// Output:
	// crew/ann@local
	// 1 <nil>
	// <nil> crew/ann
	// 0 <nil>
}

// A watch is told once, and at once if there is no such actor. Unwatch ends a watch.
func ExampleContext_Watch() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	gone := make(chan string, 1)
	crew := must(sys.Spawn("crew", actor.Define("example.crew", func() *Crew { return &Crew{gone} },
		actor.Handle((*Crew).Ended),
		actor.Answer(func(c *Crew, ctx *actor.Context, m Size) (int, error) {
			ada := ctx.System().Ref("ada")
			return 0, errors.Join(ctx.Watch(ada), ctx.Watch(ctx.System().Ref("nobody")))
		}),
		actor.Answer(func(c *Crew, ctx *actor.Context, m Hire) (actor.Ref, error) {
			ctx.Unwatch(ctx.System().Ref("ada"))
			return actor.Ref{}, nil
		}))))
	ada := must(sys.Spawn("ada", GreeterKind))
	fmt.Println(actor.Call(ctx, crew, Size{}))
	fmt.Println(<-gone)
	_, err := actor.Call(ctx, crew, Hire{})
	fmt.Println(err, sys.Stop(ctx, ada), len(gone))
	// Output:
	// 0 <nil>
	// nobody
	// <nil> <nil> 0
}

// Whoever comes first starts the actor.
func ExampleSystem_GetOrSpawn() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	first, err := sys.GetOrSpawn("ada", AccountKind)
	fmt.Println(first, err)
	second, err := sys.GetOrSpawn("ada", AccountKind)
	fmt.Println(second == first, err)
	_, err = sys.GetOrSpawn("ada", GreeterKind)
	fmt.Println(errors.Is(err, actor.ErrOtherKind))
	// Output:
	// ada@local <nil>
	// true <nil>
	// true
}
