package test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/tcp"
)

// The messages of the abused actor. Those that are named like another one are what a
// program sends that was built of another version.
type (
	PutOff struct {
		actor.Returns[int]
		How string
	}
	Double struct {
		actor.Returns[int]
		N int
	}
	Count struct {
		actor.Streams[int]
		N int
	}
	Total         struct{ actor.Collects[int, int] }
	Parrot        struct{ actor.Converses[int, int] }
	Self          struct{ actor.Returns[int] }
	Stranger      struct{ actor.Returns[int] }
	StrangerTold  struct{ N int }
	StrangeStream struct{ actor.Streams[int] }
	CountOne      struct{ actor.Returns[int] }
	DoubleMany    struct{ actor.Streams[int] }
	DoubleText    struct{ actor.Returns[string] }
)

func (Count) WireName() string      { return "misuse.count" }
func (CountOne) WireName() string   { return "misuse.count" }
func (Double) WireName() string     { return "misuse.double" }
func (DoubleMany) WireName() string { return "misuse.double" }
func (DoubleText) WireName() string { return "misuse.double" }

// abused is that actor.
type abused struct {
	later chan putOff
}

// putOff is an answer to be given, and the context of its request.
type putOff struct {
	*actor.Deferred[int]
	ctx context.Context
}

func (a abused) PutOff(ctx *actor.Context, m PutOff) (int, error) {
	later := actor.Defer[int](ctx)
	if m.How != "forgotten" {
		a.later <- putOff{later, ctx}
	}
	return 0, nil
}

func (abused) Double(ctx *actor.Context, m Double) (int, error) { return 2 * m.N, nil }

func (abused) Self(ctx *actor.Context, m Self) (int, error) {
	_, err := actor.Call(ctx, ctx.Self(), Double{})
	return 0, as(err)
}

func (abused) Count(ctx *actor.Context, m Count) (iter.Seq2[int, error], error) {
	return func(yield func(int, error) bool) {
		for i := range m.N {
			if !yield(i, nil) {
				return
			}
		}
	}, nil
}

func (abused) Total(ctx *actor.Context, m Total, in iter.Seq2[int, error]) (func() (int, error), error) {
	return func() (sum int, err error) {
		for n, err := range in {
			if err != nil {
				return 0, err
			}
			sum += n
		}
		return sum, nil
	}, nil
}

func (abused) Parrot(ctx *actor.Context, m Parrot, in iter.Seq2[int, error]) (iter.Seq2[int, error], error) {
	return in, nil
}

// as is what a handler says of the error of its own request: an error that returns as
// Failed, ran, for the handler did, with the text of the other.
func as(err error) error {
	return fmt.Errorf("(%v, %v) %w", rpc.CodeOf(err), rpc.Ran(err), err)
}

// scene is where the abuse happens.
type scene struct {
	ctx         context.Context
	sys         *actor.System // the caller's
	server      *actor.System // the actor's, perhaps the same
	other       *actor.System // of another principal
	x           actor.Ref     // the actor
	queue, full actor.Ref     // one with short leases; one without room
	later       chan putOff
	expired     rpc.Token[int] // soon
	leftover    rpc.Token[int] // of the time before the shutdown
}

func (s *scene) submit(t *testing.T) rpc.Token[int] {
	t.Helper()
	tok, err := actor.Submit(s.ctx, s.x, Double{N: 21})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := tok.Await(s.ctx); n != 42 || err != nil {
		t.Fatal(n, err)
	}
	return tok
}

// delivery pushes an item and pulls it; lapsed has its lease end, and it delivered again.
func (s *scene) delivery(t *testing.T) actor.Delivery[int] {
	t.Helper()
	if err := actor.Push(s.ctx, s.queue, 1); err != nil {
		t.Fatal(err)
	}
	return s.pull(t)
}

func (s *scene) pull(t *testing.T) actor.Delivery[int] {
	t.Helper()
	ds, err := actor.Pull[int](s.ctx, s.queue)
	if err != nil || len(ds) != 1 {
		t.Fatal(len(ds), err)
	}
	return ds[0]
}

func (s *scene) lapsed(t *testing.T) (d, again actor.Delivery[int]) {
	t.Helper()
	d = s.delivery(t)
	return d, s.pull(t)
}

