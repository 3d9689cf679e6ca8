package rpc

import (
	"slices"
	"testing"
	"time"
)

// All attempts at a request share the deadline of the first: the server sees it, and it
// ends the last one.
func TestAttemptsShareOneDeadline(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		a.echoes("b", "warm up")
		began := time.Now()
		var deadlines []time.Duration
		b.serve = func(in *Inbound) {
			at, _ := in.Deadline()
			b.mu.Lock()
			deadlines = append(deadlines, at.Sub(began))
			n := len(deadlines)
			b.mu.Unlock()
			if n < 3 {
				in.Refuse(Errorf(Overloaded, NotRun, "no"))
				return
			}
			in.Start()
			time.Sleep(20 * time.Second)
			in.Reply(1, 1, nil)
		}
		const within = 10 * time.Second
		req := request("b", "x", within)
		req.Retry = &Retry{MinPause: time.Second, MaxPause: time.Second}
		f, _ := a.send(req)
		_, err := f.Await(t.Context())
		wantErr(t, "the third attempt", err, Expired, Unknown)
		if took := time.Since(began); took != within {
			t.Errorf("it ended after %v", took)
		}
		if !slices.Equal(deadlines, []time.Duration{within, within, within}) {
			t.Errorf("the attempts' deadlines, from the first: %v", deadlines)
		}
		time.Sleep(time.Minute)
	})
}

// That the last attempt at a request did not run says nothing of an earlier one that may
// have.
func TestOneAttemptMayHaveRun(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", direct), r.start("b", "b1", direct)
		b.handle(func(_ *Inbound, body string) string { time.Sleep(time.Second); return body })
		req := request("b", "x", patience)
		req.Retry, req.Rare = &Retry{Attempts: 2}, &Rare{Idempotent: true}
		f, _ := a.send(req)
		time.Sleep(time.Second / 2)
		next := r.start("b", "b2", direct)
		next.mu.Lock()
		next.serve = func(in *Inbound) { in.Refuse(Errorf(Overloaded, NotRun, "no")) }
		next.mu.Unlock()
		r.net.Reset("direct", "a", "b")
		_, err := f.Await(t.Context())
		wantErr(t, "an attempt that may have run, and one that did not", err, Overloaded, Unknown)
		if b.ran("x") != 1 {
			t.Errorf("the first ran %d times", b.ran("x"))
		}
		time.Sleep(time.Minute)
	})
}
