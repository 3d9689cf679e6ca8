package actor

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/rpc"
)

// A handler learns the principal of requests, one-way messages, jobs and streams. A context
// that is kept still knows it after the handler has returned.
func TestPrincipalOfAMessage(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		ctx := t.Context()
		for _, s := range []*System{g.a, g.c, g.b} {
			for op, do := range verbs {
				if op == access.Stream {
					continue // it lasts
				}
				if err := do(ctx, s); err != nil {
					t.Errorf("%v: %v", op, err)
				}
			}
			if err := verbs[access.Stream](ctx, s); err != nil {
				t.Error(err)
			}
			_, err := Call(ctx, s.Ref("door@b"), openDoor{}, rpc.Key("key of "+s.Name()))
			if err != nil {
				t.Error(err)
			}
			synctest.Wait()
			who := map[*System]string{g.a: "by one of a", g.b: "by loopback of b", g.c: "by two of c"}[s]
			got := g.door.visits()
			slices.Sort(got)
			if want := []string{"knock by " + who, "open by " + who, "open by " + who, "open by " + who, "stream by " + who}; !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		}
		// One-way messages of several principals in one batch.
		var entered, leave = make(chan struct{}), make(chan struct{})
		var kept []*Context
		var got []string
		kind := Define("keeper", func() int { return 0 },
			Handle(func(_ int, ctx *Context, m knock) error {
				if m.N == 0 {
					close(entered)
					<-leave
				}
				kept = append(kept, ctx)
				got = append(got, fmt.Sprint(m.N, " ", ctx.Principal()))
				return nil
			}),
			Answer(func(_ int, ctx *Context, _ openDoor) (string, error) { kept = append(kept, ctx); return "", nil }))
		if _, err := g.b.Spawn("keeper", kind); err != nil {
			t.Fatal(err)
		}
		if err := Tell(ctx, g.b.Ref("keeper"), knock{}); err != nil {
			t.Fatal(err)
		}
		<-entered
		want := []string{"0 by loopback"}
		for n := 1; n < 10; n++ {
			s, who := g.a, " by one"
			if n%3 == 0 {
				s, who = g.c, " by two"
			}
			if n%4 == 0 {
				s, who = g.b, " by loopback"
			}
			if err := Tell(ctx, s.Ref("keeper@b"), knock{N: n}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			want = append(want, fmt.Sprint(n, who))
		}
		close(leave)
		synctest.Wait()
		if !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if _, err := Call(ctx, g.c.Ref("keeper@b"), openDoor{}); err != nil {
			t.Fatal(err)
		}
		for i, c := range kept {
			who := "by two"
			if i < len(want) {
				_, who, _ = strings.Cut(want[i], " ")
			}
			if c.Principal() != who {
				t.Errorf("kept context %d: %s, want %s", i, c.Principal(), who)
			}
		}
	})
}
