package transport_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
)

func TestOutboxPlacesAndLimits(t *testing.T) {
	const frame = 4 + 32 + 1000
	out := transport.NewOutbox(frame - 4)
	tell := &transport.Envelope{Verb: transport.VerbTell, Body: make([]byte, 1000)}
	var want uint64
	for {
		at, err := out.Append(tell)
		if errors.Is(err, transport.ErrFull) {
			break
		}
		if err != nil || at != want {
			t.Fatalf("append: place %d, %v; want %d", at, err, want)
		}
		want += frame
	}
	if want < transport.MaxSendQueue || want > transport.MaxSendQueue+frame {
		t.Errorf("full at %d bytes", want)
	}
	if at, err := out.Append(&transport.Envelope{Verb: transport.VerbReply, Body: tell.Body}); err != nil || at != want {
		t.Errorf("reply on a full queue: place %d, %v", at, err)
	}
	want += frame
	<-out.Wake()
	frames, at, drained := out.Take(nil)
	if uint64(len(frames)) != want || at != 0 || !drained {
		t.Errorf("took %d bytes from %d, drained %v; want %d from 0, drained", len(frames), at, drained, want)
	}
	if at, err := out.Append(tell); err != nil || at != want {
		t.Errorf("after Take: place %d, %v; want %d", at, err, want)
	}
	tell.Body = make([]byte, 1001)
	if _, err := out.Append(tell); !errors.Is(err, transport.ErrTooLarge) {
		t.Errorf("one byte over the limit: %v", err)
	}
	tell.Body, tell.Target = tell.Body[:1000], "x"
	if _, err := out.Append(tell); !errors.Is(err, transport.ErrTooLarge) {
		t.Errorf("options over the limit: %v", err)
	}
	if frames, at, drained := out.Take(nil); len(frames) != frame || at != want || drained {
		t.Errorf("took %d bytes from %d, drained %v; want one frame from %d", len(frames), at, drained, want)
	}
	out.Close()
	if _, err := out.Append(tell); !errors.Is(err, transport.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// Replies that the peer does not read are accepted up to 16 times the soft limit.
func TestOutboxStalls(t *testing.T) {
	out := transport.NewOutbox(transport.MaxFrame)
	reply := &transport.Envelope{Verb: transport.VerbReply, Body: make([]byte, 1<<20-100)}
	for n := 0; ; n += len(reply.Body) {
		if _, err := out.Append(reply); err != nil {
			if !errors.Is(err, transport.ErrStalled) || n < 15*transport.MaxSendQueue {
				t.Errorf("after %d bytes: %v, want ErrStalled", n, err)
			}
			return
		}
		if n > 17*transport.MaxSendQueue {
			t.Fatal("queue without end")
		}
	}
}

// A message that waits behind a large one is not larger than a frame either.
func TestOutboxLimitBehindLarge(t *testing.T) {
	out := transport.NewOutbox(8 << 10)
	out.SendLarge(1 << 20)
	if _, err := out.Append(&transport.Envelope{Verb: transport.VerbTell, Target: "a", Body: make([]byte, 20<<10)}); err != nil {
		t.Fatal(err)
	}
	for over, want := range []error{nil, transport.ErrTooLarge} {
		e := &transport.Envelope{Verb: transport.VerbTell, Target: "a", Body: make([]byte, 4000), Headers: []transport.Header{{Key: "k"}}}
		bare, _ := e.Append(nil)
		e.Headers[0].Value = string(make([]byte, 8<<10-len(bare)+over))
		if _, err := out.Append(e); !errors.Is(err, want) {
			t.Errorf("%d bytes over the limit: %v, want %v", over, err, want)
		}
	}
}

// A queue frees the memory of a burst once it was nearly unused for a while, but not while there are
// more bursts.
func TestOutboxLetsBurstsGo(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		out := transport.NewOutbox(transport.MaxFrame)
		var spare []byte
		take := func(size int) {
			out.Append(&transport.Envelope{Verb: transport.VerbTell, Body: make([]byte, size)})
			spare, _, _ = out.Take(spare)
		}
		for range 10 {
			take(1<<20 - 100)
			take(1<<20 - 100) // it has two buffers
			for range 1000 {
				take(0)
			}
			time.Sleep(time.Second)
			if take(0); cap(spare) < 1<<20 {
				t.Fatalf("keeps %d bytes between bursts", cap(spare))
			}
		}
		time.Sleep(2 * time.Second)
		take(0)
		take(0)
		if cap(spare) > 64<<10 {
			t.Errorf("keeps %d bytes", cap(spare))
		}
	})
}
