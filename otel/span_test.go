package tandemotel_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/tandem-go/tandem/actor"
	tandemotel "github.com/tandem-go/tandem/otel"
	"github.com/tandem-go/tandem/rpc"
)

var everything = tandemotel.Config{Sample: 1}

// A call, and the call that its handler makes to a third actor on the first node, are one trace: client, server, client, server.
func TestOneTraceOverNodes(t *testing.T) {
	inWorld(t, everything, func(t *testing.T, w *world) {
		spawn(t, w.a, "back", adderKind())
		if _, err := actor.Call(t.Context(), w.a.Ref("adder@b"), relay{To: "back@a"}); err != nil {
			t.Fatal(err)
		}
		all := w.take()
		if len(all) != 4 {
			t.Fatal(len(all), "spans")
		}
		client, server := named(t, all, "client", "test.Relay"), named(t, all, "server", "test.Relay")
		client2, server2 := named(t, all, "client", "test.Add"), named(t, all, "server", "test.Add")
		wantChild(t, client, server)
		wantChild(t, server, client2)
		wantChild(t, client2, server2)
		if client.Parent().IsValid() {
			t.Error("the first span has a parent")
		}
		wantAttrs(t, client, map[string]string{"rpc.system.name": "tandem", "rpc.method": "test.Relay", "tandem.pattern": "call", "tandem.node": "a",
			"tandem.target": "adder@b", "tandem.ran": "ran", "tandem.attempts": "1", "tandem.replayed": ""})
		wantAttrs(t, server, map[string]string{"tandem.node": "b", "tandem.kind": "test.adder", "tandem.peer": "a", "tandem.ran": "ran"})
		wantAttrs(t, client2, map[string]string{"tandem.sender": "adder@b"})
		if got, want := eventsOf(client), []string{"tandem.sent attempt=1 road=direct"}; !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// An error is one in both spans, with its code and the verdict.
func TestErrorInSpans(t *testing.T) {
	inWorld(t, everything, func(t *testing.T, w *world) {
		_, err := actor.Call(t.Context(), w.a.Ref("adder@b"), add{Fail: true})
		if rpc.Ran(err) != rpc.HasRun {
			t.Fatal(err)
		}
		all := w.take()
		for _, kind := range []string{"client", "server"} {
			s := named(t, all, kind, "test.Add")
			if s.Status().Code != codes.Error {
				t.Error(kind, s.Status())
			}
			wantAttrs(t, s, map[string]string{"error.type": rpc.CodeOf(err).String(), "tandem.ran": "ran"})
		}
		if _, err = actor.Call(t.Context(), w.a.Ref("nobody@b"), add{}); rpc.Ran(err) != rpc.NotRun {
			t.Fatal(err)
		}
		wantAttrs(t, named(t, w.take(), "client", "test.Add"), map[string]string{"error.type": "not found", "tandem.ran": "not run", "rpc.response.status_code": "not found"})
	})
}

// A request whose reply was lost with its road is sent again over the other one: the copies and their roads are events of
// the client's span, the answer is marked as a replay, and there is one server's span, because the handler ran once.
func TestReplayInSpan(t *testing.T) {
	inWorld(t, everything, func(t *testing.T, w *world) {
		to := w.a.Ref("adder@b")
		if _, err := actor.Call(t.Context(), to, add{N: 1}); err != nil {
			t.Fatal(err)
		}
		w.take()
		w.net.Hold("direct", "b", "a") // the reply gets stuck
		f := actor.Ask(t.Context(), to, add{N: 1})
		synctest.Wait()
		w.net.Partition("direct", "a", "b")
		w.net.Reset("direct", "a", "b")
		if sum, err := f.Await(t.Context()); err != nil || sum != 2 {
			t.Fatal(sum, err)
		}
		all := w.take()
		client := named(t, all, "client", "test.Add")
		wantChild(t, client, named(t, all, "server", "test.Add"))
		wantAttrs(t, client, map[string]string{"tandem.replayed": "true", "tandem.ran": "ran"})
		want := []string{"tandem.sent attempt=1 road=direct", "tandem.sent_again attempt=1 road=bus", "tandem.attempt_ended attempt=1 ran=ran replayed=true"}
		if got := eventsOf(client); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// Attempts that were refused are events, each with its code.
func TestAttemptsInSpan(t *testing.T) {
	inWorld(t, everything, func(t *testing.T, w *world) {
		refused := 0
		spawn(t, w.b, "moody", actor.Define("test.moody", func() struct{} { return struct{}{} }, actor.Answer(func(_ struct{}, ctx *actor.Context, m add) (int, error) {
			if refused++; refused == 1 {
				return 0, actor.Defer[int](ctx).Refuse(rpc.Overloaded, errors.New("not now"))
			}
			return m.N, nil
		})))
		if _, err := actor.Call(t.Context(), w.a.Ref("moody@b"), add{}, rpc.WithRetry(rpc.Retry{Attempts: 2})); err != nil {
			t.Fatal(err)
		}
		all := w.take()
		var client sdktrace.ReadOnlySpan
		servers := 0
		for _, s := range all {
			switch s.SpanKind() {
			case trace.SpanKindClient:
				client = s
			case trace.SpanKindServer:
				servers++
			}
		}
		want := []string{"tandem.sent attempt=1 road=direct", "tandem.attempt_ended attempt=1 ran=not run error.type=overloaded",
			"tandem.sent attempt=2 road=direct", "tandem.attempt_ended attempt=2 ran=ran"}
		if got := eventsOf(client); !slices.Equal(got, want) || servers != 2 {
			t.Errorf("%q and %d server spans, want %q", got, servers, want)
		}
		wantAttrs(t, client, map[string]string{"tandem.attempts": "2", "tandem.ran": "ran"})
	})
}

// One-way messages are of the trace of their sender.
func TestTellInTrace(t *testing.T) {
	inWorld(t, everything, func(t *testing.T, w *world) {
		if err := actor.Tell(t.Context(), w.a.Ref("adder@b"), note{"x"}); err != nil {
			t.Fatal(err)
		}
		all := w.take()
		sent, handled := named(t, all, "producer", "tell test.Note"), named(t, all, "consumer", "handle test.Note")
		wantChild(t, sent, handled)
		wantAttrs(t, sent, map[string]string{"tandem.pattern": "tell", "tandem.ran": "unknown"})
	})
}

// Jobs have spans of both sides, of the submission and of the run.
func TestSubmitInTrace(t *testing.T) {
	inWorld(t, everything, func(t *testing.T, w *world) {
		token, err := actor.Submit(t.Context(), w.a.Ref("adder@b"), add{N: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := token.Await(t.Context()); err != nil {
			t.Fatal(err)
		}
		all := w.take()
		client, server := named(t, all, "client", "test.Add"), named(t, all, "server", "test.Add")
		wantChild(t, client, server)
		wantAttrs(t, client, map[string]string{"tandem.pattern": "submit"})
		wantAttrs(t, server, map[string]string{"tandem.pattern": "submit"})
	})
}

// The pull of items has links to their pushes, and is not below them. The consumer gets the trace with the item.
func TestQueueLinks(t *testing.T) {
	inWorld(t, everything, func(t *testing.T, w *world) {
		spawn(t, w.b, "queue", queueKind())
		q := w.a.Ref("queue@b")
		if err := actor.Push(t.Context(), q, item{1}); err != nil {
			t.Fatal(err)
		}
		push := named(t, w.take(), "producer", "push test.Item")
		wantAttrs(t, push, map[string]string{"messaging.system": "tandem", "messaging.operation.type": "send", "messaging.destination.name": "queue@b"})
		got, err := actor.Pull[item](t.Context(), q)
		if err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		var pull sdktrace.ReadOnlySpan
		for _, s := range w.take() {
			if s.SpanKind() == trace.SpanKindConsumer {
				pull = s
			}
		}
		wantLink(t, pull, push)
		wantAttrs(t, pull, map[string]string{"messaging.operation.type": "receive", "messaging.batch.message_count": "1"})
		if pull.SpanContext().TraceID() == push.SpanContext().TraceID() {
			t.Error("the pull is in the trace of the push")
		}
		if l := tandemotel.Link(got[0].Trace); l.SpanContext.SpanID() != push.SpanContext().SpanID() {
			t.Errorf("the delivery has the trace %v, want %v", l.SpanContext, push.SpanContext())
		}
	})
}

// Each subscriber's handler has a trace of its own, with a link to the publication.
func TestTopicLinks(t *testing.T) {
	inWorld(t, everything, func(t *testing.T, w *world) {
		spawn(t, w.b, "reader", actor.Define("test.reader", func() *reader { return new(reader) }, actor.Handle((*reader).news)))
		time.Sleep(time.Second) // the other node learns of the subscription
		if err := actor.Publish(t.Context(), headlines().Bind(w.a), news{"x"}); err != nil {
			t.Fatal(err)
		}
		all := w.take()
		published, handled := named(t, all, "producer", "publish test.News"), named(t, all, "consumer", "process test.News")
		wantLink(t, handled, published)
		if handled.Parent().IsValid() {
			t.Error("the subscriber's span has a parent")
		}
		wantAttrs(t, published, map[string]string{"messaging.destination.name": "headlines", "messaging.operation.type": "send"})
		wantAttrs(t, handled, map[string]string{"messaging.destination.name": "headlines", "messaging.operation.type": "process", "tandem.node": "b"})
	})
}

func headlines() actor.Topic[news] { return actor.NewTopic[news]("headlines") }

// reader reads the headlines.
type reader struct{}

func (r *reader) Started(ctx *actor.Context) error      { return ctx.Subscribe(headlines()) }
func (r *reader) news(ctx *actor.Context, m news) error { return nil }

// What a timer brings begins a trace, of which what its handler sends is a part.
func TestTimerBeginsTrace(t *testing.T) {
	inWorld(t, everything, func(t *testing.T, w *world) {
		spawn(t, w.b, "timed", actor.Define("test.timed", func() *timed { return new(timed) }, actor.Handle((*timed).tick), actor.Handle((*timed).note)))
		time.Sleep(time.Minute)
		all := w.take()
		tick, sent := named(t, all, "internal", "ticked test.Ticked"), named(t, all, "producer", "tell test.Note")
		wantChild(t, tick, sent)
		wantChild(t, sent, named(t, all, "consumer", "handle test.Note"))
		wantAttrs(t, tick, map[string]string{"tandem.cause": "ticked"})
	})
}

// timed gets one message by a timer.
type timed struct{ adder }

func (a *timed) Started(ctx *actor.Context) error {
	_, err := actor.After(ctx, 30*time.Second, ticked{})
	return err
}
func (a *timed) tick(ctx *actor.Context, m ticked) error { return a.adder.tick(ctx, m) }
func (a *timed) note(ctx *actor.Context, m note) error   { return nil }

// A span of the application is the parent, whatever the share; one that is not sampled has no spans below it, on no node.
func TestSpanOfApplication(t *testing.T) {
	inWorld(t, tandemotel.Config{Sample: -1}, func(t *testing.T, w *world) {
		app := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(w.spans)).Tracer("app")
		ctx, span := app.Start(t.Context(), "request")
		if _, err := actor.Call(ctx, w.a.Ref("adder@b"), add{N: 1}); err != nil {
			t.Fatal(err)
		}
		span.End()
		all := w.take()
		wantChild(t, named(t, all, "internal", "request"), named(t, all, "client", "test.Add"))
		wantChild(t, named(t, all, "client", "test.Add"), named(t, all, "server", "test.Add"))

		none := sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.NeverSample())).Tracer("app")
		ctx, span = none.Start(t.Context(), "request")
		if _, err := actor.Call(ctx, w.a.Ref("adder@b"), relay{To: "adder@a"}); rpc.CodeOf(err) != rpc.Failed { // there is no such actor
			t.Error(err)
		}
		span.End()
		if all := w.take(); len(all) != 0 {
			t.Error(len(all), "spans below one that is not sampled")
		}
		if _, err := actor.Call(t.Context(), w.a.Ref("adder@b"), add{N: 1}); err != nil {
			t.Fatal(err)
		}
		if all := w.take(); len(all) != 0 {
			t.Error(len(all), "spans of a trace that begins here, and none should")
		}
	})
}

// Of many calls about the share is recorded, always all of a trace or nothing of it.
func TestSample(t *testing.T) {
	const calls, share = 4000, 0.25
	inWorld(t, tandemotel.Config{Sample: share}, func(t *testing.T, w *world) {
		spawn(t, w.a, "back", adderKind())
		for range calls {
			if _, err := actor.Call(t.Context(), w.a.Ref("adder@b"), relay{To: "back@a"}); err != nil {
				t.Fatal(err)
			}
		}
		of := map[trace.TraceID]int{}
		for _, s := range w.take() {
			of[s.SpanContext().TraceID()]++
		}
		for id, n := range of {
			if n != 4 {
				t.Fatalf("trace %v has %d spans, want 4", id, n)
			}
		}
		if n := float64(len(of)) / calls; n < share*0.85 || n > share*1.15 {
			t.Errorf("%v of the traces were recorded, want %v", n, share)
		}
	})
}

// A trace context in a message and a span's context are the same.
func TestTraceConversion(t *testing.T) {
	var id rpc.Trace
	for i := range id {
		id[i] = byte(i + 1)
	}
	id[24] = 1
	sc := tandemotel.SpanContext(id)
	if !sc.IsSampled() || !sc.IsRemote() || sc.TraceID().String() != "0102030405060708090a0b0c0d0e0f10" || sc.SpanID().String() != "1112131415161718" {
		t.Error(sc)
	}
	if tandemotel.TraceOf(sc) != id {
		t.Error(tandemotel.TraceOf(sc))
	}
	if tandemotel.SpanContext(rpc.Trace{}).IsValid() || tandemotel.TraceOf(trace.SpanContext{}) != (rpc.Trace{}) {
		t.Error("no trace became one")
	}
}
