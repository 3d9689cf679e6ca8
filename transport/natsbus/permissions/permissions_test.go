package permissions_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	bindings "github.com/tandem-go/tandem/gateway/natskv"
	"github.com/tandem-go/tandem/ledger"
	records "github.com/tandem-go/tandem/ledger/jetstream"
	"github.com/tandem-go/tandem/placement"
	claims "github.com/tandem-go/tandem/placement/natskv"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/registry/registrytest"
	"github.com/tandem-go/tandem/reminder"
	reminders "github.com/tandem-go/tandem/reminder/jetstream"
	"github.com/tandem-go/tandem/state"
	states "github.com/tandem-go/tandem/state/jetstream"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/natsbus/permissions"
)

// part is a part of Tandem that needs NATS. use does everything that it can do, as the node and on the
// node's connection; root may do everything.
type part struct {
	needs func(permissions.Node) permissions.Set
	use   func(ctx context.Context, n permissions.Node, own, root *nats.Conn) error
}

var parts = map[string]part{
	"bus": {permissions.Node.Bus, useBus},
	"registry": {permissions.Node.Registry, func(ctx context.Context, n permissions.Node, own, root *nats.Conn) error {
		return useRegistry(ctx, n, own, root, false)
	}},
	"registry, which it makes": {func(n permissions.Node) permissions.Set { return permissions.All(n.Registry(), n.MakeRegistry()) },
		func(ctx context.Context, n permissions.Node, own, root *nats.Conn) error {
			return useRegistry(ctx, n, own, root, true)
		}},
	"records, which it makes":         {func(n permissions.Node) permissions.Set { return permissions.All(n.Records(), n.MakeRecords()) }, useRecords},
	"state, whose streams it makes":   {func(n permissions.Node) permissions.Set { return permissions.All(n.States(), n.MakeStates()) }, useStates},
	"claims, whose bucket it makes":   {func(n permissions.Node) permissions.Set { return permissions.All(n.Claims(), n.MakeClaims()) }, useClaims},
	"bindings, whose bucket it makes": {func(n permissions.Node) permissions.Set { return permissions.All(n.Bindings(), n.MakeBindings()) }, useBindings},
	"settings":                        {permissions.Node.Settings, useSettings},
	"settings, which it writes":       {func(n permissions.Node) permissions.Set { return permissions.All(n.Settings(), n.WriteSettings()) }, writeSettings},
	"settings, whose bucket it makes": {func(n permissions.Node) permissions.Set {
		return permissions.All(n.Settings(), n.WriteSettings(), n.MakeSettings())
	}, makeSettings},
	"reminders, whose streams it makes": {func(n permissions.Node) permissions.Set { return permissions.All(n.Reminders(), n.MakeReminders()) }, useReminders},
}

var quiet = slog.New(slog.DiscardHandler)

type ignore struct{}

func (ignore) Receive(*transport.Envelope) {}
func (ignore) Flush()                      {}
func (ignore) Drained()                    {}
func (ignore) Disturbed()                  {}
func (ignore) Closed(error)                {}

func ignoring(transport.Link) transport.Receiver { return ignore{} }

func useBus(ctx context.Context, n permissions.Node, own, root *nats.Conn) error {
	local := func(node string) transport.Local {
		return transport.Local{Cluster: n.Cluster, Node: node, Epoch: "e", Logger: quiet}
	}
	me, peer := natsbus.New(own, natsbus.Config{Principal: n.Principal}), natsbus.New(root, natsbus.Config{Principal: "peer"})
	defer me.Close()
	defer peer.Close()
	if _, err := me.Start(ctx, local(n.Name), ignoring); err != nil {
		return err
	}
	if _, err := peer.Start(ctx, local("peer"), ignoring); err != nil {
		return err
	}
	for _, epoch := range []string{"e", ""} {
		if _, err := me.Dial(ctx, transport.Endpoint{Node: "peer", Epoch: epoch}, ignoring); err != nil {
			return err
		}
		if _, err := peer.Dial(ctx, transport.Endpoint{Node: n.Name, Epoch: epoch}, ignoring); err != nil {
			return err
		}
	}
	began := time.Now()
	_, err := me.Dial(ctx, transport.Endpoint{Node: "nobody", Epoch: "e"}, ignoring)
	if !errors.Is(err, transport.ErrAbsent) {
		return fmt.Errorf("dialling nobody took %v: %w", time.Since(began), err)
	}
	return nil
}

