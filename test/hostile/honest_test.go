//go:build linux && !race

package hostile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/tcp"
)

// honest is a node that uses the victim correctly.
type honest struct {
	sys    *actor.System
	echo   func(ctx context.Context, n int) (int, error) // by way of the victim
	dialer *mallory                                      // as the attacker dials, and with good intent
}

// honest starts a node that uses the victim correctly.
func (r role) honest(t *testing.T) (*honest, error) {
	cfg := actor.Config{Name: r.Name, Logger: slog.New(slog.DiscardHandler)}
	if r.Kind == onBus {
		road, reg, err := r.onBus(t.Context(), r.Name, natsbus.Config{})
		if err != nil {
			return nil, err
		}
		cfg.Registry, cfg.Transports = reg, []transport.Transport{road}
	} else {
		road, err := r.tcp()
		if err != nil {
			return nil, err
		}
		cfg.Registry = static.New(registry.Node{Name: victimName, Addrs: map[string]string{tcp.Road: r.Addr}})
		cfg.Transports = []transport.Transport{tcp.New(road)}
	}
	sys, err := actor.NewSystem(cfg)
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = sys.Shutdown(ctx)
	})
	dialler := r
	dialler.Name = "dialler"
	h := &honest{sys: sys, dialer: &mallory{role: dialler}}
	to := sys.Ref("echo@" + victimName)
	h.echo = func(ctx context.Context, n int) (int, error) { return actor.Call(ctx, to, Echo{N: n}) }
	if r.Kind == asClient { // the victim asks back, so that its calls to a good node are measured as well
		if _, err := sys.Spawn("till", actor.Define("hostile.till", func() target { return target{} },
			actor.Answer(func(_ target, _ *actor.Context, m Echo) (int, error) { return m.N, nil }))); err != nil {
			return nil, err
		}
		relay := sys.Ref("relay@" + victimName)
		h.echo = func(ctx context.Context, n int) (int, error) { return actor.Call(ctx, relay, Relay{N: n}) }
	}
	return h, nil
}

// figures are the results of the honest node's work.
type figures struct {
	calls, dials []time.Duration // how long each took, sorted
	echoes       int             // calls that the victim should have run
	errs         []error
}

func (f figures) first() error { return errors.Join(f.errs[:min(len(f.errs), 1)]...) }

// work calls the victim, with a short pause after each call. Now and then it opens a link to
// it, submits a job, and uses its queue. It does so until ctx ends.
func (h *honest) work(ctx context.Context) (f figures) {
	var mu sync.Mutex // guards f
	note := func(err error, change func()) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			f.errs = append(f.errs, err)
			return
		}
		change()
	}
	var wg sync.WaitGroup
	every := func(pause time.Duration, do func(ctx context.Context, n int)) {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				within, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
				do(within, n)
				cancel()
				select {
				case <-ctx.Done():
				case <-time.After(pause):
				}
			}
		})
	}
	every(2*time.Millisecond, func(ctx context.Context, n int) {
		began := time.Now()
		got, err := h.echo(ctx, n)
		if err == nil && got != n {
			err = fmt.Errorf("the answer is %d, want %d", got, n)
		}
		note(err, func() { f.calls, f.echoes = append(f.calls, time.Since(began)), f.echoes+1 })
	})
	every(50*time.Millisecond, func(ctx context.Context, n int) {
		began := time.Now()
		l, err := h.dialer.session(ctx, "dialler")
		if err != nil {
			err = fmt.Errorf("dialling: %w", err)
		}
		note(err, func() { f.dials = append(f.dials, time.Since(began)); l.close() })
	})
	every(100*time.Millisecond, func(ctx context.Context, n int) {
		token, err := actor.Submit(ctx, h.sys.Ref("echo@"+victimName), Echo{N: n})
		got := 0
		if err == nil {
			got, err = token.Await(ctx)
		}
		if err == nil && got != n {
			err = fmt.Errorf("the job's result is %d, want %d", got, n)
		}
		if err != nil {
			err = fmt.Errorf("job: %w", err)
		}
		note(err, func() { f.echoes++ })
		q := h.sys.Ref("mails@" + victimName)
		if err := actor.Push(ctx, q, Mail{n}); err != nil {
			note(fmt.Errorf("push: %w", err), nil)
		}
		mails, err := actor.Pull[Mail](ctx, q, actor.Wait(0), actor.Max(16))
		if err == nil {
			err = actor.AckAll(ctx, mails)
		}
		if err != nil {
			note(fmt.Errorf("pull: %w", err), nil)
		}
	})
	wg.Wait()
	slices.Sort(f.calls)
	slices.Sort(f.dials)
	return f
}

// inside asks the victim for its counters, and makes it free the memory that it can.
func (h *honest) inside(t *testing.T) Inner {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	got, err := actor.Call(ctx, h.sys.Ref("inside@"+victimName), Inside{})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// judge does an attack's own check after the attacker has ended.
func (h *honest) judge(t *testing.T, a attack) {
	t.Helper()
	if a.then == nil {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := a.then(ctx, h); err != nil {
		t.Errorf("after the attack: %v", err)
	}
}
