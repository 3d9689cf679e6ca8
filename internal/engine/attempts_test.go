package engine

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
)

// All attempts at a request share the deadline of the first one. The server sees this deadline,
// and the last attempt ends at it.
func TestAttemptsShareOneDeadline(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		a.echoes("b", "warm up")
		began := time.Now()
		var deadlines []time.Duration
		b.serve = func(in *server.Inbound) {
			at, _ := in.Deadline()
			b.mu.Lock()
			deadlines = append(deadlines, at.Sub(began))
			n := len(deadlines)
			b.mu.Unlock()
			if n < 3 {
				in.Fail(rpc.Errorf(rpc.Overloaded, rpc.NotRun, "no"))
				return
			}
			in.Start()
			time.Sleep(20 * time.Second)
			in.Reply(1, 1, nil)
		}
		const within = 10 * time.Second
		req := request("b", "x", within)
		req.Retry = &rpc.Retry{MinPause: time.Second, MaxPause: time.Second}
		f, _ := a.send(req)
		_, err := f.Await(t.Context())
		wantErr(t, "the third attempt", err, rpc.Expired, rpc.Unknown)
		if took := time.Since(began); took != within {
			t.Errorf("it ended after %v", took)
		}
		if !slices.Equal(deadlines, []time.Duration{within, within, within}) {
			t.Errorf("the attempts' deadlines, from the first: %v", deadlines)
		}
		time.Sleep(time.Minute)
	})
}

// If an earlier attempt at a request may have run, the request's error does not say NotRun,
// although the last attempt did not run.
func TestOneAttemptMayHaveRun(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", direct), r.start("b", "b1", direct)
		b.handle(func(_ *server.Inbound, body string) string { time.Sleep(time.Second); return body })
		req := request("b", "x", patience)
		req.Retry, req.Rare = &rpc.Retry{Attempts: 2}, &client.Rare{Idempotent: true}
		f, _ := a.send(req)
		time.Sleep(time.Second / 2)
		next := r.start("b", "b2", direct)
		next.mu.Lock()
		next.serve = func(in *server.Inbound) { in.Fail(rpc.Errorf(rpc.Overloaded, rpc.NotRun, "no")) }
		next.mu.Unlock()
		r.net.Reset("direct", "a", "b")
		_, err := f.Await(t.Context())
		wantErr(t, "an attempt that may have run, and one that did not", err, rpc.Overloaded, rpc.Unknown)
		if b.ran("x") != 1 {
			t.Errorf("the first ran %d times", b.ran("x"))
		}
		time.Sleep(time.Minute)
	})
}

func TestIdempotentRequest(t *testing.T) {
	for _, idempotent := range []bool{false, true} {
		withRig(t, func(t *testing.T, r *rig) {
			a, b := r.start("a", "a1", direct), r.start("b", "b1", direct)
			b.handle(func(_ *server.Inbound, body string) string { time.Sleep(time.Second); return body })
			req := request("b", "x", patience)
			req.Retry, req.Rare = &rpc.Retry{}, &client.Rare{Idempotent: idempotent}
			f, _ := a.send(req)
			time.Sleep(time.Second / 2)
			b = r.start("b", "b2", direct)
			b.handle(func(_ *server.Inbound, body string) string { return "anew " + body })
			r.net.Reset("direct", "a", "b")
			got, err := f.Await(context.Background())
			if idempotent && (got != "anew x" || err != nil) {
				t.Errorf("idempotent: %q, %v", got, err)
			}
			if !idempotent {
				wantErr(t, "not idempotent", err, rpc.OutcomeUnknown, rpc.Unknown)
			}
			time.Sleep(time.Minute)
		})
	}
}

// A caller that cancels while an attempt waits for room in the window does not wait any longer.
func TestCancelWhileARetryWaitsForRoom(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", direct, func(c *Config) { c.Window = 1 }), r.start("b", "b1", direct)
		b.serve = func(in *server.Inbound) {
			if string(in.TakeBody()) == "refused" {
				in.Fail(rpc.Errorf(rpc.Overloaded, rpc.NotRun, "no"))
				return
			}
			in.Start()
			time.Sleep(20 * time.Second)
			in.Reply(1, 1, nil)
		}
		req := request("b", "refused", patience)
		req.Retry = &rpc.Retry{}
		f, call := a.send(req)
		slow, _ := a.send(request("b", "slow", patience)) // takes its place in the window when the first attempt has been refused
		time.Sleep(time.Second)
		began := time.Now()
		call.GiveUp(rpc.Canceled, "enough")
		_, err := f.Await(t.Context())
		wantErr(t, "a request whose retry had not left", err, rpc.Canceled, rpc.NotRun)
		if !strings.Contains(err.Error(), "enough") {
			t.Errorf("%v, want what it was given up with", err)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("took %v", took)
		}
		if _, err := slow.Await(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
