package actor_test

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// ReadBooks and CloseBooks are what others may want of the books.
type (
	ReadBooks  struct{ actor.Returns[string] }
	CloseBooks struct{ actor.Returns[string] }
)

func (ReadBooks) WireName() string  { return "books.Read" }
func (CloseBooks) WireName() string { return "books.Close" }

type shelf struct{}

// Read answers with who asked, which the road has proven.
func (shelf) Read(ctx *actor.Context, _ ReadBooks) (string, error) {
	return "read by " + ctx.Principal() + " from node " + ctx.Node(), nil
}

func (shelf) Close(ctx *actor.Context, _ CloseBooks) (string, error) { return "closed", nil }

var booksKind = actor.Define("example.books", func() shelf { return shelf{} },
	actor.Answer(shelf.Read), actor.Answer(shelf.Close))

// twoDesks starts two nodes, and says what else is to be in the configuration of the second.
func twoDesks(change func(*actor.Config)) (front, office *actor.System, end func()) {
	net, reg := memnet.New(memnet.Config{}), static.New()
	var all [2]*actor.System
	for i, name := range []string{"front", "office"} {
		cfg := actor.Config{Name: name, Registry: reg, Logger: slog.New(slog.DiscardHandler),
			Transports: []transport.Transport{net.Transport("direct", true)}}
		if name == "office" {
			change(&cfg)
		}
		var err error
		if all[i], err = actor.NewSystem(cfg); err != nil {
			panic(err)
		}
	}
	return all[0], all[1], func() {
		for _, sys := range all {
			_ = sys.Shutdown(context.Background())
		}
	}
}

// Everybody may read the books; to close them is for the staff.
func ExampleSystem_SetAccess() {
	rules := access.Rules{
		Groups: map[string][]string{"staff": {"tls:ann", "tls:bob"}},
		List: []access.Rule{
			{Effect: access.Allow, Principals: []string{"@staff"}},
			{Effect: access.Allow, Kinds: []string{"example.books"}, Messages: []string{"books.Read"}},
		},
		Default: access.Deny,
	}
	front, office, end := twoDesks(func(c *actor.Config) { c.Access = rules })
	defer end()
	if _, err := office.Spawn("books", booksKind); err != nil {
		fmt.Println(err)
		return
	}
	ctx, ref := context.Background(), front.Ref("books@office")
	_, err := actor.Call(ctx, ref, ReadBooks{})
	fmt.Println("read:", err)
	_, err = actor.Call(ctx, ref, CloseBooks{})
	fmt.Println("close:", rpc.CodeOf(err), rpc.Ran(err))

	rules.Groups["staff"] = append(rules.Groups["staff"], transport.Anonymous) // of a road without certificates
	if err := office.SetAccess(rules); err != nil {
		fmt.Println(err)
	}
	_, err = actor.Call(ctx, ref, CloseBooks{})
	fmt.Println("close:", err)
	// Output:
	// read: <nil>
	// close: rpc: denied not run
	// close: <nil>
}

// A handler learns who sent the message, and from which node.
func ExampleContext_Principal() {
	front, office, end := twoDesks(func(c *actor.Config) {
		c.Principals = func(road string, peer transport.Peer) string { return road + ":" + peer.Principal }
	})
	defer end()
	if _, err := office.Spawn("books", booksKind); err != nil {
		fmt.Println(err)
		return
	}
	for _, sys := range []*actor.System{front, office} {
		said, err := actor.Call(context.Background(), sys.Ref("books@office"), ReadBooks{})
		fmt.Println(said, err)
	}
	// Output:
	// read by direct:anonymous from node front <nil>
	// read by loopback:anonymous from node office <nil>
}

// What is kept local can be reached from its own node alone.
func ExampleLocalOnly() {
	front, office, end := twoDesks(func(*actor.Config) {})
	defer end()
	ref, err := office.Spawn("books", booksKind, actor.LocalOnly()) // or booksKind.With(actor.KeptLocal()), for all of a kind
	if err != nil {
		fmt.Println(err)
		return
	}
	said, err := actor.Call(context.Background(), ref, CloseBooks{})
	fmt.Println(said, err)
	_, err = actor.Call(context.Background(), front.Ref("books@office"), CloseBooks{})
	fmt.Println(rpc.CodeOf(err), rpc.Ran(err))
	// Output:
	// closed <nil>
	// rpc: denied not run
}
