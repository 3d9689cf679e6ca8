package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/probe"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/ports"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/tcp"
)

// process is one node in a process of its own, as it is deployed.
type process struct {
	program, nats, name, probes string
	notify                      *net.UnixConn // where it tells systemd
	cmd                         *exec.Cmd
}

// start starts the process and waits until it is ready, as Kubernetes and systemd do.
func (p *process) start(ctx context.Context, t *testing.T) {
	t.Helper()
	p.cmd = exec.Command(p.program)
	p.cmd.Env = append(os.Environ(), "NATS_URL="+p.nats, "NODE_NAME="+p.name, "LISTEN=127.0.0.1:0", "PROBES="+p.probes, "NOTIFY_SOCKET="+p.notify.LocalAddr().String())
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for tick := time.NewTicker(20 * time.Millisecond); ; {
		if r, err := ask(p.probes, "/readyz"); err == nil && r.OK {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatal(p.name, " was not ready in time")
		case <-tick.C:
		}
	}
	if said := p.heard(t); said != "READY=1" {
		t.Errorf("%s told systemd %q", p.name, said)
	}
}

// heard returns what the process tells systemd next.
func (p *process) heard(t *testing.T) string {
	t.Helper()
	buf := make([]byte, 100)
	_ = p.notify.SetReadDeadline(time.Now().Add(20 * time.Second))
	n, err := p.notify.Read(buf)
	if err != nil {
		t.Error(err)
	}
	return string(buf[:n])
}

// end asks the process to end, and returns when it has.
func (p *process) end(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("%s: %v", p.name, err)
	}
	if said := p.heard(t); said != "STOPPING=1" {
		t.Errorf("%s told systemd %q", p.name, said)
	}
}

func ask(addr, path string) (r probe.Report, err error) {
	resp, err := http.Get("http://" + addr + path)
	if err != nil {
		return r, err
	}
	defer resp.Body.Close()
	return r, json.NewDecoder(resp.Body).Decode(&r)
}

// Three processes are replaced one after the other under load: no request fails, and none has an unknown outcome.
func TestRollingRestart(t *testing.T) {
	ctx := servers.Within(t, 90*time.Second)
	dir := t.TempDir()
	program := filepath.Join(dir, "service")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	srv := servers.Start(t, embedded.Config{StoreDir: dir})
	var nodes []*process
	for i := range 3 {
		socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, fmt.Sprint("notify", i)), Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer socket.Close()
		p := &process{program: program, nats: srv.URL(), name: fmt.Sprint("prices-", i), probes: fmt.Sprint("127.0.0.1:", ports.Free()), notify: socket}
		p.start(ctx, t)
		defer func() { _ = p.cmd.Process.Kill() }()
		nodes = append(nodes, p)
	}

	quiet := slog.New(slog.DiscardHandler)
	js := servers.Connect(t, srv)
	reg, err := natskv.New(ctx, js, natskv.Config{Cluster: "shop", Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close()
	sys, err := actor.NewSystem(actor.Config{Name: "till", Cluster: "shop", Registry: reg, Logger: quiet,
		Transports: []transport.Transport{tcp.New(tcp.Config{Listen: "127.0.0.1:0"}), natsbus.New(js.Conn(), natsbus.Config{})}})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Shutdown(context.WithoutCancel(ctx))
	prices := sys.Service("prices")

	var asked atomic.Int64
	var tills sync.WaitGroup
	load, stop := context.WithCancel(ctx)
	for range 8 {
		tills.Go(func() {
			for load.Err() == nil {
				cents, err := actor.Call(ctx, prices, Price{Item: "tea"})
				if err != nil || cents != 350 {
					t.Errorf("%d, %v: ran: %v", cents, err, rpc.Ran(err))
					return
				}
				asked.Add(1)
			}
		})
	}
	var during []int64
	for _, p := range nodes {
		before := asked.Load()
		p.end(t)
		p.start(ctx, t)
		during = append(during, asked.Load()-before)
	}
	stop()
	tills.Wait()
	t.Logf("%d requests, %v of them while each node was replaced", asked.Load(), during)
	for i, n := range during {
		if n == 0 {
			t.Errorf("no request was answered while node %d was replaced", i)
		}
	}
	for _, p := range nodes {
		p.end(t)
	}
}

func TestEnvironment(t *testing.T) {
	host := func() (string, error) { return "pod-1", nil }
	for _, c := range []struct {
		env   map[string]string
		wrong string // part of the error; empty: there is none
	}{
		{map[string]string{"NATS_URL": "nats://n"}, ""},
		{map[string]string{}, "NATS_URL"},
		{map[string]string{"NATS_URL": "nats://n", "DEBUG_TOKEN": "0123456789abcde"}, "DEBUG_TOKEN"},
		{map[string]string{"NATS_URL": "nats://n", "DEBUG_TOKEN": "0123456789abcdef"}, ""},
	} {
		e, err := readEnvironment(func(k string) string { return c.env[k] }, host)
		if c.wrong == "" && (err != nil || e.name != "pod-1") || c.wrong != "" && (!errors.Is(err, actor.ErrConfig) || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%v: %+v, %v", c.env, e, err)
		}
	}
}
