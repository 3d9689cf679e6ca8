package actor_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// SendMail is answered with the version and the zone of the instance that handles it.
type SendMail struct{ actor.Returns[string] }

var mailerKind = actor.Define("example.mailer", func() struct{} { return struct{}{} },
	actor.Answer(func(_ struct{}, ctx *actor.Context, m SendMail) (string, error) {
		if ctx.Header(actor.MirrorHeader) != "" {
			fmt.Println(ctx.Self(), "gets a copy")
		}
		return ctx.Self().Node(), nil
	}))

// mailers starts a node that exposes nothing, and one for each version and zone.
func mailers(places ...string) (client *actor.System, stop func()) {
	net, reg := memnet.New(memnet.Config{}), static.New()
	var all []*actor.System
	start := func(name, version, zone string) *actor.System {
		sys := must(actor.NewSystem(actor.Config{Name: name, Version: version, Zone: zone, Registry: reg,
			Transports: []transport.Transport{net.Transport("direct", true)}, Logger: slog.New(slog.DiscardHandler)}))
		all = append(all, sys)
		return sys
	}
	for i := 0; i < len(places); i += 3 {
		must(start(places[i], places[i+1], places[i+2]).Spawn("mailer", mailerKind, actor.Expose("mailer", "post")))
	}
	return start("client", "", ""), func() {
		for _, sys := range all {
			sys.Shutdown(context.Background())
		}
	}
}

// Only instances of a version, in a zone, or preferably there.
func ExampleVersion() {
	sys, stop := mailers("old", "1.4.0", "eu", "new", "2.0.1", "eu", "far", "2.0.1", "us")
	defer stop()
	ctx := context.Background()
	two := sys.Service("mailer", actor.Version("^2"), actor.Zone("us"))
	fmt.Println(two)
	fmt.Println(actor.Call(ctx, two, SendMail{}))
	fmt.Println(actor.Call(ctx, sys.Service("mailer", actor.Version("1.x"), actor.PreferZone("us")), SendMail{}))

	_, err := actor.Call(ctx, sys.Service("mailer", actor.Version("^3")), SendMail{})
	fmt.Println(errors.Is(err, rpc.NotFound), rpc.Ran(err))
	// Output:
	// mailer?version=^2&zone=us@*
	// far <nil>
	// old <nil>
	// true not run
}

// A tenth of the requests goes to the new version, then none, then all.
func ExampleSystem_SetWeights() {
	sys, stop := mailers("old", "1.4.0", "", "new", "2.0.1", "")
	defer stop()
	for _, weights := range []map[string]int{{"^1": 90, "^2": 10}, {"^1": 1, "^2": 0}, {"^2": 1}} {
		if err := sys.SetWeights("mailer", weights); err != nil {
			fmt.Println(err)
		}
		served := map[string]int{}
		for range 400 {
			served[must(actor.Call(context.Background(), sys.Service("mailer"), SendMail{}))]++
		}
		fmt.Println(served["old"] > served["new"], served["new"] > 0)
	}
	fmt.Println(sys.SetWeights("mailer", map[string]int{"^1": -1}))
	fmt.Println(sys.Weights("mailer"))
	// Output:
	// true true
	// true false
	// false true
	// rpc: invalid: weights of service mailer: version ^1: weight -1: want 0 to 1000000 [not run]
	// map[^2:1]
}

// The new version gets a copy of each request. Its answers are only counted.
func ExampleSystem_SetMirror() {
	sys, stop := mailers("old", "1.4.0", "", "new", "2.0.1", "")
	defer stop()
	if err := sys.SetWeights("mailer", map[string]int{"^1": 1}); err != nil {
		fmt.Println(err)
	}
	if err := sys.SetMirror("mailer", actor.Mirror{To: "mailer?version=^2", Percent: 100}); err != nil {
		fmt.Println(err)
	}
	who, err := actor.Call(context.Background(), sys.Service("mailer"), SendMail{})
	for sys.Stats().Mirror.Answered == 0 { // the copy is on its way
		runtime.Gosched()
	}
	fmt.Println(who, err)
	// Unordered output:
	// mailer@new gets a copy
	// old <nil>
}

// An actor may have several names, and a name several actors.
func ExampleExpose_aliases() {
	sys, stop := mailers("a", "1.4.0", "")
	defer stop()
	for _, name := range []string{"mailer", "post"} {
		fmt.Println(actor.Call(context.Background(), sys.Service(name), SendMail{}))
	}
	// Output:
	// a <nil>
	// a <nil>
}
