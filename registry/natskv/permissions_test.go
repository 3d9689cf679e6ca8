package natskv_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/registry/registrytest"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/natsbus/permissions"
)

// What a registry of cluster "shop" needs on the node "n".
var (
	shop       = permissions.Node{Cluster: "shop", Name: "n"}
	needs      = permissions.All(shop.Registry(), shop.MakeRegistry())
	publishes  = needs.Publish
	subscribes = needs.Subscribe
)

// confined starts a server with a user "u" that may do what is listed and nothing else.
func confined(t *testing.T, publish, subscribe []string) *embedded.Server {
	t.Helper()
	return start(t, embedded.Config{MaxPayload: 64 << 10, Configure: func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "u", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: publish}, Subscribe: &server.SubjectPermission{Allow: subscribe}}},
			{Username: "root"},
		}
	}})
}

func TestPermissions(t *testing.T) {
	s := confined(t, publishes, subscribes)
	var mu sync.Mutex // guards denied
	var denied []string
	user := []nats.Option{nats.UserInfo("u", ""), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		mu.Lock()
		defer mu.Unlock()
		denied = append(denied, err.Error())
	})}
	cfg := natskv.Config{Cluster: "shop", Lease: time.Second}
	a, b := open(t, connect(t, s, user...), cfg), open(t, connect(t, s, user...), cfg)
	ctx := within(t, 30*time.Second)
	events, err := b.Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	n := registrytest.Node("n", "e1", "x")
	steps := []func() error{
		func() error { return a.Register(ctx, n) },
		func() error { return a.Renew(ctx, "n", "e1") },
		func() error { return b.Refresh(ctx, "n") },
		func() error { return a.Deregister(ctx, "n", "e1", []byte("x")) },
		func() error { return b.Register(ctx, registrytest.Node("n", "e2", "x")) },
		func() error { _, err := a.Departed(ctx, "n"); return err },
		func() error { return a.Evict(ctx, "n", "e2") },
	}
	for i, step := range steps {
		if err := step(); err != nil {
			t.Errorf("step %d: %v", i, err)
		}
	}
	last := registrytest.Node("n", "last", "x")
	if err := a.Register(ctx, last); err != nil {
		t.Fatal(err)
	}
	for heard := false; !heard; {
		e, open := <-events
		if !open {
			t.Fatal("the watch has told nothing of the last node")
		}
		heard = e.Node.Equal(last)
	}
	a.Close()
	b.Close()
	mu.Lock()
	defer mu.Unlock()
	for _, d := range denied {
		t.Error(d)
	}
}

// Each permission on the list is needed. If one is missing, the error names the subject.
func TestMissingPermission(t *testing.T) {
	t.Parallel()
	try := func(t *testing.T, s *embedded.Server) error {
		r, err := natskv.New(within(t, 20*time.Second), connect(t, s, nats.UserInfo("u", ""), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})),
			natskv.Config{Cluster: "shop", Logger: quiet})
		if err != nil {
			return err
		}
		defer r.Close()
		return r.Register(within(t, 20*time.Second), registrytest.Node("n", "e1", "x"))
	}
	for _, missing := range []string{"$JS.API.INFO", "$JS.API.STREAM.INFO", "$JS.API.STREAM.CREATE", "$JS.API.STREAM.MSG.GET", "$JS.API.CONSUMER.CREATE", "$KV.shop_nodes.n"} {
		t.Run(missing, func(t *testing.T) {
			t.Parallel()
			s := confined(t, slices.DeleteFunc(slices.Clone(publishes), func(p string) bool { return strings.HasPrefix(p, missing) }), subscribes)
			began := time.Now()
			err := try(t, s)
			if !errors.Is(err, registry.ErrDenied) || errors.Is(err, registry.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), missing) {
				t.Errorf("got %v", err)
			}
			if d := time.Since(began); d > 8*time.Second {
				t.Errorf("it took %v", d)
			}
		})
	}
	t.Run("inbox", func(t *testing.T) {
		t.Parallel()
		if err := try(t, confined(t, publishes, []string{"none"})); !errors.Is(err, registry.ErrDenied) || !strings.Contains(err.Error(), "_INBOX") {
			t.Errorf("got %v", err)
		}
	})
}

// If a record is too large for NATS, the error is ErrTooLarge and not ErrUnavailable.
func TestRecordTooLarge(t *testing.T) {
	s := confined(t, publishes, subscribes)
	ctx := within(t, 30*time.Second)
	r := open(t, connect(t, s, nats.UserInfo("root", "")), natskv.Config{Cluster: "shop"})
	n := registrytest.Node("n", "e1", "x")
	for i := range 2000 {
		n.Services[fmt.Sprintf("a service with a long name, number %d", i)] = []string{"x"}
	}
	if err := r.Register(ctx, n); !errors.Is(err, registry.ErrTooLarge) || errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	// A node whose last word is too large leaves nevertheless.
	if err := r.Register(ctx, registrytest.Node("m", "e1", "x")); err != nil {
		t.Fatal(err)
	}
	if err := r.Deregister(ctx, "m", "e1", make([]byte, registry.MaxLast)); !errors.Is(err, registry.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if d, err := r.Departed(ctx, "m"); err != nil || d.Epoch != "e1" || len(d.Last) != 0 {
		t.Errorf("got %+v, %v", d, err)
	}
}

// A last word that just fits into a message does not prevent the next holder from registering the
// name.
func TestLastWordThatJustFits(t *testing.T) {
	t.Parallel()
	s := start(t, embedded.Config{MaxPayload: 8 << 10})
	ctx := within(t, time.Minute)
	r := open(t, connect(t, s), natskv.Config{})
	fitted := false
	for size := 7 << 10; !fitted; size++ { // until one is too large, so that the one before just fits
		epoch := fmt.Sprint("e", size)
		if err := r.Register(ctx, registrytest.Node("n", epoch, "x")); err != nil {
			t.Fatalf("after a last word of %d bytes: %v", size-1, err)
		}
		err := r.Deregister(ctx, "n", epoch, make([]byte, size))
		if fitted = errors.Is(err, registry.ErrTooLarge); !fitted && err != nil {
			t.Fatal(err)
		}
	}
}

// If the owner of a connection has closed it, that is final, and the error says so.
func TestClosedConnection(t *testing.T) {
	js := connect(t, start(t, embedded.Config{}))
	log := new(recorder)
	r := open(t, js, natskv.Config{Logger: log.logger()})
	js.Conn().Close()
	log.await(t, "closed for good")
	err := r.Renew(within(t, 20*time.Second), "n", "e1")
	if !errors.Is(err, registry.ErrClosed) || !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("renew: %v", err)
	}
	_, err = natskv.New(t.Context(), js, natskv.Config{Logger: quiet})
	if !errors.Is(err, registry.ErrClosed) {
		t.Errorf("new: %v", err)
	}
}
