package natsapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/natsapi"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/state/memory"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// The messages of the tests.
type (
	deposit struct {
		actor.Returns[int]
		Amount int
	}
	note  struct{ Text string }
	who   struct{ actor.Returns[string] }
	trace struct{ actor.Returns[string] }
	large struct {
		actor.Returns[string]
		Size int
	}
	wait struct {
		actor.Returns[string]
		Name string // if it is not empty, the handler says it, and waits until it may leave
		Deaf bool   // also when its time is over
		Fail string
	}
	count struct {
		actor.Streams[int]
		To   int
		Fail bool
		Hang bool // it waits until it may leave, also when its time is over
	}
)

func (deposit) WireName() string { return "bank.Deposit" }
func (note) WireName() string    { return "bank.Note" }
func (who) WireName() string     { return "bank.Who" }
func (trace) WireName() string   { return "bank.Trace" }
func (large) WireName() string   { return "bank.Large" }
func (wait) WireName() string    { return "bank.Wait" }
func (count) WireName() string   { return "bank.Count" }

var errPoor = rpc.NewError("bank.poor", "not enough\nmoney")

type account struct{ Sum int }

func (a *account) deposit(_ *actor.Context, m deposit) (int, error) {
	if a.Sum+m.Amount < 0 {
		return 0, errPoor
	}
	a.Sum += m.Amount
	return a.Sum, nil
}

// desk is an actor whose handlers wait where a test lets them.
type desk struct {
	account
	entered, leave chan string
	notes          chan string
}

func (d *desk) deposit(ctx *actor.Context, m deposit) (int, error) { return d.account.deposit(ctx, m) }
func (d *desk) who(ctx *actor.Context, _ who) (string, error)      { return ctx.Principal(), nil }
func (d *desk) trace(ctx *actor.Context, _ trace) (string, error) {
	t := ctx.Trace()
	return fmt.Sprintf("%x", t[:16]), nil
}
func (d *desk) large(_ *actor.Context, m large) (string, error) {
	return strings.Repeat("x", m.Size), nil
}
func (d *desk) note(_ *actor.Context, m note) error {
	d.notes <- m.Text
	return nil
}

func (d *desk) wait(ctx *actor.Context, m wait) (string, error) {
	switch {
	case m.Fail == "panic":
		panic("wait")
	case m.Fail == "poor":
		return "", errPoor
	case m.Fail != "":
		return "", fmt.Errorf("the password is %s", m.Fail)
	case m.Name == "":
		return "", nil
	}
	d.entered <- m.Name
	over := ctx.Done()
	if m.Deaf {
		over = nil
	}
	select {
	case n := <-d.leave:
		return n, nil
	case <-over:
		return "", ctx.Err()
	}
}

func (d *desk) count(_ *actor.Context, m count) (iter.Seq2[int, error], error) {
	return func(yield func(int, error) bool) {
		for n := range m.To {
			if !yield(n, nil) {
				return
			}
		}
		if m.Hang {
			<-d.leave
		}
		if m.Fail {
			yield(0, errPoor)
		}
	}, nil
}

// rig is NATS, a node with an actor "desk", a service "desks" and virtual actors "account", and gateways to them.
type rig struct {
	t     testing.TB
	nats  *embedded.Server
	sys   *actor.System
	table *gateway.Table
	desk  *desk
	conn  *nats.Conn // the client's
}

func newRig(t testing.TB, cfg embedded.Config) *rig {
	t.Helper()
	r := &rig{t: t, nats: servers.Start(t, cfg), desk: &desk{entered: make(chan string, 8), leave: make(chan string, 8), notes: make(chan string, 8)}}
	deskKind := actor.Define("desk", func() *desk { return r.desk }, actor.Answer((*desk).deposit), actor.Answer((*desk).who), actor.Answer((*desk).trace),
		actor.Answer((*desk).large), actor.Handle((*desk).note), actor.Answer((*desk).wait), actor.Produce((*desk).count))
	accountKind := actor.Define("account", func() *account { return new(account) }, actor.Answer((*account).deposit)).
		With(actor.Virtual(), actor.Stored(func(a *account) *account { return a }))
	var err error
	r.sys, err = actor.NewSystem(actor.Config{Name: "bank", Kinds: []*actor.Kind{accountKind, deskKind}, States: memory.New(memory.Config{}), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.sys.Shutdown(context.Background()) })
	ref, err := r.sys.Spawn("desk", deskKind, actor.Expose("desks"))
	if err != nil {
		t.Fatal(err)
	}
	r.table, err = gateway.Config{Bindings: new(gateway.MemoryBindings)}.New(r.sys, gateway.Actor("desk", ref, deskKind), gateway.Service("desks", deskKind), gateway.Virtual("account", accountKind))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// connect opens a connection that ends with the test.
func (r *rig) connect(opts ...nats.Option) *nats.Conn {
	r.t.Helper()
	nc, err := r.nats.Connect(append([]nats.Option{nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})}, opts...)...)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(nc.Close)
	return nc
}

// serve starts a gateway, which ends with the test.
func (r *rig) serve(cfg natsapi.Config, opts ...nats.Option) *natsapi.Server {
	r.t.Helper()
	cfg.Table, cfg.Logger = r.table, slog.New(slog.DiscardHandler)
	cfg.Connect = func(context.Context) (*nats.Conn, error) { return r.nats.Connect(opts...) }
	s, err := natsapi.Serve(r.t.Context(), cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = s.Close(context.Background()) })
	if r.conn == nil && opts == nil {
		r.conn = r.connect()
	}
	return s
}

// message is a request; headers are pairs of names and values.
func message(subject, body string, headers ...string) *nats.Msg {
	m := &nats.Msg{Subject: subject, Data: []byte(body), Header: nats.Header{}}
	for i := 0; i < len(headers); i += 2 {
		m.Header[headers[i]] = append(m.Header[headers[i]], headers[i+1])
	}
	return m
}

// ask makes a request as the client "ann".
func (r *rig) ask(to, body string, headers ...string) *nats.Msg {
	r.t.Helper()
	m, err := r.conn.RequestMsgWithContext(servers.Within(r.t, 30*time.Second), message("tandem.api.ann."+to, body, headers...))
	if err != nil {
		r.t.Fatalf("%s: %v", to, err)
	}
	return m
}

// want checks an answer: its headers, given as pairs of names and values where "" is that there is none, and its body, which
// is not looked at if it is empty.
func want(t testing.TB, what string, m *nats.Msg, body string, headers ...string) {
	t.Helper()
	if body != "" && string(m.Data) != body {
		t.Errorf("%s: %s, want %s", what, m.Data, body)
	}
	for i := 0; i < len(headers); i += 2 {
		if got := m.Header.Get(headers[i]); got != headers[i+1] {
			t.Errorf("%s: %s is %q, want %q (%s)", what, headers[i], got, headers[i+1], m.Data)
		}
	}
}

// refused checks the answer of a request that failed.
func refused(t testing.TB, what string, m *nats.Msg, status, code, ran string) {
	t.Helper()
	want(t, what, m, "", "Nats-Service-Error-Code", status, "Tandem-Code", code, "Tandem-Ran", ran, "Content-Type", "application/problem+json")
	var p gateway.Problem
	if err := json.Unmarshal(m.Data, &p); err != nil || fmt.Sprint(p.Status) != status || p.Code != code || p.Ran != ran {
		t.Errorf("%s: the problem is %s, %v", what, m.Data, err)
	}
	if m.Header.Get("Nats-Service-Error") == "" {
		t.Errorf("%s: no text", what)
	}
}
