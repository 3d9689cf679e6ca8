package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/transport"
)

// Questions go out as soon as there is a road, also if the session was opened on the bus
// while a direct link was waited for.
func TestDoubtsPatience(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads, d.config)
		b.durably(same)
		a.echoesAs(t, "b", "warm up", "got warm up")
		r.setTap(func(h hop) fate {
			if h.Verb == transport.VerbReply {
				return drop
			}
			return pass
		})
		f, _ := a.send(request("b", "x", patience))
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		r.setTap(nil)
		b2 := r.start("b", "b2", twoRoads, d.config)
		b2.durably(same)
		r.net.Partition("direct", "b", "a")
		r.net.Reset("", "b", "")
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		got, err := f.Await(ctx)
		if got != "got x" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// While the store fails, for however long, requests are refused and nobody hangs.
func TestStoreFailsLong(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config)
		b.durably(same)
		a.echoesAs(t, "b", "warm up", "got warm up")
		d.breaks(errors.New("disk full"), false)
		for range 5 {
			var fs []*Future[string]
			for range 2000 {
				f, _ := a.send(request("b", "x", patience))
				fs = append(fs, f)
			}
			refused, expired := 0, 0
			for _, f := range fs {
				switch _, err := f.Await(t.Context()); CodeOf(err) {
				case Unavailable:
					refused++
				case Expired:
					expired++
				}
			}
			if expired > 0 {
				t.Error("callers hang instead of being refused")
				break
			}
		}
		d.breaks(nil, false)
	})
}

// slowDisk takes 50 ms to write.
type slowDisk struct{ *disk }

type slowLog struct{ dedup.Log }

func (s slowDisk) Take(ctx context.Context, n, e string, load func(dedup.Change)) (dedup.Log, error) {
	l, err := s.disk.Take(ctx, n, e, load)
	return slowLog{l}, err
}

func (l slowLog) Append(ctx context.Context, c []dedup.Change) error {
	time.Sleep(50 * time.Millisecond)
	return l.Log.Append(ctx, c)
}

// Records expire also while there is always something to write.
func TestExpiryUnderLoad(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, func(c *Config) { c.Store = slowDisk{d}; c.KeyLife = time.Minute })
		b.durably(same)
		var wg sync.WaitGroup
		for i := range 4 * 60 * 20 { // four minutes
			wg.Go(func() {
				q := request("b", "x", patience)
				q.Rare = &Rare{Key: fmt.Sprint(i)}
				f, _ := a.send(q)
				_, _ = f.Await(t.Context())
			})
			time.Sleep(50 * time.Millisecond)
		}
		b.journal.mu.Lock()
		n := b.journal.ledger.Bytes()
		b.journal.mu.Unlock()
		wg.Wait()
		if max := 3 * 60 * 20 * 300; n > max {
			t.Errorf("%d bytes of records, want %d at most", n, max)
		}
	})
}

// Calls in doubt take their place in the window, and their bytes.
func TestDoubtsAreBounded(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		small := func(c *Config) { c.Window = 16; c.MaxPending = 16 << 10 }
		a := r.start("a", "a1", bus, small)
		for i := range 6 {
			b := r.start("b", fmt.Sprint("b", i), bus, d.config, small)
			b.durably(func(in *Inbound, body string) string { <-b.ctx.Done(); return body })
			b.mu.Lock()
			b.durability = Durability{} // not spawned yet
			b.mu.Unlock()
			for range 16 {
				q := request("b", string(make([]byte, 1000)), 5*time.Minute)
				go a.Do(t.Context(), q, NewPromise[int](nil))
			}
			time.Sleep(3 * time.Second)
			d.unplug()
			b.crash(false)
		}
		p := a.peer("b")
		p.mu.Lock()
		n := len(p.doubts)
		p.mu.Unlock()
		if n > 16 {
			t.Errorf("%d doubts with as many KiB of bodies, Window 16, MaxPending 16 KiB", n)
		}
	})
}

// Receipts that a lost start owed hold no one-way messages back.
func TestReceiptsOfALostStart(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config)
		b.durably(func(in *Inbound, body string) string { <-b.ctx.Done(); return body })
		tell := func(timeout time.Duration) error { return a.Tell(t.Context(), request("b", "x", timeout)) }
		for tell(time.Second) == nil {
		}
		d.unplug()
		b.crash(false)
		r.start("b", "b2", bus, d.config)      // whose actor is spawned a little later
		if err := tell(patience); err != nil { // an attempt to reach b1 may be under way, and takes 5 s
			t.Error(err)
		}
	})
}

