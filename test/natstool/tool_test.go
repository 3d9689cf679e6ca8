// Package natstool tests package natsapi with the real tool "nats". It is a module of its own, because the tool has many
// dependencies.
package natstool

import (
	"context"
	"fmt"
	"log/slog"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/natsapi"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

type deposit struct {
	actor.Returns[int]
	Amount int
}

func (deposit) WireName() string { return "bank.Deposit" }

var errPoor = rpc.NewError("bank.poor", "not enough money")

type account struct{ sum int }

func (a *account) deposit(_ *actor.Context, m deposit) (int, error) {
	if a.sum+m.Amount < 0 {
		return 0, fmt.Errorf("not enough money")
	}
	a.sum += m.Amount
	return a.sum, nil
}

// The tool lists the services, tells about them, and sends a request twice under one key: it runs once.
func TestTool(t *testing.T) {
	srv, err := embedded.Start(embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown()
	sys, err := actor.NewSystem(actor.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Shutdown(context.Background())
	kind := actor.Define("account", func() *account { return new(account) }, actor.Answer((*account).deposit))
	ref, err := sys.Spawn("till", kind)
	if err != nil {
		t.Fatal(err)
	}
	table, err := gateway.New(sys, gateway.Actor("till", ref, kind))
	if err != nil {
		t.Fatal(err)
	}
	api, err := natsapi.Serve(t.Context(), natsapi.Config{Table: table, Connect: func(context.Context) (*nats.Conn, error) { return srv.Connect() }})
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close(context.Background())

	env := append(exec.Command("true").Environ(), "XDG_CONFIG_HOME="+t.TempDir(), "NO_COLOR=1")
	tool := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("go", append([]string{"tool", "nats", "--server", srv.URL()}, args...)...)
		cmd.Env = env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("nats %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		t.Logf("nats %s\n%s", strings.Join(args, " "), out)
		return string(out)
	}
	wants := func(out string, patterns ...string) {
		t.Helper()
		for _, p := range patterns {
			if !regexp.MustCompile(p).MatchString(out) {
				t.Errorf("want %s in\n%s", p, out)
			}
		}
	}
	wants(tool("micro", "ls"), `till `, `jobs `, `1\.0\.0`) // a version is printed once if several in a row have it
	wants(tool("micro", "info", "till"), `Service: till`, `Subject: tandem\.api\.\*\.till\.Deposit`, `Queue Group: tandem\.api`, `keys: true`, `message: bank\.Deposit`, `request_schema: .*Amount`)
	ask := func(body string, args ...string) string {
		t.Helper()
		return tool(append([]string{"req", "tandem.api.ann.till.Deposit", body}, args...)...)
	}
	first := ask(`{"Amount": 5}`, "-H", "Idempotency-Key:k")
	wants(first, `Tandem-Ran: yes`, `(?m)^5$`)
	if strings.Contains(first, "Replayed") {
		t.Error("the first one is replayed")
	}
	wants(ask(`{"Amount": 5}`, "-H", "Idempotency-Key:k"), `Tandem-Ran: yes`, `Tandem-Replayed: true`, `(?m)^5$`)
	wants(ask(`{"Amount": 5}`), `(?m)^10$`)
	wants(ask(`{"Amount": -50}`), `Nats-Service-Error-Code: 500`, `Tandem-Code: failed`, `Tandem-Ran: yes`)
	wants(ask(`{"Amount": "x"}`), `Nats-Service-Error-Code: 400`, `Tandem-Code: undecodable`, `Tandem-Ran: no`)
	stats := tool("micro", "stats", "till")
	wants(stats, `till`, `Deposit`, `5`)
	wants(tool("micro", "stats", "till", "--json"), `"requests": ?5`, `"errors": ?2`)
}
