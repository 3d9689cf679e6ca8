package access_test

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tandem-go/tandem/access"
)

// Rules are written as JSON, in a file or in a bucket.
func ExampleRules_UnmarshalJSON() {
	var rules access.Rules
	err := rules.UnmarshalJSON([]byte(`{
		"groups": {"staff": ["tls:ann", "tls:bob"]},
		"rules": [
			{"effect": "allow", "principals": ["@staff"]},
			{"effect": "allow", "kinds": ["shop.cart"], "ops": ["call", "stream"]}
		],
		"default": "deny"
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	list, _ := access.Compile(rules)
	fmt.Println(list.Decide(access.Who{Principal: "tls:ann"}, access.What{Op: access.Send}), list.Rules().Default)

	err = json.Unmarshal([]byte(`{"rules": [{"effect": "allow"}, {"effect": "perhaps"}]}`), &rules)
	var wrong *access.FieldError
	fmt.Println(errors.As(err, &wrong), wrong.Rule, wrong.Field)
	// Output:
	// {true rule 1} deny
	// true 1 effect
}

func ExampleRules_MarshalJSON() {
	text, err := access.Rules{List: []access.Rule{{Effect: access.Deny, Ops: access.Stop}}}.MarshalJSON()
	fmt.Println(string(text), err)
	// Output: {"rules":[{"effect":"deny","ops":["stop"]}]} <nil>
}
