package natshome

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

func TestMain(m *testing.M) {
	// Most tests wait for NATS, so more of them run at the same time than there are
	// processors, unless -parallel is given.
	_ = flag.Set("test.parallel", strconv.Itoa(max(8, runtime.GOMAXPROCS(0))))
	goleak.VerifyTestMain(m)
}

var errLost = errors.New("test: lost")

// plan is that of a store of things.
func plan() Plan {
	return Plan{Stream: "THINGS", Root: "things", Made: "THINGS_made", Description: "things", Replicas: 1,
		For: "the things", What: "things", Lost: errLost, Cure: "buy new things", Package: "things",
		StartWait: time.Minute, Logger: slog.New(slog.DiscardHandler)}
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func opened(t testing.TB, js natsjs.JetStream, p Plan) *Home {
	t.Helper()
	h, err := Open(t.Context(), js, p)
	ok(t, err)
	return h
}

// put stores a message of a key that has none.
func put(t testing.TB, h *Home, id, text string) uint64 {
	t.Helper()
	seq, _, err := h.Publish(servers.Within(t, 20*time.Second), &nats.Msg{Subject: h.Subject("k", id), Data: []byte(text)}, 0, new(jserror.Attempts))
	ok(t, err)
	return seq
}

func TestPublishAndLast(t *testing.T) {
	t.Parallel()
	h := opened(t, servers.Connect(t, servers.Start(t, embedded.Config{})), plan())
	ctx, subject := servers.Within(t, 20*time.Second), h.Subject("k", "a")
	if m, err := h.Last(ctx, subject); m != nil || err != nil {
		t.Errorf("before: %v, %v", m, err)
	}
	seq := put(t, h, "a", "1")
	for _, after := range []uint64{0, seq - 1, seq + 1} {
		_, found, err := h.Publish(ctx, &nats.Msg{Subject: subject}, after, new(jserror.Attempts))
		if err == nil || found.Proof != jserror.NotDone || found.Cause != jserror.Conflict {
			t.Errorf("after %d: %+v, %v", after, found, err)
		}
	}
	if m, err := h.Last(ctx, subject); err != nil || string(m.Data) != "1" || m.Sequence != seq {
		t.Errorf("got %+v, %v", m, err)
	}
	ok(t, h.Whole(ctx))
}

// The user may not publish, or the connection is closed: another attempt is of no use, and nothing
// was stored.
func TestDenied(t *testing.T) {
	t.Parallel()
	srv := servers.Start(t, embedded.Config{Configure: func(o *server.Options) {
		o.Users = []*server.User{{Username: "root"}, {Username: "reader", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: []string{"$JS.API.STREAM.INFO.>", "$JS.API.STREAM.MSG.GET.>"}}}}}
	}})
	opened(t, servers.Connect(t, srv, nats.UserInfo("root", "")), plan())
	js, ctx := servers.Connect(t, srv, nats.UserInfo("reader", "")), servers.Within(t, 20*time.Second)
	h := opened(t, js, plan())
	refused := func(why string) {
		t.Helper()
		step, cancel := context.WithTimeout(ctx, TryFor) // the server tells the connection, not the publish
		defer cancel()
		_, found, err := h.Publish(step, &nats.Msg{Subject: h.Subject("k", "a")}, 0, new(jserror.Attempts))
		if !errors.As(err, new(Final)) || !strings.Contains(err.Error(), why) || found.Proof != jserror.NotDone {
			t.Errorf("%s: %+v, %v", why, found, err)
		}
		if r := <-publishThen(ctx, h, TryFor, h.Subject("k", "b"), 0); !errors.As(r.err, new(Final)) || !strings.Contains(r.err.Error(), why) || r.found.Proof != jserror.NotDone {
			t.Errorf("%s, without waiting: %+v", why, r)
		}
	}
	refused("Permissions Violation")
	if m, err := h.Last(ctx, h.Subject("k", "a")); m != nil || err != nil {
		t.Errorf("stored: %v, %v", m, err)
	}
	js.Conn().Close()
	refused("closed")
	if err := h.Whole(ctx); !errors.As(err, new(Final)) || errors.Is(err, errLost) {
		t.Errorf("a closed connection: %v", err)
	}
}

