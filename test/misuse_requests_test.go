// Misuse of requests: of their answers, their refs and the tokens of jobs.

package test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// misusesOfDeferred are about answers that a handler puts off.
var misusesOfDeferred = []misuse{
	{"a second answer", gets{rpc.Invalid, rpc.HasRun, "has its answer"}, nil, func(t *testing.T, s *scene) error {
		f := actor.Ask(s.ctx, s.x, PutOff{})
		later := <-s.later
		done(t, later.Answer(1))
		err := later.Answer(2)
		n, failed := f.Await(s.ctx)
		must(t, 1, n, failed)
		return err
	}},
	{"an answer after the caller cancelled", gets{rpc.Invalid, rpc.HasRun, "nobody waits"}, nil, func(t *testing.T, s *scene) error {
		f := actor.Ask(s.ctx, s.x, PutOff{})
		later := <-s.later
		f.Cancel()
		<-later.ctx.Done()
		return later.Answer(1)
	}},
	{"an answer after the caller's deadline", gets{rpc.Invalid, rpc.HasRun, "nobody waits"}, nil, func(t *testing.T, s *scene) error {
		ctx, cancel := context.WithTimeout(s.ctx, 200*time.Millisecond)
		defer cancel()
		_, err := actor.Call(ctx, s.x, PutOff{})
		if rpc.CodeOf(err) != rpc.Expired || rpc.Ran(err) == rpc.NotRun {
			t.Errorf("the caller gets %v", err)
		}
		later := <-s.later
		<-later.ctx.Done()
		return later.Fail(errors.New("too late"))
	}},
	{"an answer that is forgotten", gets{rpc.Failed, rpc.HasRun, "put its answer off, and forgot it"}, nil, func(t *testing.T, s *scene) error {
		f := actor.Ask(s.ctx, s.x, PutOff{How: "forgotten"})
		for {
			runtime.GC()
			select {
			case <-f.Done():
				_, err := f.Await(s.ctx)
				return err
			case <-time.After(time.Millisecond):
			}
		}
	}},
	{"a refusal after an answer", gets{rpc.Invalid, rpc.HasRun, "has its answer"}, nil, func(t *testing.T, s *scene) error {
		f := actor.Ask(s.ctx, s.x, PutOff{})
		later := <-s.later
		done(t, later.Answer(1))
		_, _ = f.Await(s.ctx)
		return later.Refuse(rpc.Overloaded, errors.New("too late"))
	}},
}

// misusesOfRequests are about calls and one-way messages.
var misusesOfRequests = []misuse{
	{"a message that the actor has no handler for", gets{rpc.Unhandled, rpc.NotRun, "has no handler for"}, nil, func(t *testing.T, s *scene) error {
		_, err := actor.Call(s.ctx, s.x, Stranger{})
		return err
	}},
	{"the same, told", gets{rpc.Unhandled, rpc.NotRun, "has no handler for"}, nil, func(t *testing.T, s *scene) error {
		return s.deadLetter(t, func() { done(t, actor.Tell(s.ctx, s.x, StrangerTold{})) })
	}},
	{"a message with a reply, told", fine, nil, func(t *testing.T, s *scene) error {
		return actor.Tell(s.ctx, s.x, Double{})
	}},
	{"a message that opens a stream, told", gets{rpc.Invalid, rpc.NotRun, "stream"}, nil, func(t *testing.T, s *scene) error {
		return s.deadLetter(t, func() { done(t, actor.Tell(s.ctx, s.x, Count{})) })
	}},
	{"a call of what streams", gets{rpc.Unhandled, rpc.NotRun, "has no handler for"}, &gets{rpc.WrongReply, rpc.HasRun, "replied with"}, func(t *testing.T, s *scene) error {
		_, err := actor.Call(s.ctx, s.x, CountOne{})
		return err
	}},
	{"a stream of what is called", gets{rpc.Unhandled, rpc.NotRun, "has no handler for"}, &gets{rpc.WrongReply, rpc.HasRun, "replied with"}, func(t *testing.T, s *scene) error {
		return first(actor.Stream(s.ctx, s.x, DoubleMany{}))
	}},
	{"a call with another reply", gets{rpc.Unhandled, rpc.NotRun, "has no handler for"}, &gets{rpc.WrongReply, rpc.HasRun, "replied with int"}, func(t *testing.T, s *scene) error {
		_, err := actor.Call(s.ctx, s.x, DoubleText{})
		return err
	}},
	{"a ref bound to no system", gets{rpc.Invalid, rpc.NotRun, "bound to no system"}, nil, func(t *testing.T, s *scene) error {
		var ref actor.Ref
		done(t, ref.UnmarshalText([]byte(s.x.String())))
		_, err := actor.Call(s.ctx, ref, Double{})
		if !errors.Is(err, actor.ErrUnbound) {
			t.Errorf("%v is not ErrUnbound", err)
		}
		return err
	}},
	{"the zero ref", gets{rpc.Invalid, rpc.NotRun, "addresses nobody"}, nil, func(t *testing.T, s *scene) error {
		return actor.Tell(s.ctx, actor.Ref{}, Double{})
	}},
	{"a call to oneself (what the outer caller gets)", gets{rpc.Failed, rpc.HasRun, "(rpc: invalid, not run)"}, nil, func(t *testing.T, s *scene) error {
		_, err := actor.Call(s.ctx, s.x, Self{})
		return err
	}},
}

