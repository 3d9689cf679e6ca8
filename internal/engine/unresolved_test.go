package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/promise"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// A client asks about its unresolved requests as soon as there is a link, also if the session
// was opened on the bus while it waited for a direct link.
func TestUnresolvedAreAskedAboutAtOnce(t *testing.T) {
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

// While the store fails, requests are refused, and none of them waits without end, however long
// that takes.
func TestStoreFailsLong(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config)
		b.durably(same)
		a.echoesAs(t, "b", "warm up", "got warm up")
		d.breaks(errors.New("disk full"), false)
		for range 5 {
			var fs []*rpc.Future[string]
			for range 2000 {
				f, _ := a.send(request("b", "x", patience))
				fs = append(fs, f)
			}
			refused, expired := 0, 0
			for _, f := range fs {
				switch _, err := f.Await(t.Context()); rpc.CodeOf(err) {
				case rpc.Unavailable:
					refused++
				case rpc.Expired:
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

type slowLog struct{ ledger.Log }

func (s slowDisk) Take(ctx context.Context, n, e string, load func(ledger.Change)) (ledger.Log, error) {
	l, err := s.disk.Take(ctx, n, e, load)
	return slowLog{l}, err
}

func (l slowLog) Append(ctx context.Context, c []ledger.Change) error {
	time.Sleep(50 * time.Millisecond)
	return l.Log.Append(ctx, c)
}

// Records expire also if there is always something to write.
func TestExpiryUnderLoad(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, func(c *Config) { c.Store = slowDisk{d}; c.KeyLife = time.Minute })
		b.durably(same)
		var wg sync.WaitGroup
		for i := range 4 * 60 * 20 { // four minutes
			wg.Go(func() {
				q := request("b", "x", patience)
				q.Rare = &client.Rare{Key: fmt.Sprint(i)}
				f, _ := a.send(q)
				_, _ = f.Await(t.Context())
			})
			time.Sleep(50 * time.Millisecond)
		}
		n := b.journal.Bytes()
		wg.Wait()
		if max := 3 * 60 * 20 * 300; n > max {
			t.Errorf("%d bytes of records, want %d at most", n, max)
		}
	})
}

// Unresolved calls take up room in the window, and their bodies count.
func TestUnresolvedAreBounded(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		small := func(c *Config) { c.Window = 16; c.MaxPending = 16 << 10 }
		a := r.start("a", "a1", bus, small)
		for i := range 6 {
			b := r.start("b", fmt.Sprint("b", i), bus, d.config, small)
			b.durably(func(in *server.Inbound, body string) string { <-b.host.Context().Done(); return body })
			b.mu.Lock()
			b.durability = server.Durability{} // the actor is not spawned yet
			b.mu.Unlock()
			for range 16 {
				q := request("b", string(make([]byte, 1000)), 5*time.Minute)
				go a.Client.Do(t.Context(), q, new(promise.Promise[int]))
			}
			time.Sleep(3 * time.Second)
			d.unplug()
			b.crash(false)
		}
		if n := a.with("b").Unresolved; n > 16 {
			t.Errorf("%d unresolved requests with as many KiB of bodies, Window 16, MaxPending 16 KiB", n)
		}
	})
}

// One-way messages are not held back by receipts that an earlier start of the server did not
// send.
func TestReceiptsOfALostStart(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config)
		b.durably(func(in *server.Inbound, body string) string { <-b.host.Context().Done(); return body })
		tell := func(timeout time.Duration) error { return a.Client.Tell(t.Context(), request("b", "x", timeout)) }
		for tell(time.Second) == nil {
		}
		d.unplug()
		b.crash(false)
		r.start("b", "b2", bus, d.config)      // its actor is spawned a little later
		if err := tell(patience); err != nil { // an attempt to reach b1 may be under way, and takes 5 s
			t.Error(err)
		}
	})
}

type noCompletions struct{}

func (noCompletions) Completed(context.Context, string) ([]byte, bool, error) { return nil, false, nil }
func (noCompletions) Void(context.Context, string) ([]byte, bool, error)      { return nil, false, nil }

// Whether a confirmed one-way message has arrived cannot be learned from an application's
// records.
func TestAckedTransactional(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		rec := func(c *Config) { c.Kinds = []string{"test"} }
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, rec)
		b.handle(same) // in the order of a real delivery: Start, Reply, and then the handler runs
		a.echoesAs(t, "b", "warm up", "got warm up")
		f := r.lostReply(a, b, "x", func(q *client.Request) { q.Confirm = true })
		b2 := r.start("b", "b2", bus, rec)
		b2.mu.Lock()
		b2.durability = server.Durability{Known: true, Kind: "test", Completions: noCompletions{}}
		b2.mu.Unlock()
		_, err := f.Await(t.Context())
		if b.ran("x") != 1 {
			t.Fatal("did not run")
		}
		wantErr(t, "accepted before the crash", err, rpc.OutcomeUnknown, rpc.Unknown)
	})
}

// If a key may have been done so long ago that it was forgotten, nobody knows whether it ran.
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
		req.Rare = &client.Rare{Key: "k"}
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
		wantErr(t, "done, and its key forgotten", err, rpc.OutcomeUnknown, rpc.Unknown)
	})
}

// The repeated answer to an open says, too, that the server keeps records.
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

// A request that ran when its kind kept no records is not reported as NotRun when the kind
// keeps records after a restart.
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
		wantErr(t, "ran as a plain kind", err, rpc.OutcomeUnknown, rpc.Unknown)
	})
}

// Attempts that are cancelled while they wait for a key are forgotten.
func TestCanceledWhileWaitingForKey(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus)
		gate := make(chan struct{})
		b.handle(func(in *server.Inbound, body string) string { <-gate; return body })
		send := func() *client.Call {
			req := request("b", string(bytes.Repeat([]byte("x"), 1000)), time.Hour)
			req.Rare = &client.Rare{Key: "k"}
			_, c := a.send(req)
			return c
		}
		send()
		for range 500 {
			c := send()
			time.Sleep(time.Millisecond)
			c.GiveUp(rpc.Canceled, "no")
		}
		time.Sleep(time.Second)
		n := b.Server.View().Waiting
		close(gate)
		if n > 0 {
			t.Errorf("%d given up attempts are kept; the account counts %d bytes", n, b.account.Held())
		}
	})
}