// recreate deletes the stream, and creates it again with another configuration.
func recreate(ctx context.Context, js natsjs.JetStream, change func(*natsjs.StreamConfig)) error {
	return servers.Recreate(ctx, js, "THINGS", change)
}

// Each way in which an operator can lose messages is noticed by a home that is open, after the time
// in which a former leader could be wrong, and by Open, until the operator has deleted the second
// stream, too.
func TestLost(t *testing.T) {
	t.Parallel()
	update := func(change func(*natsjs.StreamConfig)) func(context.Context, natsjs.JetStream) error {
		return func(ctx context.Context, js natsjs.JetStream) error {
			s, err := js.Stream(ctx, "THINGS")
			if err != nil {
				return err
			}
			cfg := s.CachedInfo().Config
			change(&cfg)
			_, err = js.UpdateStream(ctx, cfg)
			return err
		}
	}
	for name, c := range map[string]struct {
		why  string
		lose func(context.Context, natsjs.JetStream) error
	}{
		"deleted": {"does not exist any more", func(ctx context.Context, js natsjs.JetStream) error { return js.DeleteStream(ctx, "THINGS") }},
		"recreated": {"is another one", func(ctx context.Context, js natsjs.JetStream) error {
			return recreate(ctx, js, func(*natsjs.StreamConfig) {})
		}},
		"recreated with another birth": {"is another one", func(ctx context.Context, js natsjs.JetStream) error {
			return recreate(ctx, js, func(c *natsjs.StreamConfig) { c.Subjects = []string{"things.other.>"} })
		}},
		"recreated, as if it could be purged": {"lets messages be deleted or purged", func(ctx context.Context, js natsjs.JetStream) error {
			return recreate(ctx, js, func(c *natsjs.StreamConfig) { c.DenyPurge = false })
		}},
		"forgets":        {"for ever", update(func(c *natsjs.StreamConfig) { c.MaxAge = time.Hour })},
		"answers direct": {"direct reads", update(func(c *natsjs.StreamConfig) { c.AllowDirect = true })},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			js, ctx := servers.Connect(t, servers.Start(t, embedded.Config{})), servers.Within(t, 60*time.Second)
			h := opened(t, js, plan())
			h.loss.after = 200 * time.Millisecond
			put(t, h, "a", "1")
			ok(t, h.Whole(ctx))
			ok(t, c.lose(ctx, js))
			began := time.Now()
			if err := h.Whole(ctx); err == nil || errors.Is(err, errLost) || !strings.Contains(err.Error(), "things may be lost") {
				t.Errorf("a suspicion: %v", err)
			}
			err := h.Read(ctx, never, h.Whole)
			if took := time.Since(began); !errors.Is(err, errLost) || !errors.As(err, new(Final)) || !strings.Contains(err.Error(), c.why) || took < h.loss.after {
				t.Errorf("after %v: %v", took, err)
			}
			if err := h.Lost(); !errors.Is(err, errLost) {
				t.Errorf("afterwards: %v", err)
			}
			if _, err := Open(ctx, js, plan()); !errors.Is(err, errLost) || !strings.Contains(err.Error(), "buy new things") {
				t.Errorf("opened: %v", err)
			}
			_ = js.DeleteStream(ctx, "THINGS")
			ok(t, js.DeleteStream(ctx, "THINGS_made"))
			next := opened(t, js, plan())
			put(t, next, "a", "2")
			if next.Birth() == h.Birth() {
				t.Error("it has the same birth")
			}
			if err := h.Whole(ctx); !errors.Is(err, errLost) {
				t.Errorf("the home that was open before: %v", err)
			}
		})
	}
}

func never(error) bool { return false }

// A stream that was set back to an earlier state is found out, later than others, because a former
// leader looks the same.
func TestSetBack(t *testing.T) {
	t.Parallel()
	h := opened(t, servers.Connect(t, servers.Start(t, embedded.Config{})), plan())
	h.loss.after, h.loss.behind = time.Millisecond, 300*time.Millisecond
	put(t, h, "a", "1")
	h.Saw(1000)
	began := time.Now()
	if err := h.Read(servers.Within(t, 20*time.Second), never, h.Whole); !errors.Is(err, errLost) || !strings.Contains(err.Error(), "ends at message 2") {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("after %v", took)
	}
}

