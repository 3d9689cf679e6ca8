package settings_test

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/admission"
	"github.com/tandem-go/tandem/breaker"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/settings"
)

// values are one value of each section, with what stands for it in a document.
var values = []struct {
	value settings.Value
	text  string
}{
	{settings.Log{Level: slog.LevelDebug}, `{"level":"DEBUG"}`},
	{settings.Limits{Rules: admission.Rules{List: []admission.Limit{{Name: "all", Concurrent: 64}}}}, `{"limits":[{"name":"all","concurrent":64}]}`},
	{settings.Breakers{Config: breaker.Config{Targets: []string{"prices@*"}, InRow: 3, Share: 0.25, Window: time.Minute, Pause: 250 * time.Millisecond, Trials: 1, MaxCircuits: 9}},
		`{"targets":["prices@*"],"inRow":3,"share":0.25,"window":"1m0s","pause":"250ms","trials":1,"maxCircuits":9}`},
	{settings.Retry{Retry: rpc.Retry{Attempts: 3, MinPause: time.Millisecond, MaxPause: time.Second, Burst: 10, Earn: 0.5}}, `{"attempts":3,"minPause":"1ms","maxPause":"1s","burst":10,"earn":0.5}`},
	{settings.Weights{"prices": {"^1": 95, "^2": 5}}, `{"prices":{"^1":95,"^2":5}}`},
	{settings.Access{Rules: access.Rules{List: []access.Rule{{Effect: access.Allow, Ops: access.Call}}, Default: access.Deny}}, `{"rules":[{"effect":"allow","ops":["call"]}],"default":"deny"}`},
}

