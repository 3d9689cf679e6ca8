package redis_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tandem-go/tandem/registry"
	tandemredis "github.com/tandem-go/tandem/registry/redis"
	"github.com/tandem-go/tandem/registry/registrytest"
)

// quiet throws away what go-redis prints about connections that fail.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func TestMain(m *testing.M) {
	// Most tests wait for servers, so more of them run at the same time than there are
	// processors, unless -parallel is given.
	_ = flag.Set("test.parallel", strconv.Itoa(max(12, runtime.GOMAXPROCS(0))))
	redis.SetLogger(quiet{})
	m.Run()
}

func TestConformance(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	clusters := 0
	registrytest.Run(t, registrytest.Config{
		New: func(t *testing.T, lease time.Duration) (a, b registry.Registry) {
			clusters++
			cfg := tandemredis.Config{Cluster: fmt.Sprintf("c%d", clusters), Lease: lease}
			return open(t, s.dial(), cfg), open(t, s.dial(), cfg)
		},
	})
}

func TestFaults(t *testing.T) {
	t.Parallel()
	registrytest.RunFaults(t, func(t *testing.T) registrytest.Server { return startServer(t) })
}

func TestConfig(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	for _, cfg := range []tandemredis.Config{{Cluster: "a}b"}, {Lease: time.Millisecond}, {Lease: -time.Second}, {MaxRecords: -1}, {MaxBytes: -1}, {StartWait: -1}} {
		if r, err := tandemredis.New(within(t, 10*time.Second), s.hand, cfg); err == nil {
			r.Close()
			t.Errorf("%+v: no error", cfg)
		}
	}
	if r := open(t, s.hand, tandemredis.Config{}); r.Lease() != tandemredis.DefaultLease {
		t.Errorf("default lease %v", r.Lease())
	}
}

// When the wait for a server ends in vain, the error says so. A closed client is no reason to wait.
func TestNoServer(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	c := s.dial()
	s.Stop()
	began := time.Now()
	if _, err := tandemredis.New(t.Context(), c, tandemredis.Config{StartWait: time.Second}); !errors.Is(err, registry.ErrUnavailable) || errors.Is(err, registry.ErrClosed) {
		t.Errorf("no server: %v", err)
	}
	if d := time.Since(began); d < time.Second || d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := tandemredis.New(within(t, time.Minute), c, tandemredis.Config{}); !errors.Is(err, registry.ErrUnavailable) || !errors.Is(err, registry.ErrClosed) {
		t.Errorf("a closed client: %v", err)
	}
}

// A user that is unknown or lacks permissions is denied at once. The permissions of the package's
// documentation are enough.
func TestDenied(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	ctx := within(t, 30*time.Second)
	for user, rules := range map[string][]any{
		"node":   {"~tandem:{tandem}:*", "&tandem:{tandem}:*", "+@read", "+@write", "+@scripting", "+@pubsub", "+@connection", "+time"},
		"other":  {"~tandem:{shop}:*", "&tandem:{shop}:*", "+@read", "+@write", "+@scripting", "+@pubsub", "+@connection", "+time"},
		"nobody": {"+@connection"},
	} {
		if err := s.hand.Do(ctx, append([]any{"ACL", "SETUSER", user, "on", ">secret"}, rules...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	as := func(user, password string) *redis.Client {
		return s.dial(func(o *redis.Options) { o.Username, o.Password = user, password })
	}
	n := registrytest.Node("n", "e1", "x")
	if err := open(t, as("node", "secret"), tandemredis.Config{}).Register(ctx, n); err != nil {
		t.Errorf("with all permissions: %v", err)
	}
	for what, c := range map[string]*redis.Client{
		"another cluster's user": as("other", "secret"), "no permission": as("nobody", "secret"), "wrong password": as("node", "guess"), "no such user": as("x", "y"),
	} {
		if _, err := tandemredis.New(within(t, time.Minute), c, tandemredis.Config{}); !errors.Is(err, registry.ErrDenied) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// All data is thrown away while the server runs on. Nodes learn it when they renew, and register again; what does
// not come back expires, and not at once.
func TestFlushed(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	ctx := within(t, 30*time.Second)
	const lease = 3 * time.Second
	a, b := open(t, s.dial(), tandemredis.Config{Lease: lease}), open(t, s.dial(), tandemredis.Config{Lease: lease})
	kept, gone := registrytest.Node("kept", "e1", "x"), registrytest.Node("gone", "e1", "x")
	for _, n := range []registry.Node{kept, gone} {
		if err := a.Register(ctx, n); err != nil {
			t.Fatal(err)
		}
	}
	events, err := b.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for joined := 0; joined < 2; joined++ {
		<-events
	}
	flushed := time.Now()
	if err := s.hand.FlushAll(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	if err := a.Renew(ctx, "kept", "e1"); !errors.Is(err, registry.ErrLost) {
		t.Errorf("renewed: %v", err)
	}
	if err := a.Register(ctx, kept); err != nil {
		t.Fatal(err)
	}
	renew := time.NewTicker(lease / 4)
	defer renew.Stop()
	for {
		select {
		case <-renew.C:
			if err := a.Renew(ctx, "kept", "e1"); err != nil {
				t.Fatal(err)
			}
			continue
		case e := <-events:
			if e.Change != registry.Expired || !e.Node.Equal(gone) {
				t.Errorf("got %v %+v, want gone to expire", e.Change, e.Node)
			}
		}
		break
	}
	if d := time.Since(flushed); d < lease-lease/10 {
		t.Errorf("believed after %v", d)
	}
}

// What is published can be lost. The sweep finds out.
func TestNothingIsPublished(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	ctx := within(t, 30*time.Second)
	events, err := open(t, s.dial(), tandemredis.Config{}).Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		n := registrytest.Node("n", "e1", strconv.Itoa(i))
		value, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		s.Spoil("n", value) // which publishes nothing
		select {
		case e := <-events:
			if !e.Node.Equal(n) {
				t.Errorf("got %+v", e)
			}
		case <-ctx.Done():
			t.Fatal("the change was not found")
		}
	}
}

// More records than a page are all read, and names that are long gone are dropped from the list of changes.
func TestPages(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	ctx := within(t, 60*time.Second)
	a := open(t, s.dial(), tandemredis.Config{})
	const many = 300
	for i := range many {
		if err := a.Register(ctx, registry.Node{Name: fmt.Sprint("n", i), Epoch: "e"}); err != nil {
			t.Fatal(err)
		}
	}
	nodes, err := open(t, s.dial(), tandemredis.Config{}).Nodes(ctx)
	if err != nil || len(nodes) != many {
		t.Errorf("%d nodes, %v", len(nodes), err)
	}
	for i := range many {
		name := fmt.Sprint("n", i)
		if err := a.Deregister(ctx, name, "e", nil); err != nil {
			t.Fatal(err)
		}
		if err := s.hand.Del(ctx, "tandem:{tandem}:left:"+name).Err(); err != nil { // as if Memory had passed
			t.Fatal(err)
		}
	}
	for { // each sweep drops some
		if err := a.Refresh(ctx, "n0"); err != nil {
			t.Fatal(err)
		}
		left, err := s.hand.ZCard(ctx, "tandem:{tandem}:changes").Result()
		if err != nil {
			t.Fatal(err)
		}
		if left < many/2 {
			break
		}
		open(t, s.dial(), tandemredis.Config{}).Close()
	}
}
