// Package bindtest is the suite that every store of bindings must pass. It checks what the documentation of [gateway.Bindings]
// promises.
package bindtest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/gateway"
)

// Config describes the store that is tested.
type Config struct {
	// Open returns a function that returns clients of one new, empty store whose bindings last for life, and cleans up with
	// t.Cleanup. All clients may be the same one.
	Open func(t *testing.T, life time.Duration) func() gateway.Bindings
}

const (
	patience  = 60 * time.Second // how long a test may take
	long      = time.Hour        // a life that does not end meanwhile
	short     = 2 * time.Second
	late      = 20 * time.Second // when one of that life has ended, on a busy machine
	gateways  = 50
	raceNames = 10
)

// Run runs the suite.
func Run(t *testing.T, cfg Config) {
	for _, c := range []struct {
		name string
		life time.Duration
		test func(*bench)
	}{
		{"the first address holds", long, (*bench).first},
		{"one of many wins", long, (*bench).race},
		{"limits", long, (*bench).limits},
		{"a ctx that has ended", long, (*bench).ended},
		{"a life", short, (*bench).expiry},
	} {
		t.Run(c.name, func(t *testing.T) {
			open := cfg.Open(t, c.life)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			c.test(&bench{T: t, ctx: ctx, open: open, a: open(), b: open()})
		})
	}
}

// bench is one test with clients of one store.
type bench struct {
	*testing.T
	ctx  context.Context
	open func() gateway.Bindings
	a, b gateway.Bindings
}

func (b *bench) binds(by gateway.Bindings, name, address, want string) {
	b.Helper()
	if got, err := by.Bind(b.ctx, name, address); got != want || err != nil {
		b.Errorf("%q to %q: got %q, %v; want %q", name, address, got, err, want)
	}
}

func (b *bench) first() {
	for _, name := range []string{"x", "y", "x.y", "x/*", ">", "a b", "Ä", "0"} {
		b.binds(b.a, name, "1 of "+name, "1 of "+name)
		b.binds(b.b, name, "2", "1 of "+name)
		b.binds(b.a, name, "3", "1 of "+name)
	}
	b.binds(b.open(), "x", "4", "1 of x") // who comes later knows it, too
}

// Many gateways bind the same names at the same time, and all get the same answers.
func (b *bench) race() {
	got := make([][raceNames]string, gateways)
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range got {
		by := b.open()
		all.Go(func() {
			<-start
			for n := range raceNames {
				address, err := by.Bind(b.ctx, fmt.Sprint("n", n), fmt.Sprint("address-", i))
				if err != nil {
					b.Errorf("gateway %d: %v", i, err)
				}
				got[i][n] = address
			}
		})
	}
	close(start)
	all.Wait()
	for i := range got {
		if got[i] != got[0] {
			b.Errorf("gateway %d got %q, gateway 0 %q", i, got[i], got[0])
		}
	}
	for n, address := range got[0] {
		if !strings.HasPrefix(address, "address-") {
			b.Errorf("name %d is bound to %q", n, address)
		}
	}
}

func (b *bench) limits() {
	name, address := strings.Repeat("=", gateway.MaxBindingName), strings.Repeat("ü", gateway.MaxBindingAddress/2)
	b.binds(b.a, name, address, address)
	b.binds(b.b, name, "other", address)
	for _, bad := range [][2]string{{"", "a"}, {"n", ""}, {name + "x", "a"}, {"n", address + "x"}} {
		if got, err := b.a.Bind(b.ctx, bad[0], bad[1]); err == nil || got != "" {
			b.Errorf("%d bytes to %d bytes: %q, %v", len(bad[0]), len(bad[1]), got, err)
		}
	}
	b.binds(b.a, "n", "a", "a") // what was refused is not bound
}

// A Bind whose ctx has ended binds nothing to anything that others do not get as well.
func (b *bench) ended() {
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	got, err := b.a.Bind(ctx, "x", "1")
	if err == nil && got != "1" || err != nil && got != "" {
		b.Errorf("got %q, %v", got, err)
	}
	bound, noErr := b.b.Bind(b.ctx, "x", "2")
	if noErr != nil || err == nil && bound != got {
		b.Errorf("then %q, %v", bound, noErr)
	}
	b.binds(b.a, "x", "3", bound)
}

// A binding ends after its life, not before, and however often it is asked for.
func (b *bench) expiry() {
	began := time.Now()
	b.binds(b.a, "x", "1", "1")
	for {
		got, err := b.b.Bind(b.ctx, "x", "2")
		if err != nil {
			b.Fatal(err)
		}
		if got == "2" {
			break
		}
		if got != "1" || time.Since(began) > late {
			b.Fatalf("bound to %q after %v", got, time.Since(began))
		}
		time.Sleep(50 * time.Millisecond) // asks for it, and does not wait for it to end by itself
	}
	if took := time.Since(began); took < short {
		b.Errorf("it lasted %v, want %v", took, short)
	}
	b.binds(b.a, "x", "3", "2")
}
