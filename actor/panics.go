package actor

import (
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
)

// crash is a panic of a handler: what the log says of it, and callers elsewhere do not.
type crash struct{ text, stack string }

func (c *crash) Error() string { return c.text }

// panicked is what the request ends with whose handler, or what it had begun, panicked.
func panicked(what string, reason any) *rpc.Error {
	return rpc.Errorf(rpc.Panicked, rpc.HasRun, "%s panicked: %w", what, &crash{fmt.Sprint(reason), string(debug.Stack())})
}

// forCaller is err as the caller of req gets it. One on another node is not told what a
// panic says, which may be about others, unless Config.PanicTexts is set.
func (s *System) forCaller(req request, err *rpc.Error) *rpc.Error {
	remote := false
	switch r := req.(type) {
	case *rpc.Inbound:
		remote = !r.Origin().Local
	case *job:
		remote = r.remote
	case *stream:
		remote = r.remote
	}
	if !remote || s.cfg.PanicTexts {
		return err
	}
	return rpc.Errorf(err.Code, err.Verdict, "the handler panicked")
}

// unsaid is an error of a codec without the text of a panic, which goes to the log.
func (s *System) unsaid(err error, to address, what string) error {
	p := (*codec.Panic)(nil)
	if s.cfg.PanicTexts || !errors.As(err, &p) {
		return err
	}
	s.faults.note(DeadLetter{Time: time.Now(), To: to.String(), Type: what, Reason: rpc.Errorf(rpc.Undecodable, rpc.NotRun, "%w", err)}, "codec")
	return fmt.Errorf("%w: its type or its codec panicked", p.Kind)
}
