package test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/tcp"
)

// The messages of the abused actor. Those with the wire name of another one are what a program
// sends that was built from another version.
type (
	PutOff struct {
		actor.Returns[int]
		How string
	}
	Double struct {
		actor.Returns[int]
		N int
	}
	Count struct {
		actor.Streams[int]
		N int
	}
	Total         struct{ actor.Collects[int, int] }
	Parrot        struct{ actor.Converses[int, int] }
	Self          struct{ actor.Returns[int] }
	Stranger      struct{ actor.Returns[int] }
	StrangerTold  struct{ N int }
	StrangeStream struct{ actor.Streams[int] }
	CountOne      struct{ actor.Returns[int] }
	DoubleMany    struct{ actor.Streams[int] }
	DoubleText    struct{ actor.Returns[string] }
)

func (Count) WireName() string      { return "misuse.count" }
func (CountOne) WireName() string   { return "misuse.count" }
func (Double) WireName() string     { return "misuse.double" }
func (DoubleMany) WireName() string { return "misuse.double" }
func (DoubleText) WireName() string { return "misuse.double" }

// abused is the actor that is misused.
type abused struct {
	later chan putOff
}

// putOff is a deferred answer, and the context of its request.
type putOff struct {
	*actor.Deferred[int]
	ctx context.Context
}

func (a abused) PutOff(ctx *actor.Context, m PutOff) (int, error) {
	later := actor.Defer[int](ctx)
	if m.How != "forgotten" {
		a.later <- putOff{later, ctx}
	}
	return 0, nil
}

func (abused) Double(ctx *actor.Context, m Double) (int, error) { return 2 * m.N, nil }

func (abused) Self(ctx *actor.Context, m Self) (int, error) {
	_, err := actor.Call(ctx, ctx.Self(), Double{})
	return 0, as(err)
}

func (abused) Count(ctx *actor.Context, m Count) (iter.Seq2[int, error], error) {
	return func(yield func(int, error) bool) {
		for i := range m.N {
			if !yield(i, nil) {
				return
			}
		}
	}, nil
}

func (abused) Total(ctx *actor.Context, m Total, in iter.Seq2[int, error]) (func() (int, error), error) {
	return func() (sum int, err error) {
		for n, err := range in {
			if err != nil {
				return 0, err
			}
			sum += n
		}
		return sum, nil
	}, nil
}

func (abused) Parrot(ctx *actor.Context, m Parrot, in iter.Seq2[int, error]) (iter.Seq2[int, error], error) {
	return in, nil
}

// as makes an error of a handler's own request an error of the handler: it arrives as Failed
// and HasRun, with the code and the text of the other one.
func as(err error) error {
	return fmt.Errorf("(%v, %v) %w", rpc.CodeOf(err), rpc.Ran(err), err)
}

// scene is the nodes and actors of one run of all misuses.
type scene struct {
	ctx         context.Context
	sys         *actor.System // the caller's
	server      *actor.System // the actor's, perhaps the same
	other       *actor.System // of another principal
	x           actor.Ref     // the actor
	queue, full actor.Ref     // one with short leases; one without room
	later       chan putOff
	expired     rpc.Token[int] // soon
	leftover    rpc.Token[int] // of the time before the shutdown
}

// submit submits a job, waits for its result, and returns its token.
func (s *scene) submit(t *testing.T) rpc.Token[int] {
	t.Helper()
	tok, err := actor.Submit(s.ctx, s.x, Double{N: 21})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := tok.Await(s.ctx); n != 42 || err != nil {
		t.Fatal(n, err)
	}
	return tok
}

// delivery pushes an item and pulls it.
func (s *scene) delivery(t *testing.T) actor.Delivery[int] {
	t.Helper()
	if err := actor.Push(s.ctx, s.queue, 1); err != nil {
		t.Fatal(err)
	}
	return s.pull(t)
}

// pull pulls one item.
func (s *scene) pull(t *testing.T) actor.Delivery[int] {
	t.Helper()
	ds, err := actor.Pull[int](s.ctx, s.queue)
	if err != nil || len(ds) != 1 {
		t.Fatal(len(ds), err)
	}
	return ds[0]
}

// overdue returns a delivery whose lease has ended, and the next delivery of the same item.
func (s *scene) overdue(t *testing.T) (d, again actor.Delivery[int]) {
	t.Helper()
	d = s.delivery(t)
	return d, s.pull(t)
}

