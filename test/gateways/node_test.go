//go:build unix

package gateways

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/gateway"
	bindings "github.com/tandem-go/tandem/gateway/natskv"
	"github.com/tandem-go/tandem/httpapi"
	records "github.com/tandem-go/tandem/ledger/jetstream"
	"github.com/tandem-go/tandem/natsapi"
	claims "github.com/tandem-go/tandem/placement/natskv"
	nodes "github.com/tandem-go/tandem/registry/natskv"
	states "github.com/tandem-go/tandem/state/jetstream"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/tcp"
)

// roleEnv has the name, the NATS URL, the address and the journal of a node, for a process that is to be one.
const roleEnv = "TANDEM_GATEWAY_NODE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		part := strings.Split(role, " ")
		if err := serve(part[0], part[1], part[2], part[3]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

type (
	// deposit is done once for each ID, and answered with how often it was done.
	deposit struct {
		actor.Returns[int]
		ID int
	}
	// done asks how often each deposit was done.
	done struct {
		actor.Returns[map[int]int]
	}
)

func (deposit) WireName() string { return "bank.Deposit" }
func (done) WireName() string    { return "bank.Done" }

type account struct{ Done map[int]int }

func (a *account) deposit(_ *actor.Context, m deposit) (int, error) {
	a.Done[m.ID]++
	return a.Done[m.ID], nil
}

func (a *account) done(*actor.Context, done) (map[int]int, error) { return a.Done, nil }

var accountKind = actor.Define("account", func() *account { return &account{Done: map[int]int{}} },
	actor.Answer((*account).deposit), actor.Read((*account).done)).With(actor.Virtual(), actor.Stored(func(a *account) *account { return a }))

// till is an instance of a service. It writes down each deposit.
type till struct{ journal *os.File }

func (c till) deposit(_ *actor.Context, m deposit) (int, error) {
	if _, err := fmt.Fprintln(c.journal, m.ID); err != nil { // one write, so that lines stay whole
		panic(err)
	}
	return 1, nil
}

// serve is a node that hosts accounts and an instance of the service "tills", and opens all of these over NATS, and over HTTP at
// an address. It ends when its standard input does.
func serve(name, url, addr, journal string) error {
	runs, err := os.OpenFile(journal, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	tillKind := actor.Define("till", func() till { return till{runs} }, actor.Answer(till.deposit)).With(actor.Durable())
	ctx := context.Background()
	nc, err := natsbus.Connect(ctx, url)
	if err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	reg, noReg := nodes.New(ctx, js, nodes.Config{Lease: 2 * time.Second})
	holders, noClaims := claims.Open(ctx, js, claims.Config{})
	store, noStates := states.Open(ctx, js, states.Config{})
	binds, noBindings := bindings.Open(ctx, js, bindings.Config{})
	if err := errors.Join(noReg, noClaims, noStates, noBindings); err != nil {
		return err
	}
	setup := func(sys *actor.System) error {
		_, err := sys.Spawn("till", tillKind, actor.Expose("tills"))
		return err
	}
	sys, err := actor.NewSystem(actor.Config{Name: name, Registry: reg, Claims: holders, States: store, Kinds: []*actor.Kind{accountKind, tillKind}, Store: records.New(js, records.Config{}), Setup: setup,
		Transports: []transport.Transport{tcp.New(tcp.Config{Listen: "127.0.0.1:0"}), natsbus.New(nc, natsbus.Config{})}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	table, err := gateway.Config{Bindings: binds}.New(sys, gateway.Virtual("account", accountKind), gateway.Service("tills", tillKind))
	if err != nil {
		return err
	}
	if _, err := natsapi.Serve(ctx, natsapi.Config{Table: table, Connect: func(context.Context) (*nats.Conn, error) { return nats.Connect(url) }}); err != nil {
		return err
	}
	handler, err := httpapi.New(table, httpapi.Config{RequireKey: true, Docs: true})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	go func() { _ = http.Serve(l, handler) }()
	fmt.Println("ready")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// process is a process that is a node.
type process struct {
	name, url, addr, journal string
	cmd                      *exec.Cmd
}

// start starts the process, and returns when it is ready.
func (p *process) start() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	p.cmd = exec.Command(exe)
	p.cmd.Env = append(os.Environ(), roleEnv+"="+strings.Join([]string{p.name, p.url, p.addr, p.journal}, " "))
	p.cmd.Stderr = os.Stderr
	_, noIn := p.cmd.StdinPipe() // it stays open as long as this process lives
	out, noOut := p.cmd.StdoutPipe()
	if err := errors.Join(noIn, noOut, p.cmd.Start()); err != nil {
		return err
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return errors.Join(fmt.Errorf("%s is not ready: %w", p.name, err), p.cmd.Wait())
	}
	return nil
}

// kill ends the process with SIGKILL.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}
