package natskv

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/internal/natshome"
	"github.com/tandem-go/tandem/placement"
)

// The mark of a released claim is what a bucket has for a key that was deleted, and says under which
// token it was held. A mark without that was left by somebody who does not hold the claim.
const (
	operation = "KV-Operation"
	deleted   = "DEL"
	released  = "Tandem-Released"
)

// Create implements [placement.Claims].
func (c *Claims) Create(ctx context.Context, key placement.Key, claim placement.Claim) (placement.Token, error) {
	return c.put(ctx, &write{c: c, op: "create", key: key, claim: claim})
}

// Replace implements [placement.Claims].
func (c *Claims) Replace(ctx context.Context, key placement.Key, claim placement.Claim, before placement.Token) (placement.Token, error) {
	w := &write{c: c, op: "replace", key: key, claim: claim, before: before}
	if before == 0 {
		return 0, w.error(placement.ErrConflict, placement.Held{}, errors.New("no claim has the token 0"))
	}
	return c.put(ctx, w)
}

// Release implements [placement.Claims].
func (c *Claims) Release(ctx context.Context, key placement.Key, token placement.Token) error {
	if token == 0 {
		return nil
	}
	_, err := c.put(ctx, &write{c: c, op: "release", key: key, before: token})
	return err
}

func (c *Claims) put(ctx context.Context, w *write) (placement.Token, error) {
	err := w.key.Valid()
	w.msg = &nats.Msg{Header: nats.Header{operation: {deleted}, released: {strconv.FormatUint(uint64(w.before), 10)}}}
	if err == nil && w.op != "release" {
		w.msg.Header = nil
		if err = w.claim.Valid(); err == nil {
			w.msg.Data, err = encode(w.claim)
		}
	}
	if err != nil {
		return 0, w.error(placement.ErrInvalid, placement.Held{}, err)
	}
	if err := c.home.Lost(); err != nil {
		return 0, w.error(placement.ErrLost, placement.Held{}, err)
	}
	w.msg.Subject = c.home.Subject(w.key.Kind, w.key.ID)
	return w.run(ctx)
}

// write is one Create, Replace or Release that is under way. All its attempts publish the same
// message, and expect a last message that is replaced at most once; so an attempt of unknown fate
// is made again until one is acknowledged or refused. It belongs to one goroutine.
type write struct {
	c        *Claims
	op       string
	key      placement.Key
	claim    placement.Claim // the zero value: release
	before   placement.Token // the last message under the subject: of a claim, or of a mark; 0 for none
	msg      *nats.Msg
	attempts jserror.Attempts
	unknown  bool // an attempt may have been made, or may be made yet
}

func (w *write) error(kind error, found placement.Held, cause error) error {
	return &placement.Error{Op: w.op, Key: w.key, Kind: kind, Found: found, Err: cause}
}

// end is the error of a write that is given up.
func (w *write) end(cause error) error {
	if w.unknown {
		return w.error(placement.ErrUnknown, placement.Held{}, cause)
	}
	return w.error(placement.ErrUnavailable, placement.Held{}, cause)
}

// run makes attempts until one has a result, or ctx ends.
func (w *write) run(ctx context.Context) (token placement.Token, err error) {
	err = natshome.Retry(ctx, func() (err error) {
		token, err = w.try(ctx)
		return err
	})
	if again, ok := err.(natshome.Again); ok {
		return 0, w.end(again.Err)
	}
	return token, err
}

// try makes one attempt.
func (w *write) try(ctx context.Context) (placement.Token, error) {
	if err := ctx.Err(); err != nil {
		return 0, w.end(err)
	}
	step, cancel := context.WithTimeout(ctx, natshome.TryFor)
	defer cancel()
	var opts []natsjs.PublishOpt
	if w.op == "release" {
		opts = append(opts, natsjs.WithMsgTTL(ReleasedFor))
	}
	seq, found, err := w.c.home.Publish(step, w.msg, uint64(w.before), &w.attempts, opts...)
	w.unknown = w.unknown || found.Proof == jserror.Unknown
	switch {
	case err == nil:
		return placement.Token(seq), nil
	case found.Cause == jserror.Conflict:
		return w.refused(ctx, err)
	case ctx.Err() != nil, errors.As(err, new(natshome.Final)), !found.Again:
		return 0, w.end(err)
	case found.Cause == jserror.Away && step.Err() == nil: // nobody listens: is there a bucket?
		if lost := w.lost(ctx); lost != nil {
			return 0, lost
		}
	}
	return 0, natshome.Again{Err: err}
}

// lost returns an error if the store is known to have lost claims.
func (w *write) lost(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, natshome.TryFor)
	defer cancel()
	if err := w.c.home.Whole(ctx); errors.Is(err, placement.ErrLost) {
		return w.error(placement.ErrLost, placement.Held{}, err)
	}
	return nil
}

// refused finds out what follows an attempt that the server refused with the error why, because
// the last message is not the one that was expected.
func (w *write) refused(ctx context.Context, why error) (placement.Token, error) {
	if w.op == "release" { // this attempt or an earlier one: the claim is not there any more
		return 0, w.lost(ctx)
	}
	step, cancel := context.WithTimeout(ctx, natshome.TryFor)
	defer cancel()
	found, err := w.c.last(step, w.msg.Subject)
	switch {
	case errors.Is(err, placement.ErrFormat):
		return 0, w.error(placement.ErrFormat, placement.Held{}, err)
	case err != nil:
		return 0, natshome.Again{Err: err}
	}
	free := found.Claim == (placement.Claim{}) // released, or nothing is there
	switch fate := placement.Settle(w.claim, w.before, found); {
	case fate == placement.Made:
		return found.Token, nil
	case fate == placement.Refused && w.op == "create" && free:
		w.before = found.Token // the mark of a release
		return 0, natshome.Again{Err: why, Now: true}
	case fate == placement.Refused && free:
		return 0, w.error(placement.ErrConflict, placement.Held{}, nil)
	case fate == placement.Refused:
		return 0, w.error(placement.ErrConflict, found, nil)
	}
	if lost := w.lost(ctx); lost != nil {
		return 0, lost
	}
	switch { // the message that was expected is not there, or the server that has answered is not up to date
	case w.op == "create" && free:
		w.before = found.Token // the mark has gone
	case w.op == "replace" && !w.unknown && found.Token != w.before:
		return 0, w.error(placement.ErrConflict, placement.Held{}, fmt.Errorf("nothing was found: %w", why))
	}
	return 0, natshome.Again{Err: why}
}
