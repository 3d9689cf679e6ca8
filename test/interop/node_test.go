//go:build unix

package interop

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// cluster is nodes that share a NATS server, which has their records; and the roads on which they talk.
type cluster struct {
	t     *testing.T
	url   string
	roads string
	dir   string
	users int
}

// role, order and answer are those of the program.
type (
	role struct {
		Name, URL, Roads, Journal string
		Seed                      int
	}
	order struct {
		Do, Host, Text string
		N              int
	}
	answer struct {
		Err string
		Out json.RawMessage
	}
)

func newCluster(t *testing.T, roads string) *cluster {
	s := servers.Start(t, embedded.Config{StoreDir: t.TempDir()})
	return &cluster{t: t, url: s.URL(), roads: roads, dir: t.TempDir()}
}

// node is a process that is a node. Its methods fail the test if something is wrong; they belong to one goroutine.
type node struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	gone bool
}

// host starts a node that can be asked. The journal of all hosts is the same file.
func (c *cluster) host(name, build string) *node {
	return c.start(build, role{Name: name, Journal: c.journal()})
}

// user starts a node that asks.
func (c *cluster) user(build string) *node {
	c.users++
	return c.start(build, role{Name: fmt.Sprint("user-", c.users), Seed: c.users})
}

func (c *cluster) journal() string { return filepath.Join(c.dir, "journal") }

func (c *cluster) start(build string, r role) *node {
	c.t.Helper()
	r.URL, r.Roads = c.url, c.roads
	text, err := json.Marshal(r)
	if err != nil {
		c.t.Fatal(err)
	}
	n := &node{t: c.t, name: r.Name, cmd: exec.Command(build, string(text))}
	n.cmd.Stderr = os.Stderr
	in, noIn := n.cmd.StdinPipe() // its end is the process's too
	out, noOut := n.cmd.StdoutPipe()
	if err := errors.Join(noIn, noOut, n.cmd.Start()); err != nil {
		c.t.Fatal(err)
	}
	n.in, n.out = in, bufio.NewReader(out)
	c.t.Cleanup(n.kill)
	n.read("start", nil)
	return n
}

// do has the node do something, and decodes what comes of it.
func (n *node) do(o order, into any) {
	n.t.Helper()
	n.send(o)
	n.read(o.Do, into)
}

func (n *node) send(o order) {
	n.t.Helper()
	text, err := json.Marshal(o)
	if err == nil {
		_, err = fmt.Fprintf(n.in, "%s\n", text)
	}
	if err != nil {
		n.t.Fatalf("%s: %s: %v", n.name, o.Do, err)
	}
}

// read reads the answer to an order.
func (n *node) read(what string, into any) {
	n.t.Helper()
	late := time.AfterFunc(time.Minute, func() { _ = n.cmd.Process.Kill() }) // then the read ends
	defer late.Stop()
	line, err := n.out.ReadBytes('\n')
	var a answer
	if err == nil {
		err = json.Unmarshal(line, &a)
	}
	if err == nil && a.Err != "" {
		err = errors.New(a.Err)
	}
	if err == nil && into != nil {
		err = json.Unmarshal(a.Out, into)
	}
	if err != nil {
		n.t.Fatalf("%s: %s: %v", n.name, what, err)
	}
}

// leave ends the node in good order.
func (n *node) leave(within time.Duration) {
	n.t.Helper()
	n.do(order{Do: "leave within ms", N: int(within.Milliseconds())}, nil)
	n.kill()
}

// leaveLate has the node leave within a second, although an actor is busy for longer.
func (n *node) leaveLate() {
	n.t.Helper()
	n.do(order{Do: "leave late", N: 1000}, nil)
	n.kill()
}

// kill ends the process with SIGKILL.
func (n *node) kill() {
	if n.gone {
		return
	}
	n.gone = true
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait()
}

// ran is how often each request ran, as the hosts have written it down.
func (c *cluster) ran() map[int]int {
	c.t.Helper()
	text, err := os.ReadFile(c.journal())
	if err != nil {
		c.t.Fatal(err)
	}
	ran := map[int]int{}
	for line := range strings.Lines(string(text)) {
		var id int
		if _, err := fmt.Sscanln(line, &id); err != nil {
			c.t.Fatalf("the journal has %q", line)
		}
		ran[id]++
	}
	return ran
}
