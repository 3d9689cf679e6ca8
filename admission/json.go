package admission

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tandem-go/tandem/internal/strictjson"
)

// The JSON form of Rules, for files and for package settings. What is empty is left out.
//
//	{
//	  "groups": {"partners": ["tls:ann", "tls:bob"]},
//	  "limits": [
//	    {"name": "each client", "per": ["principal"], "rate": 1000, "burst": 50},
//	    {"name": "search", "services": ["search"], "concurrent": 64},
//	    {"name": "reports", "messages": ["shop.report.*"], "per": ["actor"], "adaptive": {"max": 100, "window": "250ms"}}
//	  ]
//	}
type rulesForm struct {
	Groups map[string][]string `json:"groups,omitempty"`
	Limits []limitForm         `json:"limits,omitempty"`
}

type limitForm struct {
	Name       string        `json:"name,omitempty"`
	Principals []string      `json:"principals,omitempty"`
	Kinds      []string      `json:"kinds,omitempty"`
	Actors     []string      `json:"actors,omitempty"`
	Services   []string      `json:"services,omitempty"`
	Messages   []string      `json:"messages,omitempty"`
	Per        []string      `json:"per,omitempty"`
	Rate       float64       `json:"rate,omitempty"`
	Burst      int           `json:"burst,omitempty"`
	Concurrent int           `json:"concurrent,omitempty"`
	Adaptive   *gradientForm `json:"adaptive,omitempty"`
	MaxKeys    int           `json:"maxKeys,omitempty"`
}

type gradientForm struct {
	Min       int     `json:"min,omitempty"`
	Max       int     `json:"max,omitempty"`
	Initial   int     `json:"initial,omitempty"`
	Tolerance float64 `json:"tolerance,omitempty"`
	Queue     int     `json:"queue,omitempty"`
	Window    string  `json:"window,omitempty"`
}

// MarshalJSON returns the JSON form of r, which UnmarshalJSON takes. The error is that of New: rules that
// are wrong have no JSON form.
func (r Rules) MarshalJSON() ([]byte, error) {
	if _, err := New(r); err != nil {
		return nil, err
	}
	f := rulesForm{Groups: strictjson.Filled(r.Groups)}
	for _, l := range r.List {
		out := limitForm{Name: l.Name, Principals: l.Principals, Kinds: l.Kinds, Actors: l.Actors, Services: l.Services, Messages: l.Messages,
			Per: l.Per.names(), Rate: l.Rate, Burst: l.Burst, Concurrent: l.Concurrent, MaxKeys: l.MaxKeys}
		if g := l.Adaptive; g != nil {
			out.Adaptive = &gradientForm{g.Min, g.Max, g.Initial, g.Tolerance, g.Queue, ""}
			if g.Window != 0 {
				out.Adaptive.Window = g.Window.String()
			}
		}
		f.Limits = append(f.Limits, out)
	}
	return json.Marshal(f)
}

// UnmarshalJSON replaces r by the rules of a JSON form. It takes only rules that New takes. Names of fields are
// compared exactly; one that is unknown, or stands there twice, is an error, and so is null. Errors wrap a
// *FieldError; if there are several of New, all of them. After an error r is as it was.
func (r *Rules) UnmarshalJSON(data []byte) error {
	var out Rules
	err := strictjson.Object(data, map[string]any{
		"groups": func(v json.RawMessage) (err error) { out.Groups, err = strictjson.Lists(v); return err },
		"limits": func(v json.RawMessage) error {
			return strictjson.Array(v, func(i int, v json.RawMessage) error {
				limit, err := decodeLimit(i, v)
				out.List = append(out.List, limit)
				return err
			})
		},
	})
	if err != nil {
		return fieldError(-1, "", err)
	}
	if _, err := New(out); err != nil {
		return err
	}
	*r = out
	return nil
}

// decodeLimit decodes the limit at an index of the list.
func decodeLimit(i int, data []byte) (l Limit, err error) {
	err = strictjson.Object(data, map[string]any{
		"name": &l.Name, "principals": &l.Principals, "kinds": &l.Kinds, "actors": &l.Actors, "services": &l.Services, "messages": &l.Messages,
		"rate": &l.Rate, "burst": &l.Burst, "concurrent": &l.Concurrent, "maxKeys": &l.MaxKeys,
		"per": func(v json.RawMessage) error { return l.Per.decode(v) },
		"adaptive": func(v json.RawMessage) error {
			g := new(Gradient)
			l.Adaptive = g
			return strictjson.Object(v, map[string]any{
				"min": &g.Min, "max": &g.Max, "initial": &g.Initial, "tolerance": &g.Tolerance, "queue": &g.Queue,
				"window": func(v json.RawMessage) (err error) { g.Window, err = strictjson.Duration(v); return err },
			})
		},
	})
	if err != nil {
		name := l.Name
		if name == "" {
			name = fmt.Sprintf("limit %d", i+1)
		}
		return l, fieldError(i, name, err)
	}
	return l, nil
}

// fieldError makes a FieldError of an error of package strictjson, unless there is one in it.
func fieldError(limit int, name string, err error) error {
	var inner *FieldError
	if errors.As(err, &inner) {
		return inner
	}
	e := &FieldError{Limit: limit, Name: name, Err: err}
	var at *strictjson.Error
	if errors.As(err, &at) {
		e.Field = at.Name
	}
	return e
}

var perNames = []struct {
	per  Per
	name string
}{{PerService, "service"}, {PerActor, "actor"}, {PerMessage, "message"}, {PerPrincipal, "principal"}}

func (p Per) names() (all []string) {
	for _, n := range perNames {
		if p&n.per != 0 {
			all = append(all, n.name)
		}
	}
	return all
}

func (p *Per) decode(data []byte) error {
	var names []string
	if err := json.Unmarshal(data, &names); err != nil {
		return err
	}
next:
	for _, name := range names {
		for _, n := range perNames {
			if n.name == name {
				*p |= n.per
				continue next
			}
		}
		return fmt.Errorf("no such thing to tell apart: %q: want %s", name, strings.Join(allPer.names(), ", "))
	}
	return nil
}
