package test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

// keyring is the files of one node.
type keyring struct{ tcp.Files }

func newKeyring(t *testing.T) keyring {
	dir := t.TempDir()
	return keyring{tcp.Files{Certificate: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key"), Authorities: filepath.Join(dir, "ca")}}
}

func (k keyring) write(t *testing.T, path, kind string, ders ...[]byte) {
	t.Helper()
	var b bytes.Buffer
	for _, der := range ders {
		pem.Encode(&b, &pem.Block{Type: kind, Bytes: der})
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (k keyring) own(t *testing.T, c tls.Certificate) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	k.write(t, k.Certificate, "CERTIFICATE", c.Certificate...)
	k.write(t, k.Key, "PRIVATE KEY", key)
}

// All certificates of two nodes and the authority behind them are replaced while one calls
// the other all the time. Every link of before is over in the end, and no call fails.
func TestCertificatesChangeUnderLoad(t *testing.T) {
	old, next := issue(t, "old authority", nil), issue(t, "next authority", nil)
	reg := static.New()
	var keys []keyring
	var roads []*tcp.Transport
	open := func(name string) *actor.System {
		k := newKeyring(t)
		k.own(t, issue(t, name, &old))
		k.write(t, k.Authorities, "CERTIFICATE", old.Certificate[0])
		creds, err := tcp.Load(k.Files)
		if err != nil {
			t.Fatal(err)
		}
		road := tcp.New(tcp.Config{Listen: "127.0.0.1:0", Credentials: creds})
		keys, roads = append(keys, k), append(roads, road)
		return start(t, actor.Config{Name: name, Registry: reg, Transports: []transport.Transport{road}})
	}
	client, server := open("client"), open("server")
	kind := actor.Define("test.echo", func() *struct{} { return new(struct{}) }, actor.Answer(func(_ *struct{}, _ *actor.Context, _ Wait) (int, error) { return 7, nil }))
	if _, err := server.Spawn("it", kind); err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int64
	stop, over := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				over <- nil
				return
			default:
			}
			if got, err := actor.Call(t.Context(), client.Ref("it@server"), Wait{}); got != 7 || err != nil {
				over <- err
				return
			}
			calls.Add(1)
		}
	}()
	moreCalls := func() {
		t.Helper()
		for before := calls.Load(); calls.Load() < before+100; time.Sleep(time.Millisecond) {
			select {
			case err := <-over:
				t.Fatalf("call %d: %v", calls.Load()+1, err)
			default:
			}
		}
	}
	accepted := func() (n uint64) {
		for _, r := range roads {
			n += r.Stats().Accepted
		}
		return n
	}
	step := func(change func(i int, k keyring)) {
		t.Helper()
		for i, k := range keys {
			change(i, k)
			if err := roads[i].Recheck(); err != nil {
				t.Fatal(err)
			}
			moreCalls()
		}
	}
	moreCalls()
	before := accepted()
	step(func(_ int, k keyring) {
		k.write(t, k.Authorities, "CERTIFICATE", old.Certificate[0], next.Certificate[0])
	})
	step(func(i int, k keyring) { k.own(t, issue(t, []string{"client", "server"}[i], &next)) })
	if n := accepted(); n != before {
		t.Errorf("%d new links although the former ones were good", n-before)
	}
	step(func(_ int, k keyring) { k.write(t, k.Authorities, "CERTIFICATE", next.Certificate[0]) })
	if n := accepted(); n == before {
		t.Error("the links of the former authority are still there")
	}
	close(stop)
	if err := <-over; err != nil {
		t.Error(err)
	}
}
