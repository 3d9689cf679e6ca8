package protobuf_test

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tandem-go/tandem/actor"
	ledgers "github.com/tandem-go/tandem/ledger/jetstream"
	claims "github.com/tandem-go/tandem/placement/memory"
	"github.com/tandem-go/tandem/queue"
	queues "github.com/tandem-go/tandem/queue/jetstream"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/rpc/codec/protobuf"
	"github.com/tandem-go/tandem/rpc/codec/protobuf/internal/bankpb"
	"github.com/tandem-go/tandem/rpc/codec/protobuf/internal/bankpb2"
	states "github.com/tandem-go/tandem/state/memory"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/tcp"
)

// account is the state of the actors of these tests. None of its messages says how it is answered.
type account struct {
	Amount int64
	last   *bankpb.Deposit
	heard  chan *bankpb.Entry
}

func (a *account) deposit(_ *actor.Context, m *bankpb.Deposit) (*bankpb.Balance, error) {
	a.Amount += m.Amount
	before := a.last
	a.last = m
	return &bankpb.Balance{Amount: a.Amount, Last: before}, nil
}

func (a *account) balance(*actor.Context, *bankpb.Empty) (*bankpb.Balance, error) {
	return &bankpb.Balance{Amount: a.Amount}, nil
}

// later answers a deposit when the handler is over.
func (a *account) later(ctx *actor.Context, m *bankpb.Balance) (*bankpb.Balance, error) {
	later := actor.Defer[*bankpb.Balance](ctx)
	go func() { _ = later.Answer(m) }()
	return nil, nil
}

func (a *account) note(_ *actor.Context, m *bankpb.Entry) error { a.heard <- m; return nil }

func (a *account) list(_ *actor.Context, m *bankpb.List) (iter.Seq2[*bankpb.Entry, error], error) {
	return func(yield func(*bankpb.Entry, error) bool) {
		for i := range m.Above {
			if !yield(&bankpb.Entry{Amount: i, Text: fmt.Sprint(i)}, nil) {
				return
			}
		}
	}, nil
}

func (a *account) nothing(*actor.Context, *bankpb.Empty) (*bankpb.Empty, error) { return nil, nil }

// The messages of the other streams.
type upload struct {
	actor.Collects[*bankpb.Entry, *bankpb.Balance]
}
type talk struct {
	actor.Converses[*bankpb.Entry, *bankpb.Balance]
}

func (upload) WireName() string { return "test.upload" }
func (talk) WireName() string   { return "test.talk" }

func sum(_ *account, _ *actor.Context, _ upload, in iter.Seq2[*bankpb.Entry, error]) (func() (*bankpb.Balance, error), error) {
	return func() (*bankpb.Balance, error) {
		b := &bankpb.Balance{}
		for e, err := range in {
			if err != nil {
				return nil, err
			}
			b.Amount += e.Amount
		}
		return b, nil
	}, nil
}

func echo(_ *account, _ *actor.Context, _ talk, in iter.Seq2[*bankpb.Entry, error]) (iter.Seq2[*bankpb.Balance, error], error) {
	return func(yield func(*bankpb.Balance, error) bool) {
		for e, err := range in {
			if !yield(&bankpb.Balance{Amount: e.GetAmount()}, err) {
				return
			}
		}
	}, nil
}

// wrapped is a message of another type that holds one.
type wrapped struct {
	actor.Returns[wrapped]
	Deposit *bankpb.Deposit
}

func (wrapped) WireName() string { return "test.wrapped" }

func accountKind(name string, heard chan *bankpb.Entry) *actor.Kind {
	return actor.Define(name, func() *account { return &account{heard: heard} },
		actor.AnswerAs((*account).deposit), actor.AnswerAs((*account).later), actor.AnswerAs((*account).nothing), actor.Handle((*account).note), actor.ProduceAs((*account).list),
		actor.CollectAs(sum), actor.ConverseAs(echo),
		actor.Answer(func(_ *account, _ *actor.Context, m wrapped) (wrapped, error) { return m, nil }))
}

var (
	// news is a topic of messages that nobody wraps.
	news      = actor.NewTopic[*bankpb.Entry]("bank.news")
	depositsQ = actor.QueueKind[*bankpb.Deposit]("deposits", queue.Config{Lease: time.Minute})
)

// full is a deposit with something in many fields.
func full(amount int64) *bankpb.Deposit {
	return &bankpb.Deposit{Account: "alice", Amount: amount, Notes: map[string]string{"a": "1", "b": "2"}, By: &bankpb.Deposit_Person{Person: "bob"}, Entries: []*bankpb.Entry{{Amount: amount}}}
}

