package actor_test

import (
	"context"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/actor"
)

// Cache forgets what it holds after a while.
type Cache struct {
	held      map[string]string
	refreshes int
	refresh   actor.Timer
	done      chan string
}

// Hold is kept until it is forgotten.
type Hold struct{ Key, Value string }

type (
	forget  struct{ key string }
	refresh struct{}
	report  struct{}
)

// Started sets the timers of an incarnation.
func (c *Cache) Started(ctx *actor.Context) (err error) {
	if c.refresh, err = actor.Every(ctx, time.Millisecond, refresh{}); err != nil {
		return err
	}
	_, err = actor.Cron(ctx, "30 6 * * 1-5", "Europe/Berlin", report{})
	return err
}

func (c *Cache) Hold(ctx *actor.Context, m Hold) error {
	c.held[m.Key] = m.Value
	_, err := actor.After(ctx, 20*time.Millisecond, forget{m.Key})
	return err
}

func (c *Cache) forget(_ *actor.Context, m forget) error {
	c.done <- "forgets " + c.held[m.key]
	delete(c.held, m.key)
	return nil
}

func (c *Cache) again(*actor.Context, refresh) error {
	if c.refreshes++; c.refreshes == 3 {
		c.refresh.Cancel()
		c.done <- "has been refreshed 3 times"
	}
	return nil
}

func (c *Cache) report(*actor.Context, report) error { return nil }

// Timers of an actor send it messages.
func ExampleAfter() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	done := make(chan string, 2)
	cache := must(sys.Spawn("cache", actor.Define("example.cache", func() *Cache { return &Cache{held: map[string]string{}, done: done} },
		actor.Handle((*Cache).Hold), actor.Handle((*Cache).forget), actor.Handle((*Cache).again), actor.Handle((*Cache).report))))
	fmt.Println(<-done)
	fmt.Println(actor.Tell(ctx, cache, Hold{"a", "apples"}))
	fmt.Println(<-done)
	// Output:
	// has been refreshed 3 times
	// <nil>
	// forgets apples
}

// Beacon has timers that Started sets.
type Beacon struct {
	set   func(*actor.Context) error
	beats chan string
}

type Beat struct{ Name string }

func (b *Beacon) Started(ctx *actor.Context) error    { return b.set(ctx) }
func (b *Beacon) Beat(_ *actor.Context, m Beat) error { b.beats <- m.Name; return nil }

// beacon starts an actor that calls set, and returns its beats.
func beacon(sys *actor.System, set func(*actor.Context) error) <-chan string {
	beats := make(chan string)
	must(sys.Spawn("beacon", actor.Define("example.beacon", func() *Beacon { return &Beacon{set, beats} }, actor.Handle((*Beacon).Beat))))
	return beats
}

// While the actor is slow, as here, because nobody reads, its beats do not pile up.
func ExampleEvery() {
	ctx, sys := context.Background(), quietSystem()
	beats := beacon(sys, func(ctx *actor.Context) error {
		timer, err := actor.Every(ctx, time.Millisecond, Beat{"every millisecond"})
		time.AfterFunc(100*time.Millisecond, func() { timer.Cancel() })
		return err
	})
	fmt.Println(<-beats)
	fmt.Println(<-beats)
	go func() {
		for range beats {
		}
	}()
	fmt.Println(sys.Shutdown(ctx))
	// Output:
	// every millisecond
	// every millisecond
	// <nil>
}

// What is no expression, or no time zone, is refused at once.
func ExampleCron() {
	ctx, sys := context.Background(), quietSystem()
	defer sys.Shutdown(ctx)
	set := make(chan error, 3)
	beacon(sys, func(ctx *actor.Context) error {
		for _, cron := range [][2]string{{"0 9 * * 1-5", "Europe/Berlin"}, {"at nine", "Europe/Berlin"}, {"0 9 * * 1-5", "Atlantis"}} {
			_, err := actor.Cron(ctx, cron[0], cron[1], Beat{"each morning"})
			set <- err
		}
		return nil
	})
	for range 3 {
		fmt.Println(<-set)
	}
	// Output:
	// <nil>
	// rpc: invalid: not a cron expression: "at nine" has 2 fields instead of 5 [not run]
	// rpc: invalid: not a time zone: "Atlantis" [not run]
}
