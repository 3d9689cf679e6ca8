package actor

import (
	"errors"
	"reflect"
	"strings"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
)

// How messages and replies become bodies, and what their sender learns where they cannot.

// dynamic is the type that m is sent as: what it holds, if typ is an interface.
func dynamic(m any, typ reflect.Type) (reflect.Type, *rpc.Error) {
	if typ.Kind() != reflect.Interface {
		return typ, nil
	}
	if m == nil {
		return nil, rpc.Errorf(rpc.Invalid, rpc.NotRun, "a message of nil has no type")
	}
	return reflect.TypeOf(m), nil
}

// codecFor is the codec of a message to an actor of that name. What the system's own actors
// are sent does not depend on the application's codec, which need not carry it.
func (s *System) codecFor(target string, chosen codec.Codec) codec.Codec {
	switch {
	case strings.HasPrefix(target, hidden):
		return s.control
	case chosen != nil:
		return chosen
	}
	return s.cfg.Codec
}

// encodeMessage appends the body of a message to into.
func encodeMessage(c codec.Codec, into []byte, m any, mt *messageType) ([]byte, *rpc.Error) {
	body, err := c.Append(into, m)
	if err != nil {
		return nil, bodyError(err, rpc.NotRun, "encoding message "+mt.name)
	}
	return body, nil
}

// bodyError is what becomes of a body that a codec refuses.
func bodyError(err error, v rpc.Verdict, what string) *rpc.Error {
	code := rpc.Undecodable
	if errors.Is(err, codec.ErrLimit) {
		code = rpc.TooLarge
	}
	return rpc.Errorf(code, v, "%s: %w", what, err)
}

// unsent is why a reply could not be encoded. Its caller gets that error, and not one of
// the handler, which ran and returned none.
type unsent struct{ err *rpc.Error }

func (u unsent) Error() string { return u.err.Error() }
func (u unsent) Unwrap() error { return u.err }

// replyError is bodyError of a reply that is encoded: its handler ran.
func replyError(err error) error {
	code := rpc.Undecodable
	if errors.Is(err, codec.ErrLimit) {
		code = rpc.ReplyDropped
	}
	return unsent{rpc.Errorf(code, rpc.HasRun, "encoding the reply: %w", err)}
}

// failure is what a request ends with whose handler returned err, or whose reply could not
// be sent for it.
func failure(err error) *rpc.Error {
	var u unsent
	if errors.As(err, &u) {
		return u.err
	}
	return rpc.HandlerError(err)
}

// unhandled is what a message gets for which k has no handler. Its sender adds the name of
// a type that this node does not know.
func (s *System) unhandled(k *Kind, id uint64) *rpc.Error {
	if name, ok := s.types.known(id); ok {
		return rpc.Errorf(rpc.Unhandled, rpc.NotRun, "%s has no handler for messages of %s", k.name, name)
	}
	return rpc.Errorf(rpc.Unhandled, rpc.NotRun, "%s has no handler for it, and its node does not know the type", k.name)
}

// withName is err with the name of the message's type, if another node says that it has no
// handler for it: that node may not know the name.
func (s *System) withName(err error, id uint64) error {
	var e *rpc.Error
	if !errors.As(err, &e) || e.Code != rpc.Unhandled || e.Node == "" {
		return err
	}
	named := *e
	named.Message = "message " + s.types.nameOf(id) + ": " + e.Message
	return &named
}

// naming is what an Ask completes, which has errors named.
type naming struct {
	rpc.Completer
	sys    *System
	typeID uint64
}

// Complete implements rpc.Completer.
func (n naming) Complete(r *rpc.Reply, err error) {
	if err != nil {
		err = n.sys.withName(err, n.typeID)
	}
	n.Completer.Complete(r, err)
}

// checker is a codec that knows beforehand which types it cannot carry.
type checker interface{ Check(reflect.Type) error }

// checkKind returns why other nodes cannot send k a message, or get its reply: one error for
// each type.
func (s *System) checkKind(k *Kind) (errs []error) {
	check, _ := s.cfg.Codec.(checker)
	for _, h := range k.handlers {
		for _, typ := range []reflect.Type{h.typ, h.reply} {
			if typ == nil {
				continue
			}
			err := s.types.of(typ).err
			if err == nil && check != nil {
				err = check.Check(typ)
			}
			if err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errs
}

// sameCodec reports whether a and b are one value.
func sameCodec(a, b codec.Codec) bool {
	return reflect.TypeOf(a) == reflect.TypeOf(b) && reflect.TypeOf(a).Comparable() && a == b
}
