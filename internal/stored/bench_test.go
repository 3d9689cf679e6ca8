package stored_test

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
	"unsafe"

	"github.com/tandem-go/tandem/internal/stored"
	"github.com/tandem-go/tandem/state"
)

// bench drives an activation with requests of one caller, which acks each with the next one.
type bench struct {
	b     *testing.B
	a     *stored.Activation[int]
	next  stored.Name
	seq   uint64
	body  []byte
	data  [2][]byte // two states in turn
	turns int
}

func newBench(b *testing.B, size int) *bench {
	cfg, err := stored.Config{TypeVersion: 1, MaxRecord: 1 << 20}.WithDefaults()
	if err != nil {
		b.Fatal(err)
	}
	a, err := stored.New[int](&cfg, stored.Loaded{Key: key, None: true, Token: 1})
	if err != nil {
		b.Fatal(err)
	}
	x := &bench{b: b, a: a, next: stored.Name{Caller: "0123456789abcdef"}, body: make([]byte, 32)}
	for i := range x.data {
		x.data[i] = bytes.Repeat([]byte{byte('a' + i)}, size)
	}
	b.ReportAllocs()
	return x
}

// handle handles one request.
func (x *bench) handle(res stored.Result, want stored.Fate) {
	x.next.Counter++
	x.next.Below = x.next.Counter
	ad := x.a.Admit(x.next, 0, start)
	res.Outcome.Body = x.body
	if fate, _ := x.a.Handled(0, ad.Request, res); fate != want {
		x.b.Fatal(fate)
	}
}

// change handles requests that change the state, and commits them.
func (x *bench) change(requests int) {
	for range requests {
		x.turns++
		x.handle(stored.Result{State: x.data[x.turns%2]}, stored.Waits)
	}
	if _, ok := x.a.Next(start); !ok {
		x.b.Fatal("no commit")
	}
	x.seq++
	if d := x.a.Committed(state.Revision{Seq: x.seq, Token: 1}); len(d.Replies) != requests {
		x.b.Fatal(len(d.Replies))
	}
}

// What the decisions cost for each message. ns/op of the groups is for one message, too.
func BenchmarkHandled(b *testing.B) {
	b.Run("read", func(b *testing.B) {
		x := newBench(b, 100)
		x.change(1)
		for b.Loop() {
			x.a.Handled(0, nil, stored.Result{})
		}
	})
	b.Run("no change", func(b *testing.B) {
		x := newBench(b, 100)
		x.change(1)
		same := stored.Result{State: bytes.Clone(x.data[1])}
		for b.Loop() {
			x.handle(same, stored.Leaves)
		}
	})
	for _, group := range []int{1, 16} {
		b.Run(fmt.Sprintf("change, groups of %d", group), func(b *testing.B) {
			x := newBench(b, 100)
			b.ResetTimer()
			for n := 0; n < b.N; n += group {
				x.change(group)
			}
		})
	}
}

// What a commit costs beside the outcomes of other callers, each of which has one and an ack mark.
func BenchmarkCallers(b *testing.B) {
	for _, callers := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			x := newBench(b, 100)
			for i := range callers - 1 {
				x.next = stored.Name{Caller: fmt.Sprintf("%016d", i)}
				x.change(2)
			}
			x.next = stored.Name{Caller: "0123456789abcdef"}
			x.change(2)
			for b.Loop() {
				x.change(1)
			}
			b.ReportMetric(float64(x.a.Size()), "B/record")
		})
	}
}

// What it costs to compare a state with the one before, and to encode a record, by the size of the state.
func BenchmarkRecord(b *testing.B) {
	for _, size := range []int{100, 1 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("compare %d", size), func(b *testing.B) {
			x := newBench(b, size)
			x.change(1)
			same := stored.Result{State: bytes.Clone(x.data[1])}
			for b.Loop() {
				x.handle(same, stored.Leaves)
			}
		})
		b.Run(fmt.Sprintf("encode %d", size), func(b *testing.B) {
			x := newBench(b, size)
			x.turns++
			x.handle(stored.Result{State: x.data[1]}, stored.Waits)
			c, _ := x.a.Next(start)
			st, err := state.Next(key, c.Record, c.After)
			if err != nil {
				b.Fatal(err)
			}
			buf := make([]byte, 0, st.Size())
			b.SetBytes(int64(cap(buf)))
			for b.Loop() {
				st.Append(buf)
			}
		})
	}
}

// What an activation takes in memory after one request of one caller was committed, beside its state and
// the key.
func BenchmarkIdle(b *testing.B) {
	var before, after runtime.MemStats
	all := make([]*bench, 0, b.N)
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range b.N {
		x := newBench(b, 100)
		x.change(1)
		x.body, x.data = nil, [2][]byte{}
		all = append(all, x)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	shell := unsafe.Sizeof(bench{}) + unsafe.Sizeof(stored.Config{}) + 112 // and the state, which are not the activation's
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(b.N)-float64(shell), "B/activation")
	runtime.KeepAlive(all)
}
