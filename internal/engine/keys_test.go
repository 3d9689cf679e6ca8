package engine

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/internal/engine/account"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
)

// At the limit a request with a new key is refused and does not run. Known keys are still
// replayed, other principals find room, and room is made when the oldest key expires.
func TestKeyLimit(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		const fit = 40
		limit := func(c *Config) {
			c.KeyLife = time.Hour
			// A key takes 81 bytes and those of its reply. For the last one, as much is counted
			// as is reserved before it runs. One principal may have nine tenths.
			c.KeyBytes = ((fit-1)*(81+10+len64("got x"))+81+account.MaxReply)*10/9 + 1
		}
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, limit)
		b.handle(same)
		call := func(i int, retry *rpc.Retry) (string, error) {
			req := withKey("b", "x", fmt.Sprint(i), patience)
			req.Retry = retry
			f, _ := a.send(req)
			return f.Await(t.Context())
		}
		for i := range fit {
			if got, err := call(i, nil); got != "got x" || err != nil {
				t.Fatalf("key %d of %d: %q, %v", i, fit, got, err)
			}
			time.Sleep(time.Second)
		}
		_, err := call(fit, nil)
		wantErr(t, "one beyond", err, rpc.Overloaded, rpc.NotRun)
		if s := b.Stats(); s.Keys != fit || s.KeysRefused != 1 || s.KeyBytes == 0 || b.ran("x") != fit {
			t.Errorf("%d keys of %d bytes, %d refused, %d ran", s.Keys, s.KeyBytes, s.KeysRefused, b.ran("x"))
		}
		if got, err := call(0, nil); got != "got x" || err != nil || b.ran("x") != fit {
			t.Errorf("a known key: %q, %v", got, err)
		}
		if got, err := a.ask("b", "no key"); got != "got no key" || err != nil {
			t.Errorf("without a key: %q, %v", got, err)
		}
		time.Sleep(time.Hour - fit*time.Second)
		if got, err := call(fit, nil); got != "got x" || err != nil {
			t.Errorf("once the oldest was forgotten: %q, %v", got, err)
		}
		time.Sleep(2 * time.Hour)
		if s := b.Stats(); s.Keys != 0 || s.KeyBytes != 0 {
			t.Errorf("%d keys of %d bytes are left", s.Keys, s.KeyBytes)
		}
	})
}

// Keys also count in the account of the node, whatever KeyBytes allows. At the account's limit
// a request with a new key is refused and does not run, an honest client has room, and in the
// end all bytes are given back.
func TestKeysCountInTheAccount(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		reply := strings.Repeat("r", 50_000)
		_, b := attacked(r, func(c *Config) { c.KeyBytes, c.KeyLife = 1<<30, 2*time.Hour })
		b.handle(func(*server.Inbound, string) string { return reply })
		mallory, honest := r.start("m", "m1", bus), r.start("h", "h1", direct)
		call := func(from *site, i int) error {
			req := withKey("b", "x", fmt.Sprint(i), patience)
			req.Retry = &rpc.Retry{Attempts: 1}
			f, _ := from.send(req)
			_, err := f.Await(t.Context())
			time.Sleep(time.Second) // and is acked
			return err
		}
		ran := 0
		for ; ; ran++ {
			before := b.Stats().HeldBytes
			if err := call(mallory, ran); err != nil {
				wantErr(t, "one beyond", err, rpc.Overloaded, rpc.NotRun)
				if before+2*account.MaxReply < 4<<20 {
					t.Errorf("refused while %d bytes were held", before)
				}
				break
			}
			if n := b.Stats().HeldBytes; n > 4<<20 {
				t.Fatalf("%d bytes are held", n)
			}
			if ran > 5_000 {
				t.Fatal("no limit")
			}
			if before > 4<<20-100_000 { // small ones fill what is left
				b.handle(func(*server.Inbound, string) string { return "r" })
			}
		}
		if n := b.ran("x"); n != ran {
			t.Errorf("%d ran, want %d", n, ran)
		}
		if err := call(honest, -1); err != nil {
			t.Errorf("an honest client: %v", err)
		}
		time.Sleep(b.cfg.KeyLife + 10*rpc.DefaultSessionLease)
		if s := b.Stats(); s.Keys != 0 || s.HeldBytes != 0 {
			t.Errorf("%d keys, %d bytes are held at the end", s.Keys, s.HeldBytes)
		}
	})
}

// len64 is len as an int64.
func len64(s string) int64 { return int64(len(s)) }
