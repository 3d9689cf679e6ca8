//go:build linux && !race

package hostile

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

const roleEnv = "TANDEM_HOSTILE_ROLE"

// role is what a process of a run is told.
type role struct {
	Name   string // of its node, and in its certificate
	Dir    string // where certificates are
	Attack string // of an attacker; empty for the victim
	Addr   string // of the victim, for an attacker
	Share  int    // attacks, and the victim's limits, are so many times smaller than the whole
}

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
		a, ok := attackOf(r.Attack)
		if !ok {
			return fmt.Errorf("no such attack: %s", r.Attack)
		}
		fmt.Println("ready")
		if err := a.run(&mallory{role: r}); err != nil {
			return err
		}
		fmt.Println("done")
		return nil
	}
	sys, addr, err := r.victim()
	if err != nil {
		return err
	}
	fmt.Println("ready " + addr)
	_, _ = io.Copy(io.Discard, os.Stdin)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	return sys.Shutdown(ctx)
}

// victim starts the node that is attacked, with default limits but for its account.
func (r role) victim() (*actor.System, string, error) {
	cfg, err := r.tls()
	if err != nil {
		return nil, "", err
	}
	road := tcp.New(tcp.Config{Listen: "127.0.0.1:0", TLS: cfg, MaxConns: 4096 / r.Share, MaxConnsPerIP: 4096})
	sys, err := actor.NewSystem(actor.Config{Name: r.Name, Registry: static.New(), Transports: []transport.Transport{road},
		Setup: r.spawnTargets, Tune: func(c *rpc.Config) { c.MemoryBytes = account / int64(r.Share) }, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		return nil, "", err
	}
	return sys, road.Addr().String(), nil
}

// honest is a node that calls the victim as it should.
func (r role) honest() (*actor.System, error) {
	cfg, err := r.tls()
	if err != nil {
		return nil, err
	}
	reg := static.New(registry.Node{Name: victimName, Addrs: map[string]string{tcp.Road: r.Addr}})
	return actor.NewSystem(actor.Config{Name: r.Name, Registry: reg, Transports: []transport.Transport{tcp.New(tcp.Config{TLS: cfg})},
		Logger: slog.New(slog.DiscardHandler)})
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
		_ = c.cmd.Process.Kill() // it may have ended
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
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		for what, into := range map[string]*int64{"VmHWM:": &peak, "VmRSS:": &now} {
			if rest, ok := strings.CutPrefix(line, what); ok {
				n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				if err != nil {
					t.Fatal(err)
				}
				*into = n << 10
			}
		}
	}
	if peak == 0 {
		t.Fatal("the victim has ended: " + c.lastWords())
	}
	return peak, now
}
