// Package claimtest is the suite that every store of claims must pass. It checks what the
// documentation of [placement.Claims] promises.
package claimtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/placement"
)

// Config describes the store that is tested.
type Config struct {
	// Open returns a function that returns clients of one new, empty store, and cleans up with
	// t.Cleanup. All clients may be the same one.
	Open func(t *testing.T) func() placement.Claims
}

// patience is how long a test may take.
const patience = 60 * time.Second

// Run runs the suite.
func Run(t *testing.T, cfg Config) {
	for _, c := range []struct {
		name string
		test func(*bench)
	}{
		{"create, replace, release", (*bench).life},
		{"tokens grow", (*bench).tokens},
		{"conflicts", (*bench).conflicts},
		{"the same write again", (*bench).again},
		{"release", (*bench).release},
		{"limits", (*bench).limits},
		{"keys are apart", (*bench).keys},
		{"a ctx that has ended", (*bench).ended},
		{"one of many wins", (*bench).race},
		{"a random history", (*bench).model},
	} {
		t.Run(c.name, func(t *testing.T) {
			open := cfg.Open(t)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			c.test(&bench{T: t, ctx: ctx, a: open(), b: open()})
		})
	}
}

// bench is one test with two clients of one store.
type bench struct {
	*testing.T
	ctx  context.Context
	a, b placement.Claims
}