// A loss that passes was none: a former leader has answered.
func TestSuspicionPasses(t *testing.T) {
	t.Parallel()
	h := opened(t, servers.Connect(t, servers.Start(t, embedded.Config{})), plan())
	h.loss.behind = 50 * time.Millisecond
	seq := put(t, h, "a", "1")
	h.Saw(seq + 1)
	ctx := servers.Within(t, 20*time.Second)
	if err := h.Whole(ctx); err == nil {
		t.Error("nothing is missing")
	}
	put(t, h, "b", "2")
	ok(t, h.Whole(ctx))
	h.Saw(seq + 2)
	if err := h.Whole(ctx); err == nil || errors.Is(err, errLost) {
		t.Errorf("a new suspicion: %v", err)
	}
}

// A stream without its first message is not the one that it was, as on a server whose disk was
// replaced. A stream that nobody has used yet may be without it: a process may have been killed
// while it created the streams.
func TestMark(t *testing.T) {
	t.Parallel()
	js, ctx := servers.Connect(t, servers.Start(t, embedded.Config{})), servers.Within(t, 20*time.Second)
	opened(t, js, plan())
	made, err := js.Stream(ctx, "THINGS_made")
	ok(t, err)
	ok(t, recreate(ctx, js, func(*natsjs.StreamConfig) {}))
	empty, err := js.Stream(ctx, "THINGS")
	ok(t, err)
	ok(t, js.DeleteStream(ctx, "THINGS_made"))
	cfg := made.CachedInfo().Config
	cfg.Metadata[madeCreated] = instant(empty.CachedInfo().Created)
	_, err = js.CreateStream(ctx, cfg)
	ok(t, err)
	if _, err := Open(ctx, js, plan()); !errors.Is(err, errLost) || !strings.Contains(err.Error(), "first message") {
		t.Errorf("got %v", err)
	}
	ok(t, js.DeleteStream(ctx, "THINGS_made"))
	put(t, opened(t, js, plan()), "a", "1")
}

// A store keeps messages in the second stream. If that is deleted, it is created anew as it was, but not if
// the first one is gone, too. One that an operator has made say something else is of no use.
func TestSecond(t *testing.T) {
	t.Parallel()
	js, ctx, p := servers.Connect(t, servers.Start(t, embedded.Config{})), servers.Within(t, 20*time.Second), plan()
	p.Second = func(c *natsjs.StreamConfig) { c.Subjects, c.MaxMsgs = []string{"second.>"}, 0 }
	h, usable := opened(t, js, p), func() {
		t.Helper()
		for i := range 2 {
			_, err := js.Publish(ctx, fmt.Sprint("second.", i), nil)
			ok(t, err)
		}
	}
	usable()
	for _, gone := range []bool{false, true, false} {
		if gone {
			ok(t, js.DeleteStream(ctx, p.Made))
		}
		s, created, err := h.Second(ctx)
		ok(t, err)
		if created != gone || s.CachedInfo().State.Msgs > 0 == gone {
			t.Errorf("gone %v: created %v, %d messages", gone, created, s.CachedInfo().State.Msgs)
		}
		usable()
	}
	ok(t, h.Read(ctx, never, h.Whole))
	opened(t, js, p)

	s, _, err := h.Second(ctx)
	ok(t, err)
	ok(t, js.DeleteStream(ctx, p.Made))
	cfg := s.CachedInfo().Config
	cfg.Metadata[madeCreated] = instant(time.Now())
	_, err = js.CreateStream(ctx, cfg)
	ok(t, err)
	if _, _, err := h.Second(ctx); err == nil || !strings.Contains(err.Error(), "is of other things") {
		t.Errorf("another one: %v", err)
	}
	ok(t, errors.Join(js.DeleteStream(ctx, p.Made), js.DeleteStream(ctx, p.Stream)))
	if err := h.Read(ctx, never, func(ctx context.Context) error { _, _, err := h.Second(ctx); return err }); !errors.Is(err, errLost) {
		t.Errorf("both deleted: %v", err)
	}
	if _, err := js.Stream(ctx, p.Made); !errors.Is(err, natsjs.ErrStreamNotFound) {
		t.Errorf("after a loss: %v", err)
	}
}

