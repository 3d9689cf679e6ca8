package actor_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/transport"
)

// BenchmarkService compares calls to a service with calls to one actor: on this node with 1,
// 16 and 256 instances, and on another node.
func BenchmarkService(b *testing.B) {
	bench := func(name string, sys *actor.System, to actor.Ref) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := actor.Call(context.Background(), to, Balance{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	sys := newSystem(b, actor.Config{Logger: quiet})
	for _, n := range []int{1, 16, 256} {
		service := fmt.Sprint("s", n)
		for i := range n {
			spawn(b, sys, fmt.Sprint(service, "-", i), AccountKind, actor.Expose(service))
		}
		bench(fmt.Sprint("local/", n), sys, sys.Service(service))
	}
	bench("local/plain", sys, sys.Ref("s1-0"))
	x, y := pair(b, func() []transport.Transport { return []transport.Transport{overTCP()} })
	for i := range 16 {
		spawn(b, y, fmt.Sprint("r", i), AccountKind, actor.Expose("r"))
	}
	if _, err := actor.Call(context.Background(), x.Ref("r0@b"), Balance{}); err != nil {
		b.Fatal(err)
	}
	bench("remote/16", x, x.Service("r"))
	bench("remote/plain", x, x.Ref("r0@b"))
}
