package load

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/natsapi"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

type echo struct {
	actor.Returns[int]
	Do string // "fail", "wait"; else it answers
}

func (echo) WireName() string { return "test.Echo" }

type echoer struct{}

func (*echoer) echo(ctx *actor.Context, m echo) (int, error) {
	switch m.Do {
	case "fail":
		return 0, rpc.NewError("test.no", "it will not")
	case "wait":
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return 1, nil
}

// Requests through a real gateway: what is answered, what fails and has run, and what has not.
func TestRun(t *testing.T) {
	srv, quiet := servers.Start(t, embedded.Config{}), slog.New(slog.DiscardHandler)
	sys, err := actor.NewSystem(actor.Config{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sys.Shutdown(context.Background()) })
	kind := actor.Define("echoer", func() *echoer { return &echoer{} }, actor.Answer((*echoer).echo))
	ref, err := sys.Spawn("echoer", kind)
	if err != nil {
		t.Fatal(err)
	}
	table, err := gateway.New(sys, gateway.Actor("echoer", ref, kind))
	if err != nil {
		t.Fatal(err)
	}
	api, err := natsapi.Serve(t.Context(), natsapi.Config{Table: table, Logger: quiet, Connect: func(context.Context) (*nats.Conn, error) { return srv.Connect() }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Close(context.Background()) })
	nc, err := srv.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	for _, c := range []struct {
		target, body string
		count        int
		failed       map[string]int
		says         string
	}{
		{"echoer", "{}", 25, map[string]int{Ran: 0, NotRun: 0, Unknown: 0}, ""},
		{"echoer", `{"Do": "fail"}`, 3, map[string]int{Ran: 3, NotRun: 0, Unknown: 0}, "it will not"},
		{"nobody", "{}", 2, map[string]int{Ran: 0, NotRun: 2, Unknown: 0}, "no gateway serves nobody"},
	} {
		r, err := Run(t.Context(), Config{Conn: nc, Target: c.target, Message: "Echo", Body: []byte(c.body), Clients: 4, Count: c.count, For: 10 * time.Second, Timeout: 5 * time.Second})
		if err != nil || r.Requests != c.count || !reflect.DeepEqual(r.Failed, c.failed) || r.Answered != c.count-c.failed[Ran]-c.failed[NotRun] {
			t.Errorf("%s %s: %+v, %v", c.target, c.body, r, err)
		}
		if c.says != "" && (len(r.Errors) != 1 || !strings.Contains(r.Errors[0].Text, c.says)) {
			t.Errorf("%s: %+v", c.target, r.Errors)
		}
	}
	began := time.Now()
	r, err := Run(t.Context(), Config{Conn: nc, Target: "echoer", Message: "Echo", Body: []byte(`{"Do": "wait"}`), Clients: 2, Count: MaxCount, For: 100 * time.Millisecond, Timeout: 300 * time.Millisecond})
	if err != nil || r.Requests != 2 || r.Answered != 0 || time.Since(began) > 10*time.Second {
		t.Errorf("%+v, %v: it does not end when it should", r, err)
	}
}

func TestLimits(t *testing.T) {
	good := Config{Target: "a", Message: "B", Body: []byte("{}"), Clients: 1, Count: 1, For: 1, Timeout: 1}
	for name, c := range map[string]struct {
		change func(*Config)
		ok     bool
	}{
		"least":             {func(*Config) {}, true},
		"no client":         {func(c *Config) { c.Clients = 0 }, false},
		"most clients":      {func(c *Config) { c.Clients = MaxClients }, true},
		"too many clients":  {func(c *Config) { c.Clients = MaxClients + 1 }, false},
		"no request":        {func(c *Config) { c.Count = 0 }, false},
		"most requests":     {func(c *Config) { c.Count = MaxCount }, true},
		"too many requests": {func(c *Config) { c.Count = MaxCount + 1 }, false},
		"no time":           {func(c *Config) { c.For = 0 }, false},
		"most time":         {func(c *Config) { c.For = MaxFor }, true},
		"too much time":     {func(c *Config) { c.For = MaxFor + 1 }, false},
		"no timeout":        {func(c *Config) { c.Timeout = 0 }, false},
		"no JSON":           {func(c *Config) { c.Body = []byte("{") }, false},
		"no target":         {func(c *Config) { c.Target = "" }, false},
		"a wildcard":        {func(c *Config) { c.Message = "*" }, false},
		"two users":         {func(c *Config) { c.User = "ann.bob" }, false},
	} {
		cfg := good
		c.change(&cfg)
		if err := cfg.validate(); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSum(t *testing.T) {
	var all []outcome
	for i := range 100 {
		all = append(all, outcome{took: time.Duration(100-i) * time.Millisecond})
	}
	all = append(all, outcome{verdict: Unknown, text: "a"}, outcome{verdict: Unknown, text: "a"}, outcome{verdict: NotRun, text: "b"})
	r := sum(all, 2*time.Second)
	if r.Requests != 103 || r.Answered != 100 || r.PerSecond != 50 || r.P50 != 50*time.Millisecond || r.P90 != 90*time.Millisecond || r.P99 != 99*time.Millisecond || r.Max != 100*time.Millisecond {
		t.Errorf("%+v", r)
	}
	if !reflect.DeepEqual(r.Failed, map[string]int{Ran: 0, NotRun: 1, Unknown: 2}) || !reflect.DeepEqual(r.Errors, []Counted{{"a", 2}, {"b", 1}}) {
		t.Errorf("%+v", r)
	}
	all = nil
	for i := range maxErrors + 5 {
		all = append(all, outcome{verdict: Ran, text: fmt.Sprint("error ", i)})
	}
	if r := sum(all, time.Second); len(r.Errors) != maxErrors+1 || r.Errors[0] != (Counted{"others", 5}) || r.Max != 0 {
		t.Errorf("%+v", r)
	}
}