// cluster is where the actors are: in the system that asks, or in another one.
type cluster struct {
	ctx        context.Context
	near, far  *actor.System
	heard      chan *bankpb.Entry
	stored     *actor.Kind
	durable    *actor.Kind
	storedQ    *actor.Kind
	restartFar func() *actor.System
}

func newCluster(t *testing.T, road string) *cluster {
	srv := servers.Start(t, embedded.Config{StoreDir: t.TempDir()})
	js := servers.Connect(t, srv)
	ctx := servers.Within(t, time.Minute)
	c := &cluster{ctx: ctx, heard: make(chan *bankpb.Entry, 10)}
	c.durable = accountKind("durable", c.heard).With(actor.Durable())
	c.stored = actor.Define("stored", func() *account { return new(account) }, actor.AnswerAs((*account).deposit),
		actor.ReadAs((*account).balance)).With(actor.Virtual(), actor.Stored(func(a *account) *account { return a }))
	kept, held := states.New(states.Config{}), claims.New()
	start := func(name string) *actor.System {
		cfg := actor.Config{Name: name, Logger: slog.New(slog.DiscardHandler), Codec: protobuf.New(codec.Limits{}), States: kept, Claims: held}
		if name == "far" || road == "local" {
			cfg.Kinds, cfg.Store = []*actor.Kind{c.stored, c.durable}, ledgers.New(js, ledgers.Config{})
		} else {
			cfg.Kinds = []*actor.Kind{}
		}
		nodes, err := natskv.New(ctx, js, natskv.Config{})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Registry = nodes
		switch road {
		case "TCP", "local":
			cfg.Transports = []transport.Transport{tcp.New(tcp.Config{Listen: "127.0.0.1:0"})}
		case "NATS":
			cfg.Transports = []transport.Transport{natsbus.New(js.Conn(), natsbus.Config{})}
		}
		cfg.CopyLocal = road == "local"
		sys, err := actor.NewSystem(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = sys.Shutdown(context.Background()) })
		return sys
	}
	c.near = start("near")
	c.far = c.near
	if road != "local" {
		c.far = start("far")
	}
	q, err := queues.Open(ctx, js, queues.Config{Name: "deposits", Codec: protobuf.New(codec.Limits{})})
	if err != nil {
		t.Fatal(err)
	}
	c.storedQ = actor.StoredQueueKind[*bankpb.Deposit]("storedq", q)
	c.restartFar = func() *actor.System {
		if err := c.far.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		return start("far")
	}
	return c
}

// spawn spawns an actor where the others are, and returns its ref as the caller has it.
func (c *cluster) spawn(t *testing.T, name string, kind *actor.Kind) actor.Ref {
	t.Helper()
	if _, err := c.far.Spawn(name, kind); err != nil {
		t.Fatal(err)
	}
	return c.near.Ref(name + "@" + c.far.Name())
}

// equal fails the test unless got is want.
func equal(t *testing.T, what string, got, want proto.Message, err error) {
	t.Helper()
	if err != nil || !proto.Equal(got, want) {
		t.Fatalf("%s: got %v, %v; want %v", what, got, err, want)
	}
}

