package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	claims "github.com/tandem-go/tandem/placement/natskv"
	nodes "github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/rpc"
	states "github.com/tandem-go/tandem/state/jetstream"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/tcp"
)

// join makes this process a node. Beside roads to other nodes, stored actors need three things, which are kept in NATS, on
// three servers: which nodes there are, which of them has which actor, and the state of each actor.
func join(ctx context.Context, name, urls string, kinds ...*actor.Kind) (*actor.System, error) {
	const cluster, replicas = "bank", 3
	quiet := slog.New(slog.DiscardHandler)
	nc, err := natsbus.Connect(ctx, urls)
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	// On one machine, the death of a process is noticed at once. On another one, it is when the lease has run out.
	registry, err := nodes.New(ctx, js, nodes.Config{Cluster: cluster, Replicas: replicas, Logger: quiet, Lease: 2 * time.Second})
	if err != nil {
		return nil, err
	}
	holders, err := claims.Open(ctx, js, claims.Config{Cluster: cluster, Replicas: replicas, Logger: quiet})
	if err != nil {
		return nil, err
	}
	store, err := states.Open(ctx, js, states.Config{Cluster: cluster, Replicas: replicas, Logger: quiet})
	if err != nil {
		return nil, err
	}
	return actor.NewSystem(actor.Config{
		Name:       name,
		Cluster:    cluster,
		Transports: []transport.Transport{tcp.New(tcp.Config{Listen: "127.0.0.1:0"}), natsbus.New(nc, natsbus.Config{})},
		Registry:   registry,
		Claims:     holders,
		States:     store,
		Kinds:      kinds,
		Retry:      rpc.Retry{Attempts: 1000, MaxPause: 200 * time.Millisecond, Burst: 100_000}, // as long as the deadline allows
		Logger:     quiet,
	})
}

// serve is a bank process. It says so when it is ready, and ends with its parent, when in ends.
func serve(ctx context.Context, name, urls string, in io.Reader, out io.Writer) error {
	if _, err := join(ctx, name, urls, AccountKind); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Fprintln(out, "ready")
	_, err := io.Copy(io.Discard, in)
	return err
}

// start starts a bank process, and returns when it is ready.
func start(name, urls string) (*exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := exec.Command(program, "-bank", name, "-nats", urls)
	p.Stderr = os.Stderr
	if _, err := p.StdinPipe(); err != nil { // open as long as this process lives
		return nil, err
	}
	out, err := p.StdoutPipe()
	if err == nil {
		err = p.Start()
	}
	if err != nil {
		return nil, err
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: not ready: %w", name, err), p.Wait())
	}
	return p, nil
}

// kill kills a process with kill -9, so that it cannot do anything any more.
func kill(p *exec.Cmd) error {
	err := p.Process.Kill()
	_ = p.Wait() // says that it was killed
	return err
}
