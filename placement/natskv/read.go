package natskv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/placement"
)

const (
	// When a server dies, or a cluster has no leader, a request is never answered.
	tryFor = 2 * time.Second // bounds one request, which is then made again

	firstWait = 2 * time.Millisecond // between the first two attempts, doubled each time
	maxWait   = 100 * time.Millisecond
)

// formVersion is that of the text in which a claim is kept. Another one is not decoded.
const formVersion = 1

// maxForm is the most bytes that are decoded.
const maxForm = 1 << 10

// form is a claim as it is kept.
type form struct {
	Version int    `json:"v"`
	Node    string `json:"node"`
	Epoch   string `json:"epoch"`
	ID      string `json:"id"`
}

func encode(c placement.Claim) ([]byte, error) {
	return json.Marshal(form{formVersion, c.Node, c.Epoch, c.ID})
}

// decode returns the claim that is kept as text. The error wraps placement.ErrFormat.
func decode(text []byte) (placement.Claim, error) {
	var f form
	if len(text) > maxForm {
		return placement.Claim{}, fmt.Errorf("%w: %d bytes", placement.ErrFormat, len(text))
	}
	if err := json.Unmarshal(text, &f); err != nil {
		return placement.Claim{}, fmt.Errorf("%w: %w", placement.ErrFormat, err)
	}
	c := placement.Claim{Node: f.Node, Epoch: f.Epoch, ID: f.ID}
	if f.Version != formVersion {
		return c, fmt.Errorf("%w: its form has the version %d, want %d", placement.ErrFormat, f.Version, formVersion)
	}
	if err := c.Valid(); err != nil {
		return c, fmt.Errorf("%w: %v", placement.ErrFormat, err)
	}
	return c, nil
}

// Get implements [placement.Claims]. If there is no claim, it makes sure that the bucket still has
// all others; so a Get after a loss says so.
func (c *Claims) Get(ctx context.Context, key placement.Key) (placement.Held, error) {
	e := &placement.Error{Op: "get", Key: key}
	if err := key.Valid(); err != nil {
		e.Kind, e.Err = placement.ErrInvalid, err
		return placement.Held{}, e
	}
	var held placement.Held
	subject := subject(c.home.prefix, key)
	err := c.read(ctx, e, func(ctx context.Context) (err error) {
		held, err = c.last(ctx, subject)
		if err == nil && held.Claim == (placement.Claim{}) {
			held.Token = 0
			return c.whole(ctx)
		}
		return err
	})
	if err != nil {
		return placement.Held{}, err
	}
	return held, nil
}

// last returns the last claim under a subject, as the stream's leader has it. If that was released,
// it returns only the sequence number of the mark, as the token; if there is nothing, 0.
func (c *Claims) last(ctx context.Context, subject string) (placement.Held, error) {
	raw, err := c.home.stream.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, natsjs.ErrMsgNotFound) {
		return placement.Held{}, nil
	}
	if errors.Is(err, natsjs.ErrStreamNotFound) {
		if lost := c.whole(ctx); lost != nil {
			err = lost
		}
	}
	if err != nil {
		return placement.Held{}, err
	}
	held := placement.Held{Token: placement.Token(raw.Sequence)}
	if raw.Header.Get(operation) == "" {
		held.Claim, err = decode(raw.Data)
	}
	if err == nil {
		c.saw(raw.Sequence)
	}
	return held, err
}

// read calls try, with a ctx that ends after tryFor, until it succeeds, returns an error that
// another attempt does not cure, or ctx ends. Its error is e, with what is known.
func (c *Claims) read(ctx context.Context, e *placement.Error, try func(ctx context.Context) error) error {
	fail := func(kind, cause error) error {
		e.Kind, e.Err = kind, cause
		return e
	}
	if err := c.isLost(); err != nil {
		return fail(placement.ErrLost, err)
	}
	var last error // the last one that says more than that the time ran out
	for wait := firstWait; ; wait = min(2*wait, maxWait) {
		step, cancel := context.WithTimeout(ctx, tryFor)
		err := step.Err()
		if err == nil {
			err = c.reachable()
		}
		if err == nil {
			err = try(step)
		}
		cancel()
		switch {
		case err == nil:
			return nil
		case errors.Is(err, placement.ErrLost):
			return fail(placement.ErrLost, err)
		case errors.Is(err, placement.ErrFormat):
			return fail(placement.ErrFormat, err)
		case errors.As(err, new(final)):
			return fail(placement.ErrUnavailable, err)
		}
		if last == nil || !errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fail(placement.ErrUnavailable, fmt.Errorf("%w: %w", last, ctx.Err()))
		case <-time.After(wait):
		}
	}
}
