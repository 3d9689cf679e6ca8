package natswait

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/test/bubble"
)

func code(c jetstream.ErrorCode, status int) error {
	return fmt.Errorf("asked: %w", &jetstream.APIError{Code: status, ErrorCode: c, Description: "x"})
}

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		err    error
		why    string
		again  bool
		denied bool
	}{
		{code(codeNotAvailable, 503), "JetStream has no leader yet", true, false},
		{code(codeOffline, 500), "JetStream has no leader yet", true, false},
		{code(jetstream.JSErrCodeStreamNameInUse, 400), "another one is making the stream", true, false},
		{code(codeNoPeers, 400), "JetStream has too few servers for the replicas that are wanted", true, false},
		{code(jetstream.JSErrCodeStreamNotFound, 404), "JetStream does not know the stream yet", true, false},
		{code(codeResources, 503), "JetStream is out of storage", true, false},
		{code(jetstream.JSErrCodeJetStreamNotEnabled, 503), "JetStream is not enabled", true, false},
		{code(10999, 500), "JetStream refuses it", true, false},
		{code(10999, 400), "JetStream refuses it", false, false},
		{nats.ErrNoResponders, "JetStream does not serve", true, false},
		{context.DeadlineExceeded, "JetStream does not answer", true, false},
		{nats.ErrTimeout, "JetStream does not answer", true, false},
		{nats.ErrNoServers, "no NATS server answers", true, false},
		{fmt.Errorf("dial: %w", syscall.ECONNREFUSED), "no NATS server answers", true, false},
		{nats.ErrAuthorization, "NATS refuses the user or the password", true, false},
		{nats.ErrMaxPayload, "the message is larger than the server takes", false, false},
		{fmt.Errorf("%w: x", nats.ErrPermissionViolation), "the user's permissions do not allow it", false, true},
		{errors.New("?"), "NATS did not do it", true, false},
	} {
		if r := Explain(nil, nil, c.err); r.Why != c.why || r.Again != c.again || r.Denied != c.denied {
			t.Errorf("%v: %+v", c.err, r)
		}
	}
}

// steps returns a try that fails with each of errs in turn and then succeeds.
func steps(errs ...error) func(context.Context) error {
	return func(context.Context) error {
		if len(errs) == 0 {
			return nil
		}
		err := errs[0]
		errs = errs[1:]
		return err
	}
}

func lines(b *bytes.Buffer) []string {
	var out []string
	for l := range strings.Lines(b.String()) {
		_, l, _ = strings.Cut(l, "msg=")
		l, _, _ = strings.Cut(l, " for=")
		out = append(out, strings.Trim(l, `"`))
	}
	return out
}

func TestUntil(t *testing.T) {
	t.Run("each change of state is one line", func(t *testing.T) {
		bubble.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			f := For{What: "the thing", Logger: slog.New(slog.NewTextHandler(&log, nil))}
			began := time.Now()
			gone, leaderless := nats.ErrNoResponders, code(codeNotAvailable, 503)
			if err := f.Until(t.Context(), nil, steps(gone, gone, gone, leaderless, leaderless, gone)); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(began); d != 50*time.Millisecond*(1+2+4+8+16)+time.Second {
				t.Errorf("it took %v", d)
			}
			want := []string{"waiting for NATS: JetStream does not serve", "waiting for NATS: JetStream has no leader yet", "waiting for NATS: JetStream does not serve", "NATS: what was missing is there"}
			if got := lines(&log); strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("got %q", got)
			}
		})
	})
	t.Run("nothing is said when all is there", func(t *testing.T) {
		var log bytes.Buffer
		if err := (For{Logger: slog.New(slog.NewTextHandler(&log, nil))}).Until(t.Context(), nil, steps()); err != nil || log.Len() > 0 {
			t.Error(err, log.String())
		}
	})
	t.Run("what waiting does not mend ends it at once", func(t *testing.T) {
		err := For{What: "the thing"}.Until(t.Context(), nil, steps(code(10999, 400)))
		var e *Error
		if !errors.As(err, &e) || e.Again || e.Waited > time.Second {
			t.Error(err)
		}
		own := errors.New("own")
		if err := (For{}).Until(t.Context(), nil, steps(Stop(own))); err != own {
			t.Error(err)
		}
	})
	quiet := slog.New(slog.DiscardHandler)
	hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for _, c := range []struct {
		name string
		f    For
		ctx  time.Duration
		want time.Duration
	}{
		{"the deadline of ctx counts", For{Wait: time.Hour, Logger: quiet}, 7 * time.Second, 7 * time.Second},
		{"without one the limit is Wait", For{Wait: 5 * time.Second, Logger: quiet}, 0, 5 * time.Second},
		{"and its default", For{Logger: quiet}, 0, DefaultWait},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if c.ctx > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.ctx)
					defer cancel()
				}
				began := time.Now()
				err := c.f.Until(ctx, nil, hang)
				var e *Error
				if d := time.Since(began); d != c.want || !errors.As(err, &e) || e.Why != "JetStream does not answer" || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("after %v: %v", d, err)
				}
			})
		})
	}
	t.Run("the reason is that of the last whole attempt", func(t *testing.T) {
		bubble.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			first := true
			err := For{What: "the thing", Logger: quiet}.Until(ctx, nil, func(ctx context.Context) error {
				if first {
					first = false
					return code(codeNoPeers, 400)
				}
				<-ctx.Done()
				return ctx.Err()
			})
			if want := "cannot open the thing: JetStream has too few servers for the replicas that are wanted, still after 1s; start more of them, or ask for fewer replicas"; !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got  %v\nwant %s", err, want)
			}
		})
	})
}
