// Package memory keeps the claims of virtual actors in the memory of the process. All systems of
// the process that share one [Claims] are one cluster. It is for tests, and for a single node
// without a registry.
//
//	claims := memory.New()
package memory

import (
	"context"
	"errors"
	"sync"

	"github.com/tandem-go/tandem/placement"
)

// Claims is a [placement.Claims]. Each claim takes the memory of its key, its node, its epoch and
// its ID; one that was released takes none.
type Claims struct {
	mu   sync.Mutex // guards what follows
	last placement.Token
	held map[placement.Key]placement.Held
}

var _ placement.Claims = (*Claims)(nil)

// New returns an empty store of claims.
func New() *Claims { return &Claims{held: map[placement.Key]placement.Held{}} }

// Get implements [placement.Claims].
func (c *Claims) Get(ctx context.Context, key placement.Key) (placement.Held, error) {
	if err := may(ctx, key, nil); err != nil {
		return placement.Held{}, fail("get", key, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held[key], nil
}

// Create implements [placement.Claims].
func (c *Claims) Create(ctx context.Context, key placement.Key, claim placement.Claim) (placement.Token, error) {
	return c.put(ctx, "create", key, claim, 0)
}

// Replace implements [placement.Claims].
func (c *Claims) Replace(ctx context.Context, key placement.Key, claim placement.Claim, before placement.Token) (placement.Token, error) {
	return c.put(ctx, "replace", key, claim, before)
}

func (c *Claims) put(ctx context.Context, op string, key placement.Key, claim placement.Claim, before placement.Token) (placement.Token, error) {
	if err := may(ctx, key, &claim); err != nil {
		return 0, fail(op, key, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	found := c.held[key]
	switch {
	case found.Claim == claim: // it was made before
		return found.Token, nil
	case found.Token != before || op == "replace" && before == 0:
		return 0, &placement.Error{Op: op, Key: key, Kind: placement.ErrConflict, Found: found}
	}
	c.last++
	c.held[key] = placement.Held{Claim: claim, Token: c.last}
	return c.last, nil
}

// Release implements [placement.Claims].
func (c *Claims) Release(ctx context.Context, key placement.Key, token placement.Token) error {
	if err := may(ctx, key, nil); err != nil {
		return fail("release", key, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if found := c.held[key]; found.Token == token {
		delete(c.held, key)
	}
	return nil
}

func may(ctx context.Context, key placement.Key, claim *placement.Claim) error {
	if err := key.Valid(); err != nil {
		return err
	}
	if claim != nil {
		if err := claim.Valid(); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// fail returns the error for a call that has done nothing.
func fail(op string, key placement.Key, err error) error {
	e := &placement.Error{Op: op, Key: key, Kind: placement.ErrUnavailable, Err: err}
	if errors.Is(err, placement.ErrInvalid) {
		e.Kind = placement.ErrInvalid
	}
	return e
}
