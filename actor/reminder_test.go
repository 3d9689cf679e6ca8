package actor_test

import (
	"context"
	"errors"
	"fmt"

	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/reminder"
	reminders "github.com/tandem-go/tandem/reminder/memory"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
)

// The virtual kind that the tests use: a diary, which is reminded of things.
type (
	jotting struct {
		actor.Returns[string]
		Do func(*actor.Context) error `msgpack:"-"`
	}
	rung struct{ What string }
)

func (jotting) WireName() string { return "agenda.jotting" }
func (rung) WireName() string    { return "agenda.rung" }

// agenda is what has rung, of all activations.
type agenda struct {
	mu    sync.Mutex
	rings []pealed
}

type pealed struct {
	What string
	At   time.Time
	reminder.Firing
}

func (a *agenda) take() []pealed {
	a.mu.Lock()
	defer a.mu.Unlock()
	rings := a.rings
	a.rings = nil
	return rings
}

func (a *agenda) kind() *actor.Kind {
	return actor.Define("agenda", func() *agenda { return a },
		actor.Answer(func(_ *agenda, ctx *actor.Context, m jotting) (string, error) { return "", m.Do(ctx) }),
		actor.Handle(func(a *agenda, ctx *actor.Context, m rung) error {
			f, ok := ctx.Firing()
			if !ok {
				return errors.New("not by a reminder")
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			a.rings = append(a.rings, pealed{m.What, time.Now(), f})
			return nil
		})).With(actor.Virtual(), actor.Idle(time.Minute))
}

// A virtual actor is reminded at the times that it has set, though it is not active then, until it forgets.
func TestRemind(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		a, rs := new(agenda), reminders.New(reminders.Config{})
		kind := a.kind()
		sys := newSystem(t, actor.Config{Kinds: []*actor.Kind{kind}, Reminders: rs, Logger: quiet})
		x := sys.Virtual(kind, "x")
		do := func(fn func(ctx *actor.Context) error) {
			t.Helper()
			if _, err := actor.Call(t.Context(), x, jotting{Do: fn}); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		do(func(ctx *actor.Context) error {
			return errors.Join(
				actor.Remind(ctx, "once", reminder.At(began.Add(2*time.Hour)), rung{"once"}),
				actor.Remind(ctx, "often", reminder.Every(time.Hour), rung{"often"}),
				actor.Remind(ctx, "replaced", reminder.Every(time.Second), rung{"first"}),
				actor.Remind(ctx, "replaced", reminder.At(began.Add(30*time.Minute)), rung{"second"}))
		})
		list, err := sys.Reminders(t.Context(), x)
		if err != nil || len(list) != 3 || list[0].Name != "often" || !list[0].Due.Equal(began.Add(time.Hour)) {
			t.Fatalf("%+v, %v", list, err)
		}
		time.Sleep(2*time.Hour + 10*time.Minute)
		for a := range sys.Actors(inspect.Filter{Kind: "agenda"}) {
			t.Errorf("it has stayed active: %+v", a)
		}
		synctest.Wait()
		var got []string
		for _, r := range a.take() {
			got = append(got, fmt.Sprint(r.What, " ", r.Name, " ", r.Number, " ", r.At.Sub(began).Round(time.Second), " late ", r.Late, " missed ", r.Missed, " of ", r.Actor))
		}
		slices.Sort(got)
		if want := []string{
			"often often 1 1h0m0s late 0s missed 0 of agenda/x",
			"often often 2 2h0m0s late 0s missed 0 of agenda/x",
			"once once 1 2h0m0s late 0s missed 0 of agenda/x",
			"second replaced 1 30m0s late 0s missed 0 of agenda/x",
		}; !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		do(func(ctx *actor.Context) error {
			if _, ok := ctx.Firing(); ok {
				return errors.New("by a reminder")
			}
			return errors.Join(actor.Forget(ctx, "often"), actor.Forget(ctx, "never was"))
		})
		time.Sleep(5 * time.Hour)
		if rings := a.take(); len(rings) > 0 {
			t.Errorf("it has forgotten that: %+v", rings)
		}
		if list, err := sys.Reminders(t.Context(), x); len(list) > 0 || err != nil {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

// While no node runs, nobody is reminded. Then each reminder comes once, and says how late it is.
func TestRemindLate(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		a, rs := new(agenda), reminders.New(reminders.Config{})
		kind := a.kind()
		cfg := actor.Config{Kinds: []*actor.Kind{kind}, Reminders: rs, Logger: quiet}
		sys := newSystem(t, cfg)
		_, err := actor.Call(t.Context(), sys.Virtual(kind, "x"), jotting{Do: func(ctx *actor.Context) error {
			return errors.Join(
				actor.Remind(ctx, "once", reminder.At(time.Now().Add(time.Hour)), rung{"once"}),
				actor.Remind(ctx, "often", reminder.Every(time.Minute), rung{"often"}))
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := sys.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2*time.Hour + 30*time.Second)
		newSystem(t, cfg)
		time.Sleep(40 * time.Second)
		synctest.Wait()
		var got []string
		for _, r := range a.take() {
			got = append(got, fmt.Sprint(r.What, " late ", r.Late.Round(time.Minute/2), " missed ", r.Missed))
		}
		slices.Sort(got)
		if want := []string{"often late 0s missed 0", "often late 1h59m30s missed 119", "once late 1h0m30s missed 0"}; !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
	})
}

// A message that its actor refuses is a dead letter, and an event, and the next one comes all the same. One whose actor
// nobody hosts waits.
func TestRemindRefused(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		a, rs := new(agenda), reminders.New(reminders.Config{})
		kind := a.kind()
		sys := newSystem(t, actor.Config{Kinds: []*actor.Kind{kind}, Reminders: rs, Logger: quiet})
		_, err := actor.Call(t.Context(), sys.Virtual(kind, "x"), jotting{Do: func(ctx *actor.Context) error {
			return actor.Remind(ctx, "often", reminder.Every(time.Hour), rung{"often"})
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := sys.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		deaf := actor.Define("agenda", func() *agenda { return a }, actor.Answer(func(*agenda, *actor.Context, where) (string, error) { return "", nil })).With(actor.Virtual())
		sys = newSystem(t, actor.Config{Kinds: []*actor.Kind{deaf}, Reminders: rs, Logger: quiet})
		events, letters := sys.Events(t.Context(), actor.ReminderFailed), sys.DeadLetters(t.Context())
		time.Sleep(2*time.Hour + time.Minute)
		for range 2 {
			if e := <-events; e.Actor != "agenda/x@~" || rpc.CodeOf(e.Err) != rpc.Unhandled {
				t.Errorf("%+v", e)
			}
			if l := <-letters; l.To != "agenda/x@~" || l.Type != "agenda.rung" || rpc.CodeOf(l.Reason) != rpc.Unhandled {
				t.Errorf("%+v", l)
			}
		}
		if err := sys.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}

		other := actor.Define("other", func() *agenda { return a }, actor.Answer(func(*agenda, *actor.Context, where) (string, error) { return "", nil })).With(actor.Virtual())
		sys = newSystem(t, actor.Config{Kinds: []*actor.Kind{other}, Reminders: rs, Logger: quiet})
		time.Sleep(time.Hour + time.Minute)
		if err := sys.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		newSystem(t, actor.Config{Kinds: []*actor.Kind{kind}, Reminders: rs, Logger: quiet})
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if got := a.take(); len(got) != 1 || got[0].Number != 3 || got[0].Late < time.Minute {
			t.Errorf("%+v", got)
		}
	})
}

// brokenReminders is a store that does nothing but return errors.
type brokenReminders struct {
	reminder.Store
	err error
}

func (b *brokenReminders) Set(context.Context, reminder.Reminder, reminder.ID) (reminder.Entry, error) {
	return reminder.Entry{}, b.err
}

func (b *brokenReminders) Forget(context.Context, reminder.Actor, string, reminder.ID) error {
	return b.err
}

func (b *brokenReminders) List(context.Context, reminder.Actor) ([]reminder.Entry, error) {
	return nil, b.err
}

func (b *brokenReminders) Follow(context.Context, func(context.Context, reminder.Firing) reminder.Outcome) error {
	return b.err
}

// The error of a Remind says what is known of it.
func TestRemindErrors(t *testing.T) {
	for _, c := range []struct {
		err     error
		code    rpc.Code
		verdict rpc.Verdict
	}{
		{reminder.ErrFull, rpc.Overloaded, rpc.NotRun},
		{reminder.ErrTooLarge, rpc.TooLarge, rpc.NotRun},
		{reminder.ErrInvalid, rpc.Invalid, rpc.NotRun},
		{reminder.ErrUnknown, rpc.Unavailable, rpc.Unknown},
		{reminder.ErrLost, rpc.Unavailable, rpc.Unknown},
	} {
		bubble.Test(t, func(t *testing.T) {
			a := new(agenda)
			kind := a.kind()
			cfg := actor.Config{Kinds: []*actor.Kind{kind}, Reminders: &brokenReminders{err: &reminder.Error{Op: "set", Kind: c.err}}, Logger: quiet}
			sys := newSystem(t, cfg)
			x := sys.Virtual(kind, "x")
			for what, fn := range map[string]func(ctx *actor.Context) error{
				"remind": func(ctx *actor.Context) error { return actor.Remind(ctx, "n", reminder.Every(time.Hour), rung{}) },
				"forget": func(ctx *actor.Context) error { return actor.Forget(ctx, "n") },
			} {
				var got error
				_ = actor.Ask(t.Context(), x, jotting{Do: func(ctx *actor.Context) error { got = fn(ctx); return nil }})
				time.Sleep(2 * actor.DefaultTimeout)
				synctest.Wait()
				if rpc.CodeOf(got) != c.code || rpc.Ran(got) != c.verdict || !errors.Is(got, c.err) {
					t.Errorf("%s, %v: %v [%v]", what, c.err, got, rpc.Ran(got))
				}
			}
			if _, err := sys.Reminders(t.Context(), x); rpc.CodeOf(err) != rpc.Unavailable || !errors.Is(err, c.err) {
				t.Errorf("reminders: %v", err)
			}
		})
	}
}

// What is wrong with a Remind is said at once.
func TestRemindMisuse(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		a, rs := new(agenda), reminders.New(reminders.Config{})
		kind := a.kind()
		with := newSystem(t, actor.Config{Kinds: []*actor.Kind{kind}, Reminders: rs, Logger: quiet})
		without := newSystem(t, actor.Config{Kinds: []*actor.Kind{kind}, Logger: quiet})
		plain, err := with.Spawn("plain", actor.Define("plain", func() *agenda { return a }, actor.Answer(func(_ *agenda, ctx *actor.Context, m jotting) (string, error) { return "", m.Do(ctx) })))
		if err != nil {
			t.Fatal(err)
		}
		set := func(name string, when reminder.When, msg any) func(ctx *actor.Context) error {
			return func(ctx *actor.Context) error { return actor.Remind(ctx, name, when, msg) }
		}
		for what, c := range map[string]struct {
			at   actor.Ref
			do   func(ctx *actor.Context) error
			code rpc.Code
		}{
			"no store":          {without.Virtual(kind, "x"), set("n", reminder.Every(time.Hour), rung{}), rpc.Invalid},
			"no virtual actor":  {plain, set("n", reminder.Every(time.Hour), jotting{}), rpc.Invalid},
			"no handler":        {with.Virtual(kind, "x"), set("n", reminder.Every(time.Hour), where{}), rpc.Unhandled},
			"no message":        {with.Virtual(kind, "x"), set("n", reminder.Every(time.Hour), nil), rpc.Unhandled},
			"no name":           {with.Virtual(kind, "x"), set("", reminder.Every(time.Hour), rung{}), rpc.Invalid},
			"the longest name":  {with.Virtual(kind, "x"), set(strings.Repeat("x", reminder.MaxName), reminder.Every(time.Hour), rung{}), 0},
			"a longer one":      {with.Virtual(kind, "x"), set(strings.Repeat("x", reminder.MaxName+1), reminder.Every(time.Hour), rung{}), rpc.Invalid},
			"too often":         {with.Virtual(kind, "x"), set("n", reminder.Every(time.Second-1), rung{}), rpc.Invalid},
			"no time":           {with.Virtual(kind, "x"), set("n", reminder.When{}, rung{}), rpc.Invalid},
			"no such time":      {with.Virtual(kind, "x"), set("n", reminder.Cron("0 0 30 2 *", ""), rung{}), rpc.Invalid},
			"forget of no name": {with.Virtual(kind, "x"), func(ctx *actor.Context) error { return actor.Forget(ctx, "") }, rpc.Invalid},
		} {
			var got error
			if _, err := actor.Call(t.Context(), c.at, jotting{Do: func(ctx *actor.Context) error { got = c.do(ctx); return nil }}); err != nil {
				t.Fatal(err)
			}
			if rpc.CodeOf(got) != c.code || got != nil && rpc.Ran(got) != rpc.NotRun {
				t.Errorf("%s: %v", what, got)
			}
		}
		for what, err := range map[string]error{
			"of no virtual actor": errorOf(with.Reminders(t.Context(), plain)),
			"without a store":     errorOf(without.Reminders(t.Context(), without.Virtual(kind, "x"))),
		} {
			if rpc.CodeOf(err) != rpc.Invalid {
				t.Errorf("reminders %s: %v", what, err)
			}
		}
	})
}
