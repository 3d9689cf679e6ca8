package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"runtime"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

func numberedKey(i int) (id [16]byte) {
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
	copy(id[:], sum[:])
	return id
}

// A keyring keeps what was added until its time is over, whatever the keys have in common, and
// counts the bytes of what it keeps.
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
					if !ok || got.id != id || got.fingerprint != uint64(id[15]) || got.at != e.at || got.stored != e.stored || got.size != len(e.outcome) || !e.stored && string(got.outcome) != e.outcome {
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

// A principal that is alone may have nine tenths of all bytes. There is room for others, and
// each can use what it needs.
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

// Ten minutes of 5,000 keyed requests per second, all of one principal and of durable kinds,
// fit into an account of 2 GiB; those of other kinds fit into the default one. They take no
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
	limit := func(l rpc.Limits) int64 {
		c := l.WithDefaults()
		return min(c.KeyBytes*freeMultiple/(freeMultiple+1), c.MemoryBytes/2) // of one principal
	}
	reply := outcome{typeID: 7, codec: 1, body: bytes.Repeat([]byte("x"), 16)}.pack()
	if got, want := limit(rpc.Limits{}), 3_000_000*int64(sizeOfKey(len(reply), false)); got < want {
		t.Errorf("by default keys may take %d bytes, and need %d", got, want)
	}
	if got, want := limit(rpc.Limits{MemoryBytes: 2 << 30}), 3_000_000*int64(sizeOfKey(len(reply), true)); got < want {
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
	if e, ok := k.find(numberedKey(count / 2)); !ok || e.fingerprint != uint64(count/2) {
		t.Errorf("key %d: %+v, %v", count/2, e, ok)
	}
	k.expire(count)
	if left := heap() - before; left > int64(count) {
		t.Errorf("%d bytes are left of keys that have expired", left)
	}
	runtime.KeepAlive(k)

	before = heap()
	const pages = count / 4
	kept := ledger.New()
	for i := range pages {
		id := ledger.ID{Grant: numberedKey(i)}
		kept.Apply(ledger.Change{Op: ledger.Begun, ID: id})
		kept.Apply(ledger.Change{Op: ledger.Done, ID: id, Outcome: bytes.Repeat([]byte("x"), 16+32)})
	}
	if took := heap() - before; took > pages*int64(ledgerSize+len(reply)) {
		t.Errorf("%d keys take %d bytes in the ledger, %d are counted", pages, took, pages*(ledgerSize+len(reply)))
	} else {
		t.Logf("%.1f bytes for each key in the ledger, %d counted", float64(took)/pages, ledgerSize+len(reply))
	}
	runtime.KeepAlive(kept)
}

// Replies and errors that are packed are the same when they are unpacked.
func TestPackedOutcome(t *testing.T) {
	for _, o := range []outcome{
		{typeID: 1, codec: 255, body: []byte("body")},
		{typeID: 1<<64 - 1},
		{err: &rpc.Error{Code: rpc.Failed, Verdict: rpc.HasRun, Message: "no money", User: "bank.broke", RetryAfter: time.Second}},
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
