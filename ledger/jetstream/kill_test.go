package jetstream_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/ledger/jetstream"
	"github.com/tandem-go/tandem/test/ports"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// serveEnv names the folder of a NATS server, and portEnv its port. If they are set, the
// test's own program is that server.
const (
	serveEnv = "TANDEM_TEST_SERVE"
	portEnv  = "TANDEM_TEST_PORT"
)

// serve runs the NATS server in the process that the test will kill.
func serve(dir string) {
	port, _ := strconv.Atoi(os.Getenv(portEnv))
	_, err := embedded.Start(embedded.Config{StoreDir: dir, Port: port, SyncAlways: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println("ready")
	os.Stdin.Read(make([]byte, 1)) // ends with the parent
	os.Exit(0)
}

// process is a NATS server in a process of its own.
type process struct{ cmd *exec.Cmd }

func startProcess(t *testing.T, dir string, port int) process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serveEnv+"="+dir, portEnv+"="+strconv.Itoa(port))
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := process{cmd}
	t.Cleanup(p.kill)
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// The server's process is killed in the middle of appends, and comes back.
func TestServerIsKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	port := ports.Free()
	p := startProcess(t, dir, port)
	nc, err := nats.Connect(fmt.Sprintf("nats://127.0.0.1:%d", port), nats.ReconnectBufSize(-1),
		nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := natsjs.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	ctx := servers.Within(t, 60*time.Second)
	store := jetstream.New(js, jetstream.Config{})
	log, _ := take(t, ctx, store, "e1")
	var a appender
	progress, stop, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() { defer close(ended); a.run(ctx, log, progress, stop) }()
	for round := range 4 {
		await(t, ctx, progress, 30*(round+1))
		p.kill()
		p = startProcess(t, dir, port)
	}
	await(t, ctx, progress, 30)
	close(stop)
	<-ended
	_, kept := take(t, ctx, store, "e2")
	a.check(t, kept)
}
