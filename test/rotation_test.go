package test

import (
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/test/certs"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

// All certificates of two nodes and their authority are replaced while one node calls the other
// all the time. In the end every link that was made with the old ones is closed, and no call
// has failed.
func TestCertificatesChangeUnderLoad(t *testing.T) {
	old, next := certs.New(t), certs.New(t)
	reg := static.New()
	var files []tcp.Files
	var roads []*tcp.Transport
	open := func(name string) *actor.System {
		dir := t.TempDir()
		f := tcp.Files{Certificate: filepath.Join(dir, "cert"), Key: filepath.Join(dir, "key"), Authorities: filepath.Join(dir, "ca")}
		certs.Write(t, f.Certificate, f.Key, old.Issue(t, name, name))
		certs.WriteAuthorities(t, f.Authorities, old)
		creds, err := tcp.Load(f)
		if err != nil {
			t.Fatal(err)
		}
		road := tcp.New(tcp.Config{Listen: "127.0.0.1:0", Credentials: creds})
		files, roads = append(files, f), append(roads, road)
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
	step := func(change func(i int, f tcp.Files)) {
		t.Helper()
		for i, f := range files {
			change(i, f)
			if err := roads[i].Recheck(); err != nil {
				t.Fatal(err)
			}
			moreCalls()
		}
	}
	moreCalls()
	before := accepted()
	step(func(_ int, f tcp.Files) { certs.WriteAuthorities(t, f.Authorities, old, next) })
	step(func(i int, f tcp.Files) {
		name := []string{"client", "server"}[i]
		certs.Write(t, f.Certificate, f.Key, next.Issue(t, name, name))
	})
	if n := accepted(); n != before {
		t.Errorf("%d new links although the former ones were good", n-before)
	}
	step(func(_ int, f tcp.Files) { certs.WriteAuthorities(t, f.Authorities, next) })
	if n := accepted(); n == before {
		t.Error("the links of the former authority are still there")
	}
	close(stop)
	if err := <-over; err != nil {
		t.Error(err)
	}
}
