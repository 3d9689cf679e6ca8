package actor

// What peers make a node hold is counted, and bounded by their share.

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// The messages of a weighing actor.
type (
	weight   struct{ Pad []byte }
	weigh    struct{ Returns[int] }
	bigJob   struct{ Returns[[]byte] }
	endless  struct{ Streams[int] }
	wide     struct{ Streams[[]byte] }
	swallow  struct{ Collects[[]byte, int] }
	weighing struct{ gate chan struct{} }
)

func (w weighing) told(*Context, weight) error           { return nil }
func (w weighing) asked(*Context, weigh) (int, error)    { <-w.gate; return 1, nil }
func (w weighing) work(*Context, bigJob) ([]byte, error) { return make([]byte, 300<<10), nil }
func (w weighing) stream(ctx *Context, _ endless) (iter.Seq2[int, error], error) {
	return func(yield func(int, error) bool) {
		for i := 0; yield(i, nil); i++ {
		}
	}, nil
}

func (w weighing) wide(*Context, wide) (iter.Seq2[[]byte, error], error) {
	return func(yield func([]byte, error) bool) {
		for yield(make([]byte, wideItem), nil) {
		}
	}, nil
}
func (w weighing) swallow(_ *Context, _ swallow, in iter.Seq2[[]byte, error]) (func() (int, error), error) {
	return func() (n int, err error) {
		for _, err := range in {
			if err != nil {
				return n, err
			}
			<-w.gate
			n++
		}
		return n, nil
	}, nil
}

// wideItem is the size of a large item.
const wideItem = 150 << 10

// weighed runs a test with a client a and a node b, which may hold 4 MiB for it.
func weighed(t *testing.T, run func(t *testing.T, a, b *System, kind *Kind, gate chan struct{})) {
	bubble.Test(t, func(t *testing.T) {
		net, reg, gate := memnet.New(memnet.Config{Seed: 1}), static.New(), make(chan struct{})
		start := func(name string) *System {
			s, err := NewSystem(Config{Name: name, Registry: reg, Logger: slog.New(slog.DiscardHandler), Transports: []transport.Transport{net.Transport("direct", true)},
				RPC: rpc.Limits{MemoryBytes: 8 << 20}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Shutdown(context.Background()) })
			return s
		}
		run(t, start("a"), start("b"), Define("test.weighing", func() weighing { return weighing{gate} },
			Handle(weighing.told), Answer(weighing.asked), Answer(weighing.work), Produce(weighing.stream), Produce(weighing.wide), Collect(weighing.swallow)), gate)
	})
}

// held returns how many bytes s holds for other nodes.
func (s *System) held() int64 {
	synctest.Wait()
	return s.Stats().RPC.HeldBytes
}

// One-way messages no longer count in the account of memory when they have ended, in whatever
// way.
func TestOneWayMessagesAreFreed(t *testing.T) {
	weighed(t, func(t *testing.T, a, b *System, kind *Kind, gate chan struct{}) {
		ctx := t.Context()
		tell := func(name string, opts ...rpc.Option) {
			for range 50 {
				_ = Tell(ctx, a.Ref(name+"@b"), weight{make([]byte, 1000)}, opts...)
			}
		}
		for _, c := range []struct {
			name string
			opts []SpawnOption
		}{{"plain", nil}, {"drop-newest", []SpawnOption{Mailbox(mailbox.Config{Capacity: 2, Policy: mailbox.DropNewest})}},
			{"drop-oldest", []SpawnOption{Mailbox(mailbox.Config{Capacity: 2, Policy: mailbox.DropOldest})}},
			{"stopped", nil}, {"nobody", nil}} {
			if c.name == "nobody" {
				tell(c.name)
				tell(c.name, rpc.Acked())
				continue
			}
			ref, err := b.Spawn(c.name, kind, c.opts...)
			if err != nil {
				t.Fatal(err)
			}
			f := Ask(ctx, a.Ref(c.name+"@b"), weigh{})
			synctest.Wait()
			tell(c.name)
			tell(c.name, rpc.Acked())
			if waiting := b.held(); waiting < 2000 {
				t.Errorf("%s: %d bytes are held for what waits", c.name, waiting)
			}
			if c.name == "stopped" {
				Halt(b, ref)
			}
			gate <- struct{}{}
			_, _ = f.Await(ctx)
			time.Sleep(10 * time.Second)
			if n := b.held(); n != 0 {
				t.Errorf("%s: %d bytes are held when all is over", c.name, n)
			}
		}
		time.Sleep(10 * time.Second)
		if n := b.held(); n != 0 {
			t.Errorf("%d bytes are held when all is over", n)
		}
	})
}

