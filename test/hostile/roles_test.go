//go:build linux && !race

package hostile

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-go/tandem/transport/tcp"
)

const roleEnv = "TANDEM_HOSTILE_ROLE"

// role is what a process of a run is told.
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

// play does what the role is for, until standard input ends.
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
	return err // what it has is for nobody
}

// attack attacks the victim, with the lowest priority, so that what others feel of it is what
// the victim does, and not that the processors are busy.
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

// yield gives all of the process's threads the lowest priority. Threads that come later have
// it from those that start them.
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

// tcp is the road of a node.
func (r role) tcp() (tcp.Config, error) {
	if r.Kind == byToken {
		return tcp.Config{Token: secret}, nil
	}
	cfg, err := r.tls()
	return tcp.Config{TLS: cfg}, err
}

// tls is mutual TLS under the run's authority.
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
	var ca *x509.Certificate
	var caKey *ecdsa.PrivateKey
	for i, name := range append([]string{"ca"}, names...) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true, IsCA: ca == nil,
			KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
		if ca == nil {
			ca, caKey = c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, ca, &key.PublicKey, caKey)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "EC PRIVATE KEY", Bytes: secret}} {
			if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
		}
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

// memory is the most that it had in memory so far, and what it has now, in bytes.
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
