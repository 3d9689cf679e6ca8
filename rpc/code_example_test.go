package rpc_test

import (
	"fmt"

	"github.com/tandem-go/tandem/rpc"
)

func ExampleParseCode() {
	c, ok := rpc.ParseCode("not-found")
	fmt.Println(c == rpc.NotFound, ok)
	_, ok = rpc.ParseCode("bad luck")
	fmt.Println(ok)
	// Output:
	// true true
	// false
}