// misusesOfTokens are about jobs and their tokens.
var misusesOfTokens = []misuse{
	{"submitting what has no handler", gets{rpc.Unhandled, rpc.NotRun, "has no handler for"}, nil, func(t *testing.T, s *scene) error {
		_, err := actor.Submit(s.ctx, s.x, Stranger{})
		return err
	}},
	{"submitting what streams", gets{rpc.Unhandled, rpc.NotRun, "does not answer"}, nil, func(t *testing.T, s *scene) error {
		_, err := actor.Submit(s.ctx, s.x, CountOne{})
		return err
	}},
	{"submitting to nobody", gets{rpc.NotFound, rpc.NotRun, "no actor"}, nil, func(t *testing.T, s *scene) error {
		_, err := actor.Submit(s.ctx, s.sys.Ref("nobody@"+s.x.Node()), Double{})
		return err
	}},
	{"a token of another principal: poll", gets{rpc.Denied, rpc.NotRun, "another principal's"}, nil, func(t *testing.T, s *scene) error {
		_, err := redeem[int](t, s.other, s.submit(t).String()).Poll(s.ctx)
		return err
	}},
	{"a token of another principal: await", gets{rpc.Denied, rpc.Unknown, "another principal's"}, nil, func(t *testing.T, s *scene) error {
		_, err := redeem[int](t, s.other, s.submit(t).String()).Await(s.ctx)
		return err
	}},
	{"a token of another principal: cancel", gets{rpc.Denied, rpc.NotRun, "another principal's"}, nil, func(t *testing.T, s *scene) error {
		_, err := redeem[int](t, s.other, s.submit(t).String()).Cancel(s.ctx)
		return err
	}},
	{"a token's text that is none", gets{rpc.Invalid, rpc.NotRun, "no token"}, nil, func(t *testing.T, s *scene) error {
		text := s.submit(t).String()
		for _, bad := range []string{"", text[1+len(s.x.Node()):], text + "A", text[:len(text)-1], strings.ToLower(text), text[:len(text)-1] + "\n", "\x00" + text} {
			if _, err := actor.Redeem[int](s.sys, bad); rpc.CodeOf(err) != rpc.Invalid {
				t.Errorf("%q: %v", bad, err)
			}
		}
		_, err := actor.Redeem[int](s.sys, "x")
		return err
	}},
	{"a token's text with a letter changed", gets{rpc.OutcomeUnknown, rpc.Unknown, "knows nothing of such a job"}, nil, func(t *testing.T, s *scene) error {
		text := []byte(s.submit(t).String())
		if at := len(text) - 13; text[at] == 'A' {
			text[at] = 'B'
		} else {
			text[at] = 'A'
		}
		_, err := redeem[int](t, s.sys, string(text)).Await(s.ctx)
		return err
	}},
	{"a token redeemed as another type", gets{rpc.WrongReply, rpc.HasRun, "int, not"}, nil, func(t *testing.T, s *scene) error {
		_, err := redeem[string](t, s.sys, s.submit(t).String()).Await(s.ctx)
		return err
	}},
	{"the zero token", gets{rpc.Invalid, rpc.NotRun, "of no job"}, nil, func(t *testing.T, s *scene) error {
		_, err := rpc.Token[int]{}.Await(s.ctx)
		return err
	}},
	{"cancelling what is done", fine, nil, func(t *testing.T, s *scene) error {
		tok := s.submit(t)
		st, err := tok.Cancel(s.ctx)
		must(t, rpc.JobDone, st.State, err)
		n, err := tok.Await(s.ctx)
		must(t, 42, n, err)
		return err
	}},
	{"polling what has expired (the status' error)", gets{rpc.Expired, rpc.HasRun, "its result has expired"}, nil, func(t *testing.T, s *scene) error {
		for {
			st, err := s.expired.Poll(s.ctx)
			done(t, err)
			if st.State != rpc.JobDone && st.State != rpc.JobAccepted && st.State != rpc.JobRunning {
				return st.Err
			}
			time.Sleep(10 * time.Millisecond)
		}
	}},
	{"awaiting what has expired", gets{rpc.Expired, rpc.HasRun, "its result has expired"}, nil, func(t *testing.T, s *scene) error {
		_, err := s.expired.Await(s.ctx)
		return err
	}},
}
