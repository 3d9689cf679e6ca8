package actor_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/balance"
	"github.com/tandem-go/tandem/rpc"
)

// Requests are spread over the versions by their weights, from Config.Weights on; a change counts for the
// next request, and nil ends it. A ref with a version of its own does not follow them, one with a zone does.
func TestSetWeights(t *testing.T) {
	withFleet(t, []string{"1.0.0 eu", "1.1.0 us", "2.0.0 eu", "3.0.0 eu"}, func(t *testing.T, f *fleet) {
		sys, any := f.client, f.client.Service("mailer")
		const n = 1000
		share := func(what string, to actor.Ref, want float64) {
			t.Helper()
			two := 0
			for who, hits := range f.hits(to, n) {
				switch who[0] {
				case '2':
					two += hits
				case '3':
					t.Errorf("%s: version 3 has no weight, and got %d", what, hits)
				}
			}
			// Five standard deviations: one failure in 1.7 million runs.
			if d := math.Abs(float64(two) - n*want); d > 5*math.Sqrt(n*want*(1-want)) {
				t.Errorf("%s: version 2 got %d of %d, want %.0f%%", what, two, n, want*100)
			}
		}
		set := func(weights map[string]int) {
			t.Helper()
			if err := sys.SetWeights("mailer", weights); err != nil {
				t.Fatal(err)
			}
		}
		share("as configured", any, .1)
		set(map[string]int{"^1": 50, "^2": 50})
		share("half", any, .5)
		share("half in eu", sys.Service("mailer", actor.Zone("eu")), .5)
		if got := f.hits(sys.Service("mailer", actor.Version("^3")), 5); got["3.0.0 eu"] != 5 {
			t.Errorf("version 3 by name: %v", got)
		}
		set(map[string]int{"^1": 0, "2.x": 7})
		if got := fmt.Sprint(sys.Weights("mailer"), sys.Weights("nobody") == nil); got != "map[2.x:7 ^1:0] true" {
			t.Errorf("in force: %v", got)
		}
		share("all", any, 1)
		set(map[string]int{"^9": 1})
		_, err := actor.Call(t.Context(), any, Which{})
		wantErr(t, "nobody has a weight", err, rpc.NotFound, rpc.NotRun)
		wantText(t, err, "by the weights of versions {^9: 1}; there are 1 of version 1.0.0 in zone eu")
		set(nil)
		if got := f.hits(any, 40); len(got) != 4 {
			t.Errorf("without weights: %v", got)
		}
		if got := sys.Weights("mailer"); got != nil {
			t.Errorf("in force without weights: %v", got)
		}
	}, func(cfg *actor.Config) {
		cfg.Weights = map[string]map[string]int{"mailer": {"^1": 9, "^2": 1}}
	})
}

// Bad weights change nothing, and the error says all that is wrong.
func TestBadWeights(t *testing.T) {
	withFleet(t, []string{"1.0.0", "2.0.0"}, func(t *testing.T, f *fleet) {
		if err := f.client.SetWeights("mailer", map[string]int{"^2": 1}); err != nil {
			t.Fatal(err)
		}
		many := map[string]int{}
		for i := range 65 {
			many[fmt.Sprint("1.", i)] = 1
		}
		for _, row := range []struct {
			service string
			weights map[string]int
			want    []string
		}{
			{"no service", map[string]int{"^1": -1, "^^": 3}, []string{"service \"no service\"", "weight -1", "^^"}},
			{"mailer?zone=eu", map[string]int{"^1": 1}, []string{"service"}},
			{"mailer", map[string]int{"^1": 0, "^2": 0}, []string{"no version has a weight"}},
			{"mailer", map[string]int{"^1": 1_000_001}, []string{"want 0 to 1000000"}},
			{"mailer", map[string]int{">=1 <2": 1, ">=1,<2": 1}, []string{"are the same"}},
			{"mailer", map[string]int{"": 1}, []string{"constraint"}},
			{"mailer", many, []string{"65 versions"}},
		} {
			err := f.client.SetWeights(row.service, row.weights)
			wantErr(t, fmt.Sprint(row.weights), err, rpc.Invalid, rpc.NotRun)
			for _, want := range row.want {
				wantText(t, err, want)
			}
			if _, err := actor.NewSystem(actor.Config{Weights: map[string]map[string]int{row.service: row.weights}}); !errors.Is(err, rpc.Invalid) {
				t.Errorf("Config.Weights %v: %v", row.weights, err)
			}
		}
		if got := f.hits(f.client.Service("mailer"), 20); got["2.0.0"] != 20 {
			t.Errorf("the old weights are gone: %v", got)
		}
		delete(many, "1.0")
		if err := f.client.SetWeights("mailer", many); err != nil {
			t.Errorf("64 versions: %v", err)
		}
		if err := f.client.SetWeights("mailer", map[string]int{"^1": 1_000_000}); err != nil {
			t.Error(err)
		}
	})
}