func (b *bench) ok(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// by returns a claim of a node, with a new ID.
func by(node string) placement.Claim {
	return placement.Claim{Node: node, Epoch: node + "-1", ID: placement.NewID()}
}

func (b *bench) create(c placement.Claims, key placement.Key, claim placement.Claim) placement.Token {
	b.Helper()
	token, err := c.Create(b.ctx, key, claim)
	b.ok(err)
	return token
}

// holds checks what both clients read.
func (b *bench) holds(key placement.Key, claim placement.Claim, token placement.Token) {
	b.Helper()
	for _, c := range []placement.Claims{b.a, b.b} {
		held, err := c.Get(b.ctx, key)
		if b.ok(err); held != (placement.Held{Claim: claim, Token: token}) {
			b.Errorf("%v: got %+v, want %+v under %d", key, held, claim, token)
		}
	}
}

func (b *bench) free(key placement.Key) {
	b.Helper()
	b.holds(key, placement.Claim{}, 0)
}

// is checks an error, and that it wraps no other one of the package.
func (b *bench) is(err, want error) {
	b.Helper()
	for _, e := range []error{placement.ErrInvalid, placement.ErrConflict, placement.ErrUnknown, placement.ErrUnavailable, placement.ErrFormat, placement.ErrLost} {
		if errors.Is(err, e) != (e == want) {
			b.Errorf("got %v, want %v", err, want)
			return
		}
	}
	if e := (*placement.Error)(nil); !errors.As(err, &e) || e.Op == "" || e.Kind != want {
		b.Errorf("got %#v", err)
	}
}

var key = placement.Key{Kind: "bank.account", ID: "alice"}

func (b *bench) life() {
	b.free(key)
	first, second := by("n"), by("m")
	t1 := b.create(b.a, key, first)
	b.holds(key, first, t1)
	t2, err := b.b.Replace(b.ctx, key, second, t1)
	b.ok(err)
	b.holds(key, second, t2)
	b.ok(b.a.Release(b.ctx, key, t2))
	b.free(key)
	t3 := b.create(b.b, key, first)
	b.holds(key, first, t3)
}

func (b *bench) tokens() {
	last, claims := placement.Token(0), []placement.Claims{b.a, b.b}
	for i := range 20 {
		token := b.create(claims[i%2], key, by("n"))
		next, err := claims[i/2%2].Replace(b.ctx, key, by("m"), token)
		b.ok(err)
		if token <= last || next <= token {
			b.Errorf("%d, then %d, then %d", last, token, next)
		}
		last = next
		b.ok(claims[i/4%2].Release(b.ctx, key, next))
	}
}

func (b *bench) conflicts() {
	holder := by("n")
	_, err := b.a.Replace(b.ctx, key, by("m"), 1)
	b.is(err, placement.ErrConflict)
	_, err = b.a.Replace(b.ctx, key, by("m"), 0)
	b.is(err, placement.ErrConflict)
	b.free(key)
	token := b.create(b.a, key, holder)
	_, err = b.b.Create(b.ctx, key, by("m"))
	b.is(err, placement.ErrConflict)
	if e := (*placement.Error)(nil); !errors.As(err, &e) || e.Found != (placement.Held{Claim: holder, Token: token}) || e.Key != key {
		b.Errorf("got %+v", e)
	}
	for _, wrong := range []placement.Token{0, token - 1, token + 1} {
		_, err = b.b.Replace(b.ctx, key, by("m"), wrong)
		b.is(err, placement.ErrConflict)
	}
	b.holds(key, holder, token)
	b.ok(b.b.Release(b.ctx, key, token))
	_, err = b.b.Replace(b.ctx, key, by("m"), token)
	b.is(err, placement.ErrConflict)
	b.free(key)
}

func (b *bench) again() {
	first, second := by("n"), by("n")
	t1 := b.create(b.a, key, first)
	if t := b.create(b.b, key, first); t != t1 {
		b.Errorf("created again: %d, want %d", t, t1)
	}
	t2, err := b.a.Replace(b.ctx, key, second, t1)
	b.ok(err)
	if t, err := b.b.Replace(b.ctx, key, second, t1); err != nil || t != t2 {
		b.Errorf("replaced again: %d, %v, want %d", t, err, t2)
	}
	_, err = b.b.Create(b.ctx, key, first) // it was replaced
	b.is(err, placement.ErrConflict)
	b.holds(key, second, t2)
}

func (b *bench) release() {
	b.ok(b.a.Release(b.ctx, key, 0))
	b.ok(b.a.Release(b.ctx, key, 1))
	token := b.create(b.a, key, by("n"))
	successor := by("m")
	next, err := b.b.Replace(b.ctx, key, successor, token)
	b.ok(err)
	b.ok(b.a.Release(b.ctx, key, token)) // not the successor's
	b.ok(b.a.Release(b.ctx, key, next+1))
	b.holds(key, successor, next)
	b.ok(b.a.Release(b.ctx, key, next))
	b.ok(b.b.Release(b.ctx, key, next))
	b.free(key)
}

func (b *bench) limits() {
	long := strings.Repeat("x", placement.MaxKey)
	for _, k := range []placement.Key{{}, {Kind: "k"}, {ID: "i"}, {Kind: long + "x", ID: "i"}, {Kind: "k", ID: long + "x"}} {
		_, err := b.a.Get(b.ctx, k)
		b.is(err, placement.ErrInvalid)
		_, err = b.a.Create(b.ctx, k, by("n"))
		b.is(err, placement.ErrInvalid)
		_, err = b.a.Replace(b.ctx, k, by("n"), 1)
		b.is(err, placement.ErrInvalid)
		b.is(b.a.Release(b.ctx, k, 1), placement.ErrInvalid)
	}
	for _, c := range []placement.Claim{{}, {Node: "n", Epoch: "e"}, {Node: "a.b", Epoch: "e", ID: "i"}, {Node: "n", Epoch: "", ID: "i"}, {Node: strings.Repeat("n", placement.MaxName+1), Epoch: "e", ID: "i"}} {
		_, err := b.a.Create(b.ctx, key, c)
		b.is(err, placement.ErrInvalid)
		_, err = b.a.Replace(b.ctx, key, c, 1)
		b.is(err, placement.ErrInvalid)
	}
	b.free(key)
	name := strings.Repeat("n", placement.MaxName)
	largest, claim := placement.Key{Kind: strings.Repeat("é", placement.MaxKey/2), ID: strings.Repeat("\xff", placement.MaxKey)}, placement.Claim{Node: name, Epoch: name, ID: name}
	b.holds(largest, claim, b.create(b.a, largest, claim))
}

func (b *bench) keys() {
	all := []placement.Key{{Kind: "a", ID: "b.c"}, {Kind: "a.b", ID: "c"}, {Kind: "a/b", ID: "c"}, {Kind: "a", ID: "b/c"}, {Kind: "a", ID: "*"}, {Kind: "a", ID: ">"}, {Kind: ">", ID: ">"}, {Kind: "a", ID: "=2a"},
		{Kind: "a", ID: "=3d2a"}, {Kind: "a", ID: "A"}, {Kind: "A", ID: "a"}, {Kind: "a", ID: " "}, {Kind: "a", ID: "\x00"}, {Kind: "a", ID: "é"}, {Kind: "a", ID: "e\u0301"}, {Kind: "=mark", ID: "a"}, {Kind: "a", ID: "\r\nPUB"}}
	tokens := map[placement.Key]placement.Token{}
	claims := map[placement.Key]placement.Claim{}
	for _, k := range all {
		claims[k] = by("n")
		tokens[k] = b.create(b.a, k, claims[k])
	}
	for _, k := range all {
		b.holds(k, claims[k], tokens[k])
	}
}

func (b *bench) ended() {
	token := b.create(b.a, key, by("n"))
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	_, err := b.a.Get(ctx, key)
	b.is(err, placement.ErrUnavailable)
	_, err = b.a.Create(ctx, placement.Key{Kind: "k", ID: "i"}, by("n"))
	b.is(err, placement.ErrUnavailable)
	_, err = b.a.Replace(ctx, key, by("n"), token)
	b.is(err, placement.ErrUnavailable)
	b.is(b.a.Release(ctx, key, token), placement.ErrUnavailable)
	if !errors.Is(err, context.Canceled) {
		b.Errorf("the cause is missing: %v", err)
	}
}

// race has many create, replace and release the same keys, and checks that each token was won once.
func (b *bench) race() {
	const workers, rounds = 16, 20
	var mu sync.Mutex
	won := map[string]bool{}
	var all sync.WaitGroup
	for w := range workers {
		c := []placement.Claims{b.a, b.b}[w%2]
		all.Go(func() {
			for i := range rounds {
				k := placement.Key{Kind: "k", ID: fmt.Sprint(i % 3)}
				held, err := c.Get(b.ctx, k)
				token := placement.Token(0)
				if err == nil && held.Token == 0 {
					token, err = c.Create(b.ctx, k, by(fmt.Sprint("n", w)))
				} else if err == nil {
					token, err = c.Replace(b.ctx, k, by(fmt.Sprint("n", w)), held.Token)
				}
				if errors.Is(err, placement.ErrConflict) {
					continue
				}
				if err != nil {
					b.Error(err)
					return
				}
				mu.Lock()
				what := fmt.Sprint(held.Token, " of ", k) // what was replaced
				if held.Token != 0 && won[what] {
					b.Errorf("token %s was replaced twice", what)
				}
				won[what] = true
				mu.Unlock()
				if i%4 == 0 {
					if err := c.Release(b.ctx, k, token); err != nil {
						b.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
}

// model compares a random history with a map.
func (b *bench) model() {
	claims := []placement.Claims{b.a, b.b}
	runs := 0
	rapid.Check(b.T, func(rt *rapid.T) {
		runs++
		held := map[placement.Key]placement.Held{}
		seen := map[placement.Key][]placement.Token{}
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			c := rapid.SampledFrom(claims).Draw(rt, "client")
			k := placement.Key{Kind: fmt.Sprint("run", runs), ID: rapid.SampledFrom([]string{"a", "b", "=", ".."}).Draw(rt, "id")}
			now, claim := held[k], by("n")
			token := rapid.SampledFrom(append([]placement.Token{now.Token, 0, now.Token + 1}, seen[k]...)).Draw(rt, "token")
			switch rapid.SampledFrom([]string{"create", "replace", "release", "get"}).Draw(rt, "do") {
			case "create":
				got, err := c.Create(b.ctx, k, claim)
				won(rt, held, seen, k, claim, got, err, now.Token == 0)
			case "replace":
				got, err := c.Replace(b.ctx, k, claim, token)
				won(rt, held, seen, k, claim, got, err, now.Token != 0 && token == now.Token)
			case "release":
				if err := c.Release(b.ctx, k, token); err != nil {
					rt.Fatal(err)
				}
				if token == now.Token {
					delete(held, k)
				}
			}
			if got, err := c.Get(b.ctx, k); err != nil || got != held[k] {
				rt.Fatalf("got %+v, %v, want %+v", got, err, held[k])
			}
		}
	})
}

// won checks the result of a write, and notes it.
func won(rt *rapid.T, held map[placement.Key]placement.Held, seen map[placement.Key][]placement.Token, k placement.Key, c placement.Claim, token placement.Token, err error, want bool) {
	if want != (err == nil) || !want && !errors.Is(err, placement.ErrConflict) {
		rt.Fatalf("got %d, %v, with the claim %+v", token, err, held[k])
	}
	if !want {
		return
	}
	for _, t := range seen[k] {
		if t >= token {
			rt.Fatalf("token %d after %d", token, t)
		}
	}
	seen[k] = append(seen[k], token)
	held[k] = placement.Held{Claim: c, Token: token}
}
