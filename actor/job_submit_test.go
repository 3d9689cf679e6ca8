package actor_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Render is a long job.
type Render struct {
	actor.Returns[string]
	Text string
}

// Renderer works on what it is sent until the test says that the job is done.
type Renderer struct{ step chan string }

func (r Renderer) Render(ctx *actor.Context, m Render) (string, error) {
	ctx.Progress(1, 3)
	switch m.Text {
	case "fails":
		return "", fmt.Errorf("no: %w", errFunds)
	case "panics":
		panic("oh")
	}
	select {
	case s := <-r.step:
		ctx.Progress(3, 3)
		return m.Text + s, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// renderers is the kind of a Renderer.
func renderers(step chan string) *actor.Kind {
	return actor.Define("test.renderer", func() Renderer { return Renderer{step} }, actor.Answer(Renderer.Render))
}

// submit submits a Render, or ends the test.
func submit(t testing.TB, to actor.Ref, text string, opts ...rpc.Option) rpc.Token[string] {
	t.Helper()
	tok, err := actor.Submit(t.Context(), to, Render{Text: text}, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// wantState checks the state of a job.
func wantState(t testing.TB, tok rpc.Token[string], want rpc.JobState) rpc.JobStatus {
	t.Helper()
	st, err := tok.Poll(t.Context())
	if err != nil || st.State != want {
		t.Errorf("%v, %v; want %v", st.State, err, want)
	}
	return st
}

func TestSubmit(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		step := make(chan string)
		to := bind(spawn(t, b, "x", renderers(step)))
		first, second := submit(t, to, "a"), submit(t, to, "b")
		synctest.Wait()
		if st := wantState(t, first, rpc.JobRunning); st.Done != 1 || st.Total != 3 {
			t.Errorf("progress: %+v", st)
		}
		wantState(t, second, rpc.JobAccepted)
		step <- "!"
		if v, err := first.Await(t.Context()); v != "a!" || err != nil {
			t.Errorf("%q, %v", v, err)
		}
		if v, err := first.Await(t.Context()); v != "a!" || err != nil { // again
			t.Errorf("%q, %v", v, err)
		}
		if st := wantState(t, first, rpc.JobDone); st.Done != 3 {
			t.Errorf("progress: %+v", st)
		}
		began := time.Now()
		time.AfterFunc(5*time.Minute, func() { step <- "?" }) // longer than one request of Await lasts
		if v, err := second.Await(t.Context()); v != "b?" || err != nil {
			t.Errorf("%q, %v", v, err)
		}
		if took := time.Since(began); took > 5*time.Minute+time.Second {
			t.Errorf("awaited %v for 5 minutes of work", took)
		}
		time.Sleep(actor.DefaultTokenLife + time.Second)
		wantState(t, second, rpc.JobExpired)
		_, err := second.Await(t.Context())
		wantErr(t, "expired", err, rpc.Expired, rpc.HasRun)
		time.Sleep(actor.DefaultTokenLife + time.Second)
		wantState(t, second, rpc.JobUnknown)
		_, err = second.Await(t.Context())
		wantErr(t, "forgotten", err, rpc.OutcomeUnknown, rpc.Unknown)
	})
}

func TestJobFails(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		to := bind(spawn(t, b, "x", renderers(nil)))
		_, err := submit(t, to, "fails").Await(t.Context())
		if !errors.Is(err, errFunds) || rpc.Ran(err) != rpc.HasRun {
			t.Errorf("failed: %v", err)
		}
		panicked := submit(t, to, "panics")
		_, err = panicked.Await(t.Context())
		wantErr(t, "panicked", err, rpc.Panicked, rpc.HasRun)
		if st := wantState(t, panicked, rpc.JobFailed); rpc.CodeOf(st.Err) != rpc.Panicked {
			t.Errorf("the status says %v", st.Err)
		}

		running, waiting := submit(t, to, "a"), submit(t, to, "b")
		synctest.Wait()
		for _, row := range []struct {
			tok  rpc.Token[string]
			ran  rpc.Verdict
			when string
		}{{waiting, rpc.NotRun, "before its turn"}, {running, rpc.HasRun, "while it runs"}} {
			if _, err := row.tok.Cancel(t.Context()); err != nil {
				t.Error(err)
			}
			_, err = row.tok.Await(t.Context())
			if rpc.Ran(err) != row.ran {
				t.Errorf("cancelled %s: %v", row.when, err)
			}
			wantState(t, row.tok, rpc.JobCancelled)
			if st, err := row.tok.Cancel(t.Context()); st.State != rpc.JobCancelled || err != nil {
				t.Errorf("cancelled twice: %v, %v", st.State, err)
			}
		}

		unstarted := submit(t, to, "c")
		actor.Halt(b, b.Ref("x@"+b.Name()))
		_, err = submitErr(t, to)
		if rpc.Ran(err) != rpc.NotRun {
			t.Errorf("submitted to a stopped actor: %v", err)
		}
		if _, err := unstarted.Cancel(t.Context()); err != nil { // otherwise it may have started before the stop
			t.Error(err)
		}
		if _, err := unstarted.Await(t.Context()); err == nil || rpc.CodeOf(err) == rpc.OutcomeUnknown {
			t.Errorf("a job of a stopped actor: %v", err)
		}
	})
}

