package actor_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/supervise"
)

// riddle is answered with its number, in one of the ways in which a request may end or be kept.
type riddle struct {
	actor.Returns[int]
	Number int
	Way    int
}

const (
	plainly      = iota
	keepsContext // a goroutine that outlives the handler looks at its Context
	defers       // the answer comes from another goroutine
	fails
	panics
	makesContext // its Context has a part that ends when the caller gives up
	waysToAnswer
)

var errRiddle = errors.New("too hard")

type sphinx struct{ kept *sync.WaitGroup }

func (s *sphinx) solve(ctx *actor.Context, r riddle) (int, error) {
	switch r.Way {
	case keepsContext:
		s.kept.Go(func() {
			for range 5 {
				ctx.Deadline()
				runtime.Gosched()
			}
			<-ctx.Done()
			ctx.Deadline()
		})
	case defers:
		later := actor.Defer[int](ctx)
		s.kept.Go(func() { _ = later.Answer(r.Number) })
		return -1, nil
	case fails:
		return 0, errRiddle
	case panics:
		panic("no more riddles")
	case makesContext:
		ctx.Done()
	}
	return r.Number, nil
}

// The request of a Call that was answered is used for the next one. However requests end, and
// whoever still has something of them, each caller gets the answer to its own question, or the error
// that fits it.
func TestCallsAreNotMixedUp(t *testing.T) {
	const callers, calls = 8, 400
	sys := newSystem(t, actor.Config{Logger: quiet})
	var kept, ended sync.WaitGroup
	kind := actor.Define("sphinx", func() *sphinx { return &sphinx{&kept} }, actor.Answer((*sphinx).solve)).With(
		actor.Supervise(actor.Strategy{Decide: func(supervise.Failure) supervise.Directive { return supervise.Resume }}))
	ref := spawn(t, sys, "sphinx", kind)
	for caller := range callers {
		ended.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(caller)))
			for i := range calls {
				r := riddle{Number: caller*calls + i, Way: random.IntN(waysToAnswer)}
				ctx, cancel := context.Background(), func() {}
				gives := random.IntN(3) == 0 // up, at about the time when the answer comes
				if gives {
					ctx, cancel = context.WithTimeout(ctx, time.Duration(random.IntN(100))*time.Microsecond)
				}
				n, err := actor.Call(ctx, ref, r)
				cancel()
				switch code := rpc.CodeOf(err); {
				case err == nil && n == r.Number && r.Way != fails && r.Way != panics:
				case err != nil && gives && (code == rpc.Expired || code == rpc.Canceled):
				case r.Way == fails && code == rpc.Failed, r.Way == panics && err != nil:
				default:
					t.Errorf("%+v: %d, %v", r, n, err)
				}
			}
		})
	}
	ended.Wait()
	kept.Wait()
}