// done fails the test at the first error.
func done(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// first is the first error of a stream, or nil.
func first(items iter.Seq2[int, error]) error {
	for _, err := range items {
		if err != nil {
			return err
		}
	}
	return nil
}

// gets is the error that a misuse is to cause.
type gets struct {
	code rpc.Code // 0: no error
	ran  rpc.Verdict
	gist string // of the text
}

var fine = gets{0, rpc.HasRun, ""}

// misuse is one wrong use, and the error that it is to cause.
type misuse struct {
	what string
	gets
	away *gets // if the actor is on another node; nil: the same
	do   func(t *testing.T, s *scene) error
}

// misuses returns all of them. The last ones shut the caller's system down.
func misuses() []misuse {
	return slices.Concat(misusesOfDeferred, misusesOfRequests, misusesOfTokens, misusesOfQueues, misusesOfStreams, misusesAfterShutdown)
}

// redeem returns the token of a text.
func redeem[R any](t *testing.T, sys *actor.System, text string) rpc.Token[R] {
	t.Helper()
	tok, err := actor.Redeem[R](sys, text)
	done(t, err)
	return tok
}

// deadLetter is the reason of the dead letter that do causes.
func (s *scene) deadLetter(t *testing.T, do func()) error {
	t.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	letters := s.server.DeadLetters(ctx)
	do()
	select {
	case l := <-letters:
		return l.Reason
	case <-s.ctx.Done():
		return errors.New("silence")
	}
}

// TestMisuse misuses every pattern within a node, over TCP and over NATS. The one who does so
// gets an error with a code, a verdict and a text at once, and nobody else is affected.
func TestMisuse(t *testing.T) {
	for _, road := range []string{"local", "TCP", "NATS"} {
		t.Run(road, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, road)
			for _, m := range misuses() {
				want := m.gets
				if m.away != nil && road != "local" {
					want = *m.away
				}
				ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Second, errors.New("the misuse hangs"))
				s.ctx = ctx
				err := m.do(t, s)
				cancel()
				t.Logf("%-48s %-15v %-7v %v", m.what, rpc.CodeOf(err), rpc.Ran(err), err)
				if rpc.CodeOf(err) != want.code || rpc.Ran(err) != want.ran || err != nil && !strings.Contains(err.Error(), want.gist) {
					t.Errorf("%s: %v, %v, %v; want %v, %v, ... %s ...", m.what, rpc.CodeOf(err), rpc.Ran(err), err, want.code, want.ran, want.gist)
				}
			}
		})
	}
}

// newScene starts the caller's node, that of the actor (which is the same if road is "local"),
// and one whose results expire after a second.
func newScene(t *testing.T, road string) *scene {
	t.Helper()
	later := make(chan putOff, 1)
	kind := actor.Define("misuse.abused", func() abused { return abused{later} },
		actor.Answer(abused.PutOff), actor.Answer(abused.Double), actor.Answer(abused.Self),
		actor.Produce(abused.Count), actor.Collect(abused.Total), actor.Converse(abused.Parrot))
	queues := actor.QueueKind[int]("misuse.queue", queue.Config{Lease: 500 * time.Millisecond, Attempts: 100})
	full := actor.QueueKind[int]("misuse.full", queue.Config{Capacity: 1})
	reg := static.New()
	roadOf := func() transport.Transport { return tcp.New(tcp.Config{Listen: "127.0.0.1:0"}) }
	if road == "NATS" {
		srv, err := embedded.Start(embedded.Config{StoreDir: t.TempDir()})
		done(t, err)
		t.Cleanup(func() { srv.Shutdown() })
		roadOf = func() transport.Transport {
			nc, err := natsbus.Connect(t.Context(), srv.URL())
			done(t, err)
			t.Cleanup(nc.Close)
			return natsbus.New(nc, natsbus.Config{})
		}
	}
	node := func(name string, life time.Duration) *actor.System {
		return start(t, actor.Config{Name: name, Registry: reg, Transports: []transport.Transport{roadOf()}, Kinds: []*actor.Kind{kind},
			TokenLife: life, Principals: func(road string, p transport.Peer) string { return road + " " + p.Principal }})
	}
	s := &scene{ctx: t.Context(), server: node("server", 0), later: later}
	client, brief := node("client", 0), node("brief", time.Second)
	s.sys, s.other = client, s.server
	if road == "local" {
		s.sys, s.other = s.server, client
	}
	for name, k := range map[string]*actor.Kind{"x": kind, "queue": queues, "full": full} {
		_, err := s.server.Spawn(name, k)
		done(t, err)
	}
	_, err := brief.Spawn("x", kind)
	done(t, err)
	s.x, s.queue, s.full = s.sys.Ref("x@server"), s.sys.Ref("queue@server"), s.sys.Ref("full@server")
	done(t, actor.Push(s.ctx, s.full, 1))
	s.expired, err = actor.Submit(s.ctx, s.sys.Ref("x@brief"), Double{N: 21})
	done(t, err)
	return s
}
