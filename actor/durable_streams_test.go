package actor_test

import (
	"context"
	"errors"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// Adding is a stream to an actor, and Echoing is a stream in both directions.
type (
	Adding  struct{ actor.Collects[int, int] }
	Echoing struct{ actor.Converses[int, int] }
)

// streamers is a kind that serves all three sorts of streams.
func streamers() *actor.Kind {
	return actor.Define("test.streamers", func() int { return 0 },
		actor.Produce(func(_ int, ctx *actor.Context, m List) (iter.Seq2[Item, error], error) {
			return func(yield func(Item, error) bool) {
				for i := 0; i != m.N && yield(Item{N: i}, nil); i++ {
				}
			}, nil
		}),
		actor.Collect(func(_ int, _ *actor.Context, _ Adding, in iter.Seq2[int, error]) (func() (int, error), error) {
			return func() (sum int, err error) {
				for n, err := range in {
					if err != nil {
						return 0, err
					}
					sum += n
				}
				return sum, nil
			}, nil
		}),
		actor.Converse(func(_ int, _ *actor.Context, _ Echoing, in iter.Seq2[int, error]) (iter.Seq2[int, error], error) {
			return in, nil
		}))
}

// A stream to a durable or transactional kind works as any other: only its opening is
// recorded. If the node is lost, the stream ends with an error, and it is not opened again.
func TestStreamsOfRecordedKinds(t *testing.T) {
	for name, option := range map[string]actor.KindOption{"durable": actor.Durable(), "transactional": actor.Transactional(newBooks())} {
		t.Run(name, func(t *testing.T) {
			onEachRoad(t, func(t *testing.T, c *cluster) {
				d, kind := new(disk), streamers().With(option)
				config := func(cfg *actor.Config) { cfg.Store, cfg.Kinds = d, []*actor.Kind{kind} }
				a, b := c.start("a"), c.start("b", config)
				spawn(t, b, "x", kind)
				for _, to := range []actor.Ref{a.Ref("x@b"), b.Ref("x@b")} {
					next := 0
					for it, err := range actor.Stream(t.Context(), to, List{N: 3000}) {
						if err != nil || it.N != next {
							t.Fatal(it.N, next, err)
						}
						next++
					}
					if next != 3000 {
						t.Errorf("%d items", next)
					}
					up, err := actor.Open(t.Context(), to, Adding{})
					if err != nil {
						t.Fatal(err)
					}
					talk, err := actor.Talk(t.Context(), to, Echoing{})
					if err != nil {
						t.Fatal(err)
					}
					for i := range 100 {
						if err := errors.Join(up.Send(t.Context(), i), talk.Send(t.Context(), i)); err != nil {
							t.Fatal(err)
						}
					}
					if sum, err := up.CloseAndReceive(t.Context()); sum != 4950 || err != nil {
						t.Error(sum, err)
					}
					if err := talk.CloseSend(t.Context()); err != nil {
						t.Error(err)
					}
					n := 0
					for got, err := range talk.Items() {
						if got != n || err != nil {
							t.Error(got, err)
						}
						n++
					}
				}
				// A stream that is open when the node is lost is cut.
				ended := make(chan error, 1)
				got := make(chan int, 1)
				go func() {
					var last error
					n := 0
					for _, err := range actor.Stream(t.Context(), a.Ref("x@b"), List{N: -1}) {
						if last = err; err != nil {
							break
						}
						if n++; n == 5 {
							got <- n
						}
					}
					ended <- last
				}()
				<-got
				c.kill(b, d)
				b2 := c.start("b", config)
				spawn(t, b2, "x", kind)
				err := <-ended
				if rpc.CodeOf(err) != rpc.Unavailable || rpc.Ran(err) != rpc.HasRun {
					t.Errorf("cut: %v", err)
				}
				synctest.Wait()
				// So is one whose opening was recorded and whose answer was lost. For a transactional
				// kind nothing was committed, so it is opened again.
				c.mute(b2)
				go func() {
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
					defer cancel()
					for _, err := range actor.Stream(ctx, a.Ref("x@b"), List{N: 5}) {
						if err != nil {
							ended <- err
							return
						}
					}
					ended <- nil
				}()
				time.Sleep(moment)
				c.kill(b2, d)
				spawn(t, c.start("b", config), "x", kind)
				if err := <-ended; name == "durable" && (rpc.CodeOf(err) != rpc.Unavailable || rpc.Ran(err) != rpc.HasRun) || name != "durable" && err != nil {
					t.Errorf("opened at a node that was lost: %v", err)
				}
			})
		})
	}
}

// A job of a transactional kind runs once. Its record is that of a request of this start, so
// its token does not outlive the node.
func TestJobOfATransactionalKind(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		s, r := newShop(), newBooks()
		a, b := c.start("a"), c.clerks("b1", s, r)
		for _, sys := range []*actor.System{a, b} {
			name := "by " + sys.Name()
			tok, err := actor.Submit(t.Context(), sys.Ref("w@b"), Job{Name: name})
			if err != nil {
				t.Fatal(err)
			}
			wantResult(t, tok, name+" by b1")
			s.ran(t, name, 1)
		}
		slow := submitJob(t, a, "slow")
		time.Sleep(moment)
		c.kill(b, nil)
		close(s.gate)
		c.clerks("b2", s, r)
		_, err := slow.Await(t.Context())
		wantErr(t, "at a node that was lost", err, rpc.OutcomeUnknown, rpc.Unknown)
		s.ran(t, "slow", 1)
	})
}
