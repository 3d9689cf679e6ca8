package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// Whether to send a request again is a question of the verdict, not of the code.
func ExampleRan() {
	ctx := context.Background()
	sys, ref := doer()
	defer sys.Shutdown(ctx)

	_, err := actor.Call(ctx, sys.Ref("nobody"), Do{})
	fmt.Println(rpc.Ran(err)) // safe to send again

	fails := func(*actor.Context) (string, error) { return "", errors.New("no paper") }
	_, err = actor.Call(ctx, ref, Do{F: fails})
	fmt.Println(rpc.Ran(err)) // the handler may have had an effect

	running, open := make(chan bool), make(chan bool)
	defer close(open)
	takesLong := func(ctx *actor.Context) (string, error) {
		close(running)
		<-open
		return "", nil
	}
	future := actor.Ask(ctx, ref, Do{F: takesLong})
	<-running
	future.Cancel()
	_, err = future.Await(ctx)
	fmt.Println(rpc.Ran(err)) // it was given up while it ran

	fmt.Println(rpc.Ran(nil))
	// Output:
	// not run
	// ran
	// unknown
	// ran
}

func ExampleCodeOf() {
	ctx := context.Background()
	sys, _ := doer()
	defer sys.Shutdown(ctx)
	_, err := actor.Call(ctx, sys.Ref("nobody"), Do{})
	switch rpc.CodeOf(err) {
	case rpc.NotFound:
		fmt.Println("there is no such actor")
	case rpc.Overloaded, rpc.Unavailable:
		fmt.Println("later, perhaps")
	}
	fmt.Println(errors.Is(err, rpc.NotFound), rpc.NotFound.String(), rpc.CodeOf(nil) == 0)
	// Output:
	// there is no such actor
	// true not found true
}

// What a handler returns keeps its identity on its way to the caller, on every node.
func ExampleNewError() {
	errPaper := rpc.NewError("printer.paper", "out of paper")
	ctx := context.Background()
	sys, ref := doer()
	defer sys.Shutdown(ctx)
	jam := func(*actor.Context) (string, error) { return "", fmt.Errorf("tray 2: %w", errPaper) }
	_, err := actor.Call(ctx, ref, Do{F: jam})
	fmt.Println(err, errors.Is(err, errPaper), rpc.CodeOf(err))
	// Output: tray 2: out of paper true rpc: failed
}

// The fields of an Error say who said what.
func ExampleError() {
	door, end := twoNodes(func(*actor.Context, int) error { return errors.New("closed today") })
	defer end()
	_, err := actor.Call(context.Background(), door, Visit{})
	if e, ok := errors.AsType[*rpc.Error](err); ok {
		fmt.Println(e.Code, e.Verdict, e.Node, e.Message)
	}
	// Output: rpc: failed ran host closed today
}

// A deadline that passes is an error of package context, too.
func ExampleCode() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	sys, ref := doer()
	defer sys.Shutdown(context.Background())
	open := make(chan bool)
	defer close(open)
	waits := func(ctx *actor.Context) (string, error) { <-open; return "", nil }
	_, err := actor.Call(ctx, ref, Do{F: waits})
	fmt.Println(errors.Is(err, rpc.Expired), errors.Is(err, context.DeadlineExceeded))
	// Output: true true
}

// By default a peer whose certificate or NATS user has the name of its node has one
// principal on both roads. Any other has a principal for each road.
func ExamplePrincipalOf() {
	fmt.Println(rpc.PrincipalOf("tcp", transport.Peer{Node: "shop", Principal: "tls:shop"}))
	fmt.Println(rpc.PrincipalOf("nats", transport.Peer{Node: "shop", Principal: "nats:shop"}) == rpc.NodePrincipal("shop"))
	fmt.Println(rpc.PrincipalOf("tcp", transport.Peer{Node: "shop", Principal: "tls:ann"}))
	// Output:
	// node:shop
	// true
	// tls:ann
}

// A program in front of Tandem, a gateway for example, makes errors of its own with a code
// and a verdict.
func ExampleErrorf() {
	err := rpc.Errorf(rpc.Overloaded, rpc.NotRun, "%d requests wait in the gateway", 100)
	fmt.Println(err)
	fmt.Println(errors.Is(err, rpc.Overloaded), rpc.Ran(err))
	// Output:
	// rpc: overloaded: 100 requests wait in the gateway [not run]
	// true not run
}

// The zero policy is the default.
func ExampleRoadPolicy() {
	var p rpc.RoadPolicy
	fmt.Println(p, p.Valid())
	// Output: direct first true
}

func ExampleParseRequestID() {
	id, err := rpc.ParseRequestID("9f86d081884c7d65-17")
	fmt.Println(id.Seq, id.IsZero(), err)
	_, err = rpc.ParseRequestID("order-17")
	fmt.Println(err)
	// Output:
	// 17 false <nil>
	// rpc: invalid: "order-17" is not the id of a request [not run]
}
