package main

import (
	"context"
	"io"
	"os"
	"os/exec"
	"time"
)

// crew are the worker processes that the main process has started. It belongs to
// the goroutine that leads the job.
type crew struct {
	workers []*exec.Cmd
	running int       // workers whose end was not yet received from exited
	exited  chan exit // one for each worker, when it has ended
	cancel  context.CancelFunc
}

type exit struct {
	pid int
	err error
}

// dismissTime is how long a worker may take to end before it is killed.
const dismissTime = 5 * time.Second

// startCrew starts o.workers copies of this program as workers.
func startCrew(o options, errs io.Writer) (*crew, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &crew{exited: make(chan exit, o.workers), cancel: cancel}
	for range o.workers {
		w := exec.CommandContext(ctx, program, "-worker", "-leash", "-nats", o.nats, "-name", o.job, "-folder", o.folder)
		w.Stderr = errs
		leash, err := w.StdinPipe()
		if err == nil {
			w.Cancel, w.WaitDelay = leash.Close, dismissTime
			err = w.Start()
		}
		if err != nil {
			c.dismiss()
			return nil, err
		}
		c.workers = append(c.workers, w)
		c.running++
		go func() { c.exited <- exit{w.Process.Pid, w.Wait()} }()
	}
	return c, nil
}

// kill kills one worker with kill -9, so that it cannot do anything any more.
func (c *crew) kill() (pid int, err error) {
	w := c.workers[0]
	return w.Process.Pid, w.Process.Kill()
}

// dismiss ends the workers that are still running, and waits for them.
func (c *crew) dismiss() {
	c.cancel()
	for ; c.running > 0; c.running-- { // WaitDelay bounds this
		<-c.exited
	}
}
