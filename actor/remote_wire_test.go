package actor_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Header asks for a header of its own message. Anything is answered with a value whose type
// only the handler knows. BlobSize is answered with the size of the last []byte that came.
type (
	Header struct {
		actor.Returns[string]
		Key string
	}
	Anything struct{ actor.Returns[any] }
	BlobSize struct{ actor.Returns[int] }
)

type wire struct{ size int }

var WireKind = actor.Define("test.wire", func() *wire { return new(wire) },
	actor.Answer(func(_ *wire, ctx *actor.Context, m Header) (string, error) { return ctx.Header(m.Key), nil }),
	actor.Answer(func(*wire, *actor.Context, Anything) (any, error) { return "text", nil }),
	actor.Handle(func(w *wire, _ *actor.Context, m []byte) error { w.size = len(m); return nil }),
	actor.Answer(func(w *wire, _ *actor.Context, _ BlobSize) (int, error) { return w.size, nil }))

// Headers, codecs of a single call, and replies of an interface type work the same way within
// a system and between two.
func TestWhatTravelsBeside(t *testing.T) {
	check := func(t *testing.T, ref actor.Ref) {
		ctx := t.Context()
		got, err := actor.Call(ctx, ref, Header{Key: "b"}, rpc.WithHeader("a", "1"), rpc.WithHeader("b", "2"))
		if got != "2" || err != nil {
			t.Errorf("header: %q, %v", got, err)
		}
		if got, err := actor.Call(ctx, ref, Header{Key: "c"}); got != "" || err != nil {
			t.Errorf("no header: %q, %v", got, err)
		}
		if got, err := actor.Ask(ctx, ref, Header{Key: "a"}, rpc.WithHeader("a", "1")).Await(ctx); got != "1" || err != nil {
			t.Errorf("header of an Ask: %q, %v", got, err)
		}
		if got, err := actor.Call(ctx, ref, Anything{}); got != "text" || err != nil {
			t.Errorf("reply of an interface type: %v, %v", got, err)
		}
		if got, err := actor.Call(ctx, ref, Header{Key: "a"}, rpc.WithHeader("a", "1"), rpc.WithCodec(codec.JSON(codec.Limits{}))); got != "1" || err != nil {
			t.Errorf("JSON: %q, %v", got, err)
		}
		if err := actor.Tell(ctx, ref, []byte("12345"), rpc.WithCodec(codec.Raw(codec.Limits{})), rpc.Acked()); err != nil {
			t.Error(err)
		}
		if n, err := actor.Call(ctx, ref, BlobSize{}); n != 5 || err != nil {
			t.Errorf("raw bytes: %d, %v", n, err)
		}
	}
	t.Run("local", func(t *testing.T) {
		sys := newSystem(t, actor.Config{Logger: quiet})
		check(t, spawn(t, sys, "w", WireKind))
	})
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		spawn(t, b, "w", WireKind)
		check(t, a.Ref("w@b"))
	})
}

// A message or a reply over the limit is refused with an error that says whether the handler
// ran. One at the limit is delivered.
func TestSizeLimits(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		spawn(t, b, "w", WireKind)
		ref := a.Ref("w@b")
		raw := rpc.WithCodec(codec.Raw(codec.Limits{}))
		if err := actor.Tell(t.Context(), ref, make([]byte, rpc.DefaultMaxBody), raw, rpc.Acked()); err != nil {
			t.Errorf("at the limit: %v", err)
		}
		if n, err := actor.Call(t.Context(), ref, BlobSize{}); n != rpc.DefaultMaxBody || err != nil {
			t.Errorf("at the limit: %d, %v", n, err)
		}
		err := actor.Tell(t.Context(), ref, make([]byte, rpc.DefaultMaxBody+1), raw)
		wantErr(t, "beyond the limit", err, rpc.TooLarge, rpc.NotRun)
		spawn(t, b, "big", actor.Define("big", func() int { return 0 },
			actor.Answer(func(int, *actor.Context, Say) (string, error) { return strings.Repeat("x", rpc.DefaultMaxBody), nil })))
		_, err = actor.Call(t.Context(), a.Ref("big@b"), Say{})
		wantErr(t, "reply beyond the limit", err, rpc.ReplyDropped, rpc.HasRun)
	})
}

// With Acked, the error tells whether the message is in the mailbox, also if the mailbox
// drops messages.
func TestAckedToADroppingMailbox(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		ref := spawn(t, b, "x", PuppetKind, small(1, mailbox.DropNewest))
		unplug := plug(t, ref)
		defer unplug()
		to := a.Ref("x@b")
		if err := actor.Tell(t.Context(), to, Note{}, rpc.Acked()); err != nil {
			t.Errorf("into the free place: %v", err)
		}
		wantErr(t, "no place", actor.Tell(t.Context(), to, Note{}, rpc.Acked()), rpc.Overloaded, rpc.NotRun)
	})
}

// A Tell waits for room on a link. If that link dies, it continues on the next one.
func TestBlockedTellOutlivesItsLink(t *testing.T) {
	world(t, []string{"direct"}, func(t *testing.T, net *memnet.Network, a, b *actor.System) {
		spawn(t, b, "w", WireKind)
		ref := a.Ref("w@b")
		raw := rpc.WithCodec(codec.Raw(codec.Limits{}))
		if err := actor.Tell(t.Context(), ref, []byte("warm up"), raw, rpc.Acked()); err != nil {
			t.Fatal(err)
		}
		net.Hold("direct", "a", "b")
		told := make(chan error, 1)
		go func() { // more than a send queue holds
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			for range 30 {
				if err := actor.Tell(ctx, ref, make([]byte, 900<<10), raw); err != nil {
					told <- err
					return
				}
			}
			told <- nil
		}()
		synctest.Wait()
		select {
		case err := <-told:
			t.Fatalf("nothing held it up: %v", err)
		default:
		}
		net.Reset("direct", "a", "b")
		net.Release("direct", "a", "b")
		if err := <-told; err != nil {
			t.Error(err)
		}
	})
}
