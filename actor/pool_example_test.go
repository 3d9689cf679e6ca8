package actor_test

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/route"
	"github.com/tandem-go/tandem/rpc"
)

// Shrink is answered with the name of the worker that did it.
type Shrink struct {
	actor.Returns[string]
	Picture string
}

var ShrinkKind = actor.Define("example.shrink", func() int { return 0 },
	actor.Answer(func(_ int, ctx *actor.Context, m Shrink) (string, error) {
		return fmt.Sprint(m.Picture, " by ", ctx.Self().Name()), nil
	}))

// A pool is one actor for those who send to it. Its workers take turns here.
func ExamplePool() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	pool := must(sys.Spawn("shrink", ShrinkKind, actor.Pool(2, route.RoundRobin())))
	for _, picture := range []string{"a.png", "b.png", "c.png"} {
		fmt.Println(actor.Call(ctx, pool, Shrink{Picture: picture}))
	}
	// Output:
	// a.png by shrink/1 <nil>
	// b.png by shrink/2 <nil>
	// c.png by shrink/1 <nil>
}

// Messages with one key go to one worker, in order. A message that has no key is refused.
func ExamplePool_byKey() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	byPicture := route.ByKey(func(m Shrink) string { return m.Picture })
	pool := must(sys.Spawn("shrink", ShrinkKind, actor.Pool(8, byPicture)))
	one, _ := actor.Call(ctx, pool, Shrink{Picture: "a.png"})
	two, _ := actor.Call(ctx, pool, Shrink{Picture: "a.png"})
	fmt.Println(one == two)

	_, err := actor.Call(ctx, pool, Greet{Name: "ann"})
	fmt.Println(errors.Is(err, rpc.Invalid), rpc.Ran(err))
	// Output:
	// true
	// true not run
}

// A request goes to two workers, and the first reply counts.
func ExamplePool_firstOf() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	var once sync.Once
	kind := actor.Define("example.lookup", func() int { return 0 },
		actor.Answer(func(_ int, ctx *actor.Context, m Shrink) (string, error) {
			slow := false
			once.Do(func() { slow = true })
			if slow {
				<-ctx.Done() // ends because the other worker has answered
				return "", ctx.Err()
			}
			return "the faster one", nil
		}))
	pool := must(sys.Spawn("lookup", kind, actor.Pool(2, route.FirstOf(2))))
	fmt.Println(actor.Call(ctx, pool, Shrink{}))
	// Output: the faster one <nil>
}

func ExampleSystem_Resize() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	pool := must(sys.Spawn("shrink", ShrinkKind, actor.Pool(2, route.LeastBusy())))
	fmt.Println(sys.Resize(ctx, pool, 3))
	stats, err := sys.PoolStats(pool)
	fmt.Println(len(stats.Workers), stats.Workers[2].Name, stats.Policy, err)
	// Output:
	// <nil>
	// 3 shrink/3 least busy <nil>
}
