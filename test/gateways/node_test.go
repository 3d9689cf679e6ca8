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
	"github.com/tandem-go/tandem/httpapi"
	"github.com/tandem-go/tandem/natsapi"
	claims "github.com/tandem-go/tandem/placement/natskv"
	nodes "github.com/tandem-go/tandem/registry/natskv"
	states "github.com/tandem-go/tandem/state/jetstream"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/tcp"
)

// roleEnv has the name, the NATS URL and the address of a node, for a process that is to be one.
const roleEnv = "TANDEM_GATEWAY_NODE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		part := strings.Split(role, " ")
		if err := serve(part[0], part[1], part[2]); err != nil {
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

// serve is a node that hosts accounts, and opens all accounts over NATS, and over HTTP at an address. It ends when its standard input does.
func serve(name, url, addr string) error {
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
	if err := errors.Join(noReg, noClaims, noStates); err != nil {
		return err
	}
	sys, err := actor.NewSystem(actor.Config{Name: name, Registry: reg, Claims: holders, States: store, Kinds: []*actor.Kind{accountKind},
		Transports: []transport.Transport{tcp.New(tcp.Config{Listen: "127.0.0.1:0"}), natsbus.New(nc, natsbus.Config{})}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	table, err := gateway.New(sys, gateway.Virtual("account", accountKind))
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
	name, url, addr string
	cmd             *exec.Cmd
}

// start starts the process, and returns when it is ready.
func (p *process) start() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	p.cmd = exec.Command(exe)
	p.cmd.Env = append(os.Environ(), roleEnv+"="+strings.Join([]string{p.name, p.url, p.addr}, " "))
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
