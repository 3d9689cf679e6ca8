//go:build unix

package procs

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// startLimit is how long a process may take to be ready, and to end in good order.
const startLimit = time.Minute

// child is a process of the run, the referee's view of it.
type child struct {
	name   string
	life   uint16
	dies   step   // at which it is to kill itself; empty: it is not
	log    string // file of what it says on stderr
	cmd    *exec.Cmd
	orders io.WriteCloser // its end is the child's too
	ready  string         // what it said when it was
	doomed atomic.Bool    // the referee has ended it, or told it to end
	gone   chan struct{}  // closed when it has ended
	err    error          // how; set before
}

// spawn starts a process in a role, and waits until it is ready.
func spawn(r role) (*child, error) {
	env, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{name: fmt.Sprintf("%s (start %d)", r.Name, r.Life), life: r.Life, log: filepath.Join(r.Dir, r.Name+".log"),
		cmd: exec.Command(exe), gone: make(chan struct{})}
	if r.Dies != nil {
		c.dies = r.Dies.At
	}
	c.cmd.Env = append(os.Environ(), roleEnv+"="+string(env))
	// A group of its own: if the referee dies while it is stopped, the system wakes and ends it.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	log, err := os.OpenFile(c.log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	c.cmd.Stderr = log
	if c.orders, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(out).ReadString('\n')
		ready <- strings.TrimSpace(line)
		c.err = c.cmd.Wait()
		close(c.gone)
	}()
	select {
	case line := <-ready:
		if what, ok := strings.CutPrefix(line, "ready"); ok {
			c.ready = strings.TrimSpace(what)
			return c, nil
		}
		c.kill()
		return nil, fmt.Errorf("%s did not start: %q, %v; %s", c.name, line, c.err, c.lastWords())
	case <-time.After(startLimit):
		c.kill()
		return nil, fmt.Errorf("%s was not ready within %v; %s", c.name, startLimit, c.lastWords())
	}
}

// lastWords is the end of its log.
func (c *child) lastWords() string {
	b, _ := os.ReadFile(c.log)
	return string(b[max(0, len(b)-4000):])
}

// kill is kill -9, and waits for the end.
func (c *child) kill() {
	c.doomed.Store(true)
	_ = c.cmd.Process.Kill() // it may have ended
	<-c.gone
}

func (c *child) stop() error { return c.cmd.Process.Signal(syscall.SIGSTOP) }
func (c *child) cont() error { return c.cmd.Process.Signal(syscall.SIGCONT) }

// end has it end in good order, and waits for that.
func (c *child) end() error {
	c.doomed.Store(true)
	_, _ = io.WriteString(c.orders, endOrder) // it may have ended
	select {
	case <-c.gone:
		if c.err != nil {
			return fmt.Errorf("%s ended with %w", c.name, c.err)
		}
		return nil
	case <-time.After(startLimit):
		c.kill()
		return fmt.Errorf("%s did not end within %v", c.name, startLimit)
	}
}

// died reports whether it has ended of itself.
func (c *child) died() bool {
	select {
	case <-c.gone:
		return !c.doomed.Load()
	default:
		return false
	}
}