// All verbs work with messages that are generated.
func TestVerbs(t *testing.T) {
	for _, road := range []string{"local", "TCP", "NATS"} {
		t.Run(road, func(t *testing.T) {
			c := newCluster(t, road)
			ctx, heard := c.ctx, c.heard
			ref := c.spawn(t, "alice", accountKind("account", heard))

			got, err := actor.CallAs[*bankpb.Balance](ctx, ref, full(5))
			equal(t, "Call", got, &bankpb.Balance{Amount: 5}, err)
			got, err = actor.AskAs[*bankpb.Balance](ctx, ref, full(6)).Await(ctx)
			equal(t, "Ask: the first message was kept, and is as it was", got, &bankpb.Balance{Amount: 11, Last: full(5)}, err)
			got, err = actor.CallAs[*bankpb.Balance](ctx, ref, &bankpb.Balance{Amount: 3})
			equal(t, "an answer put off", got, &bankpb.Balance{Amount: 3}, err)
			got, err = actor.CallAs[*bankpb.Balance](ctx, ref, full(1), rpc.Key("k"))
			equal(t, "with a key", got, &bankpb.Balance{Amount: 12, Last: full(6)}, err)
			got, err = actor.CallAs[*bankpb.Balance](ctx, ref, full(1), rpc.Key("k"))
			equal(t, "with the key again", got, &bankpb.Balance{Amount: 12, Last: full(6)}, err)
			both, err := actor.Call(ctx, ref, wrapped{Deposit: full(9)})
			equal(t, "within another message", both.Deposit, full(9), err)

			if err := actor.Tell(ctx, ref, &bankpb.Entry{Text: "told"}); err != nil {
				t.Fatal(err)
			}
			equal(t, "Tell", <-heard, &bankpb.Entry{Text: "told"}, nil)
			if err := actor.TellReliably(ctx, ref, &bankpb.Entry{Text: "for sure"}); err != nil {
				t.Fatal(err)
			}
			equal(t, "TellReliably", <-heard, &bankpb.Entry{Text: "for sure"}, nil)

			token, err := actor.SubmitAs[*bankpb.Balance](ctx, ref, full(1))
			if err != nil {
				t.Fatal(err)
			}
			got, err = token.Await(ctx)
			equal(t, "Submit", got, &bankpb.Balance{Amount: 13, Last: full(1)}, err)
			wrong, err := actor.Redeem[*bankpb.Entry](c.near, token.String())
			if err != nil {
				t.Fatal(err)
			}
			if e, err := wrong.Await(ctx); rpc.CodeOf(err) != rpc.WrongReply || rpc.Ran(err) != rpc.HasRun {
				t.Errorf("the result as another type: %v, %v", e, err)
			}

			n := int64(0)
			for e, err := range actor.StreamAs[*bankpb.Entry](ctx, ref, &bankpb.List{Above: 3000}) {
				equal(t, "Stream", e, &bankpb.Entry{Amount: n, Text: fmt.Sprint(n)}, err)
				n++
			}
			if n != 3000 {
				t.Errorf("%d items", n)
			}
			up, err := actor.OpenAs[*bankpb.Entry, *bankpb.Balance](ctx, ref, upload{})
			if err != nil {
				t.Fatal(err)
			}
			for i := range int64(100) {
				if err := up.Send(ctx, &bankpb.Entry{Amount: i}); err != nil {
					t.Fatal(err)
				}
			}
			got, err = up.CloseAndReceive(ctx)
			equal(t, "Open", got, &bankpb.Balance{Amount: 4950}, err)
			d, err := actor.TalkAs[*bankpb.Entry, *bankpb.Balance](ctx, ref, talk{})
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Send(ctx, &bankpb.Entry{Amount: 8}); err != nil {
				t.Fatal(err)
			}
			for b, err := range d.Items() {
				equal(t, "Talk", b, &bankpb.Balance{Amount: 8}, err)
				break
			}
		})
	}
}

// What is kept, and what is handed on, works with them too.
func TestKept(t *testing.T) {
	for _, road := range []string{"local", "TCP", "NATS"} {
		t.Run(road, func(t *testing.T) {
			c := newCluster(t, road)
			ctx := c.ctx
			for name, kind := range map[string]*actor.Kind{"q": depositsQ, "storedq": c.storedQ} {
				q := c.spawn(t, name, kind)
				for i := range int64(3) {
					if err := actor.Push(ctx, q, full(i)); err != nil {
						t.Fatal(name, err)
					}
				}
				for i := range int64(3) {
					ds, err := actor.Pull[*bankpb.Deposit](ctx, q)
					if err != nil || len(ds) != 1 {
						t.Fatal(name, ds, err)
					}
					equal(t, name, ds[0].Message, full(i), ds[0].Ack(ctx))
				}
			}

			alice := c.near.Virtual(c.stored, "alice")
			got, err := actor.CallAs[*bankpb.Balance](ctx, alice, full(5))
			equal(t, "a stored actor", got, &bankpb.Balance{Amount: 5}, err)
			if err := c.far.Stop(ctx, alice); err != nil {
				t.Fatal(err)
			}
			got, err = actor.CallAs[*bankpb.Balance](ctx, alice, full(2))
			equal(t, "a stored actor, again", got, &bankpb.Balance{Amount: 7}, err)
			got, err = actor.CallAs[*bankpb.Balance](ctx, alice, &bankpb.Empty{})
			equal(t, "Read", got, &bankpb.Balance{Amount: 7}, err)

			d := c.spawn(t, "d", c.durable)
			got, err = actor.CallAs[*bankpb.Balance](ctx, d, full(5), rpc.Key("k"))
			equal(t, "a durable actor", got, &bankpb.Balance{Amount: 5}, err)
			token, err := actor.SubmitAs[*bankpb.Balance](ctx, d, full(6))
			if err != nil {
				t.Fatal(err)
			}
			got, err = token.Await(ctx)
			equal(t, "a durable job", got, &bankpb.Balance{Amount: 11, Last: full(5)}, err)
			if road == "local" {
				return
			}
			c.far = c.restartFar()
			d = c.spawn(t, "d", c.durable)
			again, err := token.Await(ctx)
			equal(t, "a durable job after a restart", again, got, err)
			got, err = actor.CallAs[*bankpb.Balance](ctx, d, full(5), rpc.Key("k"))
			equal(t, "a key after a restart", got, &bankpb.Balance{Amount: 5}, err)
		})
	}
}