// One-way messages beyond the share of their sender become dead letters.
func TestOneWayMessagesBeyondTheShare(t *testing.T) {
	weighed(t, func(t *testing.T, a, b *System, kind *Kind, gate chan struct{}) {
		if _, err := b.Spawn("x", kind); err != nil {
			t.Fatal(err)
		}
		dead := b.DeadLetters(t.Context())
		f := Ask(t.Context(), a.Ref("x@b"), weigh{})
		synctest.Wait()
		const count = 100
		for range count { // 6 MB
			if err := Tell(t.Context(), a.Ref("x@b"), weight{make([]byte, 60_000)}, rpc.WithRetry(rpc.Retry{Attempts: 1})); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		lost := b.Stats().RPC.TellsRefused
		if lost < 25 || lost > 40 {
			t.Errorf("%d of %d are lost", lost, count)
		}
		for range lost {
			if d := <-dead; rpc.CodeOf(d.Reason) != rpc.Overloaded || d.To != "x@b" || d.From != "@a" {
				t.Fatalf("%+v", d)
			}
		}
		close(gate)
		if _, err := f.Await(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Results of jobs that run at the same time have room, or they are dropped and the error says
// so. A job that is submitted by a one-way message is a dead letter.
func TestResultsHaveRoom(t *testing.T) {
	weighed(t, func(t *testing.T, a, b *System, kind *Kind, _ chan struct{}) {
		const count = 20 // results of 300 KiB: 3 MiB of them are kept
		var tokens []rpc.Token[[]byte]
		for i := range count {
			name := fmt.Sprint("x", i)
			if _, err := b.Spawn(name, kind); err != nil {
				t.Fatal(err)
			}
			tok, err := Submit(t.Context(), a.Ref(name+"@b"), bigJob{})
			if err != nil {
				if rpc.CodeOf(err) != rpc.Overloaded || rpc.Ran(err) != rpc.NotRun {
					t.Fatal(err)
				}
				continue
			}
			tokens = append(tokens, tok)
			synctest.Wait()
		}
		if n := b.held(); n > 4<<20 || n < 2<<20 {
			t.Errorf("%d bytes are held", n)
		}
		kept := 0
		for _, tok := range tokens {
			switch st, err := tok.Poll(t.Context()); {
			case err != nil:
				t.Error(err)
			case st.State == rpc.JobDone:
				kept++
			case rpc.CodeOf(st.Err) != rpc.ReplyDropped || rpc.Ran(st.Err) != rpc.HasRun:
				t.Errorf("%+v", st)
			}
		}
		if kept < 7 || kept > 10 {
			t.Errorf("%d results of %d are kept", kept, len(tokens))
		}
		time.Sleep(3 * DefaultTokenLife)
		if n := b.held(); n != 0 {
			t.Errorf("%d bytes are held when all tokens have expired", n)
		}
		dead := b.DeadLetters(t.Context())
		body, err := a.cfg.Codec.Append(nil, submitJob{Target: "x0", TypeID: a.types.get(reflect.TypeFor[bigJob]()).id, Codec: a.cfg.Codec.ID()})
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if err := a.node.Client.Tell(t.Context(), client.Request{Node: "b", Target: jobServerName, TypeID: a.types.get(reflect.TypeFor[submitJob]()).id, Codec: a.cfg.Codec.ID(), Body: body, Timeout: time.Minute}); err != nil {
				t.Fatal(err)
			}
			if d := <-dead; d.Reason != error(errAsked) || !strings.Contains(d.To, jobServerName) {
				t.Errorf("%+v", d)
			}
		}
		b.jobs.mu.Lock()
		defer b.jobs.mu.Unlock()
		if n := len(b.jobs.all); n != 0 {
			t.Errorf("%d jobs were taken on", n)
		}
	})
}

// Streams count in the account of memory. If there is no room for another stream, it is
// refused.
func TestStreamsHaveRoom(t *testing.T) {
	weighed(t, func(t *testing.T, a, b *System, kind *Kind, _ chan struct{}) {
		if _, err := b.Spawn("x", kind); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		open := 0
		for {
			next, stop := iter.Pull2(Stream(ctx, a.Ref("x@b"), endless{}, rpc.WithRetry(rpc.Retry{Attempts: 1})))
			defer stop()
			if _, err, _ := next(); err != nil {
				if rpc.CodeOf(err) != rpc.Overloaded || rpc.Ran(err) != rpc.NotRun {
					t.Error(err)
				}
				break
			}
			open++
		}
		if most := 3 << 20 / streamSize; open > most || open < most/4 {
			t.Errorf("%d streams are open, want %d at most, and a quarter of that with what is in them", open, most)
		}
		cancel()
		time.Sleep(5 * time.Minute)
		if n := b.held(); n != 0 {
			t.Errorf("%d bytes are held when all streams are over", n)
		}
	})
}

// The items in the batches of a stream count with their sizes, in both directions. No
// principal gets more than its share, and all bytes are released in the end.
func TestBatchesCountAsTheyAre(t *testing.T) {
	weighed(t, func(t *testing.T, a, b *System, kind *Kind, gate chan struct{}) {
		if _, err := b.Spawn("x", kind); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		next, stop := iter.Pull2(Stream(ctx, a.Ref("x@b"), wide{}))
		defer stop()
		for range 3 {
			if item, err, ok := next(); !ok || err != nil || len(item) != wideItem {
				t.Fatal(len(item), err, ok)
			}
		}
		if n := b.held(); n < 3*wideItem || n > 7*wideItem { // one is being made, one is ready and two were sent; and there are answers that are not acked
			t.Errorf("%d bytes are held for batches of %d", n, wideItem)
		}
		stop()
		time.Sleep(time.Minute)
		if n := b.held(); n != 0 {
			t.Errorf("%d bytes are held when the stream is over", n)
		}

		var sinks []*Sink[[]byte, int]
		for {
			up, err := Open(ctx, a.Ref("x@b"), swallow{}, rpc.WithRetry(rpc.Retry{Attempts: 1}))
			if err != nil {
				if rpc.CodeOf(err) != rpc.Overloaded || rpc.Ran(err) != rpc.NotRun {
					t.Error(err)
				}
				break
			}
			sinks = append(sinks, up)
			before := b.held()
			for range 4 { // one is read, one is ready, two wait
				_ = up.Send(ctx, make([]byte, wideItem))
				synctest.Wait()
			}
			switch n := b.held(); {
			case n > 4<<20:
				t.Fatalf("%d bytes are held", n)
			case before < 2<<20 && n-before < 4*wideItem:
				t.Errorf("%d bytes are held for four batches of %d", n-before, wideItem)
			case len(sinks) > 20:
				t.Fatal("no limit")
			}
		}
		close(gate)
		whole := 0
		for _, up := range sinks {
			switch n, err := up.CloseAndReceive(ctx); {
			case err == nil && n == 4:
				whole++
			case rpc.CodeOf(err) != rpc.Overloaded:
				t.Errorf("%d items, %v", n, err)
			}
		}
		if whole < 3 || whole > 7 {
			t.Errorf("%d streams of %d have come to their end", whole, len(sinks))
		}
		time.Sleep(time.Minute)
		if n := b.held(); n != 0 {
			t.Errorf("%d bytes are held when all streams are over", n)
		}
	})
}