// useRegistry uses a registry whose bucket the node itself makes, or root.
func useRegistry(ctx context.Context, n permissions.Node, own, root *nats.Conn, makes bool) error {
	open := func(nc *nats.Conn) (*natskv.Registry, error) {
		js, err := jetstream.New(nc)
		if err != nil {
			return nil, err
		}
		return natskv.New(ctx, js, natskv.Config{Cluster: n.Cluster, Logger: quiet})
	}
	if makes {
		first, err := open(own)
		if err != nil {
			return err
		}
		first.Close()
	}
	other, err := open(root)
	if err != nil {
		return err
	}
	defer other.Close()
	for i := range 30 { // so much that the watch has to confirm how far it has read
		if err := other.Register(ctx, registrytest.Node(fmt.Sprint("big", i), "e", strings.Repeat("x", 60<<10))); err != nil {
			return err
		}
	}
	r, err := open(own)
	if err != nil {
		return err
	}
	defer r.Close()
	for epoch, step := range []func(epoch string) error{
		func(epoch string) error { return r.Renew(ctx, n.Name, epoch) },
		func(string) error { return r.Refresh(ctx, n.Name) },
		func(epoch string) error { return r.Deregister(ctx, n.Name, epoch, []byte("x")) },
		func(string) error { _, err := r.Departed(ctx, n.Name); return err },
		func(epoch string) error { return r.Evict(ctx, n.Name, epoch) },
	} {
		epoch := fmt.Sprint("e", epoch)
		if err := r.Register(ctx, registrytest.Node(n.Name, epoch, "x")); err != nil {
			return err
		}
		if err := step(epoch); err != nil {
			return err
		}
		if err := r.Deregister(ctx, n.Name, epoch, nil); err != nil {
			return err
		}
	}
	return nil
}

func useRecords(ctx context.Context, n permissions.Node, own, _ *nats.Conn) error {
	js, err := jetstream.New(own)
	if err != nil {
		return err
	}
	changes := []ledger.Change{{Op: ledger.Opened, ID: ledger.ID{Grant: [16]byte{1}}, Time: time.Unix(1, 0), Owner: "o"}}
	store := records.New(js, records.Config{Cluster: n.Cluster, Logger: quiet})
	log, err := store.Take(ctx, n.Name, "e1", func(ledger.Change) {})
	if err != nil {
		return err
	}
	if err := log.Append(ctx, changes); err != nil {
		return err
	}
	if err := log.Rewrite(ctx, slices.Values(changes)); err != nil {
		return err
	}
	if err := log.(ledger.Checker).Check(ctx); err != nil {
		return err
	}
	_, err = store.Take(ctx, n.Name, "e2", func(ledger.Change) {})
	return err
}

func useStates(ctx context.Context, n permissions.Node, own, _ *nats.Conn) error {
	js, err := jetstream.New(own)
	if err != nil {
		return err
	}
	store, err := states.Open(ctx, js, states.Config{Cluster: n.Cluster, Logger: quiet})
	if err != nil {
		return err
	}
	key := state.Key{Kind: "k", ID: "a"}
	if _, _, err := store.Load(ctx, key); !errors.Is(err, state.ErrNone) {
		return err
	}
	if _, err := store.Commit(ctx, key, state.Record{}, state.Revision{}); err != nil {
		return err
	}
	for _, err := range store.Walk(ctx, key.Kind) {
		if err != nil {
			return err
		}
	}
	return store.Check(ctx)
}

func useBindings(ctx context.Context, n permissions.Node, own, _ *nats.Conn) error {
	js, err := jetstream.New(own)
	if err != nil {
		return err
	}
	store, err := bindings.Open(ctx, js, bindings.Config{Cluster: n.Cluster, Logger: quiet})
	if err != nil {
		return err
	}
	for _, address := range []string{"a", "b"} {
		if bound, err := store.Bind(ctx, "key", address); bound != "a" || err != nil {
			return fmt.Errorf("bound to %q: %w", bound, err)
		}
	}
	return nil
}

func useClaims(ctx context.Context, n permissions.Node, own, _ *nats.Conn) error {
	js, err := jetstream.New(own)
	if err != nil {
		return err
	}
	store, err := claims.Open(ctx, js, claims.Config{Cluster: n.Cluster, Logger: quiet})
	if err != nil {
		return err
	}
	key, claim := placement.Key{Kind: "k", ID: "a"}, placement.Claim{Node: n.Name, Epoch: "e", ID: "1"}
	if held, err := store.Get(ctx, key); err != nil || held.Token != 0 {
		return fmt.Errorf("%+v: %w", held, err)
	}
	token, err := store.Create(ctx, key, claim)
	if err != nil {
		return err
	}
	claim.ID = "2"
	if token, err = store.Replace(ctx, key, claim, token); err != nil {
		return err
	}
	if _, err := store.Create(ctx, key, placement.Claim{Node: "other", Epoch: "e", ID: "3"}); !errors.Is(err, placement.ErrConflict) {
		return err
	}
	for _, err := range store.Walk(ctx, key.Kind) {
		if err != nil {
			return err
		}
	}
	if err := store.Release(ctx, key, token); err != nil {
		return err
	}
	return store.Check(ctx)
}

