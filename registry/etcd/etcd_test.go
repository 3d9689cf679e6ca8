package etcd_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/etcd"
	"github.com/tandem-go/tandem/registry/registrytest"
)

func TestMain(m *testing.M) {
	// Most tests wait for servers, so more of them run at the same time than there are
	// processors, unless -parallel is given.
	_ = flag.Set("test.parallel", strconv.Itoa(max(12, runtime.GOMAXPROCS(0))))
	m.Run()
}

func TestConformance(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	clusters := 0
	registrytest.Run(t, registrytest.Config{
		New: func(t *testing.T, lease time.Duration) (a, b registry.Registry) {
			clusters++
			cfg := etcd.Config{Cluster: fmt.Sprintf("c%d", clusters), Lease: lease}
			return open(t, s.dial(), cfg), open(t, s.dial(), cfg)
		},
	})
}

func TestFaults(t *testing.T) {
	t.Parallel()
	registrytest.RunFaults(t, func(t *testing.T) registrytest.Server {
		s := startServer(t)
		return &faulty{s, s.dial()}
	})
}

func TestConfig(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.dial()
	for _, cfg := range []etcd.Config{{Cluster: "a/b"}, {Lease: time.Millisecond}, {Lease: -time.Second}, {MaxRecords: -1}, {MaxBytes: -1}, {StartWait: -1}} {
		if r, err := etcd.New(within(t, 10*time.Second), c, cfg); err == nil {
			r.Close()
			t.Errorf("%+v: no error", cfg)
		}
	}
	if r := open(t, c, etcd.Config{}); r.Lease() != etcd.DefaultLease {
		t.Errorf("default lease %v", r.Lease())
	}
	if r := open(t, c, etcd.Config{Lease: 1100 * time.Millisecond}); r.Lease() != 2*time.Second {
		t.Errorf("a lease of 1.1 s became %v: it must not end early", r.Lease())
	}
}

// When the wait for a server ends in vain, the error says so. A closed client is no reason to wait.
func TestNoServer(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.dial()
	s.stop()
	began := time.Now()
	if _, err := etcd.New(t.Context(), c, etcd.Config{StartWait: time.Second}); !errors.Is(err, registry.ErrUnavailable) || errors.Is(err, registry.ErrClosed) {
		t.Errorf("no server: %v", err)
	}
	if d := time.Since(began); d < time.Second || d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
	if err := c.Close(); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if _, err := etcd.New(within(t, time.Minute), c, etcd.Config{}); !errors.Is(err, registry.ErrUnavailable) || !errors.Is(err, registry.ErrClosed) {
		t.Errorf("a closed client: %v", err)
	}
}

// A user without the permissions is denied at once, and one that may only read can only read.
func TestDenied(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	root, ctx := s.dial(), within(t, 30*time.Second)
	do := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	user := func(name string, may func(role string)) {
		do(root.RoleAdd(ctx, name))
		may(name)
		do(root.UserAdd(ctx, name, "secret"))
		do(root.UserGrantRole(ctx, name, name))
	}
	grant := func(kind clientv3.PermissionType) func(string) {
		return func(role string) {
			do(root.RoleGrantPermission(ctx, role, "tandem/", clientv3.GetPrefixRangeEnd("tandem/"), kind))
		}
	}
	do(root.UserAdd(ctx, "root", "secret"))
	do(root.UserGrantRole(ctx, "root", "root"))
	user("node", grant(clientv3.PermissionType(clientv3.PermReadWrite)))
	user("reader", grant(clientv3.PermissionType(clientv3.PermRead)))
	user("nobody", func(string) {})
	user("own", func(role string) { // as the package's documentation says
		grant(clientv3.PermissionType(clientv3.PermRead))(role)
		for _, kind := range []string{"nodes", "traces", "departures"} {
			do(root.RoleGrantPermission(ctx, role, "tandem/"+kind+"/own", "", clientv3.PermissionType(clientv3.PermReadWrite)))
		}
	})
	do(root.AuthEnable(ctx))
	as := func(name, password string) *clientv3.Client {
		return s.dial(func(cfg *clientv3.Config) { cfg.Username, cfg.Password = name, password })
	}
	n := registrytest.Node("n", "e1", "x")
	if err := open(t, as("node", "secret"), etcd.Config{}).Register(ctx, n); err != nil {
		t.Errorf("with all permissions: %v", err)
	}
	own := open(t, as("own", "secret"), etcd.Config{})
	for what, err := range map[string]error{
		"register":   own.Register(ctx, registrytest.Node("own", "e1", "x")),
		"renew":      own.Renew(ctx, "own", "e1"),
		"update":     own.Update(ctx, registrytest.Node("own", "e1", "y")),
		"deregister": own.Deregister(ctx, "own", "e1", []byte("last")),
	} {
		if err != nil {
			t.Errorf("%s its own node: %v", what, err)
		}
	}
	for what, err := range map[string]error{
		"register": own.Register(ctx, registrytest.Node("m", "e1", "x")),
		"replace":  own.Register(ctx, n),
		"evict":    own.Evict(ctx, "n", "e1"),
	} {
		if !errors.Is(err, registry.ErrDenied) {
			t.Errorf("%s another node: %v", what, err)
		}
	}
	reader := open(t, as("reader", "secret"), etcd.Config{})
	if got, err := reader.Lookup(ctx, "n"); err != nil || !got.Equal(n) {
		t.Errorf("read: %+v, %v", got, err)
	}
	if err := reader.Register(ctx, registrytest.Node("m", "e1", "x")); !errors.Is(err, registry.ErrDenied) {
		t.Errorf("registered as reader: %v", err)
	}
	for what, c := range map[string]*clientv3.Client{"no permission": as("nobody", "secret"), "no user": s.dial()} {
		if _, err := etcd.New(within(t, time.Minute), c, etcd.Config{}); !errors.Is(err, registry.ErrDenied) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