type noCompletions struct{}

func (noCompletions) Completed(context.Context, string) ([]byte, bool, error) { return nil, false, nil }
func (noCompletions) Void(context.Context, string) ([]byte, bool, error)      { return nil, false, nil }

// An application's records say nothing of acked one-way messages.
func TestAckedTransactional(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		rec := func(c *Config) { c.Kinds = []string{"test"} }
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, rec)
		b.handle(same) // as deliver does: Start, Reply, and the handler runs
		a.echoesAs(t, "b", "warm up", "got warm up")
		f := r.lostReply(a, b, "x", func(q *Request) { q.Acked = true })
		b2 := r.start("b", "b2", bus, rec)
		b2.mu.Lock()
		b2.durability = Durability{Known: true, Kind: "test", Completions: noCompletions{}}
		b2.mu.Unlock()
		_, err := f.Await(t.Context())
		if b.ran("x") != 1 {
			t.Fatal("did not run")
		}
		wantErr(t, "accepted before the crash", err, OutcomeUnknown, Unknown)
	})
}

// A key may have been done so long ago that it was forgotten: then nobody knows.
func TestAskedAfterKeyLife(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		life := func(c *Config) { c.KeyLife = time.Minute }
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config, life)
		b.durably(same)
		a.echoesAs(t, "b", "warm up", "got warm up")
		r.setTap(func(h hop) fate {
			if h.Verb == transport.VerbReply {
				return drop
			}
			return pass
		})
		req := request("b", "x", time.Hour)
		req.Rare = &Rare{Key: "k"}
		f, _ := a.send(req)
		time.Sleep(5 * time.Minute)
		d.unplug()
		b.crash(false)
		r.setTap(nil)
		b2 := r.start("b", "b2", bus, d.config, life)
		b2.durably(same)
		_, err := f.Await(t.Context())
		if b.ran("x") != 1 {
			t.Fatal("did not run")
		}
		wantErr(t, "done, and its key forgotten", err, OutcomeUnknown, Unknown)
	})
}

// The repeated answer to an open says as well that the server keeps records.
func TestOpenedAgainSaysDurable(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		lost := false
		r.setTap(func(h hop) fate {
			if h.Verb == transport.VerbOpened && h.from == "b" && !lost {
				lost = true
				return drop
			}
			return pass
		})
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config)
		b.durably(same)
		a.echoesAs(t, "b", "warm up", "got warm up")
		f := r.lostReply(a, b, "x")
		b2 := r.start("b", "b2", bus, d.config)
		b2.durably(same)
		if got, err := f.Await(t.Context()); got != "got x" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

// What ran as a plain kind is not taken for what had not begun when the kind keeps
// records after the restart.
func TestBecomesDurable(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config, func(c *Config) { c.Kinds = []string{"other"} })
		b.handle(same) // a plain kind, beside durable ones
		a.echoesAs(t, "b", "warm up", "got warm up")
		f := r.lostReply(a, b, "x")
		b2 := r.start("b", "b2", bus, d.config)
		b2.durably(same)
		_, err := f.Await(t.Context())
		if b.ran("x") != 1 {
			t.Fatal("did not run")
		}
		wantErr(t, "ran as a plain kind", err, OutcomeUnknown, Unknown)
	})
}

// Attempts that are given up while they wait for a key are forgotten.
func TestGivenUpWhileWaitingForKey(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus)
		gate := make(chan struct{})
		b.handle(func(in *Inbound, body string) string { <-gate; return body })
		send := func() *Call {
			req := request("b", string(bytes.Repeat([]byte("x"), 1000)), time.Hour)
			req.Rare = &Rare{Key: "k"}
			_, c := a.send(req)
			return c
		}
		send()
		for range 500 {
			c := send()
			time.Sleep(time.Millisecond)
			c.GiveUp(Canceled, "no")
		}
		time.Sleep(time.Second)
		b.keys.mu.Lock()
		n, size := 0, 0
		for _, e := range b.keys.all {
			for _, w := range e.waiting {
				n++
				size += len(w.body)
			}
		}
		b.keys.mu.Unlock()
		close(gate)
		if n > 0 {
			t.Errorf("%d given up attempts are kept, with %d bytes of bodies; the budget counts %d", n, size, b.account.all.Load())
		}
	})
}