// Many processes open a new home at the same time. All have the same stream.
func TestOpenAtOnce(t *testing.T) {
	t.Parallel()
	srv := servers.Start(t, embedded.Config{})
	const many = 6
	births := make(chan string, many)
	for range many {
		js := servers.Connect(t, srv)
		go func() {
			h, err := Open(t.Context(), js, plan())
			if err != nil {
				t.Error(err)
				births <- ""
				return
			}
			births <- h.Birth()
		}()
	}
	first := <-births
	for range many - 1 {
		if b := <-births; b != first {
			t.Errorf("%q and %q", first, b)
		}
	}
}

// What a stream may not be.
func TestUnfit(t *testing.T) {
	fit := natsjs.StreamConfig{MaxMsgsPerSubject: 1, DenyDelete: true, DenyPurge: true, Subjects: []string{"things.x.>"}}
	limited := fit
	limited.Discard, limited.MaxMsgs, limited.MaxBytes = natsjs.DiscardNew, 10, 10
	for _, c := range []natsjs.StreamConfig{fit, limited} {
		if why := (Plan{}).unfit(c); why != "" {
			t.Errorf("a fit one: %s", why)
		}
	}
	for want, change := range map[string]func(*natsjs.StreamConfig){
		"allows direct reads":         func(c *natsjs.StreamConfig) { c.AllowDirect = true },
		"allows direct":               func(c *natsjs.StreamConfig) { c.MirrorDirect = true },
		"for ever":                    func(c *natsjs.StreamConfig) { c.MaxAge = time.Hour },
		"one message of each subject": func(c *natsjs.StreamConfig) { c.MaxMsgsPerSubject = 2 },
		"one message of each":         func(c *natsjs.StreamConfig) { c.MaxMsgsPerSubject = -1 },
		"does not keep one":           func(c *natsjs.StreamConfig) { c.Retention = natsjs.InterestPolicy },
		"does not keep":               func(c *natsjs.StreamConfig) { c.AllowMsgTTL = true },
		"of its own":                  func(c *natsjs.StreamConfig) { c.SubjectDeleteMarkerTTL = time.Hour },
		"were not published":          func(c *natsjs.StreamConfig) { c.Mirror = &natsjs.StreamSource{} },
		"not published":               func(c *natsjs.StreamConfig) { c.Sources = []*natsjs.StreamSource{{}} },
		"gets messages":               func(c *natsjs.StreamConfig) { c.SubjectTransform = &natsjs.SubjectTransformConfig{} },
		"does not acknowledge":        func(c *natsjs.StreamConfig) { c.NoAck = true },
		"discards old":                func(c *natsjs.StreamConfig) { c.MaxMsgs = 1 },
		"discards":                    func(c *natsjs.StreamConfig) { c.MaxBytes = 1 },
		"rejects a second":            func(c *natsjs.StreamConfig) { c.DiscardNewPerSubject = true },
		"be deleted":                  func(c *natsjs.StreamConfig) { c.DenyDelete = false },
		"or purged":                   func(c *natsjs.StreamConfig) { c.DenyPurge = false },
		"deleted or purged":           func(c *natsjs.StreamConfig) { c.AllowRollup = true },
		"one subject":                 func(c *natsjs.StreamConfig) { c.Subjects = nil },
	} {
		c := fit
		change(&c)
		if why := (Plan{}).unfit(c); !strings.Contains(why, want) {
			t.Errorf("want %q, got %q", want, why)
		}
	}
	if why := (Plan{Expiring: true}).unfit(fit); !strings.Contains(why, "a life of their own") {
		t.Errorf("got %q", why)
	}
	fit.AllowMsgTTL = true
	if why := (Plan{Expiring: true}).unfit(fit); why != "" {
		t.Errorf("got %q", why)
	}
}

// A stream of the right kind has a birth in its subject.
func TestSubjectOfStream(t *testing.T) {
	t.Parallel()
	js, ctx := servers.Connect(t, servers.Start(t, embedded.Config{})), servers.Within(t, 20*time.Second)
	for _, subject := range []string{"things.>", "things.a.b.>", "things.*.>", "other.a.>", "things.a.*"} {
		ok(t, servers.Settled(ctx, func() error {
			_, err := js.CreateStream(ctx, natsjs.StreamConfig{Name: "THINGS", Subjects: []string{subject}, MaxMsgsPerSubject: 1, DenyDelete: true, DenyPurge: true})
			return err
		}))
		if _, err := Open(ctx, js, plan()); err == nil || !strings.Contains(err.Error(), "want things.<any token>.>") {
			t.Errorf("%s: %v", subject, err)
		}
		ok(t, js.DeleteStream(ctx, "THINGS"))
	}
}

