package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
)

// process is the process of the bank.
type process struct {
	bankOptions
	cmd *exec.Cmd // nil while there is none
	in  io.Closer // the process ends when it is closed
}

// launch starts the bank the next time, and returns when it is ready. When ctx ends, the bank is
// killed.
func (p *process) launch(ctx context.Context) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	p.start++
	p.cmd = exec.CommandContext(ctx, program, p.args()...)
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		return err
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		return errors.Join(fmt.Errorf("start %d of the bank: not ready", p.start), p.cmd.Wait())
	}
	return nil
}

// kill kills the bank with kill -9, so that it cannot do anything any more.
func (p *process) kill() error {
	if p.cmd == nil {
		return nil
	}
	err := p.cmd.Process.Kill()
	p.died()
	return err
}

// died waits until the bank has ended by itself.
func (p *process) died() {
	_ = p.cmd.Wait() // says how
	p.cmd = nil
}

// end makes the bank shut down.
func (p *process) end() error {
	_ = p.in.Close()
	err := p.cmd.Wait()
	p.cmd = nil
	return err
}

// freeAddress returns an address on which the bank can listen at each of its starts.
func freeAddress() (string, error) {
	for range 100 { // below the ports that systems give to connections, which might take it between two starts
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000)))
		if err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", errors.New("no port is free")
}
