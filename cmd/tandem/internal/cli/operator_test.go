package cli

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/admin/natsadmin"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/natsbus/permissions"
)

// With the permissions that perms prints, a gateway serves and an operator sees, and is nobody else.
func TestPermsAreEnough(t *testing.T) {
	user := func(role, name string) *server.User {
		set, err := permissionOf(role, name, "shop", permissions.Node{}, nil, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		return &server.User{Username: name, Password: name, Permissions: &server.Permissions{Publish: &server.SubjectPermission{Allow: set.Publish, Deny: set.Deny}, Subscribe: &server.SubjectPermission{Allow: set.Subscribe}}}
	}
	srv := servers.Start(t, embedded.Config{Configure: func(o *server.Options) {
		o.Users = []*server.User{user("gateway", "gw"), user("operator", "ann"), user("operator", "bob")}
	}})
	quiet := slog.New(slog.DiscardHandler)
	sys, err := actor.NewSystem(actor.Config{Name: "till-1", Logger: quiet, Setup: func(sys *actor.System) error {
		return admin.Open(sys, admin.Config{Read: []string{"nats:ann"}, Logger: quiet})
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sys.Shutdown(context.Background()) })
	api, err := natsadmin.Serve(t.Context(), sys, natsadmin.Config{Cluster: "shop", Logger: quiet, Connect: func(context.Context) (*nats.Conn, error) {
		return nats.Connect(srv.URL(), nats.UserInfo("gw", "gw"), nats.CustomInboxPrefix("_INBOX_gw"))
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Close(context.Background()) })
	for _, c := range []struct {
		login, as, says string
		code            int
	}{{"ann", "ann", "till-1", ExitOK}, {"bob", "bob", "denied", ExitDenied}, {"bob", "ann", "", ExitUnavailable}} {
		var out, errs bytes.Buffer
		url := strings.Replace(srv.URL(), "://", "://"+c.login+":"+c.login+"@", 1)
		code := Run(t.Context(), []string{"--server", url, "--inbox", "_INBOX_" + c.login, "--cluster", "shop", "--user", c.as, "--timeout", "500ms", "nodes"}, nil, &out, &errs)
		if code != c.code || !strings.Contains(out.String()+errs.String(), c.says) {
			t.Errorf("%s as %s: exit code %d, want %d: %s%s", c.login, c.as, code, c.code, out.String(), errs.String())
		}
	}
}
