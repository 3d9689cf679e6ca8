package engine

import (
	"errors"
	"testing"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/rpc"
)

// withKey is request with a key.
func withKey(to, body, key string, timeout time.Duration) client.Request {
	r := request(to, body, timeout)
	r.Rare = &client.Rare{Key: key}
	return r
}

// isKey reports whether a change is about a key.
func isKey(c ledger.Change) bool { return c.ID.Seq == 0 }

// A key that an earlier start has begun and not finished does not run again, whatever that
// start's clock said.
func TestBegunKeyAfterRestart(t *testing.T) {
	for _, ahead := range []time.Duration{-time.Hour, 0, time.Second} {
		withRig(t, func(t *testing.T, r *rig) {
			d := new(disk)
			a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config)
			b.durably(func(_ *server.Inbound, body string) string {
				if body == "x" {
					<-b.host.Context().Done()
				}
				return body
			})
			a.echoes("b", "warm up")
			first, _ := a.send(withKey("b", "x", "k", patience))
			time.Sleep(100 * time.Millisecond)
			d.mu.Lock()
			for i := range d.kept {
				if d.kept[i].Op == ledger.Begun && isKey(d.kept[i]) {
					d.kept[i].Time = time.Now().Add(ahead)
				}
			}
			d.mu.Unlock()
			d.unplug()
			b2 := r.start("b", "b2", bus, d.config)
			b2.durably(same)
			b.crash(false)
			_, err := first.Await(t.Context())
			wantErr(t, "the first attempt", err, rpc.OutcomeUnknown, rpc.Unknown)
			again, _ := a.send(withKey("b", "x", "k", patience))
			_, err = again.Await(t.Context())
			wantErr(t, "another attempt", err, rpc.OutcomeUnknown, rpc.Unknown)
			if b2.ran("x") != 0 {
				t.Errorf("clock ahead by %v: it ran again", ahead)
			}
		})
	}
}

// A request with a key that had not started when its server was lost is NotRun, like one
// without a key. It may be retried under its key for as long as finished keys are remembered.
func TestUnfinishedKeyAtRestart(t *testing.T) {
	for _, tt := range []struct {
		name        string
		waits       time.Duration // in the mailbox of the start that is lost
		before, now time.Duration // KeyLife of that start, and of the next
		sure        bool
	}{
		{"young", time.Second, time.Minute, time.Minute, true},
		{"as old as keys are kept", time.Minute, time.Minute, time.Minute, false},
		{"keys were kept for less", 2 * time.Second, time.Second, time.Minute, false},
		{"keys are kept for less", 2 * time.Second, time.Minute, time.Second, false},
	} {
		withRig(t, func(t *testing.T, r *rig) {
			d := new(disk)
			a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads, d.config, func(c *Config) { c.KeyLife = tt.before })
			b.durably(same)
			a.echoesAs(t, "b", "warm up", "got warm up")
			b.mu.Lock()
			b.serve = func(in *server.Inbound) {} // everything stays in the mailbox
			b.mu.Unlock()
			queued, _ := a.send(withKey("b", "x", "k", time.Hour))
			waiting, _ := a.send(withKey("b", "x", "k", time.Hour)) // it waits for the first attempt under the key
			again := withKey("b", "y", "k2", time.Hour)
			again.Retry = &rpc.Retry{}
			anew, _ := a.send(again)
			time.Sleep(tt.waits)
			d.unplug()
			b.crash(false)
			b2 := r.start("b", "b2", twoRoads, d.config, func(c *Config) { c.KeyLife = tt.now })
			b2.durably(same)
			code, ran := rpc.OutcomeUnknown, rpc.Unknown
			if tt.sure {
				code, ran = rpc.Unavailable, rpc.NotRun
			}
			_, err := queued.Await(t.Context())
			wantErr(t, tt.name, err, code, ran)
			_, err = waiting.Await(t.Context())
			wantErr(t, tt.name+", waiting", err, code, ran)
			got, err := anew.Await(t.Context())
			if tt.sure && (got != "got y" || err != nil) {
				t.Errorf("%s, made anew: %q, %v", tt.name, got, err)
			}
			if !tt.sure {
				wantErr(t, tt.name+", to be made anew", err, code, ran)
			}
			if b2.ran("x") != 0 || tt.sure && b2.ran("y") != 1 {
				t.Errorf("%s: ran %d and %d times", tt.name, b2.ran("x"), b2.ran("y"))
			}
		})
	}
}