// While weights change all the time and a version goes away and comes back, no call fails, and no request runs twice.
func TestWeightsChangeWhileRunning(t *testing.T) {
	withFleet(t, []string{"1.0.0", "1.0.0", "2.0.0"}, func(t *testing.T, f *fleet) {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 250 {
					if _, err := actor.Call(t.Context(), f.client.Service("mailer"), Which{}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Go(func() {
			for i := range 100 {
				weights := map[string]int{"^1": i % 5, "^2": 1}
				if i%10 == 9 {
					weights = nil
				}
				if err := f.client.SetWeights("mailer", weights); err != nil {
					t.Error(err)
				}
				if i == 50 {
					f.net.Partition("", "n2", "") // version 2 is cut off
				} else if i == 60 {
					f.net.Heal("", "n2", "")
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
		all.Wait()
		synctest.Wait()
		f.mu.Lock()
		defer f.mu.Unlock()
		if sum := f.asked["1.0.0"] + f.asked["2.0.0"]; sum != 2000 || f.asked["2.0.0"] < 100 {
			t.Errorf("2,000 calls, handled: %v", f.asked)
		}
	})
}

// If no instance of a version is usable, its share goes to the others at once. A caller that waits is
// served when the weights change.
func TestShareOfTheDead(t *testing.T) {
	withFleet(t, []string{"1.0.0"}, func(t *testing.T, f *fleet) {
		canary := f.node("n5", "2.0.0")
		synctest.Wait()
		if err := f.client.SetWeights("mailer", map[string]int{"^1": 1, "^2": 9}); err != nil {
			t.Fatal(err)
		}
		f.hits(f.client.Service("mailer"), 50)
		if err := canary.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := f.hits(f.client.Service("mailer"), 50); got["1.0.0"] != 50 {
			t.Errorf("%v", got)
		}
		if err := f.client.SetWeights("mailer", map[string]int{"^2": 9}); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(2*time.Second, func() {
			if err := f.client.SetWeights("mailer", nil); err != nil {
				t.Error(err)
			}
		})
		began := time.Now()
		if who, err := actor.Call(t.Context(), f.client.Service("mailer"), Which{}); who != "1.0.0" || err != nil || time.Since(began) > 3*time.Second {
			t.Errorf("%q, %v, after %v", who, err, time.Since(began))
		}
	})
}

// Requests with one key stay with one version, also by the policy's key; when its weight rises, keys move to the canary only.
func TestWeightsByKey(t *testing.T) {
	withFleet(t, []string{"1.0.0", "1.0.1", "2.0.0"}, func(t *testing.T, f *fleet) {
		where := func(weight int) (at []string) {
			if err := f.client.SetWeights("mailer", map[string]int{"^1": 100 - weight, "^2": weight}); err != nil {
				t.Fatal(err)
			}
			for i := range 400 {
				who, err := actor.Call(t.Context(), f.client.Service("mailer"), Which{Fail: fmt.Sprint(i)})
				again, _ := actor.Call(t.Context(), f.client.Service("mailer"), Which{}, rpc.Affinity(fmt.Sprint(i)))
				if err != nil || who != again {
					t.Errorf("key %d: %s, then %s, %v", i, who, again, err)
				}
				at = append(at, who)
			}
			return at
		}
		few, more := where(20), where(40)
		moved := 0
		for i := range few {
			if few[i] != more[i] {
				if moved++; more[i] != "2.0.0" {
					t.Errorf("key %d moved from %s to %s", i, few[i], more[i])
				}
			}
		}
		if n := strings.Count(strings.Join(few, " "), "2.0.0"); n < 50 || n > 110 || moved < 50 || moved > 110 {
			t.Errorf("of 400 keys %d were at version 2, and %d moved; want 80 each", n, moved)
		}
	}, func(cfg *actor.Config) {
		cfg.Balance = map[string]balance.Policy{"mailer": balance.ByKey(func(m any) string { return m.(Which).Fail })}
	})
}
