package registrytest

import (
	"bytes"
	"errors"
	"time"

	"github.com/tandem-go/tandem/registry"
)

// ended checks what r says about how the latest former holder of name ended.
func (p *pair) ended(r registry.Registry, name string, want registry.Departure) {
	p.Helper()
	got, err := r.Departed(p.ctx, name)
	if err != nil || got.Epoch != want.Epoch || got.Change != want.Change || !bytes.Equal(got.Last, want.Last) {
		p.Errorf("got %v %v, %d bytes (%v), want %v %v, %d bytes", got.Epoch, got.Change, len(got.Last), err, want.Epoch, want.Change, len(want.Last))
	}
	if d := time.Since(got.At).Abs(); err == nil && d > time.Minute {
		p.Errorf("departed at %v", got.At)
	}
}

func (p *pair) departed() {
	for _, r := range []registry.Registry{p.a, p.b} {
		_, err := r.Departed(p.ctx, "n")
		p.is(err, registry.ErrNotFound)
		_, err = r.Lookup(p.ctx, "n")
		if p.is(err, registry.ErrNotFound); errors.Is(err, registry.ErrAway) {
			p.Errorf("away before it was there: %v", err)
		}
	}
	p.ok(p.a.Register(p.ctx, Node("n", "e1", "x")))
	_, err := p.a.Departed(p.ctx, "n")
	p.is(err, registry.ErrNotFound)
	p.ok(p.a.Deregister(p.ctx, "n", "e1", nil))
	for _, r := range []registry.Registry{p.a, p.b} {
		p.ended(r, "n", registry.Departure{Epoch: "e1", Change: registry.Left})
	}
	p.absent(p.a, "n")
	p.ok(p.a.Register(p.ctx, Node("n", "e2", "x")))
	p.ok(p.b.Evict(p.ctx, "n", "e2"))
	p.ended(p.b, "n", registry.Departure{Epoch: "e2", Change: registry.Left})
	p.absent(p.b, "n")
}

func (p *pair) lastWord() {
	p.ok(p.a.Register(p.ctx, Node("n", "e1", "x")))
	largest := bytes.Repeat([]byte{0, 0xff}, registry.MaxLast/2)
	p.is(p.a.Deregister(p.ctx, "n", "e1", append(largest, 1)), registry.ErrTooLarge)
	p.served(p.a, Node("n", "e1", "x")) // it can deregister again with a shorter last word
	p.ok(p.a.Deregister(p.ctx, "n", "e0", []byte("not mine to say")))
	p.ok(p.a.Deregister(p.ctx, "n", "e1", largest))
	want := registry.Departure{Epoch: "e1", Change: registry.Left, Last: largest}
	p.ended(p.b, "n", want)
	p.ok(p.a.Deregister(p.ctx, "n", "e1", []byte("said already")))
	p.ok(p.b.Evict(p.ctx, "n", "e1"))
	p.ended(p.a, "n", want)
	got, err := p.a.Departed(p.ctx, "n")
	p.ok(err)
	got.Last[0] = 1
	p.ended(p.a, "n", want)
}

func (p *pair) restarted() {
	p.ok(p.a.Register(p.ctx, Node("n", "e1", "x")))
	p.ok(p.a.Deregister(p.ctx, "n", "e1", []byte("e1's last")))
	p.ok(p.b.Register(p.ctx, Node("n", "e2", "y")))
	p.ok(p.b.Renew(p.ctx, "n", "e2"))
	p.ok(p.b.Register(p.ctx, Node("n", "e2", "z")))
	p.served(p.b, Node("n", "e2", "z"))
	for _, r := range []registry.Registry{p.a, p.b} {
		p.ended(r, "n", registry.Departure{Epoch: "e1", Change: registry.Left, Last: []byte("e1's last")})
	}
	p.ok(p.b.Deregister(p.ctx, "n", "e2", []byte("e2's last")))
	for _, r := range []registry.Registry{p.a, p.b} {
		p.ended(r, "n", registry.Departure{Epoch: "e2", Change: registry.Left, Last: []byte("e2's last")})
	}
}
