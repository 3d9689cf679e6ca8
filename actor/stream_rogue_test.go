package actor

import (
	"iter"
	"log/slog"
	"testing"
	"time"

	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

type ticks struct{ Streams[int] }
type counts struct{ Collects[int, int] }

// A node that knows the address of another node's stream can do nothing with it. Its owner
// gets an error for a request that makes no sense.
func TestRogueStreams(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		net, reg := memnet.New(memnet.Config{Seed: 1}), static.New()
		start := func(name string, roads ...string) *System {
			cfg := Config{Name: name, Registry: reg, Logger: slog.New(slog.DiscardHandler),
				Principals: func(road string, _ transport.Peer) string { return "by " + road }}
			for _, road := range roads {
				cfg.Transports = append(cfg.Transports, net.Transport(road, true))
			}
			sys, err := NewSystem(cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = sys.Shutdown(t.Context()) })
			return sys
		}
		a, b, c := start("a", "one"), start("b", "one", "two"), start("c", "two")
		kind := Define("ticker", func() int { return 0 },
			Produce(func(_ int, ctx *Context, _ ticks) (iter.Seq2[int, error], error) {
				return func(yield func(int, error) bool) { yield(1, nil); <-ctx.Done() }, nil
			}),
			Collect(func(_ int, _ *Context, _ counts, in iter.Seq2[int, error]) (func() (int, error), error) {
				return func() (n int, err error) {
					for v, err := range in {
						if err != nil {
							return n, err
						}
						n += v
					}
					return n, nil
				}, nil
			}))
		if _, err := b.Spawn("x", kind); err != nil {
			t.Fatal(err)
		}
		name := func() string {
			for st := range b.streams.all {
				return st.self.self.addr.String()
			}
			return ""
		}
		frame := rpc.WithCodec(codec.Msgpack(codec.Limits{}))
		want := func(what string, err error, code rpc.Code) {
			t.Helper()
			if rpc.CodeOf(err) != code || rpc.Ran(err) != rpc.NotRun {
				t.Errorf("%s: %v, want %v", what, err, code)
			}
		}
		next, stop := iter.Pull2(Stream(t.Context(), a.Ref("x@b"), ticks{}))
		next()
		for who, sys := range map[string]*System{"another principal": c, "its own node": b} {
			_, err := Call(t.Context(), sys.Ref(name()), streamNext{N: 2}, frame)
			want(who, err, rpc.Denied)
			_, err = Call(t.Context(), sys.Ref(name()), streamSign{Stop: true}, frame)
			want(who, err, rpc.Denied)
			_, err = Call(t.Context(), sys.Ref(name()), streamPush{N: 1}, frame)
			want(who, err, rpc.Denied)
		}
		for _, n := range []uint64{0, 1000, 1 << 63} {
			_, err := Call(t.Context(), a.Ref(name()), streamNext{N: n}, frame)
			want("a batch far off", err, rpc.Invalid)
			_, err = Call(t.Context(), a.Ref(name()), streamPush{N: n}, frame)
			want("a batch far off", err, rpc.Invalid)
		}
		stop()
		time.Sleep(time.Second)

		up, err := Open(t.Context(), a.Ref("x@b"), counts{})
		if err != nil {
			t.Fatal(err)
		}
		for i, items := range []string{"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "\x05a"} {
			if _, err := Call(t.Context(), a.Ref(name()), streamPush{N: uint64(i + 1), Items: []byte(items)}, frame); err != nil {
				t.Error(err)
			}
		}
		if _, err := up.in.next(); rpc.CodeOf(err) != rpc.Failed || rpc.Ran(err) != rpc.HasRun {
			t.Errorf("a malformed batch: %v", err)
		}
		up.Cancel()
	})
}

// If a stream is opened while its system shuts down, it is refused, and nothing of it
// remains.
func TestStreamAtTheEndOfItsSystem(t *testing.T) {
	sys, err := NewSystem(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Shutdown(t.Context())
	kind := Define("ticker", func() int { return 0 },
		Produce(func(_ int, ctx *Context, _ ticks) (iter.Seq2[int, error], error) {
			return func(yield func(int, error) bool) { yield(1, nil) }, nil
		}))
	to, err := sys.Spawn("x", kind)
	if err != nil {
		t.Fatal(err)
	}
	sys.refs.shut()
	for _, err := range Stream(t.Context(), to, ticks{}) {
		if rpc.CodeOf(err) != rpc.Unavailable {
			t.Errorf("%v, want Unavailable", err)
		}
	}
	if n := len(sys.streams.all); n > 0 {
		t.Errorf("%d streams are left", n)
	}
}
