package natsapi_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/natsapi"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// withUsers is a server with the permissions that the package's documentation shows, and an administrator, who may everything.
func withUsers(opts *server.Options) {
	client := func(name string) *server.User {
		return &server.User{Username: name, Password: name, Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"tandem.api." + name + ".>", "$SRV.>"}},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_" + name + ".>"}},
		}}
	}
	opts.Users = []*server.User{client("ann"), client("bob"), {Username: "admin", Password: "admin"}, {Username: "gateway", Password: "gateway", Permissions: &server.Permissions{
		Publish:   &server.SubjectPermission{Deny: []string{"tandem.api.>"}},
		Subscribe: &server.SubjectPermission{Allow: []string{"tandem.api.>", "$SRV.>"}},
	}}}
}

// With the permissions that the documentation shows, a user asks as itself and as nobody else, and sees no other's answers.
func TestPermissions(t *testing.T) {
	r := newRig(t, embedded.Config{Configure: withUsers})
	r.serve(natsapi.Config{}, nats.UserInfo("gateway", "gateway"))
	violations := make(chan error, 8)
	as := func(name string) *nats.Conn {
		return r.connect(nats.UserInfo(name, name), nats.CustomInboxPrefix("_INBOX_"+name), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { violations <- err }))
	}
	ann, bob := as("ann"), as("bob")
	for name, nc := range map[string]*nats.Conn{"ann": ann, "bob": bob} {
		m, err := nc.Request("tandem.api."+name+".desk.Who", nil, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		want(t, name, m, `"nats:`+name+`"`)
		if _, err := nc.Request("$SRV.INFO.desk", nil, 10*time.Second); err != nil {
			t.Error(err)
		}
	}
	for _, subject := range []string{"tandem.api.bob.desk.Note", "tandem.api.-.desk.Note", "tandem.api.*.desk.Note"} {
		err := ann.PublishRequest(subject, "_INBOX_ann.x", []byte(`{}`))
		if err == nil {
			err = <-violations
		}
		if !errors.Is(err, nats.ErrPermissionViolation) && !errors.Is(err, nats.ErrBadSubject) {
			t.Errorf("%s: %v", subject, err)
		}
	}
	if _, err := ann.SubscribeSync("_INBOX_bob.>"); err != nil {
		t.Fatal(err)
	}
	if err := <-violations; !errors.Is(err, nats.ErrPermissionViolation) {
		t.Error(err)
	}
	select {
	case text := <-r.desk.notes:
		t.Errorf("it ran: %s", text)
	default:
	}
}

// Nobody gets a message sent in another's name by having a service answer, or JetStream deliver, to the other's subject: even
// where the gateway itself may publish everything.
func TestConfusedDeputies(t *testing.T) {
	r := newRig(t, embedded.Config{Configure: withUsers})
	r.serve(natsapi.Config{}, nats.UserInfo("admin", "admin"))
	ann := r.connect(nats.UserInfo("ann", "ann"), nats.CustomInboxPrefix("_INBOX_ann"))
	victim := "tandem.api.bob.desk.Note"
	for subject, body := range map[string]string{
		"$SRV.INFO":                ``,
		"$SRV.PING.desk":           ``,
		"tandem.api.ann.desk.Who":  ``,
		"tandem.api.ann.desk.Note": `{"Text": "no inbox"}`,
	} {
		if err := ann.PublishRequest(subject, victim, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := ann.Publish("tandem.api.ann.desk.Note", []byte(`{"Text": "no reply subject"}`)); err != nil {
		t.Fatal(err)
	}
	admin := r.connect(nats.UserInfo("admin", "admin"))
	ctx := servers.Within(t, 30*time.Second)
	js, err := natsjs.New(admin)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.CreateStream(ctx, natsjs.StreamConfig{Name: "notes", Subjects: []string{"notes"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, "notes", []byte(`{"Text": "delivered"}`)); err != nil {
		t.Fatal(err)
	}
	delivered, err := admin.SubscribeSync(victim)
	if err != nil {
		t.Fatal(err)
	}
	if err := admin.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, policy := range []natsjs.AckPolicy{natsjs.AckNonePolicy, natsjs.AckExplicitPolicy} {
		if _, err := s.CreatePushConsumer(ctx, natsjs.ConsumerConfig{DeliverSubject: victim, AckPolicy: policy}); err != nil {
			t.Fatal(err)
		}
		for {
			m, err := delivered.NextMsgWithContext(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if string(m.Data) == `{"Text": "delivered"}` {
				break
			}
		}
	}
	// What the gateway got before this request it has judged.
	m, err := ann.Request("tandem.api.ann.desk.Note", []byte(`{"Text": "asked"}`), 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	want(t, "ann's own", m, ``, "Tandem-Ran", "unknown")
	if text := <-r.desk.notes; text != "asked" {
		t.Errorf("it ran: %q", text)
	}
}
