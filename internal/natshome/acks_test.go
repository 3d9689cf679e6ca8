package natshome

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// soon is what PublishThen has said.
type soon struct {
	seq   uint64
	found jserror.Finding
	err   error
}

// publishThen returns where the result comes.
func publishThen(ctx context.Context, h *Home, wait time.Duration, subject string, after uint64) chan soon {
	results := make(chan soon, 2)
	h.PublishThen(ctx, wait, subject, []byte("x"), after, new(jserror.Attempts), func(seq uint64, found jserror.Finding, err error) {
		results <- soon{seq, found, err}
	})
	return results
}

// What the server says of a message that nobody waits for is what it says of one that somebody waits for.
func TestPublishThen(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	h := opened(t, js, plan())
	seq := put(t, h, "a", "x")
	for range 3 { // the second time on, the ack begins as the last one
		r := <-publishThen(t.Context(), h, TryFor, h.Subject("k", "a"), seq)
		if ok(t, r.err); r.seq != seq+1 || r.found.Proof != jserror.Done {
			t.Fatalf("%+v after %d", r, seq)
		}
		seq = r.seq
	}
	if got := h.high.Load(); got != seq {
		t.Errorf("saw %d", got)
	}
	if r := <-publishThen(t.Context(), h, TryFor, h.Subject("k", "a"), seq-1); r.found.Cause != jserror.Conflict || r.found.Proof != jserror.NotDone {
		t.Errorf("%+v", r)
	}
	if r := <-publishThen(t.Context(), h, TryFor, "nobody", 0); r.found.Proof != jserror.NotDone || !errors.Is(r.err, nats.ErrNoResponders) {
		t.Errorf("%+v", r)
	}
	if r := <-publishThen(t.Context(), h, TryFor, "", 0); r.found.Proof != jserror.NotDone || !errors.Is(r.err, nats.ErrBadSubject) {
		t.Errorf("%+v", r)
	}
	js.Conn().Close()
	if r := <-publishThen(t.Context(), h, TryFor, h.Subject("k", "a"), seq); r.found.Proof != jserror.NotDone || !errors.As(r.err, new(Final)) {
		t.Errorf("%+v", r)
	}
}

// Answers that are odd, late or missing, and those that come twice. The server is played by a subscription.
func TestAcks(t *testing.T) {
	t.Parallel()
	srv := servers.Start(t, embedded.Config{})
	js, other := servers.Connect(t, srv), servers.Connect(t, srv).Conn()
	h := opened(t, js, plan())
	asked := make(chan *nats.Msg, 1)
	_, err := other.ChanSubscribe("played", asked)
	ok(t, err)
	ok(t, other.Flush())
	for _, row := range []struct {
		answer string
		want   soon
	}{
		{`{"stream":"THINGS","seq":7}`, soon{7, jserror.Finding{Proof: jserror.Done}, nil}},
		{`{"stream":"THINGS","seq":18446744073709551615}`, soon{1<<64 - 1, jserror.Finding{Proof: jserror.Done}, nil}},
		{`{"stream":"THINGS","seq":8,"domain":"hub"}`, soon{8, jserror.Finding{Proof: jserror.Done}, nil}},
		{`{"stream":"THINGS","seq":9}`, soon{9, jserror.Finding{Proof: jserror.Done}, nil}},
		{`{"stream":"THINGS","seq":}`, soon{0, jserror.Of(natsjs.ErrInvalidJSAck), natsjs.ErrInvalidJSAck}},
		{`{"stream":"THINGS","seq":-1}`, soon{0, jserror.Of(natsjs.ErrInvalidJSAck), natsjs.ErrInvalidJSAck}},
		{`{"stream":"THINGS","seq":9`, soon{0, jserror.Of(natsjs.ErrInvalidJSAck), natsjs.ErrInvalidJSAck}},
		{`{"seq":9}`, soon{0, jserror.Of(natsjs.ErrInvalidJSAck), natsjs.ErrInvalidJSAck}},
		{``, soon{0, jserror.Of(natsjs.ErrInvalidJSAck), natsjs.ErrInvalidJSAck}},
		{`{"error":{"code":400,"err_code":10071,"description":"no"},"stream":"THINGS","seq":9}`, soon{0, jserror.Finding{Proof: jserror.NotDone, Cause: jserror.Conflict}, &natsjs.APIError{ErrorCode: 10071}}},
	} {
		results := publishThen(t.Context(), h, TryFor, "played", 5)
		m := <-asked
		if got := m.Header.Get(natsjs.ExpectedLastSubjSeqHeader); got != "5" || string(m.Data) != "x" {
			t.Errorf("%q expects %q", m.Data, got)
		}
		ok(t, m.Respond([]byte(row.answer)))
		ok(t, m.Respond([]byte(row.answer)))
		if r := <-results; r.seq != row.want.seq || r.found != row.want.found || !errors.Is(r.err, row.want.err) {
			t.Errorf("%s: %+v", row.answer, r)
		}
		ok(t, other.Flush())
		ok(t, js.Conn().Flush()) // the second answer is here
		if len(results) > 0 {
			t.Error("a second result")
		}
	}

	unanswered := func(ctx context.Context, wait time.Duration) (*nats.Msg, chan soon) {
		results := publishThen(ctx, h, wait, "played", 5)
		return <-asked, results
	}
	isUnknown := func(r soon, err error) {
		t.Helper()
		if r.found.Proof != jserror.Unknown || !errors.Is(r.err, err) {
			t.Errorf("%+v", r)
		}
	}
	late, results := unanswered(t.Context(), time.Millisecond)
	isUnknown(<-results, context.DeadlineExceeded)
	ok(t, late.Respond([]byte(`{"stream":"THINGS","seq":10}`)))
	ctx, cancel := context.WithCancel(t.Context())
	_, results = unanswered(ctx, time.Hour)
	cancel()
	isUnknown(<-results, context.Canceled)
	_, results = unanswered(t.Context(), time.Hour)
	js.Conn().Close()
	isUnknown(<-results, nats.ErrConnectionClosed)
	if n := len(h.acks.sent); n > 0 {
		t.Errorf("%d messages wait", n)
	}
}
