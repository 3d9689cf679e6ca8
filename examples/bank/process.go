package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// process is a bank process. It can be started again when it was killed.
type process struct {
	name, nats string
	cmd        *exec.Cmd // nil while there is none
	in         io.Closer // the process ends when it is closed
}

// start starts the process, and returns when it is ready. When ctx ends, the process is killed.
func (p *process) start(ctx context.Context) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, "-bank", p.name, "-nats", p.nats)
	cmd.Stderr = os.Stderr
	if p.in, err = cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return err
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return errors.Join(fmt.Errorf("%s: not ready: %w", p.name, err), cmd.Wait())
	}
	p.cmd = cmd
	return nil
}

// kill kills the process with kill -9, so that it cannot do anything any more.
func (p *process) kill() error {
	err := p.cmd.Process.Kill()
	_ = p.cmd.Wait() // says that it was killed
	p.cmd = nil
	return err
}

// end has the process shut down, if there is one.
func (p *process) end() error {
	if p.cmd == nil {
		return nil
	}
	err := errors.Join(p.in.Close(), p.cmd.Wait())
	p.cmd = nil
	return err
}
