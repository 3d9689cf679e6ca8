package actor_test

// How many letters are kept, and many at a time.

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/deadletter"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport/memnet"
)

// The limits of Config.DeadLetters, each at it and one beyond.
func TestLetterLimits(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		probe := newSystem(t, actor.Config{Logger: quiet})
		tell(t, probe.Ref("x"), Card{})
		size := onlyLetter(t, probe).Size
		for what, row := range map[string]struct {
			limits deadletter.Limits
			told   int
			kept   int
		}{
			"by default":               {deadletter.Limits{}, deadletter.DefaultLetters, deadletter.DefaultLetters},
			"by default, one more":     {deadletter.Limits{}, deadletter.DefaultLetters + 1, deadletter.DefaultLetters},
			"bytes":                    {deadletter.Limits{Bytes: 3 * size}, 3, 3},
			"bytes, one more":          {deadletter.Limits{Bytes: 3 * size}, 4, 3},
			"bytes, one byte too few":  {deadletter.Limits{Bytes: 3*size - 1}, 3, 2},
			"one":                      {deadletter.Limits{Letters: 1}, 2, 1},
			"none":                     {deadletter.Limits{Letters: -1}, 2, 0},
			"no bytes":                 {deadletter.Limits{Bytes: -1}, 2, 0},
			"more than by default":     {deadletter.Limits{Letters: 3000}, 3000, 3000},
			"larger than all of them":  {deadletter.Limits{Bytes: size - 1}, 1, 0},
			"as large as all of them":  {deadletter.Limits{Bytes: size}, 1, 1},
			"as large as all, and one": {deadletter.Limits{Bytes: size}, 2, 1},
		} {
			sys := newSystem(t, actor.Config{Logger: quiet, DeadLetters: row.limits})
			for n := range row.told {
				tell(t, sys.Ref("x"), Card{N: n})
			}
			s := sys.Stats()
			dropped := row.told - row.kept
			if row.limits.Letters < 0 || row.limits.Bytes < 0 {
				dropped = 0
			}
			if s.LettersKept != row.kept || s.LettersDropped != uint64(dropped) || s.DeadLetters != uint64(row.told) || s.LetterBytes != row.kept*size {
				t.Errorf("%s: %+v; want %d", what, s, row.kept)
			}
			if first := sys.KeptLetters(deadletter.Filter{Limit: 1}); row.kept > 0 && first[0].Message != (Card{N: row.told - row.kept}) {
				t.Errorf("%s: the oldest is %+v", what, first)
			}
		}
	})
}

// One principal fills a quarter of what is kept, and no letter of others is pushed out by more.
func TestLettersOfOnePrincipal(t *testing.T) {
	world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		for n := range 30 {
			tell(t, b.Ref("own"), Card{N: n})
		}
		for n := range 100 {
			tell(t, a.Ref("x@b"), Card{N: n})
		}
		synctest.Wait()
		if own, far := b.KeptLetters(deadletter.Filter{Actor: "own"}), b.KeptLetters(deadletter.Filter{Actor: "x@b"}); len(own) != 30 || len(far) != 10 {
			t.Errorf("%d own letters, %d of another node", len(own), len(far))
		}
		tell(t, a.Ref("x@b"), strings.Repeat("x", 1<<20))
		synctest.Wait()
		if s := b.Stats(); s.LettersKept != 40 || s.LettersDropped != 91 {
			t.Errorf("%+v", s)
		}
	}, func(c *actor.Config) { c.DeadLetters.Letters = 40 })
}

// Items that are pushed out of a queue may come from another node.
func TestLettersOfAQueue(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys, c := newSystem(t, actor.Config{Logger: quiet, DeadLetters: deadletter.Limits{Letters: 40}}), new(cards)
		q := spawn(t, sys, "q", actor.QueueKind[Card]("q", queue.Config{Capacity: 1, Policy: queue.DropOldest}))
		for n := range 30 {
			if err := actor.Push(t.Context(), q, Card{N: n}); err != nil {
				t.Fatal(err)
			}
		}
		kept := sys.KeptLetters(deadletter.Filter{Actor: "q"})
		if len(kept) != 10 || kept[0].Message != (Card{N: 19}) {
			t.Errorf("%d letters, the first %+v", len(kept), kept[0])
		}
		if err := sys.ResendLetter(t.Context(), kept[0].ID, spawn(t, sys, "x", c.kind())); err != nil || len(c.all()) != 1 {
			t.Error(err, c.all())
		}
	})
}

// Letters come, are listed, sent and discarded, all at a time. None is handled twice, and what
// is neither handled nor kept was counted.
func TestLettersAtATime(t *testing.T) {
	world(t, []string{"direct", "bus"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		c := new(cards)
		far := spawn(t, b, "far", c.kind())
		spawn(t, a, "near", c.kind())
		const senders, each = 4, 200
		var all sync.WaitGroup
		var discarded, gone int
		for i := range senders {
			all.Go(func() {
				for n := range each {
					_ = actor.Tell(t.Context(), a.Ref("nobody"), Card{N: i*each + n})
					if n%20 == 0 {
						time.Sleep(time.Millisecond)
					}
				}
			})
		}
		var mu sync.Mutex
		for i := range 6 {
			all.Go(func() {
				after := ""
				for range 60 {
					page := a.KeptLetters(deadletter.Filter{Limit: 7, After: after, NewestFirst: i%2 == 0})
					after = ""
					for _, l := range page {
						after = l.ID
						to := a.Ref("near")
						if i%3 == 0 {
							to = a.Bind(far)
						}
						if err := a.ResendLetter(t.Context(), l.ID, to); err == nil {
							mu.Lock()
							gone++
							mu.Unlock()
						} else if !errors.Is(err, deadletter.ErrBusy) && !errors.Is(err, deadletter.ErrGone) {
							t.Error(err)
						}
					}
					if i == 5 {
						n := a.DiscardLetters(deadletter.Filter{Limit: 1})
						mu.Lock()
						discarded += n
						mu.Unlock()
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		all.Wait()
		got := c.all()
		seen := map[int]bool{}
		for _, m := range got {
			if seen[m.N] {
				t.Errorf("%d came twice", m.N)
			}
			seen[m.N] = true
		}
		s := a.Stats()
		if left := senders*each - len(got) - discarded - s.LettersKept - int(s.LettersDropped); len(got) != gone || left != 0 {
			t.Errorf("%d came, %d were sent, %d discarded, %d are kept, %d dropped: %d are missing", len(got), gone, discarded, s.LettersKept, s.LettersDropped, left)
		}
		t.Logf("%d came, %d discarded, %d kept, %d dropped", len(got), discarded, s.LettersKept, s.LettersDropped)
	}, func(c *actor.Config) { c.DeadLetters.Letters = 100 })
}
