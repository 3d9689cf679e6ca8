package admission_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/tandem-go/tandem/admission"
)

// What is written as JSON is read as it was.
func TestJSONRoundTrip(t *testing.T) {
	for _, r := range []admission.Rules{
		{},
		{Groups: map[string][]string{"g": {"a"}, "none": {}}, List: []admission.Limit{
			{Name: "x", Principals: []string{"@g"}, Kinds: []string{"k*"}, Actors: []string{"a"}, Services: []string{"s"}, Messages: []string{"m"},
				Per: admission.PerPrincipal | admission.PerActor | admission.PerMessage | admission.PerService, Rate: 0.25, Burst: 7, Concurrent: 3, MaxKeys: 9},
			{Adaptive: &admission.Gradient{}},
			{Adaptive: &admission.Gradient{Min: 1, Max: 9, Initial: 3, Tolerance: 2.5, Queue: 1, Window: 250 * time.Millisecond}},
		}},
	} {
		text, err := json.Marshal(r)
		if err != nil {
			t.Errorf("%+v: %v", r, err)
			continue
		}
		var again admission.Rules
		if err := json.Unmarshal(text, &again); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if !reflect.DeepEqual(again.List, r.List) || len(again.Groups) != len(r.Groups) {
			t.Errorf("%s\nis %+v\nwant %+v", text, again, r)
		}
	}
	if text, err := json.Marshal(admission.Rules{List: []admission.Limit{{}}}); err == nil {
		t.Errorf("rules that are wrong: %s", text)
	}
}

// Each error names the limit and the field, and leaves the rules as they were.
func TestJSONErrors(t *testing.T) {
	for _, row := range []struct {
		data  string
		limit int
		name  string
		field string
	}{
		{`{"limits":[{"rate":1},{"name":"x","rte":1}]}`, 1, "x", "rte"},
		{`{"limits":[{"rate":-1}]}`, 0, "limit 1", "Rate"},
		{`{"limits":[{"rate":1e400}]}`, 0, "limit 1", "rate"},
		{`{"limits":[{"rate":"10"}]}`, 0, "limit 1", "rate"},
		{`{"limits":[{"concurrent":1.5}]}`, 0, "limit 1", "concurrent"},
		{`{"limits":[{"concurrent":99999999999999999999}]}`, 0, "limit 1", "concurrent"},
		{`{"limits":[{"concurrent":1,"per":["node"]}]}`, 0, "limit 1", "per"},
		{`{"limits":[{"adaptive":{"window":"5"}}]}`, 0, "limit 1", "adaptive"},
		{`{"limits":[{"adaptive":{"window":"-5s"}}]}`, 0, "limit 1", "Adaptive"},
		{`{"limits":[{"adaptive":{"max":3,"min":5}}]}`, 0, "limit 1", "Adaptive"},
		{`{"limits":[{"adaptive":null}]}`, 0, "limit 1", "adaptive"},
		{`{"limits":[{}]}`, 0, "limit 1", "Rate"},
		{`{"limits":[{"name":"x","rate":1},{"name":"x","rate":2}]}`, 1, "x", "Name"},
		{`{"limit":[]}`, -1, "", "limit"},
		{`{"groups":[]}`, -1, "", "groups"},
		{``, -1, "", ""},
	} {
		r := admission.Rules{List: []admission.Limit{{Rate: 1}}}
		err := r.UnmarshalJSON([]byte(row.data))
		var e *admission.FieldError
		if !errors.As(err, &e) || e.Limit != row.limit || e.Name != row.name || e.Field != row.field {
			t.Errorf("%s: %v: %+v", row.data, err, e)
		}
		if len(r.List) != 1 {
			t.Errorf("%s changed the rules", row.data)
		}
	}
}
