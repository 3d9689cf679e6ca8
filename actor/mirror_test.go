package actor_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// mirrorTo sets the mirror of mailer.
func (f *fleet) mirrorTo(m actor.Mirror) {
	f.t.Helper()
	if err := f.client.SetMirror("mailer", m); err != nil {
		f.t.Fatal(err)
	}
}

// seen returns how often each version was asked, got a one-way message, and got a copy.
func (f *fleet) seen(version string) (asked, leaflets, copies int) {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[version], f.posts[version], f.header[version]
}

// A share of requests and of one-way messages is copied, whatever the verb; the originals go on as
// without it. Copies carry the header and are not copied again.
func TestMirror(t *testing.T) {
	withFleet(t, []string{"1.0.0", "2.0.0"}, func(t *testing.T, f *fleet) {
		one := f.client.Service("mailer", actor.Version("^1"))
		f.mirrorTo(actor.Mirror{To: "mailer?version=^2", Percent: 100})
		for i := range 10 {
			if who, err := actor.Call(t.Context(), one, Which{}); who != "1.0.0" || err != nil {
				t.Errorf("Call: %q, %v", who, err)
			}
			if who, err := actor.Ask(t.Context(), one, Which{}).Await(t.Context()); who != "1.0.0" || err != nil {
				t.Errorf("Ask: %q, %v", who, err)
			}
			if err := actor.Tell(t.Context(), one, Leaflet{i}); err != nil {
				t.Error(err)
			}
			if err := actor.Tell(t.Context(), one, Leaflet{i}, rpc.Acked()); err != nil {
				t.Error(err)
			}
		}
		if asked, told, copies := f.seen("1.0.0"); asked != 20 || told != 20 || copies != 0 {
			t.Errorf("version 1: %d, %d, %d copies", asked, told, copies)
		}
		if asked, told, copies := f.seen("2.0.0"); asked != 20 || told != 20 || copies != 40 {
			t.Errorf("version 2: %d, %d, %d copies", asked, told, copies)
		}
		f.hits(f.client.Service("mailer", actor.Version("^2")), 5) // the mirror itself
		if _, err := actor.Submit(t.Context(), one, Which{}); err != nil {
			t.Error(err)
		}
		if _, _, copies := f.seen("2.0.0"); copies != 40 {
			t.Errorf("%d copies", copies)
		}
		if got := f.client.Stats().Mirror; got != (actor.MirrorStats{Sent: 40, Answered: 40}) {
			t.Errorf("%+v", got)
		}
		f.mirrorTo(actor.Mirror{})
		f.hits(one, 10)
		if got := f.client.Stats().Mirror.Sent; got != 40 {
			t.Errorf("it has ended, and %d were sent", got)
		}
	})
}

// Percent is the share of the messages that are copied: as configured, within five standard deviations.
func TestMirrorShare(t *testing.T) {
	withFleet(t, []string{"1.0.0", "2.0.0"}, func(t *testing.T, f *fleet) {
		const n, share = 1500, .2
		f.hits(f.client.Service("mailer", actor.Version("^1")), n)
		_, _, copies := f.seen("2.0.0")
		if d := math.Abs(float64(copies) - n*share); d > 5*math.Sqrt(n*share*(1-share)) {
			t.Errorf("%d of %d were copied, want %.0f%%", copies, n, share*100)
		}
		f.mirrorTo(actor.Mirror{To: "mailer?version=^2"})
		f.hits(f.client.Service("mailer", actor.Version("^1")), 100)
		if _, _, now := f.seen("2.0.0"); now != copies {
			t.Error("0% were copied")
		}
	}, func(cfg *actor.Config) {
		cfg.Mirrors = map[string]actor.Mirror{"mailer": {To: "mailer?version=^2", Percent: 20}}
	})
}

// A mirror that answers otherwise is counted, and its answer changes nothing.
func TestMirrorDiffers(t *testing.T) {
	withFleet(t, []string{"1.0.0", "2.0.0"}, func(t *testing.T, f *fleet) {
		one := f.client.Service("mailer", actor.Version("^1"))
		f.mirrorTo(actor.Mirror{To: "mailer?version=^2", Percent: 100})
		for _, fail := range []string{"2.0.0", "1.0.0", "none"} {
			_, err := actor.Call(t.Context(), one, Which{Fail: fail})
			if errors.Is(err, errBroke) != (fail == "1.0.0") {
				t.Errorf("%s fails: %v", fail, err)
			}
			_, err = actor.Ask(t.Context(), one, Which{Fail: fail}).Await(t.Context())
			if errors.Is(err, errBroke) != (fail == "1.0.0") {
				t.Errorf("%s fails: %v", fail, err)
			}
		}
		synctest.Wait()
		if got := f.client.Stats().Mirror; got != (actor.MirrorStats{Sent: 6, Answered: 6, Differed: 4}) {
			t.Errorf("%+v", got)
		}
	})
}

