package placement

import (
	"flag"
	"fmt"
	"runtime"
	"testing"

	"pgregory.net/rapid"
)

var many = flag.Int("placement.keys", 100_000, "how many keys the measurement of memory has")

func TestCacheTable(t *testing.T) {
	k, a, b, c := Key{"k", "i"}, Holder{"a", "a1", 5}, Holder{"b", "b1", 6}, Holder{"c", "c1", 4}
	for _, r := range []struct {
		name string
		do   func(*Cache)
		want Holder
	}{
		{"nothing", func(*Cache) {}, Holder{}},
		{"learned", func(x *Cache) { x.Learn(k, a) }, a},
		{"a later token", func(x *Cache) { x.Learn(k, a); x.Learn(k, b) }, b},
		{"an earlier token", func(x *Cache) { x.Learn(k, b); x.Learn(k, a) }, b},
		{"moved", func(x *Cache) { x.Learn(k, a); x.Moved(k, a, b) }, b},
		{"moved, by the one that it has, under an earlier token", func(x *Cache) { x.Learn(k, a); x.Moved(k, a, c) }, c},
		{"moved, by one that it does not have any more", func(x *Cache) { x.Learn(k, b); x.Moved(k, a, c) }, b},
		{"moved, and it knew nothing", func(x *Cache) { x.Moved(k, a, b) }, b},
		{"forgotten", func(x *Cache) { x.Learn(k, a); x.Forget(k, a) }, Holder{}},
		{"another one forgotten", func(x *Cache) { x.Learn(k, b); x.Forget(k, a) }, b},
		{"dropped", func(x *Cache) { x.Learn(k, a); x.Drop("a", "a1") }, Holder{}},
		{"another epoch dropped", func(x *Cache) { x.Learn(k, a); x.Drop("a", "a0") }, a},
		{"dropped, and learned again", func(x *Cache) { x.Learn(k, a); x.Drop("a", "a1"); x.Learn(k, c) }, c},
	} {
		x := NewCache(10)
		r.do(x)
		if got, ok := x.Get(k); got != r.want || ok != (r.want != Holder{}) {
			t.Errorf("%s: %+v, %v", r.name, got, ok)
		}
	}
}

// What is asked for often stays when the cache is full.
func TestCacheKeepsWhatIsUsed(t *testing.T) {
	x, hot := NewCache(100), actorKey(-1)
	x.Learn(hot, Holder{"a", "a1", 1})
	for i := range 10_000 {
		x.Learn(actorKey(i), Holder{"b", "b1", Token(i)})
		if _, ok := x.Get(hot); !ok {
			t.Fatalf("gone after %d others", i)
		}
	}
	if x.Len() != 100 {
		t.Errorf("%d keys", x.Len())
	}
}

// A random history is compared with a map. The cache may have less, but nothing else, and is
// never beyond its bound.
func TestCacheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bound := rapid.IntRange(1, 6).Draw(t, "bound")
		x, want := NewCache(bound), map[Key]Holder{}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			k := actorKey(rapid.IntRange(0, 7).Draw(t, "key"))
			n := fmt.Sprint("n", rapid.IntRange(0, 2).Draw(t, "node"))
			h := Holder{n, n + "-1", Token(rapid.IntRange(1, 5).Draw(t, "token"))}
			known, ok := x.Get(k)
			switch rapid.SampledFrom([]string{"learn", "moved", "forget", "drop", "get"}).Draw(t, "do") {
			case "learn":
				if x.Learn(k, h); !ok || h.Token >= known.Token {
					want[k] = h
				}
			case "moved":
				x.Moved(k, known, h)
				want[k] = h
			case "forget":
				if x.Forget(k, h); known == h {
					delete(want, k)
				}
			case "drop":
				x.Drop(h.Node, h.Epoch)
				for k, w := range want {
					if w.Node == h.Node {
						delete(want, k)
					}
				}
			}
			places := map[Holder]bool{}
			for k := range want {
				got, ok := x.Get(k)
				if !ok { // it made room
					delete(want, k)
				} else if got != want[k] {
					t.Fatalf("%v: got %+v, want %+v", k, got, want[k])
				}
				places[Holder{got.Node, got.Epoch, 0}] = true
			}
			for i := range 8 {
				if got, ok := x.Get(actorKey(i)); ok && got != want[actorKey(i)] {
					t.Fatalf("key %d: got %+v", i, got)
				}
			}
			if x.Len() > bound || len(x.slots) > bound || len(x.places) > 3 {
				t.Fatalf("%d keys in %d slots, %d places, bound %d", x.Len(), len(x.slots), len(x.places), bound)
			}
		}
	})
}

// The memory of a key in the cache, without the bytes of the key itself.
func TestCacheMemory(t *testing.T) {
	keys := make([]Key, *many)
	for i := range keys {
		keys[i] = actorKey(i)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	x := NewCache(len(keys))
	for i, k := range keys {
		n := fmt.Sprint("node-", i%100)
		x.Learn(k, Holder{n, n + "-epoch", Token(i + 1)})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int(after.HeapAlloc) - int(before.HeapAlloc)) / len(keys)
	t.Logf("%d bytes for each of %d keys", each, len(keys))
	if each > 250 {
		t.Errorf("%d bytes for a key", each)
	}
	runtime.KeepAlive(x)
	runtime.KeepAlive(keys)
}

func BenchmarkCacheGet(b *testing.B) {
	x := NewCache(100_000)
	for i := range 100_000 {
		x.Learn(actorKey(i), Holder{"a", "a1", 1})
	}
	k := actorKey(77)
	for b.Loop() {
		x.Get(k)
	}
}
