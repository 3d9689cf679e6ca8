package engine

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tandem-go/tandem/internal/engine/account"
	"github.com/tandem-go/tandem/rpc"
)

// While the store is away, the bytes that wait for it are counted and bounded. Beyond that, no
// durable request begins and no session is opened; both are refused at once and leave nothing
// behind. When the store is back, everything goes on, and the bytes are given back.
func TestBacklogOfTheStoreIsBounded(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		b := r.start("b", "b1", bus, func(c *Config) { c.Store, c.Kinds, c.MemoryBytes = d, []string{"test"}, 1<<20 })
		b.durably(same)
		a := r.start("a", "a1", bus)
		a.echoesAs(t, "b", "hello", "got hello")
		d.breaks(errors.New("the disk is away"), false)
		call := func(n int) (full bool) {
			calls := make([]*rpc.Future[string], n)
			for i := range calls {
				req := request("b", fmt.Sprint(i), patience)
				req.Retry = &rpc.Retry{Attempts: 1}
				calls[i], _ = a.send(req)
			}
			for _, f := range calls {
				_, err := f.Await(t.Context())
				switch {
				case rpc.Ran(err) != rpc.NotRun:
					t.Fatal(err)
				case rpc.CodeOf(err) == rpc.Overloaded:
					full = true
				case rpc.CodeOf(err) != rpc.Unavailable:
					t.Fatal(err)
				}
			}
			return full
		}
		rounds := 0
		for ; !call(50); rounds++ {
			if rounds > 1000 {
				t.Fatal("no limit")
			}
		}
		limit := int64(64 << 10)
		if held := b.Stats().HeldBytes; held < limit || held > limit+100*account.Record {
			t.Errorf("%d bytes are held when the backlog is full, want about %d", held, limit)
		}
		for range 20 {
			if begun := time.Now(); !call(50) || time.Since(begun) > time.Second {
				t.Errorf("one beyond was not refused at once: %v", time.Since(begun))
			}
		}
		if held := b.Stats().HeldBytes; held > limit+100*account.Record {
			t.Errorf("%d bytes are held beyond the limit of %d", held, limit)
		}
		opens := b.Stats().OpensRefused
		late := r.start("c", "c1", bus)
		req := request("b", "late", time.Second)
		f, _ := late.send(req)
		if _, err := f.Await(t.Context()); rpc.Ran(err) != rpc.NotRun || b.Stats().OpensRefused == opens {
			t.Errorf("a new session while the backlog is full: %v", err)
		}
		d.breaks(nil, false)
		time.Sleep(time.Minute)
		a.echoesAs(t, "b", "hello", "got hello")
		late.echoesAs(t, "b", "hello", "got hello")
		time.Sleep(time.Minute)
		if held := b.Stats().HeldBytes; held != 0 {
			t.Errorf("%d bytes are held when all is written", held)
		}
	})
}
