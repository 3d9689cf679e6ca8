//go:build linux && !race

package hostile

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/tandem-go/tandem/test/certs"
	"github.com/tandem-go/tandem/transport/tcp"
)

const roleEnv = "TANDEM_HOSTILE_ROLE"

// role tells a process of a run what it has to do.
type role struct {
	Name    string // of its node, and in its certificate; "bus" for the NATS server
	Kind    kind   // of the victim
	Dir     string // where certificates are
	Attack  string // of an attacker
	Addr    string // of the victim, for an attacker and who is honest
	Bus     string // the NATS server's URL
	Peer    string // the hostile server, for its victim
	Profile string // where a profile of the victim goes
	Share   int    // attacks, and the victim's limits, are so many times smaller than the whole
}

var everybody = []string{victimName, "honest", "dialler", "mallory"}

func TestMain(m *testing.M) {
	if env := os.Getenv(roleEnv); env != "" {
		var r role
		err := json.Unmarshal([]byte(env), &r)
		if err == nil {
			err = r.play()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// play does what the role is for until standard input ends.
func (r role) play() error {
	if r.Attack != "" {
		return r.attack()
	}
	ready := func() (string, error) {
		_, addr, err := r.victim()
		return addr, err
	}
	if r.Name == "bus" {
		ready = r.server
	}
	if r.Profile != "" {
		f, err := os.Create(r.Profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	addr, err := ready()
	if err != nil {
		return err
	}
	fmt.Println("ready " + addr)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err // what is read does not matter
}

// attack attacks the victim with the lowest priority. So the victim's work delays others, and
// not the fact that the processors are busy.
func (r role) attack() error {
	a, ok := attackOf(r.Attack)
	if !ok {
		return fmt.Errorf("no such attack: %s", r.Attack)
	}
	if err := yield(); err != nil {
		return err
	}
	m := &mallory{role: r}
	if r.Kind == asClient {
		if err := m.listen(); err != nil {
			return err
		}
		fmt.Println("ready " + m.listener.Addr().String())
	} else {
		fmt.Println("ready")
	}
	if err := a.run(m); err != nil {
		return err
	}
	fmt.Println("done")
	return nil
}

// yield gives all threads of the process the lowest priority. Later threads inherit it from
// those that start them.
func yield() error {
	for seen := map[int]bool{}; ; {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		more := false
		for _, task := range tasks {
			id, err := strconv.Atoi(task.Name())
			if err != nil || seen[id] {
				continue
			}
			if err := syscall.Setpriority(syscall.PRIO_PROCESS, id, 19); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
			seen[id], more = true, true
		}
		if !more {
			return nil
		}
	}
}

const secret = "a secret that all nodes share, long and random"

// tcp returns the configuration of a node's TCP road.
func (r role) tcp() (tcp.Config, error) {
	if r.Kind == byToken {
		return tcp.Config{Token: secret}, nil
	}
	cfg, err := r.tls()
	return tcp.Config{TLS: cfg}, err
}

// tls returns mutual TLS under the run's authority.
func (r role) tls() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(r.Dir, r.Name+".pem"), filepath.Join(r.Dir, r.Name+".key"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(r.Dir, "ca.pem"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}, nil
}

// certify writes an authority's certificate into dir, and one for each name.
func certify(t *testing.T, dir string, names ...string) {
	t.Helper()
	ca := certs.New(t)
	certs.WriteAuthorities(t, filepath.Join(dir, "ca.pem"), ca)
	for _, name := range names {
		certs.Write(t, filepath.Join(dir, name+".pem"), filepath.Join(dir, name+".key"), ca.Issue(t, name, name))
	}
}

// child is a process of the run.
type child struct {
	cmd   *exec.Cmd
	in    io.Closer
	out   *bufio.Reader
	log   string
	ready string // what it said when it was
}

// spawn starts a process in a role and waits until it is ready. It ends with the test.
func spawn(t *testing.T, r role) *child {
	t.Helper()
	env, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: exec.Command(exe), log: filepath.Join(r.Dir, r.Name+".log")}
	c.cmd.Env = append(os.Environ(), roleEnv+"="+string(env))
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := os.Create(c.log)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c.cmd.Stderr = log
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.in.Close()
		if r.Profile == "" {
			_ = c.cmd.Process.Kill() // it may have ended
		}
		_ = c.cmd.Wait()
	})
	c.out = bufio.NewReader(out)
	line, err := c.out.ReadString('\n')
	what, ok := strings.CutPrefix(strings.TrimSpace(line), "ready")
	if err != nil || !ok {
		t.Fatalf("%s did not start: %q, %v; %s", r.Name, line, err, c.lastWords())
	}
	c.ready = strings.TrimSpace(what)
	return c
}

func (c *child) lastWords() string {
	b, _ := os.ReadFile(c.log)
	return string(b[max(0, len(b)-4000):])
}

// memory returns the most memory that the process has had so far, and what it has now, in
// bytes.
func (c *child) memory(t *testing.T) (peak, now int64) {
	t.Helper()
	peak, now, err := memoryOf(strconv.Itoa(c.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if peak == 0 {
		t.Fatal("the victim has ended: " + c.lastWords())
	}
	return peak, now
}

func memoryOf(pid string) (peak, now int64, err error) {
	b, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0, 0, err
	}
	for line := range strings.Lines(string(b)) {
		for what, into := range map[string]*int64{"VmHWM:": &peak, "VmRSS:": &now} {
			if rest, ok := strings.CutPrefix(line, what); ok {
				n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				if err != nil {
					return 0, 0, err
				}
				*into = n << 10
			}
		}
	}
	return peak, now, nil
}
