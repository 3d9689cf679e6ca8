package access_test

import (
	"fmt"

	"github.com/tandem-go/tandem/access"
)

// The first rule that matches decides.
func ExampleCompile() {
	list, err := access.Compile(access.Rules{
		Groups: map[string][]string{"staff": {"tls:ann", "tls:bob"}},
		List: []access.Rule{
			{Effect: access.Allow, Principals: []string{"@staff"}, Name: "staff may do everything"},
			{Effect: access.Allow, Kinds: []string{"shop.cart"}, Ops: access.Call | access.Stream, Name: "carts are for all"},
		},
		Default: access.Deny,
	})
	if err != nil {
		fmt.Println(err) // all that is wrong with the rules
		return
	}
	stranger := access.Who{Principal: "tls:eve"}
	fmt.Println(list.Decide(access.Who{Principal: "tls:ann"}, access.What{Kind: "shop.till", Actor: "till", Op: access.Call}))
	fmt.Println(list.Decide(stranger, access.What{Kind: "shop.cart", Actor: "cart", Op: access.Call}))
	fmt.Println(list.Decide(stranger, access.What{Kind: "shop.cart", Actor: "cart", Op: access.Push}))

	// Is there anything at all that a stranger may submit?
	fmt.Println(list.MayAny(stranger, access.Submit))
	// Output:
	// {true staff may do everything}
	// {true carts are for all}
	// {false default}
	// false
}

// Rules that name Expose say which nodes may offer a service.
func ExampleList_MayExpose() {
	list, err := access.Compile(access.Rules{List: []access.Rule{
		{Effect: access.Allow, Principals: []string{"tls:bank"}, Services: []string{"payments"}, Ops: access.Expose},
		{Effect: access.Deny, Services: []string{"payments"}, Ops: access.Expose, Name: "payments are the bank's"},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(list.MayExpose("tls:bank", "payments", "till").Allowed)
	fmt.Println(list.MayExpose("tls:eve", "payments", "till").Rule)
	fmt.Println(access.Rules{}.IsZero()) // rules that say nothing
	// Output:
	// true
	// payments are the bank's
	// true
}

// Rules that name Relay say who may send requests for others, as gateways do, and for whom.
func ExampleList_MayRelay() {
	list, err := access.Compile(access.Rules{List: []access.Rule{
		{Effect: access.Allow, Principals: []string{"tls:gateway"}, Ops: access.Relay, Behalf: []string{"web:*"}, Name: "users of the web"},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(list.MayRelay(access.Who{Principal: "tls:gateway"}, "web:ann"))
	fmt.Println(list.MayRelay(access.Who{Principal: "tls:gateway"}, "tls:admin"))
	fmt.Println(list.MayRelay(access.Who{Principal: "tls:shop"}, "web:ann"))
	// Output:
	// {true users of the web}
	// {false default}
	// {false default}
}

// Names are conditions in the language of rules, for other lists of the same kind.
func ExampleNamesOf() {
	kinds, err := access.NamesOf([]string{"shop.cart", "bank.*"})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(kinds.Match("shop.cart"), kinds.Match("shop.till"), kinds.MatchOne([]string{"shop.till", "bank.account"}), kinds.Any())
	// Output: true false true false
}

func ExamplePrincipalsOf() {
	staff, err := access.PrincipalsOf([]string{"@staff", "tls:eve"}, map[string][]string{"staff": {"tls:ann", "tls:bob"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(staff.Match("tls:bob"), staff.Match("tls:eve"), staff.Match("tls:mallory"))
	_, err = access.PrincipalsOf([]string{"@nobody"}, nil)
	fmt.Println(err != nil)
	// Output:
	// true true false
	// true
}
