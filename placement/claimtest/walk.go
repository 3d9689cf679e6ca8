package claimtest

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/tandem-go/tandem/placement"
)

// pages is how many claims the cases make: more than a store reads at once.
const pages = 600

// collect returns what a walk yields. It is an error if that is of another kind, or anything after
// an error.
func collect(ctx context.Context, c placement.Claims, kind string) (map[placement.Key]placement.Held, error) {
	all, failed := map[placement.Key]placement.Held{}, error(nil)
	for e, err := range c.Walk(ctx, kind) {
		switch {
		case failed != nil:
			return all, fmt.Errorf("%v, %v, after the error %w", e, err, failed)
		case err != nil:
			failed = err
		case e.Key.Kind != kind || e.Token == 0:
			return all, fmt.Errorf("of the kind %s: %+v", kind, e)
		default:
			all[e.Key] = e.Held
		}
	}
	return all, failed
}

// fill makes many claims of a kind.
func (b *bench) fill(kind string) map[placement.Key]placement.Held {
	b.Helper()
	made := make([]placement.Entry, pages)
	b.all(pages, func(i int) (err error) {
		made[i] = placement.Entry{Key: placement.Key{Kind: kind, ID: fmt.Sprint("n", i)}, Held: placement.Held{Claim: by("n")}}
		made[i].Token, err = b.a.Create(b.ctx, made[i].Key, made[i].Claim)
		return err
	})
	held := map[placement.Key]placement.Held{}
	for _, e := range made {
		held[e.Key] = e.Held
	}
	return held
}

// walks checks what both clients find of a kind that nobody changes.
func (b *bench) walks(kind string, want map[placement.Key]placement.Held) {
	b.Helper()
	for _, c := range []placement.Claims{b.a, b.b} {
		got, err := collect(b.ctx, c, kind)
		if b.ok(err); !maps.Equal(got, want) {
			b.Errorf("the kind %q has %d claims, want %d; for example, the first of them is %v, want %v", kind, len(got), len(want), got[placement.Key{Kind: kind, ID: "n0"}], want[placement.Key{Kind: kind, ID: "n0"}])
		}
	}
}

func (b *bench) walk() {
	b.walks("k", nil)
	held := b.fill("k")
	for i := range pages {
		k := placement.Key{Kind: "k", ID: fmt.Sprint("n", i)}
		switch now := held[k]; i % 4 {
		case 0:
			b.ok(b.a.Release(b.ctx, k, now.Token))
			delete(held, k)
		case 1:
			next := by("m")
			token, err := b.b.Replace(b.ctx, k, next, now.Token)
			b.ok(err)
			held[k] = placement.Held{Claim: next, Token: token}
		}
	}
	for _, kind := range []string{"k2", "K", "k.", "k.n1", "*", ">", "=mark"} {
		other := placement.Key{Kind: kind, ID: "\x00 *"}
		claim := by("n")
		b.walks(kind, nil)
		b.walks(kind, map[placement.Key]placement.Held{other: {Claim: claim, Token: b.create(b.a, other, claim)}})
	}
	b.walks("k", held)
	for range b.a.Walk(b.ctx, "k") { // the caller may leave the loop
		break
	}
	loop := b.a.Walk(b.ctx, "k") // and may have it run again
	for range 2 {
		n := 0
		for _, err := range loop {
			b.ok(err)
			n++
		}
		if n != len(held) {
			b.Errorf("%d claims, want %d", n, len(held))
		}
	}
}

// walkAmidst has the body of the loop make, replace and release claims.
func (b *bench) walkAmidst() {
	held := b.fill("k")
	was := map[placement.Entry]bool{} // all claims that there ever were
	for k, h := range held {
		was[placement.Entry{Key: k, Held: h}] = true
	}
	stay, seen, n := maps.Clone(held), map[placement.Key]bool{}, 0
	for e, err := range b.a.Walk(b.ctx, "k") {
		b.ok(err)
		if !was[e] {
			b.Fatalf("there was no %+v", e)
		}
		seen[e.Key] = true
		if n++; n > pages/2 {
			continue
		}
		k := placement.Key{Kind: "k", ID: fmt.Sprint("n", 2*n%pages)}
		next := by("m")
		token, err := b.b.Replace(b.ctx, k, next, held[k].Token)
		b.ok(err)
		held[k] = placement.Held{Claim: next, Token: token}
		was[placement.Entry{Key: k, Held: held[k]}] = true
		if n%10 == 0 {
			b.ok(b.b.Release(b.ctx, k, token))
			delete(stay, k)
			k.ID = fmt.Sprint("new", n)
			fresh := by("n")
			was[placement.Entry{Key: k, Held: placement.Held{Claim: fresh, Token: b.create(b.a, k, fresh)}}] = true
		}
	}
	for k := range stay {
		if !seen[k] {
			b.Errorf("%v is missing", k)
		}
	}
}

func (b *bench) walkEnded() {
	b.fill("k")
	over, cancel := context.WithCancel(b.ctx)
	cancel()
	got, err := collect(over, b.a, "k")
	if b.is(err, placement.ErrUnavailable); len(got) != 0 || !errors.Is(err, context.Canceled) {
		b.Errorf("%d, %v", len(got), err)
	}
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	n, failed := 0, error(nil)
	for _, err := range b.a.Walk(ctx, "k") {
		if failed = err; err == nil {
			n++
		}
		cancel()
	}
	if b.is(failed, placement.ErrUnavailable); n == pages || !errors.Is(failed, context.Canceled) {
		b.Errorf("%d, %v", n, failed)
	}
}