func done(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// first is the first error of a stream, or nil.
func first(items iter.Seq2[int, error]) error {
	for _, err := range items {
		if err != nil {
			return err
		}
	}
	return nil
}

// gets is what the one who misuses something gets.
type gets struct {
	code rpc.Code // 0: no error
	ran  rpc.Verdict
	gist string // of the text
}

var fine = gets{0, rpc.HasRun, ""}

// misuses is the list. away is what is different where the actor is on another node.
var misuses = []struct {
	what string
	gets
	away *gets
	do   func(t *testing.T, s *scene) error
}{
	// Answers that are put off.
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

	// Requests.
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

	// Tokens.
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

	// Queues.
	{"a second ack", gets{rpc.Failed, rpc.HasRun, "is done"}, nil, func(t *testing.T, s *scene) error {
		d := s.delivery(t)
		done(t, d.Ack(s.ctx))
		return d.Ack(s.ctx)
	}},
	{"a nack after the ack", gets{rpc.Failed, rpc.HasRun, "is done"}, nil, func(t *testing.T, s *scene) error {
		d := s.delivery(t)
		done(t, d.Ack(s.ctx))
		return d.Nack(s.ctx, 0)
	}},
	{"an ack after the nack", gets{rpc.Failed, rpc.HasRun, "lease of this delivery is over"}, nil, func(t *testing.T, s *scene) error {
		d := s.delivery(t)
		done(t, d.Nack(s.ctx, 0))
		err := d.Ack(s.ctx)
		done(t, s.pull(t).Ack(s.ctx))
		return err
	}},
	{"an ack after the lease", gets{rpc.Failed, rpc.HasRun, "lease of this delivery is over"}, nil, func(t *testing.T, s *scene) error {
		d, again := s.lapsed(t)
		err := d.Ack(s.ctx)
		done(t, again.Ack(s.ctx))
		return err
	}},
	{"an extension after the lease", gets{rpc.Failed, rpc.HasRun, "lease of this delivery is over"}, nil, func(t *testing.T, s *scene) error {
		d, again := s.lapsed(t)
		err := d.Extend(s.ctx, time.Minute)
		done(t, again.Ack(s.ctx))
		return err
	}},
	{"an ack after another's ack", gets{rpc.Failed, rpc.HasRun, "is done"}, nil, func(t *testing.T, s *scene) error {
		d, again := s.lapsed(t)
		done(t, again.Ack(s.ctx))
		return d.Ack(s.ctx)
	}},
	{"a push into a full queue", gets{rpc.Overloaded, rpc.NotRun, "full"}, nil, func(t *testing.T, s *scene) error {
		ctx, cancel := context.WithTimeout(s.ctx, time.Second) // a push that was refused is tried again
		defer cancel()
		return actor.Push(ctx, s.full, 1)
	}},
	{"a push of the same id with other content", fine, nil, func(t *testing.T, s *scene) error {
		done(t, actor.Push(s.ctx, s.queue, 7, actor.PushID("same")))
		err := actor.Push(s.ctx, s.queue, 8, actor.PushID("same"))
		d := s.pull(t)
		must(t, 7, d.Message, d.Ack(s.ctx))
		ds, none := actor.Pull[int](s.ctx, s.queue, actor.Wait(0))
		must(t, 0, len(ds), none)
		return err
	}},
	{"a pull of nothing", gets{rpc.Invalid, rpc.NotRun, "a pull of 0 items"}, nil, func(t *testing.T, s *scene) error {
		_, err := actor.Pull[int](s.ctx, s.queue, actor.Max(0))
		return err
	}},
	{"a pull beyond the limit", fine, nil, func(t *testing.T, s *scene) error {
		done(t, actor.Push(s.ctx, s.queue, 1))
		ds, err := actor.Pull[int](s.ctx, s.queue, actor.Max(1<<30)) // gets MaxPull at most
		done(t, actor.AckAll(s.ctx, ds))
		return err
	}},
	{"a pull of another type", gets{rpc.Unhandled, rpc.NotRun, "has no handler for"}, nil, func(t *testing.T, s *scene) error {
		_, err := actor.Pull[string](s.ctx, s.queue)
		return err
	}},
	{"a pull from what is no queue", gets{rpc.Unhandled, rpc.NotRun, "has no handler for"}, nil, func(t *testing.T, s *scene) error {
		_, err := actor.Pull[int](s.ctx, s.x)
		return err
	}},
	{"an ack of no delivery", gets{rpc.Invalid, rpc.NotRun, "addresses nobody"}, nil, func(t *testing.T, s *scene) error {
		return actor.Delivery[int]{}.Ack(s.ctx)
	}},

	// Streams.
	{"opening what has no handler", gets{rpc.Unhandled, rpc.NotRun, "has no handler for"}, nil, func(t *testing.T, s *scene) error {
		return first(actor.Stream(s.ctx, s.x, StrangeStream{}))
	}},
	{"a stream with a key", gets{rpc.Invalid, rpc.NotRun, "cannot have a key"}, nil, func(t *testing.T, s *scene) error {
		return first(actor.Stream(s.ctx, s.x, Count{N: 1}, rpc.Key("k")))
	}},
	{"a stream that is ranged over twice", fine, nil, func(t *testing.T, s *scene) error {
		items := actor.Stream(s.ctx, s.x, Count{N: 3}) // each range opens it anew
		done(t, first(items))
		return first(items)
	}},
	{"items of a dialogue, after leaving their loop", gets{rpc.Canceled, rpc.HasRun, "left"}, nil, func(t *testing.T, s *scene) error {
		d, err := actor.Talk(s.ctx, s.x, Parrot{})
		done(t, err, d.Send(s.ctx, 1), d.Send(s.ctx, 2))
		for range d.Items() {
			break
		}
		return first(d.Items())
	}},
	{"items of a dialogue, after their end", fine, nil, func(t *testing.T, s *scene) error {
		d, err := actor.Talk(s.ctx, s.x, Parrot{})
		done(t, err, d.Send(s.ctx, 1), d.CloseSend(s.ctx), first(d.Items()))
		return first(d.Items())
	}},
	{"a send after closing", gets{rpc.Invalid, rpc.NotRun, "closed for sending"}, nil, func(t *testing.T, s *scene) error {
		d, err := actor.Talk(s.ctx, s.x, Parrot{})
		done(t, err)
		defer d.Cancel()
		done(t, d.CloseSend(s.ctx))
		return d.Send(s.ctx, 1)
	}},
	{"a send after the result", gets{rpc.Canceled, rpc.HasRun, "left"}, nil, func(t *testing.T, s *scene) error {
		up, err := actor.Open(s.ctx, s.x, Total{})
		done(t, err, up.Send(s.ctx, 1))
		n, err := up.CloseAndReceive(s.ctx)
		must(t, 1, n, err)
		return up.Send(s.ctx, 1)
	}},
	{"the result of a stream, twice", gets{rpc.Canceled, rpc.HasRun, "left"}, nil, func(t *testing.T, s *scene) error {
		up, err := actor.Open(s.ctx, s.x, Total{})
		done(t, err)
		_, err = up.CloseAndReceive(s.ctx)
		done(t, err)
		_, err = up.CloseAndReceive(s.ctx)
		return err
	}},
	{"a send after breaking off", gets{rpc.Canceled, rpc.HasRun, "left"}, nil, func(t *testing.T, s *scene) error {
		up, err := actor.Open(s.ctx, s.x, Total{})
		done(t, err)
		up.Cancel()
		return up.Send(s.ctx, 1)
	}},

	// The end. These are the last: the caller's system is shut down.
	{"a call after Shutdown", gets{rpc.Unavailable, rpc.NotRun, "shutting down"}, nil, func(t *testing.T, s *scene) error {
		s.leftover = s.submit(t)
		done(t, s.sys.Shutdown(s.ctx))
		_, err := actor.Call(s.ctx, s.x, Double{})
		return err
	}},
	{"a tell after Shutdown", gets{rpc.Unavailable, rpc.NotRun, "shutting down"}, nil, func(t *testing.T, s *scene) error {
		return actor.Tell(s.ctx, s.x, Double{})
	}},
	{"a submission after Shutdown", gets{rpc.Unavailable, rpc.NotRun, "shutting down"}, nil, func(t *testing.T, s *scene) error {
		_, err := actor.Submit(s.ctx, s.x, Double{})
		return err
	}},
	{"polling a token after Shutdown", gets{rpc.Unavailable, rpc.NotRun, "shutting down"}, nil, func(t *testing.T, s *scene) error {
		_, err := s.leftover.Poll(s.ctx)
		return err
	}},
	{"awaiting a token after Shutdown", gets{rpc.Unavailable, rpc.Unknown, "shutting down"}, nil, func(t *testing.T, s *scene) error {
		_, err := s.leftover.Await(s.ctx)
		return err
	}},
	{"a push after Shutdown", gets{rpc.Unavailable, rpc.NotRun, "shutting down"}, nil, func(t *testing.T, s *scene) error {
		return actor.Push(s.ctx, s.queue, 1)
	}},
	{"a pull after Shutdown", gets{rpc.Unavailable, rpc.NotRun, "shutting down"}, nil, func(t *testing.T, s *scene) error {
		_, err := actor.Pull[int](s.ctx, s.queue)
		return err
	}},
	{"a stream after Shutdown", gets{rpc.Unavailable, rpc.NotRun, "shutting down"}, nil, func(t *testing.T, s *scene) error {
		return first(actor.Stream(s.ctx, s.x, Count{N: 1}))
	}},
	{"a spawn after Shutdown", gets{rpc.Unavailable, rpc.NotRun, "shutting down"}, nil, func(t *testing.T, s *scene) error {
		_, err := s.sys.Spawn("y", actor.KindNamed("misuse.abused"))
		return err
	}},
	{"another Shutdown", fine, nil, func(t *testing.T, s *scene) error {
		return s.sys.Shutdown(s.ctx)
	}},
}

func redeem[R any](t *testing.T, sys *actor.System, text string) rpc.Token[R] {
	t.Helper()
	tok, err := actor.Redeem[R](sys, text)
	done(t, err)
	return tok
}

// deadLetter is the reason of the dead letter that do causes.
func (s *scene) deadLetter(t *testing.T, do func()) error {
	t.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	letters := s.server.DeadLetters(ctx)
	do()
	select {
	case l := <-letters:
		return l.Reason
	case <-s.ctx.Done():
		return errors.New("silence")
	}
}

// TestMisuse has every pattern misused, within a node, over TCP and over NATS: whoever does
// it gets an error with a code, a verdict and a text, at once, and nobody else is harmed.
func TestMisuse(t *testing.T) {
	for _, road := range []string{"local", "TCP", "NATS"} {
		t.Run(road, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, road)
			for _, m := range misuses {
				want := m.gets
				if m.away != nil && road != "local" {
					want = *m.away
				}
				ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Second, errors.New("the misuse hangs"))
				s.ctx = ctx
				err := m.do(t, s)
				cancel()
				t.Logf("%-48s %-15v %-7v %v", m.what, rpc.CodeOf(err), rpc.Ran(err), err)
				if rpc.CodeOf(err) != want.code || rpc.Ran(err) != want.ran || err != nil && !strings.Contains(err.Error(), want.gist) {
					t.Errorf("%s: %v, %v, %v; want %v, %v, ... %s ...", m.what, rpc.CodeOf(err), rpc.Ran(err), err, want.code, want.ran, want.gist)
				}
			}
		})
	}
}