func TestMapped(t *testing.T) {
	for want, o := range map[string]natsjs.JetStreamOptions{
		"":                {},
		"$JS.hub.API.":    {Domain: "hub"},
		"$JS.other.API.":  {APIPrefix: "$JS.other.API."},
		"$JS.third.API.":  {APIPrefix: "$JS.third.API"},
		"$JS.hubby.API.":  {Domain: "hubby", APIPrefix: "x."},
		"through.a.door.": {APIPrefix: "through.a.door"},
	} {
		if got := Mapped(o); got != want {
			t.Errorf("%+v: got %q, want %q", o, got, want)
		}
	}
}

// Different keys have different subjects, of which no token is empty or means anything to NATS, and
// of which the id can be read again.
func TestSubject(t *testing.T) {
	h := &Home{place: place{prefix: "p"}}
	type key struct{ kind, id string }
	seen := map[string]key{}
	text := rapid.OneOf(rapid.StringN(1, 8, 16), rapid.StringMatching(`[a=.*>2e /-]{1,6}`))
	rapid.Check(t, func(t *rapid.T) {
		k := key{text.Draw(t, "kind"), text.Draw(t, "id")}
		s := h.Subject(k.kind, k.id)
		if other, ok := seen[s]; ok && other != k {
			t.Fatalf("%q and %q have the subject %s", other, k, s)
		}
		seen[s] = k
		if tokens := strings.Split(s, "."); len(tokens) != 3 || tokens[1] == "" || tokens[2] == "" || strings.ContainsAny(s, "*> \t\r\n") || tokens[1] == markKind {
			t.Fatalf("%q has the subject %q", k, s)
		}
		if id, err := h.ID(k.kind, s); err != nil || id != k.id {
			t.Fatalf("%q has the subject %q, and that the id %q, %v", k, s, id, err)
		}
	})
	if s := h.Subject("a.b", "", "c"); s != "p."+Tokens("a.b", "", "c") || s != "p.a=2eb..c" {
		t.Errorf("three tokens: %s", s)
	}
	for _, bad := range []string{"=", "=2", "=2g", "=2A", "a.b", "*"} {
		if id, err := h.ID("k", "p.k."+bad); err == nil {
			t.Errorf("%s: %q", bad, id)
		}
	}
}

// An attempt is made again with pauses that grow; at the end the error says what was wrong, not only
// that the time is over.
func TestRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, n := time.Now(), 0
		errBroken := errors.New("broken")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := Retry(ctx, func() error {
			if n++; n == 1 {
				return Again{Err: errBroken}
			}
			return Again{Err: fmt.Errorf("attempt %d: %w", n, context.DeadlineExceeded)}
		})
		if again, ok := err.(Again); !ok || !errors.Is(again.Err, errBroken) || !errors.Is(again.Err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != time.Second || n < 10 || n > 20 {
			t.Errorf("%d attempts in %v", n, took)
		}
		if err := Retry(t.Context(), func() error { return errBroken }); err != errBroken {
			t.Errorf("got %v", err)
		}
		began, n = time.Now(), 0
		if err := Retry(t.Context(), func() error {
			if n++; n < 100 {
				return Again{Err: errBroken, Now: true}
			}
			return nil
		}); err != nil || n != 100 || time.Since(began) != 0 {
			t.Errorf("at once: got %v after %d, %v", err, n, time.Since(began))
		}
		over, stop := context.WithCancel(t.Context())
		stop()
		err = Retry(over, func() error { return Again{Err: errBroken, Now: true} })
		if again, ok := err.(Again); !ok || !errors.Is(again.Err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		n = 0
		if err := Retry(t.Context(), func() error {
			if n++; n < 3 {
				return Again{Err: errBroken}
			}
			return nil
		}); err != nil || n != 3 {
			t.Errorf("got %v after %d", err, n)
		}
	})
}
