package rpc

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/transport"
)

func numberedKey(i int) (id [16]byte) {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
	copy(id[:], sum[:])
	return id
}

// A keyring keeps what was added until its time is over, whatever IDs have in common, and
// counts what it keeps.
func TestKeyringModel(t *testing.T) {
	type entry struct {
		at      time.Duration
		outcome string
		stored  bool
		owner   string
	}
	rapid.Check(t, func(t *rapid.T) {
		k := &keyring{limit: 1 << 20}
		model := map[[16]byte]entry{}
		now := time.Duration(0)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				var id [16]byte
				id[0], id[15] = rapid.Byte().Draw(t, "first half")%4, rapid.Byte().Draw(t, "second half")%8
				e := entry{now, string(make([]byte, rapid.IntRange(0, 9000).Draw(t, "bytes"))), rapid.Bool().Draw(t, "stored"), rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "owner")}
				if _, ok := model[id]; ok {
					return
				}
				owner, ok := k.reserve(e.owner, sizeOfKey(len(e.outcome), e.stored))
				if !ok {
					return
				}
				k.add(id, uint64(id[15]), now, owner, []byte(e.outcome), e.stored)
				model[id] = e
			},
			"expire": func(t *rapid.T) {
				now += time.Duration(rapid.IntRange(0, 5).Draw(t, "time"))
				k.expire(now - 3)
				for id, e := range model {
					if e.at <= now-3 {
						delete(model, id)
					}
				}
			},
			"": func(t *rapid.T) {
				used, of := int64(0), map[string]int64{}
				for id, e := range model {
					got, ok := k.find(id)
					if !ok || got.id != id || got.print != uint64(id[15]) || got.at != e.at || got.stored != e.stored || got.size != len(e.outcome) || !e.stored && string(got.outcome) != e.outcome {
						t.Fatalf("%x: %+v, %v", id, got, ok)
					}
					n := int64(sizeOfKey(len(e.outcome), e.stored))
					used += n
					of[e.owner] += n
				}
				if k.count() != len(model) || k.used != used {
					t.Fatalf("%d keys and %d bytes, want %d and %d", k.count(), k.used, len(model), used)
				}
				for name, i := range k.byName {
					if o := k.owners[i]; o.name != name || o.used != of[name] || o.keys == 0 {
						t.Fatalf("%s: %+v, want %d bytes", name, o, of[name])
					}
				}
				if len(k.byName) != len(of) || len(k.owners) > 3 {
					t.Fatalf("%d owners in %d places, want %d", len(k.byName), len(k.owners), len(of))
				}
			},
		})
	})
}

// One principal alone has nine tenths of all bytes; there is room for others, and each
// can use what it needs.
func TestKeyShares(t *testing.T) {
	k := &keyring{limit: 1000 * keySize}
	fill := func(name string) (n int) {
		for {
			owner, ok := k.reserve(name, keySize)
			if !ok {
				return n
			}
			k.add(numberedKey(k.count()), 0, 0, owner, nil, false)
			n++
		}
	}
	for _, want := range []struct {
		name string
		n    int
	}{{"greedy", 900}, {"as greedy", 90}, {"greedy", 0}, {"a third", 9}, {"a fourth", 0}} {
		if n := fill(want.name); n != want.n {
			t.Errorf("%s: %d keys, want %d", want.name, n, want.n)
		}
	}
	k.expire(0)
	if n := fill("later"); n != 900 || k.used != 900*keySize {
		t.Errorf("after all have expired: %d keys, %d bytes", n, k.used)
	}
}

