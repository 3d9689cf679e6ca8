package actor_test

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/topic"
)

// What an actor has to do with is shown alike on its own node and elsewhere: timers, children, watches and
// subscriptions. What is named is bounded, and what the access list hides is not named.
func TestInspectDetails(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		x := spawn(t, b, "x", allTaps(new(notes)).With(actor.Idle(time.Hour)))
		noticing, _ := watching(t, b)
		spawn(t, b, "y", PuppetKind)
		spawn(t, a, "far", PuppetKind)
		begun := time.Now()
		var hour actor.Timer
		inside(t, x, func(ctx *actor.Context) (err error) {
			for _, start := range []func() (actor.Timer, error){
				func() (actor.Timer, error) { return actor.Every(ctx, 10*time.Minute, Tapped{}) },
				func() (actor.Timer, error) { return actor.After(ctx, 7*time.Minute, Tapped{}) },
				func() (actor.Timer, error) { return actor.Cron(ctx, "0 0 1 1 *", "", Tapped{}) },
				func() (actor.Timer, error) { return actor.After(ctx, time.Second, Tapped{}) },
			} {
				if hour, err = start(); err != nil {
					return err
				}
			}
			if _, err := ctx.Spawn("child", PuppetKind); err != nil {
				return err
			}
			if err := ctx.Subscribe(tapTopic); err != nil {
				return err
			}
			return ctx.Subscribe(tapTopic.At("taps.1"), topic.Group("g"))
		})
		hour.Cancel()
		inside(t, noticing, func(ctx *actor.Context) error {
			if err := ctx.Watch(b.Ref("y")); err != nil {
				return err
			}
			return ctx.Watch(b.Ref("far@a"))
		})
		const typ = "github.com/tandem-go/tandem/actor_test.Tapped"
		for name, sys := range map[string]*actor.System{"local": b, "remote": a} {
			got, err := sys.Inspect(t.Context(), sys.Ref("x@b"))
			if err != nil {
				t.Fatal(err)
			}
			want := inspect.Details{Children: []string{"x/child"}, Topics: []inspect.Subscription{{Pattern: "taps.>", Type: typ}, {Pattern: "taps.1", Group: "g", Type: typ}}}
			if got.Timers != 3 || got.Topics != 2 || got.Children != 1 || !got.Due.Equal(begun.Add(7*time.Minute).Round(0)) || !reflect.DeepEqual(*got.Details, want) {
				t.Errorf("%s: %+v, %+v", name, got, *got.Details)
			}
			if got, err := sys.Inspect(t.Context(), sys.Bind(noticing)); err != nil || got.Watching != 2 || !slices.Equal(got.Details.Watching, []string{"far@a", "y@b"}) {
				t.Errorf("%s: %+v, %+v, %v", name, got, got.Details, err)
			}
			for one, err := range sys.ActorsOf(t.Context(), "b", inspect.Filter{Prefix: "x"}) {
				if err != nil || one.Details != nil || one.Name == "x" && (one.Timers != 3 || one.Topics != 2 || one.Due.IsZero()) {
					t.Errorf("%s: listed %+v, %v", name, one, err)
				}
			}
		}
		time.Sleep(8 * time.Minute)
		if got, _ := b.Inspect(t.Context(), x); got.Timers != 2 || !got.Due.Equal(begun.Add(10*time.Minute).Round(0)) {
			t.Errorf("one timer has come: %+v", got)
		}
		if got, _ := b.Inspect(t.Context(), b.Ref("y")); got.Timers != 0 || !got.Due.IsZero() || !reflect.DeepEqual(*got.Details, inspect.Details{}) {
			t.Errorf("without anything: %+v, %+v", got, got.Details)
		}
	})
}

// Of many, some are named, and all are counted. What the access list hides is not named to other nodes.
func TestInspectDetailsAreBounded(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		const n = 3 * inspect.MaxListed
		x := spawn(t, b, "x", allTaps(new(notes)))
		inside(t, x, func(ctx *actor.Context) error {
			for i := range n {
				if _, err := ctx.Spawn(fmt.Sprint("child", i), PuppetKind); err != nil {
					return err
				}
			}
			for range 2 * inspect.MaxTimers {
				if _, err := actor.After(ctx, time.Hour, Tapped{}); err != nil {
					return err
				}
			}
			return nil
		})
		for _, sys := range []*actor.System{a, b} {
			got, err := sys.Inspect(t.Context(), sys.Ref("x@b"))
			if err != nil || got.Children != n || len(got.Details.Children) != inspect.MaxListed || !slices.IsSorted(got.Details.Children) || got.Timers != 2*inspect.MaxTimers {
				t.Errorf("%+v, %v", got, err)
			}
		}
		_ = b.SetAccess(access.Rules{List: []access.Rule{{Effect: access.Allow, Ops: access.Inspect, Actors: []string{"x"}}}, Default: access.Deny})
		if got, err := a.Inspect(t.Context(), a.Ref("x@b")); err != nil || got.Children != n || len(got.Details.Children) != 0 {
			t.Errorf("%+v, %v", got.Details, err)
		}
	})
}