// hears subscribes to the topic.
type hears struct{ account }

func (h *hears) Started(ctx *actor.Context) error { return ctx.Subscribe(news) }

func TestTopic(t *testing.T) {
	c := newCluster(t, "TCP")
	c.spawn(t, "h", actor.Define("hears", func() *hears { return &hears{account{heard: c.heard}} },
		actor.Handle(func(h *hears, ctx *actor.Context, m *bankpb.Entry) error { return h.note(ctx, m) })))
	for { // until the node that publishes knows of the subscription
		if err := actor.Publish(c.ctx, news.At("bank.news").Bind(c.near), &bankpb.Entry{Text: "news"}); err != nil {
			t.Fatal(err)
		}
		select {
		case m := <-c.heard:
			equal(t, "Publish", m, &bankpb.Entry{Text: "news"}, nil)
			return
		case <-c.ctx.Done():
			t.Fatal("nothing came")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// A pair of types that do not belong together is refused, and the verdict says whether the handler ran.
func TestWrongPairs(t *testing.T) {
	for _, road := range []string{"local", "TCP", "NATS"} {
		t.Run(road, func(t *testing.T) {
			c := newCluster(t, road)
			ctx := c.ctx
			ref := c.spawn(t, "alice", accountKind("account", c.heard))
			after := rpc.NotRun // on one node the two are compared before
			if road != "local" {
				after = rpc.HasRun
			}
			first := func(seq iter.Seq2[*bankpb.Balance, error]) error {
				for _, err := range seq {
					return err
				}
				return nil
			}
			_, wrongReply := actor.CallAs[*bankpb.Entry](ctx, ref, full(1))
			_, noReply := actor.CallAs[*bankpb.Balance](ctx, ref, &bankpb.Empty{})
			_, unknown := actor.CallAs[*bankpb.Balance](ctx, ref, &bankpb2.Deposit{})
			_, none := actor.CallAs[*bankpb.Balance](ctx, ref, (*bankpb.Deposit)(nil))
			_, nilReply := actor.CallAs[*bankpb.Empty](ctx, ref, &bankpb.Empty{})
			_, declared := actor.CallAs[*bankpb.Balance](ctx, ref, wrapped{})
			_, sink := actor.OpenAs[*bankpb.Balance, *bankpb.Balance](ctx, ref, upload{})
			for what, row := range map[string]struct {
				err     error
				code    rpc.Code
				verdict rpc.Verdict
			}{
				"another reply":                    {wrongReply, rpc.WrongReply, after},
				"another message":                  {unknown, rpc.Unhandled, rpc.NotRun},
				"nil":                              {none, rpc.Invalid, rpc.NotRun},
				"a nil reply":                      {nilReply, rpc.Undecodable, rpc.HasRun},
				"nil reply, wanted otherwise":      {noReply, map[bool]rpc.Code{true: rpc.WrongReply, false: rpc.Undecodable}[road == "local"], after},
				"another reply than the type says": {declared, rpc.WrongReply, rpc.NotRun},
				"a stream of other items":          {first(actor.StreamAs[*bankpb.Balance](ctx, ref, &bankpb.List{Above: 1})), rpc.WrongReply, rpc.HasRun},
				"a nil message for a stream":       {first(actor.StreamAs[*bankpb.Balance](ctx, ref, (*bankpb.List)(nil))), rpc.Invalid, rpc.NotRun},
				"a sink of other items":            {sink, rpc.WrongReply, rpc.NotRun},
				"a stream of what is no stream":    {first(actor.StreamAs[*bankpb.Balance](ctx, ref, full(1))), rpc.WrongReply, after},
			} {
				if rpc.CodeOf(row.err) != row.code || rpc.Ran(row.err) != row.verdict {
					t.Errorf("%s: %v (%v), want %v, %v", what, row.err, rpc.Ran(row.err), row.code, row.verdict)
				}
			}
		})
	}
}