// submitErr submits a Render, and returns what Submit returns.
func submitErr(t testing.TB, to actor.Ref) (rpc.Token[string], error) {
	return actor.Submit(t.Context(), to, Render{})
}

// A job that cannot be accepted is refused, and did not run.
func TestSubmitRefused(t *testing.T) {
	everywhere(t, func(t *testing.T, b *actor.System, bind func(actor.Ref) actor.Ref) {
		_, err := submitErr(t, bind(spawn(t, b, "deaf", AccountKind)))
		wantErr(t, "no handler", err, rpc.Unhandled, rpc.NotRun)
		x := spawn(t, b, "gone", AccountKind)
		actor.Halt(b, x)
		synctest.Wait()
		_, err = submitErr(t, bind(x))
		wantErr(t, "no actor", err, rpc.NotFound, rpc.NotRun)
	})
}

// The text of a token is valid in another process and on another node of the same principal.
// It is not valid for any other principal.
func TestRedeem(t *testing.T) {
	byNode := func(c *actor.Config) {
		c.Principals = func(string, transport.Peer) string { return "shop" }
	}
	world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		step := make(chan string, 1)
		spawn(t, b, "x", renderers(step))
		text := submit(t, a.Ref("x@b"), "a").String()
		step <- "!"
		for _, sys := range []*actor.System{a, b} {
			tok, err := actor.Redeem[string](sys, text)
			if err != nil {
				t.Fatal(err)
			}
			if v, err := tok.Await(t.Context()); v != "a!" || err != nil {
				t.Errorf("at %s: %q, %v", sys.Name(), v, err)
			}
			wrong, err := actor.Redeem[int](sys, text)
			if err != nil {
				t.Fatal(err)
			}
			_, err = wrong.Await(t.Context())
			wantErr(t, "as another type", err, rpc.WrongReply, rpc.HasRun)
		}
		for _, bad := range []string{"", "b", "b:", "b:x", ":" + strings.Repeat("A", 26), "b c:" + strings.Repeat("A", 26)} {
			if _, err := actor.Redeem[string](a, bad); rpc.CodeOf(err) != rpc.Invalid || rpc.Ran(err) != rpc.NotRun {
				t.Errorf("%q: %v", bad, err)
			}
		}
		var none rpc.Token[string]
		_, err := none.Await(t.Context())
		wantErr(t, "the zero token", err, rpc.Invalid, rpc.NotRun)
		unknown, _ := actor.Redeem[string](a, "b:"+strings.Repeat("A", 26))
		wantState(t, unknown, rpc.JobUnknown)
	}, byNode)

	apart := func(c *actor.Config) {
		c.Principals = func(road string, p transport.Peer) string { return road + p.Principal }
	}
	world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		step := make(chan string, 1)
		spawn(t, b, "x", renderers(step))
		step <- "!"
		theirs, err := actor.Redeem[string](b, submit(t, a.Ref("x@b"), "a").String())
		if err != nil {
			t.Fatal(err)
		}
		_, err = theirs.Poll(t.Context())
		wantErr(t, "polled by another principal", err, rpc.Denied, rpc.NotRun)
		_, err = theirs.Await(t.Context())
		wantErr(t, "awaited by another principal", err, rpc.Denied, rpc.Unknown)
		_, err = theirs.Cancel(t.Context())
		wantErr(t, "cancelled by another principal", err, rpc.Denied, rpc.NotRun)
	}, apart)
}

