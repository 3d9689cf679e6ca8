package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

// work is a worker process. It ends when in does.
func work(ctx context.Context, name, desk string, in io.Reader) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	go func() { // it runs until this process ends
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	sys, err := actor.NewSystem(actor.Config{Name: name,
		Transports: []transport.Transport{tcp.New(tcp.Config{Listen: "127.0.0.1:0"})},
		Registry:   static.New(registry.Node{Name: "desk", Addrs: map[string]string{"tcp": desk}})})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sys.Shutdown(context.Background())) }()
	jobs, tally := sys.Ref("jobs@desk"), sys.Ref("tally@desk")
	for {
		batch, err := actor.Pull[Job](ctx, jobs, actor.Max(16))
		for i, d := range batch {
			if err == nil {
				err = do(ctx, tally, name, d, len(batch)-1-i)
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
	}
}

// do does one job, and reports the result before it acks the job. Between the two the worker may
// be killed.
func do(ctx context.Context, tally actor.Ref, worker string, d actor.Delivery[Job], left int) error {
	if d.Message.Broken {
		return ignoreExpired(d.Nack(ctx, 0))
	}
	sum := sha256.Sum256(fmt.Append(nil, d.Message.Number))
	for range d.Message.Rounds {
		sum = sha256.Sum256(sum[:])
	}
	if _, err := actor.Call(ctx, tally, Done{Number: d.Message.Number, Result: hex.EncodeToString(sum[:]), Worker: worker, Left: left}); err != nil {
		return err
	}
	return ignoreExpired(d.Ack(ctx))
}

// ignoreExpired ignores the errors of a lease that has ended: then another worker gets the job, or
// it is done.
func ignoreExpired(err error) error {
	if errors.Is(err, actor.ErrLeaseExpired) || errors.Is(err, actor.ErrDone) {
		return nil
	}
	return err
}

// crew are the worker processes.
type crew struct {
	address string
	out     io.Writer

	mu  sync.Mutex // guards what follows
	all map[string]*process
}

type process struct {
	cmd   *exec.Cmd
	leash io.Closer // the process ends when it is closed
}

// start starts the workers. When ctx ends they are killed.
func (c *crew) start(ctx context.Context) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = map[string]*process{}
	for i := range workers {
		name := fmt.Sprint("worker-", i+1)
		p := &process{cmd: exec.CommandContext(ctx, program, "-worker", name, "-desk", c.address)}
		p.cmd.Stderr = os.Stderr
		if p.leash, err = p.cmd.StdinPipe(); err == nil {
			err = p.cmd.Start()
		}
		if err != nil {
			return err
		}
		c.all[name] = p
	}
	return nil
}

// kill kills a worker with kill -9, so that it cannot do anything any more.
func (c *crew) kill(worker string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c.out, "kill -9 %s, after a result and before its ack.\n", worker)
	return c.all[worker].cmd.Process.Kill()
}

// dismiss ends the workers that are still running.
func (c *crew) dismiss() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.all {
		_ = p.leash.Close()
	}
	for _, p := range c.all {
		_ = p.cmd.Wait() // some were killed
	}
}
