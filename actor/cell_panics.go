package actor

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
)

// crash is a panic of a handler, with the text and the stack. They are for the log, and not
// for callers on other nodes.
type crash struct{ text, stack string }

func (c *crash) Error() string { return c.text }

// panicked is the error of a request whose handler panicked, or something that the handler
// had started.
func panicked(what string, reason any) *rpc.Error {
	return rpc.Errorf(rpc.Panicked, rpc.HasRun, "%s panicked: %w", what, &crash{fmt.Sprint(reason), string(debug.Stack())})
}

// forCaller is err as the caller of req gets it. A caller on another node does not get the
// text of a panic, which may contain data of others, unless Config.PanicTexts is set.
func (s *System) forCaller(req request, err *rpc.Error) *rpc.Error {
	remote := false
	switch r := req.(type) {
	case *server.Inbound:
		remote = !r.Origin().Local
	case *job:
		remote = r.remote
	case *stream:
		remote = r.remote
	case *racer:
		remote = r.origin != nil && !r.origin.Local
	}
	if !remote || s.cfg.PanicTexts {
		return err
	}
	return rpc.Errorf(err.Code, err.Verdict, "the handler panicked")
}

// hidePanic returns an error of a codec without the text of a panic, which it logs instead.
func (s *System) hidePanic(err error, to address, what string) error {
	p := (*codec.Panic)(nil)
	if s.cfg.PanicTexts || !errors.As(err, &p) {
		return err
	}
	s.faults.note(DeadLetter{Time: time.Now(), To: to.String(), Type: what, Reason: rpc.Errorf(rpc.Undecodable, rpc.NotRun, "%w", err)}, "codec")
	return fmt.Errorf("%w: its type or its codec panicked", p.Kind)
}