// A principal may have a limited number of tokens. Expired ones make room.
func TestTokenLimit(t *testing.T) {
	const limit = 5
	world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		spawn(t, b, "x", renderers(nil))
		to := a.Ref("x@b")
		for range limit {
			submit(t, to, "fails")
		}
		_, err := actor.Submit(t.Context(), to, Render{Text: "fails"}, rpc.WithRetry(rpc.Retry{Attempts: 1}))
		wantErr(t, "one too many", err, rpc.Overloaded, rpc.NotRun)
		time.Sleep(actor.DefaultTokenLife + time.Minute)
		submit(t, to, "fails")
	}, func(c *actor.Config) { c.Tokens = limit })
}

// A submission that is sent again, by its session or under its key, gets the same token.
func TestSubmitOnce(t *testing.T) {
	world(t, []string{"direct", "bus"}, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
		step := make(chan string, 10)
		spawn(t, b, "x", renderers(step))
		to := a.Ref("x@b")
		submit(t, to, "warm up")
		time.Sleep(time.Second)
		net.Hold("direct", "b", "a") // the reply is lost with its link
		time.AfterFunc(time.Second, func() { net.Reset("direct", "", "") })
		tok := submit(t, to, "a")
		net.Heal("", "", "")
		step <- "1"
		step <- "2"
		if v, err := tok.Await(t.Context()); v != "a2" || err != nil {
			t.Errorf("%q, %v", v, err)
		}
		if a.Stats().RPC.Resent == 0 {
			t.Error("nothing was resent")
		}
		one, two := submit(t, to, "b", rpc.Key("k")), submit(t, to, "b", rpc.Key("k"))
		if one.String() != two.String() {
			t.Error("one key, two tokens")
		}
		defer func() { _, _ = one.Cancel(context.Background()) }()
		_, err := actor.Submit(t.Context(), to, Render{Text: "c"}, rpc.Key("k"))
		wantErr(t, "another job under the key", err, rpc.IDReused, rpc.Unknown)
		if n := b.Stats().RPC.Served; n > 6 {
			t.Errorf("%d served", n)
		}
	})
}

// Await survives that every road is down for a while. If the caller is lost, the job
// continues.
func TestAwaitAcrossRoads(t *testing.T) {
	for _, roads := range [][]string{{"direct"}, {"bus"}, {"direct", "bus"}} {
		world(t, roads, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
			step := make(chan string)
			spawn(t, b, "x", renderers(step))
			tok := submit(t, a.Ref("x@b"), "a")
			result := make(chan string, 1)
			go func() {
				v, err := tok.Await(t.Context())
				result <- fmt.Sprint(v, err)
			}()
			time.Sleep(time.Second)
			net.Partition("", "", "")
			net.Reset("", "", "")
			time.Sleep(3 * time.Minute)
			net.Heal("", "", "")
			time.Sleep(time.Minute)
			step <- "!"
			if got := <-result; got != "a!<nil>" {
				t.Errorf("%v: %s", roads, got)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			other := submit(t, a.Ref("x@b"), "b")
			_, err := other.Await(ctx)
			wantErr(t, "the caller gives up", err, rpc.Expired, rpc.Unknown)
			step <- "!"
			if v, err := other.Await(t.Context()); v != "b!" || err != nil {
				t.Errorf("awaited again: %q, %v", v, err)
			}
		})
	}
}