// A mirror that is not there, is silent or does not know the message slows nothing down: beyond
// Outstanding, copies are dropped and counted. One event says that it fails, and one that it is back.
func TestMirrorFails(t *testing.T) {
	withFleet(t, []string{"1.0.0", "2.0.0"}, func(t *testing.T, f *fleet) {
		events := f.client.Events(t.Context(), actor.MirrorFailing, actor.MirrorBack)
		one := f.client.Service("mailer", actor.Version("^1"))
		dead := letters(t, f.client)
		f.mirrorTo(actor.Mirror{To: "mailer?version=^2", Percent: 100, Outstanding: 8})
		f.hits(one, 20)
		f.hits(f.client.Service("mailer", actor.Version("^2")), 1)
		f.net.Partition("", "n1", "")
		began := time.Now()
		for range 100 {
			if who, err := actor.Call(soon(t, 10*time.Second), one, Which{}); who != "1.0.0" || err != nil {
				t.Fatalf("%q, %v", who, err)
			}
			if err := actor.Tell(t.Context(), one, Leaflet{}); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("200 messages took %v", took)
		}
		time.Sleep(time.Minute) // all copies have ended
		got := f.client.Stats().Mirror
		if got.Sent+got.Dropped != 220 || got.Dropped < 150 || got.Failed < 8 || got.Failed+got.Answered != got.Sent || got.Differed != 0 {
			t.Errorf("%+v", got)
		}
		f.net.Heal("", "n1", "")
		time.Sleep(time.Minute)
		for range 30 {
			f.hits(one, 1)
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if len(events) != 2 {
			t.Fatalf("%d events", len(events))
		}
		if e := <-events; e.Type != actor.MirrorFailing || e.Service != "mailer" || e.Err == nil {
			t.Errorf("%+v", e)
		}
		if e := <-events; e.Type != actor.MirrorBack || e.Service != "mailer" {
			t.Errorf("%+v", e)
		}
		f.mirrorTo(actor.Mirror{To: "nobody", Percent: 100})
		before := f.client.Stats().Mirror.Failed
		f.hits(one, 3)
		if err := actor.Tell(t.Context(), one, Leaflet{}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if got := f.client.Stats().Mirror.Failed - before; got != 4 {
			t.Errorf("%d failed without a mirror", got)
		}
		if got := dead(); len(got) != 0 {
			t.Errorf("dead letters: %v", got)
		}
	})
}

// Within one system without roads a mirror works as well; a copy of a message that cannot be encoded is
// dropped and counted.
func TestMirrorAlone(t *testing.T) {
	sys := newSystem(t, actor.Config{Logger: quiet})
	got := make(chan string, 10)
	kind := actor.Define("test.alone", func() int { return 0 },
		actor.Answer(func(_ int, ctx *actor.Context, m Say) (string, error) {
			if ctx.Header(actor.MirrorHeader) != "" {
				got <- fmt.Sprint(ctx.Self().Name(), " got ", m.Text, " for ", ctx.Header(actor.MirrorHeader), " ", ctx.Header("lang"))
			}
			return m.Text, nil
		}), actor.Answer(func(_ int, ctx *actor.Context, m Pipes) (string, error) { return "piped", nil }))
	spawn(t, sys, "real", kind, actor.Expose("shop"))
	spawn(t, sys, "trial", kind, actor.Expose("trial"))
	if err := sys.SetMirror("shop", actor.Mirror{To: "trial", Percent: 100}); err != nil {
		t.Fatal(err)
	}
	if r, err := actor.Call(t.Context(), sys.Service("shop"), Say{Text: "hello"}, rpc.WithHeader("lang", "en")); r != "hello" || err != nil {
		t.Errorf("%q, %v", r, err)
	}
	if text := <-got; text != "trial got hello for shop en" {
		t.Error(text)
	}
	if r, err := actor.Call(t.Context(), sys.Service("shop"), Pipes{C: make(chan int)}); r != "piped" || err != nil {
		t.Errorf("%q, %v", r, err)
	}
	if got := sys.Stats().Mirror; got.Sent != 1 || got.Dropped != 1 {
		t.Errorf("%+v", got)
	}
}

// Pipes cannot be encoded.
type Pipes struct {
	actor.Returns[string]
	C chan int
}

// A shutdown does not wait for copies.
func TestMirrorAtShutdown(t *testing.T) {
	withFleet(t, []string{"1.0.0", "2.0.0"}, func(t *testing.T, f *fleet) {
		f.mirrorTo(actor.Mirror{To: "mailer?version=^2", Percent: 100})
		f.hits(f.client.Service("mailer"), 20)
		f.net.Partition("", "n1", "")
		for range 5 {
			f.hits(f.client.Service("mailer", actor.Version("^1")), 1)
		}
		began := time.Now()
		if err := f.client.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// What makes no sense is refused as a whole.
func TestBadMirrors(t *testing.T) {
	sys := newSystem(t, actor.Config{Logger: quiet})
	for _, row := range []struct {
		service string
		m       actor.Mirror
		want    string
	}{
		{"no name", actor.Mirror{To: "b"}, "service \"no name\""},
		{"a", actor.Mirror{To: "a"}, "itself"},
		{"a", actor.Mirror{To: "b@c"}, "byte '@'"},
		{"a", actor.Mirror{To: "a?version=^^"}, "no constraint"},
		{"a", actor.Mirror{To: "b", Percent: 100.5}, "want 0 to 100"},
		{"a", actor.Mirror{To: "b", Percent: math.NaN()}, "want 0 to 100"},
		{"a", actor.Mirror{To: "b", Percent: -1}, "want 0 to 100"},
		{"a", actor.Mirror{To: "b", Outstanding: -1}, "Outstanding"},
		{"a", actor.Mirror{To: "b", Outstanding: actor.MaxMirrorOutstanding + 1}, "Outstanding"},
	} {
		err := sys.SetMirror(row.service, row.m)
		wantErr(t, row.want, err, rpc.Invalid, rpc.NotRun)
		wantText(t, err, row.want)
		if _, err := actor.NewSystem(actor.Config{Mirrors: map[string]actor.Mirror{row.service: row.m}}); !errors.Is(err, rpc.Invalid) {
			t.Errorf("Config.Mirrors: %v", err)
		}
	}
	if err := sys.SetMirror("a", actor.Mirror{To: "b", Outstanding: actor.MaxMirrorOutstanding}); err != nil {
		t.Error(err)
	}
}
