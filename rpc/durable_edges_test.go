package rpc

import (
	"errors"
	"testing"
	"time"

	"github.com/tandem-go/tandem/dedup"
)

func withKey(to, body, key string, timeout time.Duration) Request {
	r := request(to, body, timeout)
	r.Rare = &Rare{Key: key}
	return r
}

func (d *disk) count(op dedup.Op, match func(dedup.Change) bool) (n int) {
	for c := range d.ledger().All() {
		if c.Op == op && match(c) {
			n++
		}
	}
	return n
}

func isKey(c dedup.Change) bool { return c.ID.Seq == 0 }

// A key that an earlier start has begun and not finished does not run again, whatever
// the clock of that start said.
func TestBegunKeyAfterRestart(t *testing.T) {
	for _, ahead := range []time.Duration{-time.Hour, 0, time.Second} {
		withRig(t, func(t *testing.T, r *rig) {
			d := new(disk)
			a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config)
			b.durably(func(_ *Inbound, body string) string {
				if body == "x" {
					<-b.ctx.Done()
				}
				return body
			})
			a.echoes("b", "warm up")
			first, _ := a.send(withKey("b", "x", "k", patience))
			time.Sleep(100 * time.Millisecond)
			d.mu.Lock()
			for i := range d.kept {
				if d.kept[i].Op == dedup.Begun && isKey(d.kept[i]) {
					d.kept[i].Time = time.Now().Add(ahead)
				}
			}
			d.mu.Unlock()
			d.unplug()
			b2 := r.start("b", "b2", bus, d.config)
			b2.durably(same)
			b.crash(false)
			_, err := first.Await(t.Context())
			wantErr(t, "the first attempt", err, OutcomeUnknown, Unknown)
			again, _ := a.send(withKey("b", "x", "k", patience))
			_, err = again.Await(t.Context())
			wantErr(t, "another attempt", err, OutcomeUnknown, Unknown)
			if b2.ran("x") != 0 {
				t.Errorf("clock ahead by %v: it ran again", ahead)
			}
		})
	}
}

// A request with a key that had not started when its server was lost is NotRun, as one
// without, and may be made anew under its key: while what was done under a key is remembered.
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
			b.serve = func(in *Inbound) {} // all stays in the mailbox
			b.mu.Unlock()
			queued, _ := a.send(withKey("b", "x", "k", time.Hour))
			waiting, _ := a.send(withKey("b", "x", "k", time.Hour)) // for the first attempt under the key
			again := withKey("b", "y", "k2", time.Hour)
			again.Retry = &Retry{}
			anew, _ := a.send(again)
			time.Sleep(tt.waits)
			d.unplug()
			b.crash(false)
			b2 := r.start("b", "b2", twoRoads, d.config, func(c *Config) { c.KeyLife = tt.now })
			b2.durably(same)
			code, ran := OutcomeUnknown, Unknown
			if tt.sure {
				code, ran = Unavailable, NotRun
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

// A node closes while its store fails.
func TestCloseWhileStoreFails(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config)
		b.durably(same)
		a.echoesAs(t, "b", "warm up", "got warm up")
		d.breaks(errors.New("disk full"), false)
		_, err := a.ask("b", "x")
		wantErr(t, "while the store fails", err, Unavailable, NotRun)
		began := time.Now()
		b.Close()
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

// A key is remembered while its handler runs, however long that takes.
func TestKeyOutlivesItsLifeWhileRunning(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config, func(c *Config) { c.KeyLife = time.Minute })
		b.durably(func(_ *Inbound, body string) string {
			if body == "x" {
				time.Sleep(3 * time.Minute)
			}
			return "got " + body
		})
		a.echoesAs(t, "b", "warm up", "got warm up")
		f, _ := a.send(withKey("b", "x", "k", 5*time.Minute))
		time.Sleep(150 * time.Second)
		if n := d.count(dedup.Begun, isKey); n != 1 {
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

// The outcomes of keys go when their time is over, whether more requests come or not.
func TestKeysAreForgotten(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus)
		a.echoes("b", "warm up")
		f, _ := a.send(withKey("b", "x", "k", patience))
		if _, err := f.Await(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(DefaultKeyLife / 2)
		if n := b.Stats().KeyBytes; n == 0 {
			t.Error("nothing is kept")
		}
		time.Sleep(DefaultKeyLife)
		if n := b.Stats().KeyBytes; n != 0 {
			t.Errorf("%d bytes are still kept", n)
		}
	})
}

// A request whose deadline has passed before its beginning was recorded does not start,
// even if a late copy with more time comes in between.
func TestLateCopyOfExpired(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config)
		b.durably(same)
		a.echoesAs(t, "b", "warm up", "got warm up")
		b.mu.Lock()
		serve := b.serve
		b.serve = func(in *Inbound) { // as one of a batch, of which the others take long
			time.Sleep(150 * time.Millisecond)
			b.Begin([]*Inbound{in})
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
		wantErr(t, "the caller", err, Expired, Unknown)
		time.Sleep(time.Second)
		if b.ran("x") != 0 {
			t.Error("it ran without a record")
		}
	})
}
