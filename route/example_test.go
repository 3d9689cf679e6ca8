package route_test

import (
	"fmt"
	"reflect"

	"github.com/tandem-go/tandem/route"
)

type upload struct{ User string }

// A Table says which workers may take a message, the preferred one first.
func ExampleTable() {
	workers := []route.Worker{{Number: 1, Load: 3}, {Number: 2, Load: 0}, {Number: 3, Load: 1}}
	for _, p := range []route.Policy{route.RoundRobin(), route.Random(), route.LeastBusy(), route.FirstOf(2), route.Broadcast()} {
		if p.Validate() != nil {
			panic(p)
		}
		t := route.Table{Policy: p}
		order := t.Order(nil, workers, "", 7)
		t.Took(workers[order[0]].Number)
		fmt.Println(p, len(order), "looks at loads:", p.Loads(), "for a request:", p.Races(), "to all:", p.Broadcasts())
	}
	least := route.Table{Policy: route.LeastBusy()}
	fmt.Println(least.Order(nil, workers, "", 0))
	// Output:
	// round robin 3 looks at loads: false for a request: 1 to all: false
	// random 3 looks at loads: false for a request: 1 to all: false
	// least busy 3 looks at loads: true for a request: 1 to all: false
	// first of 2 3 looks at loads: true for a request: 2 to all: false
	// broadcast 3 looks at loads: false for a request: 1 to all: true
	// [1 2 0]
}

// The messages of one user go to one worker.
func ExampleByKey() {
	p := route.ByKey(func(m upload) string { return m.User })
	typ, keyed := p.Keyed()
	fmt.Println(typ == reflect.TypeFor[upload](), keyed)
	fmt.Println(p.Key(upload{User: "ann"}))
	fmt.Println(p.Key("another message"))
	// Output:
	// true true
	// ann true
	//  false
}