// Ten minutes of 5,000 keyed requests a second, all of one principal and of durable kinds,
// fit into an account of 2 GiB, those of other kinds into the default one; and they take no
// more memory than is counted.
func TestKeysOfTenMinutes(t *testing.T) {
	const count = 750_000 // of 3,000,000, with as large a part of the limit
	k := &keyring{limit: (1 << 30) * count / 3_000_000}
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	limit := func(c Config) int64 {
		c.defaults()
		return min(c.KeyBytes*greed/(greed+1), c.MemoryBytes/2) // of one principal
	}
	reply := outcome{typeID: 7, codec: 1, body: bytes.Repeat([]byte("x"), 16)}.pack()
	if got, want := limit(Config{}), 3_000_000*int64(sizeOfKey(len(reply), false)); got < want {
		t.Errorf("by default keys may take %d bytes, and need %d", got, want)
	}
	if got, want := limit(Config{MemoryBytes: 2 << 30}), 3_000_000*int64(sizeOfKey(len(reply), true)); got < want {
		t.Errorf("in 2 GiB keys of durable kinds may take %d bytes, and need %d", got, want)
	}
	before := heap()
	for i := range count {
		owner, ok := k.reserve("anonymous", sizeOfKey(len(reply), true))
		if !ok {
			t.Fatalf("no room for key %d", i)
		}
		k.add(numberedKey(i), uint64(i), time.Duration(i), owner, reply, true)
	}
	took := heap() - before
	if counted := k.used - int64(count*(ledgerSize+len(reply))); took > counted {
		t.Errorf("%d keys take %d bytes, %d are counted", count, took, counted)
	}
	t.Logf("%.1f bytes for each key in the ring, %d counted", float64(took)/float64(count), keySize)
	if e, ok := k.find(numberedKey(count / 2)); !ok || e.print != uint64(count/2) {
		t.Errorf("key %d: %+v, %v", count/2, e, ok)
	}
	k.expire(count)
	if left := heap() - before; left > int64(count) {
		t.Errorf("%d bytes are left of keys that have expired", left)
	}
	runtime.KeepAlive(k)

	before = heap()
	const pages = count / 4
	ledger := dedup.NewLedger()
	for i := range pages {
		id := dedup.ID{Grant: numberedKey(i)}
		ledger.Apply(dedup.Change{Op: dedup.Begun, ID: id})
		ledger.Apply(dedup.Change{Op: dedup.Done, ID: id, Outcome: bytes.Repeat([]byte("x"), 16+32)})
	}
	if took := heap() - before; took > pages*int64(ledgerSize+len(reply)) {
		t.Errorf("%d keys take %d bytes in the ledger, %d are counted", pages, took, pages*(ledgerSize+len(reply)))
	} else {
		t.Logf("%.1f bytes for each key in the ledger, %d counted", float64(took)/pages, ledgerSize+len(reply))
	}
	runtime.KeepAlive(ledger)
}

// At the limit a new key is refused and did not run; what is known goes on being
// replayed, others find room, and the end of the oldest makes some.
func TestKeyLimit(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		const fit = 40
		limit := func(c *Config) {
			c.KeyLife = time.Hour
			// Each takes what its reply takes, and the last one as much as is set aside before.
			c.KeyBytes = ((fit-1)*(keySize+packedHead+len64("got x"))+keySize+maxReserve)*(greed+1)/greed + 1
		}
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, limit)
		b.handle(same)
		call := func(i int, retry *Retry) (string, error) {
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
		wantErr(t, "one beyond", err, Overloaded, NotRun)
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

func len64(s string) int64 { return int64(len(s)) }

// What is packed is what comes out, of replies and of errors.
func TestPackedOutcome(t *testing.T) {
	for _, o := range []outcome{
		{typeID: 1, codec: 255, body: []byte("body")},
		{typeID: 1<<64 - 1},
		{err: &Error{Code: Failed, Verdict: HasRun, Message: "no money", User: "bank.broke", RetryAfter: time.Second}},
	} {
		var want, got transport.Envelope
		o.fill(&want, 3)
		unpackOutcome(o.pack()).fill(&got, 3)
		first, _ := want.Append(nil)
		second, _ := got.Append(nil)
		if !bytes.Equal(first, second) {
			t.Errorf("%+v: % x, want % x", o, second, first)
		}
	}
}

// Keys count in the account of the node as well, whatever KeyBytes allows: at its limit a new
// key is refused and did not run, an honest client has room, and all is given back.
func TestKeysCountInTheAccount(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		reply := strings.Repeat("r", 50_000)
		_, b := attacked(r, func(c *Config) { c.KeyBytes, c.KeyLife = 1<<30, 2*time.Hour })
		b.handle(func(*Inbound, string) string { return reply })
		mallory, honest := r.start("m", "m1", bus), r.start("h", "h1", direct)
		call := func(from *site, i int) error {
			req := withKey("b", "x", fmt.Sprint(i), patience)
			req.Retry = &Retry{Attempts: 1}
			f, _ := from.send(req)
			_, err := f.Await(t.Context())
			time.Sleep(time.Second) // and is acked
			return err
		}
		ran := 0
		for ; ; ran++ {
			before := b.Stats().HeldBytes
			if err := call(mallory, ran); err != nil {
				wantErr(t, "one beyond", err, Overloaded, NotRun)
				if before+2*maxReserve < 4<<20 {
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
			if before > 4<<20-100_000 { // what is left is filled by small ones
				b.handle(func(*Inbound, string) string { return "r" })
			}
		}
		if n := b.ran("x"); n != ran {
			t.Errorf("%d ran, want %d", n, ran)
		}
		if err := call(honest, -1); err != nil {
			t.Errorf("an honest client: %v", err)
		}
		time.Sleep(b.cfg.KeyLife + 10*DefaultSessionLease)
		if s := b.Stats(); s.Keys != 0 || s.HeldBytes != 0 {
			t.Errorf("%d keys, %d bytes are held at the end", s.Keys, s.HeldBytes)
		}
	})
}
