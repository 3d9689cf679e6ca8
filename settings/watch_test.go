package settings_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/admission"
	"github.com/tandem-go/tandem/breaker"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/settings"
	"github.com/tandem-go/tandem/test/bubble"
)

// Every section is applied, and when it is deleted, all is as it was before.
func TestSections(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := &fake{retry: rpc.Retry{Attempts: 9}, rules: access.Rules{Default: access.Deny}, limits: admission.Rules{List: []admission.Limit{{Name: "own", Rate: 1}}}}
		level := new(slog.LevelVar)
		level.Set(slog.LevelWarn)
		circuits, err := breaker.New(breaker.Config{InRow: 7})
		if err != nil {
			t.Fatal(err)
		}
		state := func() string {
			return fmt.Sprint(level.Level(), circuits.Config().InRow, sys.retry.Attempts, sys.weights, len(sys.rules.List), sys.rules.Default, len(sys.limits.List), sys.limits.List[0].Name)
		}
		before := state()
		h := newHand()
		var all []settings.Entry
		for i, v := range values {
			all = append(all, entry(string(v.value.Section()), uint64(i+1), v.text))
		}
		w := watch(t, h, settings.Targets{System: sys, Level: level, Breakers: circuits}, all...)
		want(t, "with all sections", state(), "DEBUG 3 3 map[prices:map[^1:95 ^2:5]] 1 deny 1all")
		want(t, "events", len(sys.events()), len(values))
		for _, s := range w.Applied() {
			want(t, "applied "+s.Key.String(), fmt.Sprint(s.Applied.Value.Section() == s.Section, s.InForce, s.Applied.Author), "true trueann")
		}
		for i, s := range settings.Sections() {
			h.write(string(s), uint64(100+i), "")
		}
		want(t, "without", strings.ReplaceAll(state(), "map[prices:map[]]", "map[]"), before)
		events := sys.events()
		want(t, "events", len(events), len(values))
		want(t, "the last event", events[len(events)-1], "settings changed: settings: log: as the Config says")
	})
}

// A bad value changes nothing; one line and one event say what is wrong.
func TestBadValue(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		sys, h := &fake{}, newHand()
		w := watch(t, h, settings.Targets{System: sys, Logger: slog.New(slog.NewTextHandler(&log, nil))}, entry("retry", 1, `{"attempts":3}`))
		sys.events()
		log.Reset()
		h.write("retry", 2, `{"attempts":-3}`)
		want(t, "in force", sys.retry.Attempts, 3)
		events := sys.events()
		if len(events) != 1 || !strings.HasPrefix(events[0], `settings refused: settings: retry: revision 2 by "ann": `) || !strings.Contains(events[0], "Retry.Attempts is -3") {
			t.Errorf("events: %q", events)
		}
		c := sys.changes[len(sys.changes)-1]
		if c.Section != "retry" || c.Version.Author != "ann" || rpc.CodeOf(c) != rpc.Invalid || rpc.Ran(c) != rpc.NotRun {
			t.Errorf("the change: %+v", c)
		}
		if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "level=WARN") {
			t.Errorf("the log:\n%s", log.String())
		}
		s := w.Applied()[0]
		want(t, "applied", fmt.Sprint(s.Applied.Revision, s.InForce, s.Refused.Revision), "1 true 2")
		h.write("retry", 3, `{"attempts":4}`)
		want(t, "a good one", sys.retry.Attempts, 4)
		want(t, "no refusal", w.Applied()[0].Refused == nil, true)
	})
}

// What the system does not take is refused, too; of several weights all or none are set.
func TestNotTaken(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys, h := &fake{}, newHand()
		w := watch(t, h, settings.Targets{System: sys}, entry("weights", 1, `{"a":{"^1":1}}`), entry("retry", 2, `{"attempts":3}`))
		h.write("weights", 3, `{"a":{"^1":2},"bad":{"^1":1},"c":{"^1":1}}`)
		want(t, "weights", sys.weights, "map[a:map[^1:1]]")
		want(t, "refused", w.Applied()[1].Refused.Revision, 3)
		h.write("weights", 4, `{"c":{"^1":1}}`)
		want(t, "weights", sys.weights, "map[a:map[] c:map[^1:1]]")
		sys.refuses = errors.New("not now")
		h.write("retry", 5, `{"attempts":4}`)
		want(t, "attempts", sys.retry.Attempts, 3)
		sys.refuses = nil
		h.write("retry", 6, "")
		want(t, "attempts", sys.retry.Attempts, 0)
	})
}

