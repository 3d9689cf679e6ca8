package access_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"reflect"
	"testing"

	"github.com/tandem-go/tandem/access"
)

// What is written as JSON is read as it was.
func TestJSONRoundTrip(t *testing.T) {
	every := access.All | access.Expose | access.Stop | access.Relay
	for _, r := range []access.Rules{
		{},
		{Default: access.Deny},
		{ExposedOnly: true, Default: access.Allow},
		{Groups: map[string][]string{"staff": {"tls:ann", "nats:*"}, "nobody": {}}, List: []access.Rule{
			{Name: "n", Effect: access.Allow, Principals: []string{"@staff", "x"}, Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}},
			{Effect: access.Deny, Ops: access.Call | access.Publish, Kinds: []string{"a*"}, Actors: []string{"b"}, Services: []string{"c"}, Messages: []string{"d"}},
			{Effect: access.Allow, Ops: access.Publish, Topics: []string{"t.*"}},
			{Effect: access.Allow, Ops: access.Relay, Behalf: []string{"x"}},
			{Effect: access.Allow, Ops: every},
		}},
	} {
		text, err := json.Marshal(r)
		if err != nil {
			t.Errorf("%+v: %v", r, err)
			continue
		}
		var again access.Rules
		if err := json.Unmarshal(text, &again); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if second, err := json.Marshal(again); err != nil || string(second) != string(text) {
			t.Errorf("%s\nbecame %s, %v", text, second, err)
		}
		if !reflect.DeepEqual(again.List, r.List) || again.Default != r.Default || again.ExposedOnly != r.ExposedOnly {
			t.Errorf("%+v\nbecame %+v", r, again)
		}
	}
	if text, err := json.Marshal(access.Rules{List: []access.Rule{{}}}); err == nil {
		t.Errorf("rules that are wrong: %s", text)
	}
}

// Each error names the rule and the field, and leaves the rules as they were.
func TestJSONErrors(t *testing.T) {
	for _, row := range []struct {
		data  string
		rule  int
		name  string
		field string
	}{
		{`{"rules":[{"effect":"allow"},{"effect":"allow","efect":"deny"}]}`, 1, "rule 2", "efect"},
		{`{"rules":[{"name":"x","effect":"allow","effect":"deny"}]}`, 0, "x", "effect"},
		{`{"rules":[{"effect":"Allow"}]}`, 0, "rule 1", "effect"},
		{`{"rules":[{"effect":""}]}`, 0, "rule 1", "effect"},
		{`{"rules":[{"principals":["a"]}]}`, 0, "rule 1", "Effect"},
		{`{"rules":[{"effect":"allow","ops":["fly"]}]}`, 0, "rule 1", "ops"},
		{`{"rules":[{"effect":"allow","ops":[]}]}`, 0, "rule 1", "ops"},
		{`{"rules":[{"effect":"allow","networks":["10.0.0.0/33"]}]}`, 0, "rule 1", "networks"},
		{`{"rules":[{"effect":"allow","principals":["@nobody"]}]}`, 0, "rule 1", "Principals"},
		{`{"rules":[{"effect":"allow","principals":"ann"}]}`, 0, "rule 1", "principals"},
		{`{"rules":[{"effect":"allow","actors":[null]}]}`, 0, "rule 1", "Actors"},
		{`{"rules":[{"effect":"allow","actors":null}]}`, 0, "rule 1", "actors"},
		{`{"rules":[7]}`, 0, "rule 1", ""},
		{`{"rules":{}}`, -1, "", "rules"},
		{`{"list":[]}`, -1, "", "list"},
		{`{"default":"maybe"}`, -1, "", "default"},
		{`{"groups":{"a":["x"],"a":["y"]}}`, -1, "", "groups"},
		{`{"groups":{"a":["@b"]}}`, -1, "", "Groups"},
		{`[]`, -1, "", ""},
		{`{}x`, -1, "", ""},
	} {
		r := access.Rules{Default: access.Deny}
		err := r.UnmarshalJSON([]byte(row.data))
		var e *access.FieldError
		if !errors.As(err, &e) || e.Rule != row.rule || e.Name != row.name || e.Field != row.field {
			t.Errorf("%s: %v: %+v", row.data, err, e)
		}
		if r.Default != access.Deny || r.List != nil {
			t.Errorf("%s changed the rules", row.data)
		}
	}
}
