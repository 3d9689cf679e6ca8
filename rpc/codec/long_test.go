package codec

import (
	"bytes"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-go/tandem/internal/longcopy"
)

// TestLongBodies has bytes and strings around the size at which they are copied in pieces
// go there and back, alone and as fields beside others, into nothing, too little and enough.
func TestLongBodies(t *testing.T) {
	type both struct {
		Bytes  []byte
		Text   string
		Number int
	}
	for _, n := range []int{0, 1, longcopy.Piece - 1, longcopy.Piece, longcopy.Piece + 1, 3*longcopy.Piece + 7} {
		want := make([]byte, n)
		for i := range want {
			want[i] = byte(i * 7 / 5)
		}
		for _, c := range []Codec{Msgpack(Limits{}), JSON(Limits{})} {
			v := both{want, strings.Repeat("x", n), 42}
			body, err := c.Append([]byte("ahead"), &v)
			if err != nil || !bytes.HasPrefix(body, []byte("ahead")) {
				t.Fatalf("%d bytes: %v", n, err)
			}
			var got both
			if err := c.Decode(body[5:], &got); err != nil || !bytes.Equal(got.Bytes, v.Bytes) || got.Text != v.Text || got.Number != 42 {
				t.Fatalf("%d bytes in a struct: %v, %d and %d came", n, err, len(got.Bytes), len(got.Text))
			}
		}
		for _, c := range []Codec{Msgpack(Limits{}), JSON(Limits{}), Raw(Limits{})} {
			body, err := c.Append(nil, want)
			if err != nil {
				t.Fatal(err)
			}
			for _, into := range [][]byte{nil, make([]byte, n/2), make([]byte, n+1)} {
				if err := c.Decode(body, &into); err != nil || !bytes.Equal(into, want) || into == nil {
					t.Fatalf("%d bytes: %v, %d came", n, err, len(into))
				}
			}
		}
	}
}

// TestLongBodiesLetOthersRun stops the world again and again while 24 MB are encoded, and
// decoded. It need not wait until they have been copied, as it must for a plain append.
func TestLongBodiesLetOthersRun(t *testing.T) {
	if runtime.GOMAXPROCS(0) < 2 {
		t.Skip("with one processor nobody asks while a copy is made")
	}
	body := make([]byte, 24<<20)
	c := Msgpack(Limits{})
	encoded, err := c.Append(nil, body)
	if err != nil {
		t.Fatal(err)
	}
	copies := []func(){
		func() { _ = append([]byte(nil), body...) },
		func() { _, _ = c.Append(nil, body) },
		func() {
			var into []byte
			_ = c.Decode(encoded, &into)
		},
	}
	median := func(d []time.Duration) time.Duration { slices.Sort(d); return d[len(d)/2] }
	var found []string
	for range 6 { // what else runs on the machine disturbs a try, but makes a plain append no shorter
		waits := make([][]time.Duration, len(copies))
		for range 5 {
			for i, step := range copies {
				debug.FreeOSMemory() // into new memory a copy takes longest
				waits[i] = append(waits[i], longestStop(step))
			}
		}
		plain, encoding, decoding := median(waits[0]), median(waits[1]), median(waits[2])
		if max(encoding, decoding) <= plain/3 {
			return
		}
		found = append(found, fmt.Sprintf("encoding %v, decoding %v, a plain append %v", encoding, decoding, plain))
	}
	t.Errorf("the world stopped too late in each of six tries:\n%s", strings.Join(found, "\n"))
}

// longestStop says how long it took at worst to stop the world while step ran.
func longestStop(step func()) (worst time.Duration) {
	var over atomic.Bool
	go func() { step(); over.Store(true) }()
	var m runtime.MemStats
	for !over.Load() {
		began := time.Now()
		runtime.ReadMemStats(&m) // stops the world
		worst = max(worst, time.Since(began))
	}
	return worst
}
