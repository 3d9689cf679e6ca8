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

// join makes this process a node. Besides roads to other nodes, stored actors need to know which nodes there are, which of
// them has which actor, and the state of each actor. All of that is kept in NATS, on three servers.
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
	// Nodes on one machine with Linux see at once that a process has died; others when its lease has run out.
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
		Retry:      rpc.Retry{Attempts: 1000, MaxPause: 200 * time.Millisecond, Burst: 100_000}, // until the deadline
		Logger:     quiet,
	})
}

// serve is a bank process. It says when it is ready, and ends when in ends: at the latest with its parent.
func serve(ctx context.Context, name, urls string, in io.Reader, out io.Writer) error {
	if _, err := join(ctx, name, urls, AccountKind); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Fprintln(out, "ready")
	_, err := io.Copy(io.Discard, in)
	return err
}

// start starts the i-th bank process, and returns when it is ready. When ctx ends, it is killed.
func start(ctx context.Context, i int, urls string) (*exec.Cmd, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := exec.CommandContext(ctx, program, "-bank", fmt.Sprint("bank-", i+1), "-nats", urls)
	p.Stderr = os.Stderr
	_, noIn := p.StdinPipe() // it stays open as long as this process lives
	out, noOut := p.StdoutPipe()
	if err := errors.Join(noIn, noOut, p.Start()); err != nil {
		return nil, err
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return nil, errors.Join(fmt.Errorf("bank-%d is not ready: %w", i+1, err), p.Wait())
	}
	return p, nil
}

// harass kills the bank processes in turn with kill -9, and starts them again.
func harass(ctx context.Context, out io.Writer, banks []*exec.Cmd, urls string, kills int) (err error) {
	const pace = time.Second
	for n := range kills {
		time.Sleep(pace)
		i := n % len(banks)
		err := banks[i].Process.Kill()
		if _ = banks[i].Wait(); err != nil || banks[i].ProcessState.Exited() {
			return errors.Join(fmt.Errorf("bank-%d has ended by itself: %v", i+1, banks[i].ProcessState), err)
		}
		fmt.Fprintf(out, "kill -9 bank-%d\n", i+1)
		if n%2 == 1 {
			time.Sleep(pace) // the other processes take over its accounts
		}
		if banks[i], err = start(ctx, i, urls); err != nil {
			return err
		}
	}
	time.Sleep(pace)
	return nil
}
