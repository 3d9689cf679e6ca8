package access

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/tandem-go/tandem/internal/strictjson"
)

// The JSON form of Rules, for files and for package settings. What is empty is left out.
//
//	{
//	  "groups": {"staff": ["tls:ann", "tls:bob"]},
//	  "rules": [
//	    {"effect": "allow", "principals": ["@staff"]},
//	    {"effect": "allow", "kinds": ["shop.cart"], "ops": ["call", "stream"]},
//	    {"name": "shop is for staff", "effect": "deny", "messages": ["shop.*"], "networks": ["10.0.0.0/8"]}
//	  ],
//	  "default": "deny",
//	  "exposedOnly": true
//	}
type rulesForm struct {
	Groups      map[string][]string `json:"groups,omitempty"`
	Rules       []ruleForm          `json:"rules,omitempty"`
	Default     string              `json:"default,omitempty"`
	ExposedOnly bool                `json:"exposedOnly,omitempty"`
}

type ruleForm struct {
	Name       string         `json:"name,omitempty"`
	Effect     string         `json:"effect"`
	Principals []string       `json:"principals,omitempty"`
	Networks   []netip.Prefix `json:"networks,omitempty"`
	Ops        []string       `json:"ops,omitempty"`
	Kinds      []string       `json:"kinds,omitempty"`
	Actors     []string       `json:"actors,omitempty"`
	Services   []string       `json:"services,omitempty"`
	Messages   []string       `json:"messages,omitempty"`
	Topics     []string       `json:"topics,omitempty"`
	Behalf     []string       `json:"behalf,omitempty"`
}

// MarshalJSON returns the JSON form of r, which UnmarshalJSON takes. The error is that of Compile: rules
// that are wrong have no JSON form.
func (r Rules) MarshalJSON() ([]byte, error) {
	if _, err := Compile(r); err != nil {
		return nil, err
	}
	f := rulesForm{Groups: strictjson.Filled(r.Groups), ExposedOnly: r.ExposedOnly, Default: r.Default.String()}
	for _, in := range r.List {
		out := ruleForm{in.Name, in.Effect.String(), in.Principals, in.Networks, nil, in.Kinds, in.Actors, in.Services, in.Messages, in.Topics, in.Behalf}
		if in.Ops != 0 {
			out.Ops = strings.Split(in.Ops.String(), "|")
		}
		f.Rules = append(f.Rules, out)
	}
	return json.Marshal(f)
}

// UnmarshalJSON replaces r by the rules of a JSON form. It takes only rules that Compile takes. Names of fields
// are compared exactly; one that is unknown, or stands there twice, is an error, and so is null. Errors wrap a
// *FieldError; if there are several of Compile, all of them. After an error r is as it was.
func (r *Rules) UnmarshalJSON(data []byte) error {
	var out Rules
	err := strictjson.Object(data, map[string]any{
		"groups":      func(v json.RawMessage) (err error) { out.Groups, err = strictjson.Lists(v); return err },
		"default":     func(v json.RawMessage) error { return out.Default.decode(v) },
		"exposedOnly": &out.ExposedOnly,
		"rules": func(v json.RawMessage) error {
			return strictjson.Array(v, func(i int, v json.RawMessage) error {
				rule, err := decodeRule(i, v)
				out.List = append(out.List, rule)
				return err
			})
		},
	})
	if err != nil {
		return fieldError(-1, "", err)
	}
	if _, err := Compile(out); err != nil {
		return err
	}
	*r = out
	return nil
}

// decodeRule decodes the rule at an index of the list.
func decodeRule(i int, data []byte) (r Rule, err error) {
	err = strictjson.Object(data, map[string]any{
		"name": &r.Name, "principals": &r.Principals, "kinds": &r.Kinds, "actors": &r.Actors, "services": &r.Services,
		"messages": &r.Messages, "topics": &r.Topics, "behalf": &r.Behalf,
		"effect": func(v json.RawMessage) error { return r.Effect.decode(v) },
		"ops":    func(v json.RawMessage) error { return r.Ops.decode(v) },
		"networks": func(v json.RawMessage) error {
			var texts []string
			if err := json.Unmarshal(v, &texts); err != nil {
				return err
			}
			for _, text := range texts {
				n, err := netip.ParsePrefix(text)
				if err != nil {
					return err
				}
				r.Networks = append(r.Networks, n)
			}
			return nil
		},
	})
	if err != nil {
		name := r.Name
		if name == "" {
			name = fmt.Sprintf("rule %d", i+1)
		}
		return r, fieldError(i, name, err)
	}
	return r, nil
}

// fieldError makes a FieldError of an error of package strictjson, unless there is one in it.
func fieldError(rule int, name string, err error) error {
	var inner *FieldError
	if errors.As(err, &inner) {
		return inner
	}
	e := &FieldError{Rule: rule, Name: name, Err: err}
	var at *strictjson.Error
	if errors.As(err, &at) {
		e.Field = at.Name
	}
	return e
}

var effectNames = [...]string{Allow: "allow", Deny: "deny"}

// String returns "allow", "deny", or nothing.
func (e Effect) String() string {
	if int(e) < len(effectNames) {
		return effectNames[e]
	}
	return fmt.Sprintf("effect(%d)", uint8(e))
}

func (e *Effect) decode(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	for effect, name := range effectNames {
		if name != "" && name == text {
			*e = Effect(effect)
			return nil
		}
	}
	return fmt.Errorf("no such effect: %q: want %q or %q", text, effectNames[Allow], effectNames[Deny])
}

func (o *Op) decode(data []byte) error {
	var names []string
	if err := json.Unmarshal(data, &names); err != nil {
		return err
	}
	if len(names) == 0 {
		return errors.New("no operation: leave the field out for all")
	}
	for _, name := range names {
		op, ok := opOf(name)
		if !ok {
			return fmt.Errorf("no such operation: %q", name)
		}
		*o |= op
	}
	return nil
}

func opOf(name string) (Op, bool) {
	if name == "all" {
		return All, true
	}
	for i, known := range opNames {
		if known == name {
			return 1 << i, true
		}
	}
	return 0, false
}
