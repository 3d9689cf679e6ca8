package actor_test

// An actor with all hooks, which writes down what happens to it.

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/actor"
)

// Diary is what happens to some actors, in order.
type Diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *Diary) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, fmt.Sprintf(format, args...))
}

// read waits until the bubble is idle, and returns the lines since the last read.
func (d *Diary) read() []string {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	lines := d.lines
	d.lines = nil
	return lines
}

// want checks the lines since the last read.
func (d *Diary) want(t *testing.T, lines ...string) {
	t.Helper()
	if got := d.read(); !slices.Equal(got, lines) {
		t.Errorf("the diary says\n%q, want\n%q", got, lines)
	}
}

// Diarist is the state of an actor that keeps a diary. The functions may be nil. N counts its
// messages in this incarnation.
type Diarist struct {
	diary             *Diary
	onStart           func(*actor.Context) error
	onRestart, onStop func(*actor.Context, error)
	born              int
	N                 int
}

func (k *Diarist) name(ctx *actor.Context) string { return fmt.Sprint(ctx.Self().Name(), "/", k.born) }

func (k *Diarist) Started(ctx *actor.Context) error {
	k.diary.note("%s started", k.name(ctx))
	if k.onStart != nil {
		return k.onStart(ctx)
	}
	return nil
}

func (k *Diarist) Restarting(ctx *actor.Context, why error) {
	k.diary.note("%s restarting", k.name(ctx))
	if k.onRestart != nil {
		k.onRestart(ctx, why)
	}
}

func (k *Diarist) Stopping(ctx *actor.Context, why error) {
	k.diary.note("%s stopping", k.name(ctx))
	if k.onStop != nil {
		k.onStop(ctx, why)
	}
}

func (k *Diarist) Run(ctx *actor.Context, m Run) (string, error) { k.N++; return m.F(ctx) }
func (k *Diarist) Note(ctx *actor.Context, m Note) error         { k.N++; return m.F(ctx) }
func (k *Diarist) Count(ctx *actor.Context, m Count) (int, error) {
	return k.N, nil
}
func (k *Diarist) Terminated(ctx *actor.Context, m actor.Terminated) error {
	k.diary.note("%s heard of %s", k.name(ctx), m.Ref.Name())
	return nil
}

// diarist defines a kind of actors that keep diary d. change may set the functions of each state.
func diarist(d *Diary, change func(*Diarist), opts ...actor.KindOption) *actor.Kind {
	born := 0
	var mu sync.Mutex
	return actor.Define("test.diarist", func() *Diarist {
		mu.Lock()
		defer mu.Unlock()
		born++
		k := &Diarist{diary: d, born: born}
		if change != nil {
			change(k)
		}
		return k
	}, actor.Answer((*Diarist).Run), actor.Handle((*Diarist).Note), actor.Answer((*Diarist).Count), actor.Handle((*Diarist).Terminated)).With(opts...)
}

// crash is a message that makes an actor fail.
func crash() Note { return note(func(*actor.Context) { panic("on purpose") }) }

// exit is a message that makes an actor end its goroutine.
func exit() Note { return note(func(*actor.Context) { runtime.Goexit() }) }
