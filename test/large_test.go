package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// The messages of an actor that receives and sends as many bytes as one likes.
type (
	Blob struct{ Data []byte }
	Put  struct { // returns how many bytes it has
		actor.Returns[int]
		Data []byte
	}
	Get struct { // returns that many
		actor.Returns[Blob]
		N int
	}
)

type blobs struct{ runs int }

func (b *blobs) Put(_ *actor.Context, m Put) (int, error) {
	b.runs++
	return len(m.Data), intact(m.Data)
}

func (b *blobs) Get(_ *actor.Context, m Get) (Blob, error) {
	b.runs++
	return Blob{filled(m.N)}, nil
}

// stripes are the parts that a blob consists of. The race detector looks at each as a whole.
var stripes = func() (all [256][]byte) {
	for i := range all {
		all[i] = bytes.Repeat([]byte{byte(i)}, 1<<10)
	}
	return all
}()

func filled(n int) []byte {
	b := make([]byte, n)
	for at := 0; at < n; at += 1 << 10 {
		copy(b[at:], stripes[byte(at>>10)])
	}
	return b
}

func intact(b []byte) error {
	for at := 0; at < len(b); at += 1 << 10 {
		if part := b[at:min(at+1<<10, len(b))]; !bytes.Equal(part, stripes[byte(at>>10)][:len(part)]) {
			return fmt.Errorf("the bytes from %d on are %v", at, part)
		}
	}
	return nil
}

// patience is how long large messages may take if everything is slow.
const patience = 3 * time.Minute

// blobHead is what msgpack puts around the data of a Blob and a Put.
const blobHead = 1 + 5 + 5

// TestLargest checks that on each road a request and a reply of the largest size arrive, and
// that one byte more is an error that says whether the handler ran.
func TestLargest(t *testing.T) {
	for name, r := range map[string]roads{"TCP": direct, "NATS": bus} {
		t.Run(name, func(t *testing.T) {
			kind := actor.Define("test.blobs", func() *blobs { return new(blobs) }, actor.Answer((*blobs).Put), actor.Answer((*blobs).Get))
			w := newWorld(t, r, kind)
			if _, err := w.server.Spawn("blobs", kind); err != nil {
				t.Fatal(err)
			}
			ref := w.client.Ref("blobs@server")
			ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errors.New("it hangs"))
			defer cancel()
			const most = rpc.DefaultMaxBody - blobHead
			n, err := actor.Call(ctx, ref, Put{Data: filled(most)})
			must(t, most, n, err)
			got, err := actor.Call(ctx, ref, Get{N: most})
			must(t, most, len(got.Data), errors.Join(err, intact(got.Data)))
			for _, beyond := range []int{1, 1 << 20} {
				_, err = actor.Call(ctx, ref, Put{Data: make([]byte, most+beyond)})
				if rpc.CodeOf(err) != rpc.TooLarge || rpc.Ran(err) != rpc.NotRun {
					t.Errorf("a request of %d bytes more: %v, ran: %v", beyond, err, rpc.Ran(err))
				}
				_, err = actor.Call(ctx, ref, Get{N: most + beyond})
				if rpc.CodeOf(err) != rpc.ReplyDropped || rpc.Ran(err) != rpc.HasRun {
					t.Errorf("a reply of %d bytes more: %v, ran: %v", beyond, err, rpc.Ran(err))
				}
			}
		})
	}
}

// TestLargeAcrossCuts checks that large requests run once while their link is cut again and
// again.
func TestLargeAcrossCuts(t *testing.T) {
	for name, r := range map[string]roads{"TCP": direct, "TCP and NATS": direct | bus} {
		t.Run(name, func(t *testing.T) {
			counter := new(blobs)
			kind := actor.Define("test.blobs", func() *blobs { return counter }, actor.Answer((*blobs).Put), actor.Answer((*blobs).Get))
			w := newWorld(t, r, kind)
			if _, err := w.server.Spawn("blobs", kind); err != nil {
				t.Fatal(err)
			}
			ref := w.client.Ref("blobs@server")
			ctx, cancel := context.WithTimeoutCause(t.Context(), patience, errors.New("it hangs"))
			defer cancel()
			data := filled(8 << 20)
			const rounds = 10
			for range rounds {
				f := actor.Ask(ctx, ref, Put{Data: data})
				w.proxy.cut()
				n, err := f.Await(ctx)
				must(t, len(data), n, err)
			}
			if _, err := actor.Call(ctx, ref, Put{}); err != nil {
				t.Fatal(err)
			}
			if counter.runs != rounds+1 {
				t.Errorf("%d requests ran %d times", rounds+1, counter.runs)
			}
		})
	}
}