// A node can be closed while its store fails.
func TestCloseWhileStoreFails(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config)
		b.durably(same)
		a.echoesAs(t, "b", "warm up", "got warm up")
		d.breaks(errors.New("disk full"), false)
		_, err := a.ask("b", "x")
		wantErr(t, "while the store fails", err, rpc.Unavailable, rpc.NotRun)
		began := time.Now()
		b.Close()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// A key is remembered while its handler runs, however long the handler takes.
func TestKeyOutlivesItsLifeWhileRunning(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config, func(c *Config) { c.KeyLife = time.Minute })
		b.durably(func(_ *server.Inbound, body string) string {
			if body == "x" {
				time.Sleep(3 * time.Minute)
			}
			return "got " + body
		})
		a.echoesAs(t, "b", "warm up", "got warm up")
		f, _ := a.send(withKey("b", "x", "k", 5*time.Minute))
		time.Sleep(150 * time.Second)
		if n := d.count(ledger.Begun, isKey); n != 1 {
			t.Errorf("%d records of the key while it runs", n)
		}
		if got, err := f.Await(t.Context()); got != "got x" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		d.unplug()
		b.crash(false)
		b2 := r.start("b", "b2", bus, d.config)
		b2.durably(same)
		f, _ = a.send(withKey("b", "x", "k", patience))
		if got, err := f.Await(t.Context()); got != "got x" || err != nil || b2.ran("x") != 0 {
			t.Errorf("after a restart: %q, %v, ran %d times", got, err, b2.ran("x"))
		}
	})
}

// The outcomes of keys are dropped when their time is over, whether more requests come or not.
func TestKeysAreForgotten(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus)
		a.echoes("b", "warm up")
		f, _ := a.send(withKey("b", "x", "k", patience))
		if _, err := f.Await(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(rpc.DefaultKeyLife / 2)
		if n := b.Stats().KeyBytes; n == 0 {
			t.Error("nothing is kept")
		}
		time.Sleep(rpc.DefaultKeyLife)
		if n := b.Stats().KeyBytes; n != 0 {
			t.Errorf("%d bytes are still kept", n)
		}
	})
}

// A request whose deadline passes before its beginning is recorded does not start, even if a
// late copy with more time arrives in between.
func TestLateCopyOfExpired(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config)
		b.durably(same)
		a.echoesAs(t, "b", "warm up", "got warm up")
		b.mu.Lock()
		serve := b.serve
		b.serve = func(in *server.Inbound) { // as in a batch in which the other requests take long
			time.Sleep(150 * time.Millisecond)
			b.Server.Begin([]*server.Inbound{in})
			time.Sleep(100 * time.Millisecond)
			serve(in)
		}
		b.mu.Unlock()
		copied := false
		r.setTap(func(h hop) fate {
			switch {
			case h.from != "a":
				return pass
			case string(h.Body) == "x" && !copied:
				copied = true
				e := *h.Envelope
				e.Mark.Except, e.Headers = nil, nil
				go func() { // a second copy, which the bus holds for a while
					time.Sleep(200 * time.Millisecond)
					_, _ = h.link.(*tappedLink).Link.Send(&e)
				}()
				return pass
			}
			return drop // the cancel
		})
		f, _ := a.send(request("b", "x", 100*time.Millisecond))
		_, err := f.Await(t.Context())
		wantErr(t, "the caller", err, rpc.Expired, rpc.Unknown)
		time.Sleep(time.Second)
		if b.ran("x") != 0 {
			t.Error("it ran without a record")
		}
	})
}
