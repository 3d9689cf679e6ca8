package actor

import (
	"errors"
	"reflect"
	"strings"

	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/promise"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
)

// How messages and replies are encoded, and which error the sender gets if they cannot be.

// dynamic is the type that m is sent as: the type of the value in m if typ is an interface.
func dynamic(m any, typ reflect.Type) (reflect.Type, *rpc.Error) {
	if typ.Kind() != reflect.Interface {
		return typ, nil
	}
	if m == nil {
		return nil, rpc.Errorf(rpc.Invalid, rpc.NotRun, "a message of nil has no type")
	}
	return reflect.TypeOf(m), nil
}

// codecFor is the codec of a message to an actor of that name. Messages to actors that are
// internal to the system do not use the application's codec, which may be unable to encode them.
func (s *System) codecFor(target string, opts *settings) codec.Codec {
	switch {
	case strings.HasPrefix(target, hidden):
		return s.control
	case opts != nil && opts.Codec != nil:
		return opts.Codec
	}
	return s.cfg.Codec
}

// encodeMessage appends the body of a message to into.
func encodeMessage(c codec.Codec, into []byte, m any, mt *messageType) ([]byte, *rpc.Error) {
	body, err := c.Append(into, m)
	if err != nil {
		return nil, bodyError(err, rpc.NotRun, "encoding message "+mt.name)
	}
	mt.encoded(len(body))
	return body, nil
}

// bodyError is the error for a body that a codec refuses.
func bodyError(err error, v rpc.Verdict, what string) *rpc.Error {
	code := rpc.Undecodable
	if errors.Is(err, codec.ErrLimit) {
		code = rpc.TooLarge
	}
	return rpc.Errorf(code, v, "%s: %w", what, err)
}

// unsent says that a reply could not be encoded. The caller gets err itself, and not a
// handlerError, because the handler returned no error.
type unsent struct{ err *rpc.Error }

func (u unsent) Error() string { return u.err.Error() }
func (u unsent) Unwrap() error { return u.err }

// replyError is bodyError for encoding a reply, whose handler has run.
func replyError(err error) error {
	code := rpc.Undecodable
	if errors.Is(err, codec.ErrLimit) {
		code = rpc.ReplyDropped
	}
	return unsent{rpc.Errorf(code, rpc.HasRun, "encoding the reply: %w", err)}
}

// failure is the error of a request whose handler returned err, or whose reply could not be
// encoded because of err.
func failure(err error) *rpc.Error {
	var u unsent
	if errors.As(err, &u) {
		return u.err
	}
	if r := refusal(err); r != nil {
		return r
	}
	return handlerError(err)
}

// refusal is the error of a message that an interceptor has refused; nil if err is another one.
func refusal(err error) *rpc.Error {
	if r, ok := err.(intercept.Refusal); ok {
		return r.Err
	}
	return nil
}

// handlerError is the error of a request whose handler returned err. Its verdict is HasRun,
// even if err is the error of a request that the handler made and has another verdict. The
// name of an application's error in the chain of err is kept.
func handlerError(err error) *rpc.Error {
	e := rpc.Errorf(rpc.Failed, rpc.HasRun, "%w", err)
	e.Message, e.User = err.Error(), userCode(err)
	return e
}

// userCode is the name of the application's first error in the chain of err; empty for none.
func userCode(err error) string {
	var e *rpc.Error
	for errors.As(err, &e) {
		if e.User != "" {
			return e.User
		}
		err = errors.Unwrap(e)
	}
	return ""
}

// unhandled is the error of a message for which k has no handler. If this node does not know
// the name of the type, the sender adds it, see withName.
func (s *System) unhandled(k *Kind, id uint64) *rpc.Error {
	if name, ok := s.types.known(id); ok {
		return rpc.Errorf(rpc.Unhandled, rpc.NotRun, "%s has no handler for messages of %s", k.name, name)
	}
	return rpc.Errorf(rpc.Unhandled, rpc.NotRun, "%s has no handler for it, and its node does not know the type", k.name)
}

// withName adds the name of the message's type to err if another node has no handler for it,
// because that node may not know the name.
func (s *System) withName(err error, id uint64) error {
	var e *rpc.Error
	if !errors.As(err, &e) || e.Code != rpc.Unhandled || e.Node == "" {
		return err
	}
	named := *e
	named.Message = "message " + s.types.nameOf(id) + ": " + e.Message
	return &named
}

// naming is a Completer that passes errors through withName.
type naming struct {
	client.Completer
	sys    *System
	typeID uint64
}

// Complete implements client.Completer.
func (n naming) Complete(r *promise.Reply, err error) {
	if err != nil {
		err = n.sys.withName(err, n.typeID)
	}
	n.Completer.Complete(r, err)
}

// checker is a codec that knows beforehand which types it cannot carry.
type checker interface{ Check(reflect.Type) error }

// checkKind returns an error for each type of message or reply of k that cannot be sent between
// nodes.
func (s *System) checkKind(k *Kind) (errs []error) {
	check, _ := s.cfg.Codec.(checker)
	for _, h := range k.handlers {
		for _, typ := range []reflect.Type{h.typ, h.reply} {
			if typ == nil {
				continue
			}
			err := s.types.get(typ).err
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