func TestDocumentRoundTrip(t *testing.T) {
	for _, v := range values {
		s := v.value.Section()
		data, err := settings.Document{Author: "ann", Note: "why", Value: v.value}.Encode(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		want(t, string(s), string(data), `{"author":"ann","note":"why","value":`+v.text+`}`)
		d, err := settings.Parse(s, data)
		if err != nil || !reflect.DeepEqual(d.Value, v.value) || d.Author != "ann" || d.Note != "why" {
			t.Errorf("%s: %+v, %v", s, d, err)
		}
		for _, other := range settings.Sections() {
			if _, err := (settings.Document{Author: "ann", Value: v.value}).Encode(other); (err == nil) != (other == s) {
				t.Errorf("a value of %s in %s: %v", s, other, err)
			}
		}
	}
}

// A document that is wrong has an error that says where.
func TestParseErrors(t *testing.T) {
	in := func(value string) string { return `{"author":"ann","value":` + value + `}` }
	for _, row := range []struct {
		section settings.Section
		data    string
		field   string
	}{
		{"log", ``, ""},
		{"log", `{`, ""},
		{"log", in(`{"level":"debug"}`) + "x", ""},
		{"log", `{"value":{"level":"debug"}}`, "author"},
		{"log", `{"author":"","value":{"level":"debug"}}`, "author"},
		{"log", `{"author":7,"value":{"level":"debug"}}`, "author"},
		{"log", `{"author":"` + strings.Repeat("a", settings.MaxAuthor+1) + `","value":{"level":"debug"}}`, "author"},
		{"log", `{"author":"ann","note":"` + strings.Repeat("a", settings.MaxNote+1) + `","value":{"level":"debug"}}`, "note"},
		{"log", `{"author":"ann"}`, "value"},
		{"log", `{"author":"ann","value":null}`, "value"},
		{"log", `{"author":"ann","Value":{"level":"debug"}}`, "Value"},
		{"log", in(`{}`), "value.level"},
		{"log", in(`{"level":"loud"}`), "value.level"},
		{"log", in(`"debug"`), "value"},
		{"limits", in(`{"limits":[{"rate":1},{"rate":-1}]}`), "value.limits[1].rate"},
		{"limits", in(`{"limits":[{"rte":1}]}`), "value.limits[0].rte"},
		{"limits", in(`{"groups":7}`), "value.groups"},
		{"access", in(`{"rules":[{"effect":"allow"},{"effect":"deny","principals":["@x"]}]}`), "value.rules[1].principals"},
		{"access", in(`{"rules":[{"effect":"allow","effect":"deny"}]}`), "value.rules[0].effect"},
		{"breakers", in(`{"pause":5}`), "value.pause"},
		{"breakers", in(`{"share":2}`), "value"},
		{"retry", in(`{"minPause":"-5s"}`), "value"},
		{"retry", in(`{"minPause":"5"}`), "value.minPause"},
		{"weights", in(`{"prices":{"^1":-1}}`), "value.prices.^1"},
		{"weights", in(`{"prices":{"^1":1000001}}`), "value.prices.^1"},
		{"weights", in(`{"prices":{"^1":0}}`), "value.prices"},
		{"weights", in(`{"prices":{"^1":1,"^1":2}}`), "value.prices.^1"},
		{"weights", in(`{"prices":{"^one":1}}`), "value.prices.^one"},
		{"weights", in(`{"a b":{"^1":1}}`), "value.a b"},
		{"weights", in(`{"prices":[]}`), "value.prices"},
	} {
		_, err := settings.Parse(row.section, []byte(row.data))
		var e *settings.Error
		if !errors.As(err, &e) || e.Field != row.field || e.Section != row.section || rpc.CodeOf(err) != rpc.Invalid || rpc.Ran(err) != rpc.NotRun {
			t.Errorf("%s %.80s: %v, at %+v", row.section, row.data, err, e)
		}
	}
	if _, err := settings.Parse("colours", []byte(`{}`)); rpc.CodeOf(err) != rpc.Invalid {
		t.Errorf("a section that there is not: %v", err)
	}
}

// A document may be as large as it says, and no larger; so may texts and the versions of a service.
func TestBounds(t *testing.T) {
	rest := `{"author":"ann","value":{"level":"debug"}}`
	for extra, code := range map[int]rpc.Code{0: 0, 1: rpc.TooLarge} {
		_, err := settings.Parse("log", []byte(rest+strings.Repeat(" ", settings.MaxDocument-len(rest)+extra)))
		want(t, fmt.Sprint("with ", extra, " bytes more"), rpc.CodeOf(err), code)
		d := settings.Document{Author: strings.Repeat("a", settings.MaxAuthor), Note: strings.Repeat("n", settings.MaxNote+extra), Value: settings.Log{}}
		_, err = d.Encode("log")
		want(t, "a note", err == nil, extra == 0)
		versions := map[string]int{}
		for i := range settings.MaxVersions + extra {
			versions[fmt.Sprintf("=1.%d.0", i)] = settings.MaxWeight
		}
		_, err = settings.Document{Author: "ann", Value: settings.Weights{"s": versions}}.Encode("weights")
		want(t, "versions", err == nil, extra == 0)
	}
	large := settings.Access{}
	for i := range 10_000 {
		large.List = append(large.List, access.Rule{Effect: access.Allow, Actors: []string{fmt.Sprint("actor ", i)}})
	}
	_, err := settings.Document{Author: "ann", Value: large}.Encode("access")
	want(t, "a large list", rpc.CodeOf(err), rpc.TooLarge)
}

func TestKeys(t *testing.T) {
	for _, k := range []settings.Key{{Section: "log"}, {Section: "limits", Node: "till-1"}, {Section: "access", Node: "A_9"}} {
		got, err := settings.ParseKey(k.String())
		if err != nil || got != k {
			t.Errorf("%v: %v, %v", k, got, err)
		}
	}
	for _, text := range []string{"", "logs", "Log", "node.", "node.a", "node..log", "node.a.b.log", "node.a.logs", "node.a b.log", "node." + strings.Repeat("a", 129) + ".log", strings.Repeat("x", 1000)} {
		if k, err := settings.ParseKey(text); rpc.CodeOf(err) != rpc.Invalid || len(err.Error()) > 500 {
			t.Errorf("%q: %v, %v", text, k, err)
		}
	}
}

// Whatever bytes come, they are a value that can be written again, or an error of the right type.
func FuzzParse(f *testing.F) {
	for _, v := range values {
		f.Add(string(v.value.Section()), []byte(`{"author":"ann","value":`+v.text+`}`))
	}
	f.Add("access", []byte(`{"author":"ann","value":{"rules":[{"effect":"allow","ops":["all","stop"],"networks":["::ffff:10.0.0.0/104"]}],"groups":{"a":[]}}}`))
	f.Fuzz(func(t *testing.T, section string, data []byte) {
		s := settings.Section(section)
		d, err := settings.Parse(s, data)
		settings.AuthorOf(data)
		if err != nil {
			if code := rpc.CodeOf(err); code != rpc.Invalid && code != rpc.TooLarge || rpc.Ran(err) != rpc.NotRun {
				t.Fatalf("%v", err)
			}
			return
		}
		again, err := d.Encode(s)
		if rpc.CodeOf(err) == rpc.TooLarge { // escapes are longer than what they stand for
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", data, err)
		}
		second, err := settings.Parse(s, again)
		if err != nil {
			t.Fatalf("%s became %s: %v", data, again, err)
		}
		if third, err := second.Encode(s); err != nil || string(third) != string(again) {
			t.Fatalf("%s became %s, %v", again, third, err)
		}
	})
}
