package natskv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tandem-go/tandem/placement"
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
	subject := c.home.Subject(key.Kind, key.ID)
	err := c.read(ctx, e, func(ctx context.Context) (err error) {
		held, err = c.last(ctx, subject)
		if err == nil && held.Claim == (placement.Claim{}) {
			held.Token = 0
			return c.home.Whole(ctx)
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
	raw, err := c.home.Last(ctx, subject)
	if err != nil || raw == nil {
		return placement.Held{}, err
	}
	held := placement.Held{Token: placement.Token(raw.Sequence)}
	switch op := raw.Header.Get(operation); {
	case op == "":
		held.Claim, err = decode(raw.Data)
	case op != deleted || raw.Header.Get(released) == "":
		err = fmt.Errorf("%w: it was removed (%s), and not by its holder, who may go on", placement.ErrFormat, op)
	}
	return held, err
}

// read calls try, with a ctx that ends soon, until it succeeds, returns an error that another
// attempt does not cure, or ctx ends. Its error is e, with what is known.
func (c *Claims) read(ctx context.Context, e *placement.Error, try func(ctx context.Context) error) error {
	e.Err = c.home.Read(ctx, func(err error) bool { return errors.Is(err, placement.ErrFormat) }, try)
	switch {
	case e.Err == nil:
		return nil
	case errors.Is(e.Err, placement.ErrLost):
		e.Kind = placement.ErrLost
	case errors.Is(e.Err, placement.ErrFormat):
		e.Kind = placement.ErrFormat
	default:
		e.Kind = placement.ErrUnavailable
	}
	return e
}
