package actor

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/rpc"
)

// onBehalf does each operation that can be done on behalf of another principal.
var onBehalf = map[access.Op]func(ctx context.Context, s *System, of string) error{
	access.Call: func(ctx context.Context, s *System, of string) error {
		_, err := Call(ctx, s.Ref("door@b"), openDoor{}, rpc.OnBehalfOf(of))
		return err
	},
	access.Send: func(ctx context.Context, s *System, of string) error {
		return Tell(ctx, s.Ref("door@b"), knock{}, rpc.Acked(), rpc.OnBehalfOf(of))
	},
	access.Submit: func(ctx context.Context, s *System, of string) error {
		_, err := Submit(ctx, s.Ref("door@b"), openDoor{}, rpc.OnBehalfOf(of))
		return err
	},
	access.Stream: func(ctx context.Context, s *System, of string) error {
		for n, err := range Stream(ctx, s.Ref("door@b"), ticks{}, rpc.OnBehalfOf(of)) {
			if err != nil {
				return err
			}
			if n == 2 { // later batches are asked for on behalf of the same principal
				break
			}
		}
		return nil
	},
}

// relays are rules that let all nodes act for others, and everybody do all.
var relays = access.Rules{List: []access.Rule{{Effect: access.Allow, Ops: access.Relay}}}

// A node acts for others only if a rule lets it, and then they may do what the rules say of them, whatever the node itself
// may do. From its own program it may always act for others, and they may not do more because they are there.
func TestOnBehalfOf(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		relay := access.Rule{Effect: access.Allow, Principals: []string{"by one"}, Ops: access.Relay, Behalf: []string{"web:*"}}
		for op, do := range onBehalf {
			try := func(what string, s *System, of string, may bool, rules ...access.Rule) {
				t.Helper()
				g.setAccess(t, access.Rules{Default: access.Deny, List: rules})
				g.door.visits()
				err := do(t.Context(), s, of)
				synctest.Wait()
				came := g.door.visits()
				if may && (err != nil || slices.ContainsFunc(came, func(v string) bool { return !strings.Contains(v, of) })) {
					t.Errorf("%v %s: %v, %v", op, what, err, came)
				}
				if !may && (rpc.CodeOf(err) != rpc.Denied || rpc.Ran(err) != rpc.NotRun || len(came) > 0) {
					t.Errorf("%v %s: %v, %v", op, what, err, came)
				}
			}
			ann := access.Rule{Effect: access.Allow, Principals: []string{"web:ann"}, Ops: op}
			try("without a rule for the relay", g.a, "web:ann", false, ann)
			try("with one", g.a, "web:ann", true, relay, ann)
			try("of whom nothing is said", g.a, "web:bob", false, relay, ann)
			try("of whom the relay may not act for", g.a, "tls:ann", false, relay, access.Rule{Effect: access.Allow, Principals: []string{"tls:ann"}})
			try("by another relay", g.c, "web:ann", false, relay, ann)
			try("who may nothing, by a relay that may everything", g.a, "web:ann", false, relay, access.Rule{Effect: access.Allow, Principals: []string{"by one"}})
			try("by the node itself", g.b, "web:ann", true, ann)
			try("by the node itself, who may nothing", g.b, "web:bob", false, ann)
		}
		g.setAccess(t, access.Rules{})
		wantDenied(t, "by a known principal, without rules", onBehalf[access.Call](t.Context(), g.a, "web:ann"))
		g.setAccess(t, relays)
		for what, err := range map[string]error{
			"one-way":    Tell(t.Context(), g.a.Ref("door@b"), knock{}, rpc.OnBehalfOf("web:ann")),
			"reliably":   TellReliably(t.Context(), g.a.Ref("door@b"), knock{}, rpc.OnBehalfOf("web:ann")),
			"too long":   onBehalf[access.Call](t.Context(), g.a, strings.Repeat("a", 256)),
			"at a topic": Publish(t.Context(), NewTopic[knock]("doors").Bind(g.a), knock{}, rpc.OnBehalfOf("web:ann")),
		} {
			if rpc.CodeOf(err) != rpc.Invalid || rpc.Ran(err) != rpc.NotRun {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := onBehalf[access.Call](t.Context(), g.a, strings.Repeat("a", 255)); err != nil {
			t.Errorf("the longest name: %v", err)
		}
	})
}

// Keys and jobs belong to the principal on whose behalf they are used, whichever node it asks.
func TestKeysAndJobsOfOthers(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		g.setAccess(t, relays)
		ring := func(s *System, of string) (ran bool, r rpc.Report) {
			t.Helper()
			g.door.visits()
			if _, err := Call(t.Context(), s.Ref("door@b"), ringDoor{}, rpc.OnBehalfOf(of), rpc.Key("k"), rpc.ReportTo(&r)); err != nil {
				t.Fatal(err)
			}
			return len(g.door.visits()) > 0, r
		}
		for i, c := range []struct {
			by  *System
			of  string
			ran bool
		}{{g.a, "web:ann", true}, {g.a, "web:ann", false}, {g.c, "web:ann", false}, {g.b, "web:ann", false}, {g.c, "web:bob", true}, {g.a, "", true}, {g.a, "web:bob", false}} {
			if ran, r := ring(c.by, c.of); ran != c.ran || r.Replayed == c.ran || r.Attempts != 1 {
				t.Errorf("request %d: ran %v, %+v", i, ran, r)
			}
		}
		token, err := Submit(t.Context(), g.a.Ref("door@b"), openDoor{}, rpc.OnBehalfOf("web:ann"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := token.Await(t.Context()); err != nil {
			t.Error(err)
		}
		for _, s := range []*System{g.a, g.b, g.c} {
			for of, found := range map[string]bool{"web:ann": true, "web:bob": false, "": false} {
				again, err := Redeem[string](s, token.String(), rpc.OnBehalfOf(of))
				if err != nil {
					t.Fatal(err)
				}
				if status, err := again.Poll(t.Context()); (status.State == rpc.JobDone) != found {
					t.Errorf("%s of %q: %+v, %v", s.Name(), of, status, err)
				}
			}
		}
	})
}
