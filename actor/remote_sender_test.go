package actor_test

import (
	"context"
	"log/slog"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// forged is a road that changes the sender in each message.
type forged struct {
	transport.Transport
	sender string
}

func (f forged) Dial(ctx context.Context, to transport.Endpoint, open func(transport.Link) transport.Receiver) (transport.Link, error) {
	return f.Transport.Dial(ctx, to, func(l transport.Link) transport.Receiver { return open(forgedLink{l, f.sender}) })
}

type forgedLink struct {
	transport.Link
	sender string
}

func (l forgedLink) Send(e *transport.Envelope) (uint64, error) {
	if l.sender != "" && (e.Verb == transport.VerbRequest || e.Verb == transport.VerbTell) {
		e.Sender = l.sender
	}
	return l.Link.Send(e)
}

// The sender of a message is an actor of the node that sent the message, or none, even if the
// message names another one.
func TestSenderIsOfTheSendingNode(t *testing.T) {
	for _, c := range []struct{ what, principal, sender, want string }{
		{"its own", "tls:a", "", "x@a"},
		{"another of its own", "tls:a", "y@a", "y@a"},
		{"another node's", "tls:a", "x@c", ""},
		{"the receiver's", "tls:a", "x@b", ""},
		{"a node that it is not", "tls:mallory", "x@a", ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			bubble.Test(t, func(t *testing.T) {
				net, reg := memnet.New(memnet.Config{Seed: 1}), static.New()
				start := func(name string, road transport.Transport) *actor.System {
					sys, err := actor.NewSystem(actor.Config{Name: name, Registry: reg, Transports: []transport.Transport{road}, Logger: slog.New(slog.DiscardHandler)})
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { sys.Shutdown(context.Background()) })
					return sys
				}
				b := start("b", net.TransportAs("direct", true, "tls:b"))
				a := start("a", forged{net.TransportAs("direct", true, c.principal), c.sender})
				spawn(t, b, "who", actor.Define("test.who", func() int { return 0 },
					actor.Answer(func(_ int, ctx *actor.Context, _ Say) (string, error) { return ctx.Sender().String(), nil })))
				x := spawn(t, a, "x", PuppetKind)
				got, err := actor.Call(t.Context(), x, run(func(ctx *actor.Context) (string, error) { return actor.Call(ctx, a.Ref("who@b"), Say{}) }))
				if got != c.want || err != nil {
					t.Errorf("sender %q, %v; want %q", got, err, c.want)
				}
				if n := b.Stats().RPC.LinksForeign; (n > 0) != (c.principal == "tls:mallory") {
					t.Errorf("%d foreign links", n)
				}
			})
		})
	}
}
