package inspect_test

import (
	"fmt"

	"github.com/tandem-go/tandem/inspect"
)

// A filter is first asked with what is known without a look at the actor.
func ExampleFilter() {
	f := inspect.Filter{Prefix: "account/", Stage: inspect.Suspended}
	fmt.Println(f.MayMatch("account/17", "bank.account"), f.MayMatch("audit", "bank.audit"))
	fmt.Println(f.Match(inspect.Actor{Name: "account/17", Kind: "bank.account", Stage: inspect.Working}))
	// Output:
	// true false
	// false
}
