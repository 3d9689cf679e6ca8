package actor_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Sampled interceptors see the messages that they want, on both sides and outside of all others; those that they do
// not want are seen by the others only.
func TestSampledInterceptors(t *testing.T) {
	log, in, wanted := new(notes), new(notes), false
	sampled := intercept.Sampled{
		Wants:    func(context.Context, intercept.Where) bool { return wanted },
		Outgoing: noting(in, "sampled out"),
		Incoming: noting(in, "sampled in"),
	}
	world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		spawn(t, b, "tap", tapKind(log))
		call := func() {
			t.Helper()
			if _, err := actor.Call(t.Context(), a.Ref("tap@b"), Tap{Text: "m"}); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		call()
		others := len(in.take())
		if others != 2 { // begin and end of the outgoing one of all messages
			t.Errorf("%d notes of a message that is not wanted", others)
		}
		wanted = true
		call()
		if got := in.take(); len(got) != 6 || got[0] != `sampled out call Tap "" of actor_test.Tap` || got[5] != "sampled out ended: <nil>, ran" {
			t.Errorf("%q", got)
		}
	}, func(cfg *actor.Config) {
		cfg.Sampled = sampled
		if cfg.Name == "a" {
			cfg.Outgoing = []intercept.Func{noting(in, "out")}
		}
	})
}

// Whoever gives a Trail with ReportTo learns each copy of the request and its road, with no interceptor at all.
func TestTrailOfRequest(t *testing.T) {
	world(t, []string{"direct", "bus"}, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
		spawn(t, b, "tap", tapKind(new(notes)))
		to := a.Ref("tap@b")
		if _, err := actor.Call(t.Context(), to, Tap{Text: "m"}); err != nil {
			t.Fatal(err)
		}
		net.Hold("direct", "b", "a") // the reply gets stuck
		report := rpc.Report{Trail: new(rpc.Trail)}
		f := actor.Ask(t.Context(), to, Tap{Text: "m"}, rpc.ReportTo(&report))
		synctest.Wait()
		net.Partition("direct", "a", "b")
		net.Reset("direct", "a", "b")
		if _, err := f.Await(t.Context()); err != nil {
			t.Fatal(err)
		}
		s := report.Trail.Steps
		if len(s) != 3 || s[0].What != rpc.CopySent || s[0].Road != "direct" || s[1].What != rpc.CopyResent || s[1].Road != "bus" || s[2].What != rpc.AttemptEnded || !s[2].Replayed {
			t.Errorf("%+v", s)
		}
		if s[0].Attempt != 1 || s[2].Attempt != 1 || s[0].Node != "b" || s[2].Err != nil {
			t.Errorf("%+v", s)
		}
	})
}
