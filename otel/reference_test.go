package tandemotel_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/tandem-go/tandem/actor"
	tandemotel "github.com/tandem-go/tandem/otel"
)

const referenceFile = "../docs/metrics.md"

var update = flag.Bool("update", false, "write the table of metrics into docs/metrics.md")

// The table of metrics in the documentation is that of Metrics.
func TestReferenceOfMetrics(t *testing.T) {
	text, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- metrics -->\n", "<!-- end of metrics -->"
	before, rest, ok := strings.Cut(string(text), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatal("the marks of the table are missing")
	}
	rows := "| metric | for Prometheus | type | labels | what |\n|---|---|---|---|---|\n"
	for _, m := range tandemotel.Metrics() {
		rows += fmt.Sprintf("| `%s` | `%s` | %s | %s | %s |\n", m.Name, prometheusName(m), m.Type, strings.Join(m.Labels, ", "), m.About)
	}
	if table == rows {
		return
	}
	if !*update {
		t.Fatalf("the table differs; go test -run Reference -update writes it. It should be:\n%s", rows)
	}
	if err := os.WriteFile(referenceFile, []byte(before+begin+rows+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func prometheusName(m tandemotel.Metric) string {
	name := strings.ReplaceAll(m.Name, ".", "_")
	switch m.Unit {
	case "s":
		name += "_seconds"
	case "By":
		name += "_bytes"
	}
	if m.Type == "counter" {
		name += "_total"
	}
	return name
}

// Each attribute and each event that spans have is documented, and each documented one is on some span.
func TestReferenceOfSpans(t *testing.T) {
	text, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatal(err)
	}
	_, spans, ok := strings.Cut(string(text), "## Attributes and events")
	if !ok {
		t.Fatal("the section is missing")
	}
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_.]+)`").FindAllStringSubmatch(spans, -1) {
		documented[m[1]] = true
	}
	seen := map[string]bool{}
	inWorld(t, everything, func(t *testing.T, w *world) {
		spawn(t, w.a, "back", adderKind())
		spawn(t, w.b, "queue", queueKind())
		spawn(t, w.b, "timed", actor.Define("test.timed", func() *timed { return new(timed) }, actor.Handle((*timed).tick), actor.Handle((*timed).note)))
		spawn(t, w.b, "exposed", adderKind(), actor.Expose("adders"))
		time.Sleep(time.Minute)
		to, q := w.a.Ref("adder@b"), w.a.Ref("queue@b")
		_, err := actor.Call(t.Context(), to, relay{To: "back@a"})
		_, failed := actor.Call(t.Context(), to, add{Fail: true})
		_, served := actor.Call(t.Context(), w.a.Service("adders"), add{})
		if err != nil || failed == nil || served != nil || actor.Push(t.Context(), q, item{1}) != nil {
			t.Fatal(err, failed, served)
		}
		if _, err := actor.Pull[item](t.Context(), q); err != nil {
			t.Fatal(err)
		}
		w.net.Hold("direct", "b", "a")
		f := actor.Ask(t.Context(), to, add{N: 1})
		synctest.Wait()
		w.net.Partition("direct", "a", "b")
		w.net.Reset("direct", "a", "b")
		if _, err := f.Await(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, s := range w.take() {
			noteSpan(s, seen)
		}
	})
	seen["tandem.steps_lost"] = true // of a request with more than rpc.MaxSteps copies and attempts
	for name := range seen {
		if !documented[name] {
			t.Errorf("%s is not documented", name)
		}
	}
	for name := range documented {
		if !seen[name] {
			t.Errorf("%s is documented, and no span has it", name)
		}
	}
}

// noteSpan adds the names of a span's attributes and events.
func noteSpan(s sdktrace.ReadOnlySpan, to map[string]bool) {
	for _, a := range s.Attributes() {
		to[string(a.Key)] = true
	}
	for _, e := range s.Events() {
		to[e.Name] = true
		for _, a := range e.Attributes {
			to[string(a.Key)] = true
		}
	}
}

// No metric is listed twice, and each has a label node.
func TestMetricsListed(t *testing.T) {
	names := map[string]bool{}
	for _, m := range tandemotel.Metrics() {
		if names[m.Name] || m.About == "" || !slices.Contains(m.Labels, "node") {
			t.Errorf("%+v", m)
		}
		names[m.Name] = true
	}
}
