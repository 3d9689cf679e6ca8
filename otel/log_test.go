package tandemotel_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/tandem-go/tandem/actor"
	tandemotel "github.com/tandem-go/tandem/otel"
)

// lines are the log lines in a buffer.
func lines(t *testing.T, b *bytes.Buffer) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(b.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// A line under a handler's context has the ids of its span, Tandem's own line about a handler that has failed has the
// trace, and others have none.
func TestLogLinesHaveTrace(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(tandemotel.NewLogHandler(slog.NewJSONHandler(&out, nil))).With("app", "test")
	inWorld(t, everything, func(t *testing.T, w *world) {
		spawn(t, w.b, "talker", actor.Define("test.talker", func() struct{} { return struct{}{} }, actor.Handle(func(_ struct{}, ctx *actor.Context, m note) error {
			log.InfoContext(ctx, m.Text)
			return errors.New("it fails")
		})))
		if err := actor.Tell(t.Context(), w.a.Ref("talker@b"), note{"hello"}); err != nil {
			t.Fatal(err)
		}
		handled := named(t, w.take(), "consumer", "handle test.Note")
		log.InfoContext(context.Background(), "bye")
		found := map[string]map[string]any{}
		for _, l := range lines(t, &out) {
			found[l["msg"].(string)] = l
		}
		if l := found["hello"]; l["trace_id"] != handled.SpanContext().TraceID().String() || l["span_id"] != handled.SpanContext().SpanID().String() || l["app"] != "test" {
			t.Errorf("the handler's line: %v; its span is %v", l, handled.SpanContext().SpanID())
		}
		if l := found["the handler of a one-way message failed"]; l["trace_id"] != handled.SpanContext().TraceID().String() {
			t.Errorf("Tandem's own line: %v", l)
		}
		if l := found["bye"]; l["trace_id"] != nil || l == nil {
			t.Errorf("a line of no message: %v", l)
		}
	}, func(cfg *actor.Config) { cfg.Logger = log })
}

// A handler that adds ids already is not wrapped again.
func TestLogHandlerOnce(t *testing.T) {
	h := tandemotel.NewLogHandler(slog.DiscardHandler)
	if tandemotel.NewLogHandler(h) != h {
		t.Error("it was wrapped twice")
	}
}