// newScene starts the caller's node and, unless that is the same, the actor's; and one
// whose results expire after a second.
func newScene(t *testing.T, road string) *scene {
	t.Helper()
	later := make(chan putOff, 1)
	kind := actor.Define("misuse.abused", func() abused { return abused{later} },
		actor.Answer(abused.PutOff), actor.Answer(abused.Double), actor.Answer(abused.Self),
		actor.Produce(abused.Count), actor.Collect(abused.Total), actor.Converse(abused.Parrot))
	queues := actor.QueueKind[int]("misuse.queue", queue.Config{Lease: 500 * time.Millisecond, Attempts: 100})
	full := actor.QueueKind[int]("misuse.full", queue.Config{Capacity: 1})
	reg := static.New()
	roadOf := func() transport.Transport { return tcp.New(tcp.Config{Listen: "127.0.0.1:0"}) }
	if road == "NATS" {
		srv, err := embedded.Start(embedded.Config{StoreDir: t.TempDir()})
		done(t, err)
		t.Cleanup(func() { srv.Shutdown() })
		roadOf = func() transport.Transport {
			nc, err := natsbus.Connect(t.Context(), srv.URL())
			done(t, err)
			t.Cleanup(nc.Close)
			return natsbus.New(nc, natsbus.Config{})
		}
	}
	node := func(name string, life time.Duration) *actor.System {
		return start(t, actor.Config{Name: name, Registry: reg, Transports: []transport.Transport{roadOf()}, Kinds: []*actor.Kind{kind},
			TokenLife: life, Principals: func(road string, p transport.Peer) string { return road + " " + p.Principal }})
	}
	s := &scene{ctx: t.Context(), server: node("server", 0), later: later}
	client, brief := node("client", 0), node("brief", time.Second)
	s.sys, s.other = client, s.server
	if road == "local" {
		s.sys, s.other = s.server, client
	}
	for name, k := range map[string]*actor.Kind{"x": kind, "queue": queues, "full": full} {
		_, err := s.server.Spawn(name, k)
		done(t, err)
	}
	_, err := brief.Spawn("x", kind)
	done(t, err)
	s.x, s.queue, s.full = s.sys.Ref("x@server"), s.sys.Ref("queue@server"), s.sys.Ref("full@server")
	done(t, actor.Push(s.ctx, s.full, 1))
	s.expired, err = actor.Submit(s.ctx, s.sys.Ref("x@brief"), Double{N: 21})
	done(t, err)
	return s
}