// useReminders sets reminders, replaces one, and follows them.
func useReminders(ctx context.Context, n permissions.Node, own, _ *nats.Conn) error {
	js, err := jetstream.New(own)
	if err != nil {
		return err
	}
	store, err := reminders.Open(ctx, js, reminders.Config{Cluster: n.Cluster, Logger: quiet})
	if err != nil {
		return err
	}
	a := reminder.Actor{Kind: "k", ID: "a"}
	set := func(name string, in time.Duration) error {
		_, err := store.Set(ctx, reminder.Reminder{Actor: a, Name: name, When: reminder.At(time.Now().Add(in)), Message: reminder.Message{Type: "T"}}, reminder.ID{})
		return err
	}
	if _, err := store.List(ctx, a); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	fired, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- store.Follow(ctx, func(context.Context, reminder.Firing) reminder.Outcome {
			select {
			case fired <- struct{}{}:
			case <-ctx.Done():
			}
			return reminder.Done()
		})
	}()
	for _, name := range []string{"x", "y"} { // when it has fired, the alarm that was set before it is there
		err = errors.Join(err, set("often replaced", time.Hour), set(name, 0))
		select {
		case <-fired:
		case <-ctx.Done():
		}
	}
	err = errors.Join(err, store.Check(ctx))
	stop()
	return errors.Join(err, <-ended)
}

// The document shows what the function prints.
func TestDocument(t *testing.T) {
	doc, err := os.ReadFile("../../../docs/nats-permissions.md")
	if err != nil {
		t.Fatal(err)
	}
	till := permissions.Node{Cluster: "shop", Name: "till-1", Principal: "till", Inbox: "_INBOX_till-1"}
	all := permissions.All(till.Bus(), till.Registry(), till.MakeRegistry(), till.Records(), till.MakeRecords(), till.States(), till.MakeStates(), till.Claims(), till.MakeClaims(), till.Queue("mails"))
	if !strings.Contains(string(doc), "```\n"+all.String()+"\n```") {
		t.Errorf("docs/nats-permissions.md does not have:\n%s", all)
	}
}

// user is a user of the server, with the part that it runs.
type user struct {
	part
	permissions.Node
	may   permissions.Set
	title string
	lacks bool // one of the permissions
}

// users returns, for each part, a user with all permissions that it needs, and users that lack one
// of them. Each has its own cluster, so that none finds what another has made.
func users() (all []user) {
	for name, p := range parts {
		node := func() permissions.Node {
			return permissions.Node{Cluster: fmt.Sprint("c", len(all)), Name: "till-1", Principal: "till", Inbox: "_INBOX_till"}
		}
		all = append(all, user{p, node(), p.needs(node()), name + " with all", false})
		for i, subject := range all[len(all)-1].may.Publish {
			set := p.needs(node())
			set.Publish = slices.Delete(set.Publish, i, i+1)
			all = append(all, user{p, node(), set, name + " without publish to " + subject, true})
		}
		for i, subject := range p.needs(node()).Subscribe {
			set := p.needs(node())
			set.Subscribe = slices.Delete(set.Subscribe, i, i+1)
			if len(set.Subscribe) == 0 {
				set.Subscribe = []string{"nothing"} // an empty list is not a limit
			}
			all = append(all, user{p, node(), set, name + " without subscribe to " + subject, true})
		}
	}
	return all
}

// Every part works with exactly its permissions. If one is missing, NATS refuses something.
func TestExactly(t *testing.T) {
	all := users()
	srv, err := embedded.Start(embedded.Config{Configure: func(o *server.Options) {
		o.Users = []*server.User{{Username: "root"}}
		for i, u := range all {
			o.Users = append(o.Users, &server.User{Username: fmt.Sprint("u", i), Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: u.may.Publish},
				Subscribe: &server.SubjectPermission{Allow: u.may.Subscribe}}})
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown()
	t.Run("each", func(t *testing.T) {
		for i, u := range all {
			t.Run(u.title, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				var mu sync.Mutex // guards refused
				var refused []string
				own, err := natsbus.Connect(ctx, srv.URL(), nats.UserInfo(fmt.Sprint("u", i), ""), nats.CustomInboxPrefix(u.Inbox),
					nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
						if errors.Is(err, nats.ErrPermissionViolation) {
							mu.Lock()
							defer mu.Unlock()
							refused = append(refused, err.Error())
							cancel() // nothing needs to wait for an answer any more
						}
					}))
				if err != nil {
					t.Fatal(err)
				}
				defer own.Close()
				root, err := natsbus.Connect(ctx, srv.URL(), nats.UserInfo("root", ""))
				if err != nil {
					t.Fatal(err)
				}
				defer root.Close()
				err = u.use(ctx, u.Node, own, root)
				own.FlushTimeout(10 * time.Second) // the server sends its refusals before it answers the flush
				last := own.LastError()
				mu.Lock()
				defer mu.Unlock()
				switch {
				case u.lacks && len(refused) == 0 && !errors.Is(last, nats.ErrPermissionViolation):
					t.Errorf("nothing was refused, %v: it is not needed", err)
				case !u.lacks && (err != nil || len(refused) > 0):
					t.Errorf("%v; refused: %v", err, refused)
				}
			})
		}
	})
}