// A service whose weights are not set any more has those again that it had before the settings: what the Config says.
func TestWeightsOfTheConfig(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys, h := &fake{weights: map[string]map[string]int{"a": {"^1": 9}, "b": {"^2": 8}}}, newHand()
		watch(t, h, settings.Targets{System: sys}, entry("weights", 1, `{"a":{"^1":1},"c":{"^1":1}}`))
		want(t, "set", sys.weights, "map[a:map[^1:1] b:map[^2:8] c:map[^1:1]]")
		h.write("weights", 2, `{"a":{"^1":2},"b":{"^2":1},"bad":{"^1":1}}`)
		want(t, "refused", sys.weights, "map[a:map[^1:1] b:map[^2:8] c:map[^1:1]]")
		h.write("weights", 3, `{"b":{"^2":1}}`)
		want(t, "another", sys.weights, "map[a:map[^1:9] b:map[^2:1] c:map[]]")
		h.write("weights", 4, "")
		want(t, "deleted", sys.weights, "map[a:map[^1:9] b:map[^2:8] c:map[]]")
	})
}

// A section that a node has nothing to apply to is not in force, and no error.
func TestNoTarget(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys, h := &fake{}, newHand()
		w := watch(t, h, settings.Targets{System: sys}, entry("log", 1, debug), entry("breakers", 2, `{}`))
		want(t, "events", sys.events(), "[]")
		for _, s := range w.Applied() {
			want(t, s.Key.String(), s.InForce, false)
		}
	})
}

// While the source is away, the last good ones stay in force: one event says so, and one that it is back.
func TestAwayAndBack(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys, h := &fake{}, newHand()
		w := watch(t, h, settings.Targets{System: sys}, entry("retry", 1, `{"attempts":3}`))
		sys.events()
		for range 3 {
			h.say(settings.Update{Away: errors.New("gone")})
		}
		want(t, "away", fmt.Sprint(sys.events(), w.Away()), "[settings away: settings: gone] gone")
		want(t, "in force", sys.retry.Attempts, 3)
		h.say(whole(entry("retry", 2, `{"attempts":4}`)))
		want(t, "back", sys.events(), `[settings changed: settings: retry: revision 2 by "ann" settings back: settings]`)
		want(t, "away", w.Away(), nil)
		h.ends <- errors.New("closed")
		synctest.Wait()
		want(t, "ended", w.Away() != nil, true)
		w.Close()
		w.Close()
	})
}

// A node whose source is away starts with its Config, unless the settings are required.
func TestStart(t *testing.T) {
	for _, row := range []struct {
		what     string
		required bool
		first    *settings.Update
		then     *settings.Update // after 2 s
		took     time.Duration
		code     rpc.Code
	}{
		{"away", false, &settings.Update{Away: errors.New("x")}, nil, 0, 0},
		{"silent", false, nil, nil, settings.DefaultWait, 0},
		{"away, and required", true, &settings.Update{Away: errors.New("x")}, nil, settings.DefaultWait, rpc.Unavailable},
		{"silent, and required", true, nil, nil, settings.DefaultWait, rpc.Unavailable},
		{"back in time, and required", true, &settings.Update{Away: errors.New("x")}, &settings.Update{Whole: true}, 2 * time.Second, 0},
		{"late", false, nil, &settings.Update{Whole: true}, 2 * time.Second, 0},
	} {
		t.Run(row.what, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				h, ctx := newHand(), t.Context()
				var src settings.Source = h
				said := make(chan struct{})
				go func() {
					defer close(said)
					if row.first != nil {
						h.say(*row.first)
					}
					time.Sleep(2 * time.Second)
					if row.then != nil {
						h.say(*row.then)
					}
				}()
				begun := time.Now()
				w, err := settings.Watch(ctx, src, settings.Targets{System: &fake{}, Required: row.required, Logger: quiet})
				want(t, "it took", time.Since(begun), row.took)
				want(t, "the error", fmt.Sprint(rpc.CodeOf(err), w == nil), fmt.Sprint(row.code, row.code != 0))
				<-said
				if w != nil {
					w.Close()
				}
			})
		})
	}
	bubble.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		_, err := settings.Watch(ctx, newHand(), settings.Targets{System: &fake{}, Logger: quiet})
		want(t, "the end of ctx", fmt.Sprint(time.Since(begun), rpc.CodeOf(err)), fmt.Sprint(time.Second, rpc.Unavailable))
		_, err = settings.Watch(t.Context(), nil, settings.Targets{})
		want(t, "without a source", rpc.CodeOf(err), rpc.Invalid)
	})
}

// Close waits for a value that is being applied, and nothing is applied after it.
func TestClose(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys, h := &fake{}, newHand()
		w := watch(t, h, settings.Targets{System: sys})
		sys.gate = make(chan struct{}) // whatever is applied waits
		said := make(chan struct{})
		go func() { h.say(some(entry("retry", 1, `{"attempts":3}`))); close(said) }()
		synctest.Wait()
		closed := make(chan struct{})
		go func() { w.Close(); close(closed) }()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("it has not waited")
		default:
		}
		close(sys.gate)
		<-closed
		<-said
		want(t, "in force", sys.retry.Attempts, 3)
	})
}
