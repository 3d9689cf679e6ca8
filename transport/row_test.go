package transport_test

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/tandem-go/tandem/transport"
)

// What a Row lets in is the same, byte by byte, as what Append makes of the same messages.
func TestRowAppendsWhatAppendDoes(t *testing.T) {
	one, other := packing(transport.MaxFrame), packing(transport.MaxFrame)
	r := one.Row()
	r.Lend("alice", grant, 7, 100)
	for i := range uint64(100) {
		body := bytes.Repeat([]byte{byte(i)}, int(i))
		if !r.Append("alice", 1, 5+i/40, body) {
			t.Fatalf("message %d was not let in", i)
		}
		e := transport.Envelope{Verb: transport.VerbTell, Codec: 1, Seq: 7 + i, TypeID: 5 + i/40, Grant: grant, Target: "alice", Body: body}
		if _, err := other.Append(&e); err != nil {
			t.Fatal(err)
		}
	}
	<-one.Wake()
	got, _, _ := one.Take(nil)
	want, _, _ := other.Take(nil)
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes of a Row differ from %d of Append", len(got), len(want))
	}
	if n := r.Settle(); n != 100 {
		t.Errorf("%d sent, want 100", n)
	}
}

// What a Row does not let in leaves no trace, and takes no number.
func TestRowRefuses(t *testing.T) {
	out := packing(transport.MaxFrame)
	r := out.Row()
	refuses := func(why, target string, body []byte) {
		t.Helper()
		if r.Append(target, 1, 5, body) {
			t.Errorf("let in: %s", why)
		}
	}
	refuses("before anything was lent", "alice", nil)
	refuses("a message to nobody", "", nil)
	r.Lend("alice", grant, 7, 2)
	refuses("another actor", "bob", nil)
	refuses("a large body", "alice", make([]byte, 5000))
	for range 2 {
		if !r.Append("alice", 1, 5, []byte("x")) {
			t.Fatal("refused, and a number is left")
		}
	}
	refuses("no number is left", "alice", nil)
	if n := r.Settle(); n != 2 {
		t.Errorf("%d sent, want 2", n)
	}
	refuses("settled", "alice", nil)
	var k kept
	frames, _, _ := out.Take(nil)
	if got := deliver(t, frames, &k); got != "tells:2" || k.got[0].Seq != 7 || k.got[1].Seq != 8 {
		t.Errorf("sent %s: %v", got, k.got)
	}

	r.Lend("alice", grant, 9, 1<<20)
	for body := make([]byte, 4000); r.Append("alice", 1, 5, body); {
	}
	if _, err := out.Append(&transport.Envelope{Verb: transport.VerbTell, Target: "alice"}); !errors.Is(err, transport.ErrFull) {
		t.Errorf("a Row stopped before the queue was full: %v", err)
	}
	if _, _, drained := out.Take(nil); !drained {
		t.Error("the writer does not know that a Row found the queue full")
	}
	out.Close()
	refuses("a closed queue", "alice", nil)
}

// Messages come through a Row while its owner lends and settles, and others append. Each has a
// number of its own, in the order of the queue.
func TestRowCountsWhileItIsLent(t *testing.T) {
	const senders, each = 4, 2000
	out := packing(transport.MaxFrame)
	r := out.Row()
	var (
		mu   sync.Mutex // guards what follows, as that of a peer does
		next uint64     = 1
		lent bool
	)
	settle := func() {
		if lent {
			next += uint64(r.Settle())
			lent = false
		}
	}
	var senderGroup sync.WaitGroup
	for s := range senders {
		senderGroup.Go(func() {
			for i := range each {
				if r.Append("alice", 1, 5, []byte{byte(s)}) {
					continue
				}
				mu.Lock()
				settle()
				e := transport.Envelope{Verb: transport.VerbTell, Codec: 1, Seq: next, TypeID: 5, Target: "alice", Body: []byte{byte(s)}}
				if _, err := out.Append(&e); err != nil {
					t.Error(err)
				}
				next++
				if i%3 > 0 {
					r.Lend("alice", transport.Grant{}, next, 1+i%50)
					lent = true
				}
				mu.Unlock()
			}
		})
	}
	senderGroup.Wait()
	settle()
	var k kept
	frames, _, _ := out.Take(nil)
	deliver(t, frames, &k)
	if next != senders*each+1 {
		t.Errorf("the next number is %d, want %d", next, senders*each+1)
	}
	got := make([]uint64, 0, senders*each)
	for _, e := range k.got {
		got = append(got, e.Seq)
	}
	if len(got) != senders*each || !slices.IsSorted(got) || len(slices.Compact(got)) != senders*each {
		t.Errorf("%d numbers arrived, of %d, or not in order", len(got), senders*each)
	}
}
