package dns_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/dns"
	"github.com/tandem-go/tandem/registry/registrytest"
	"github.com/tandem-go/tandem/test/bubble"
)

// resolver answers as the test says.
type resolver struct {
	mu    sync.Mutex // guards what follows
	addrs []netip.Addr
	err   error
}

func (r *resolver) set(err error, addrs ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addrs, r.err = nil, err
	for _, a := range addrs {
		r.addrs = append(r.addrs, netip.MustParseAddr(a))
	}
}

func (r *resolver) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.addrs, r.err
}

func (r *resolver) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error) {
	return "", nil, errors.New("no SRV record was to be looked up")
}

var (
	errNoName = &net.DNSError{Err: "no such host", IsNotFound: true}
	errServer = &net.DNSError{Err: "server misbehaving", IsTemporary: true}
)

func open(t *testing.T, r *resolver, log *strings.Builder) *dns.Registry {
	t.Helper()
	reg, err := dns.New(t.Context(), dns.Config{Name: "shop", Port: 7420, Resolver: r, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reg.Close)
	return reg
}

func TestConformance(t *testing.T) {
	registrytest.Run(t, registrytest.Config{
		New: func(t *testing.T, _ time.Duration) (a, b registry.Registry) {
			r := open(t, new(resolver), new(strings.Builder))
			return r, r
		},
	})
}

// Nodes come at once and go after a while. While DNS fails nothing changes, and the log has one line.
func TestNodesComeAndGo(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		r, log := new(resolver), new(strings.Builder)
		r.set(nil, "10.0.0.1", "fd00::2")
		reg := open(t, r, log)
		served := func(want ...string) {
			t.Helper()
			nodes, err := reg.Nodes(t.Context())
			var got []string
			for _, n := range nodes {
				got = append(got, n.Name+" "+n.Addrs["tcp"])
			}
			if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		}
		served("10-0-0-1 10.0.0.1:7420", "fd00--2 [fd00::2]:7420")
		r.set(nil, "10.0.0.1", "10.0.0.3")
		if err := reg.Refresh(t.Context(), "10-0-0-3"); err != nil {
			t.Fatal(err)
		}
		served("10-0-0-1 10.0.0.1:7420", "10-0-0-3 10.0.0.3:7420", "fd00--2 [fd00::2]:7420")
		time.Sleep(36 * time.Second)
		served("10-0-0-1 10.0.0.1:7420", "10-0-0-3 10.0.0.3:7420")
		r.set(errServer)
		time.Sleep(time.Hour)
		served("10-0-0-1 10.0.0.1:7420", "10-0-0-3 10.0.0.3:7420")
		if err := reg.Refresh(t.Context(), "x"); !errors.Is(err, registry.ErrUnavailable) {
			t.Errorf("refreshed: %v", err)
		}
		r.set(errNoName)
		time.Sleep(10 * time.Second)
		served("10-0-0-1 10.0.0.1:7420", "10-0-0-3 10.0.0.3:7420")
		time.Sleep(31 * time.Second)
		served()
		reg.Close()
		if got := strings.Count(log.String(), "level=WARN"); got != 1 {
			t.Errorf("%d lines: %s", got, log)
		}
		if err := reg.Refresh(t.Context(), "x"); !errors.Is(err, registry.ErrUnavailable) || !errors.Is(err, registry.ErrClosed) {
			t.Errorf("refreshed after Close: %v", err)
		}
	})
}

// What this process registers takes the place of what DNS says of the name, as long as it is registered.
func TestOwnRecord(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		r := new(resolver)
		r.set(nil, "10.0.0.1", "10.0.0.2")
		reg, ctx := open(t, r, new(strings.Builder)), t.Context()
		own := registrytest.Node("10-0-0-1", "e1", "here")
		if err := reg.Register(ctx, own); err != nil {
			t.Fatal(err)
		}
		r.set(nil, "10.0.0.2")
		time.Sleep(time.Minute)
		if got, err := reg.Lookup(ctx, own.Name); err != nil || !got.Equal(own) {
			t.Errorf("got %+v, %v", got, err)
		}
		r.set(nil, "10.0.0.1", "10.0.0.2")
		time.Sleep(time.Minute)
		if err := reg.Deregister(ctx, own.Name, "e1", nil); err != nil {
			t.Fatal(err)
		}
		if got, err := reg.Lookup(ctx, own.Name); err != nil || got.Epoch != "" || got.Addrs["tcp"] != "10.0.0.1:7420" {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

// New waits for DNS, but not for a name that DNS does not have.
func TestNew(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		r := new(resolver)
		r.set(errServer)
		began := time.Now()
		_, err := dns.New(t.Context(), dns.Config{Name: "shop", Port: 1, Resolver: r, Logger: slog.New(slog.DiscardHandler)})
		if d := time.Since(began); !errors.Is(err, registry.ErrUnavailable) || d != dns.DefaultStartWait {
			t.Errorf("%v after %v", err, d)
		}
		time.AfterFunc(10*time.Second, func() { r.set(errNoName) })
		began = time.Now()
		open(t, r, new(strings.Builder)).Close()
		if d := time.Since(began); d < 10*time.Second || d > 16*time.Second {
			t.Errorf("opened after %v", d)
		}
		for _, cfg := range []dns.Config{{}, {Name: "n", Port: -1}, {Name: "n", Port: 1 << 16}, {Name: "n", Every: -1}, {Name: "n", Grace: -1}, {Name: "n", StartWait: -1}, {Name: "n", MaxNodes: -1}} {
			cfg.Resolver = r
			if reg, err := dns.New(t.Context(), cfg); err == nil {
				reg.Close()
				t.Errorf("%+v: no error", cfg)
			}
		}
	})
}
