// Two nodes with a link, and a user that has JetStream publish in their names.

package natsbus_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// victims are two nodes with a link, on a server whose users are confined as
// docs/nats-permissions.md says, a user that can read everything, and a user that may
// use JetStream but not publish to any node.
type victims struct {
	bank, shop *bus
	from, to   *end // the link's ends at bank and at shop
	tap        *nats.Subscription
	mallory    *nats.Conn
	streams    int
}

// startVictims starts the victims, on a server of their own.
func startVictims(t *testing.T) *victims {
	node := func(name string) *server.User {
		return &server.User{Username: name, Password: "pw", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"test.node.*.*." + name, "test.find.*." + name}},
			Subscribe: &server.SubjectPermission{Allow: []string{"test.node." + name + ".*.*", "test.find." + name + ".*", "test.gone." + name + ".*.*"}},
		}}
	}
	srv := startServer(t, embedded.Config{Configure: func(o *server.Options) {
		o.Users = []*server.User{node("bank"), node("shop"), {Username: "tap", Password: "pw"},
			{Username: "mallory", Password: "pw", Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: []string{"$JS.API.>", "mallory.>"}},
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
			}}}
	}})
	as := func(name string) *nats.Conn { return connect(t, srv.URL(), nats.UserInfo(name, "pw")) }
	v := &victims{mallory: as("mallory"), tap: listen(t, as("tap"))}
	v.bank, v.shop = startBus(t, as("bank"), "bank", natsbus.Config{}), startBus(t, as("shop"), "shop", natsbus.Config{})
	v.from, v.to = link(t, v.bank, v.shop)
	return v
}

// listen subscribes to all subjects of the bus.
func listen(t *testing.T, nc *nats.Conn) *nats.Subscription {
	t.Helper()
	tap, err := nc.SubscribeSync("test.>")
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	return tap
}

// store makes JetStream keep packets of mallory, under the given subject if it is not empty.
func (v *victims) store(t *testing.T, subject string, packets ...[]byte) (js nats.JetStreamContext, stream string) {
	t.Helper()
	js, err := v.mallory.JetStream()
	if err != nil {
		t.Fatal(err)
	}
	v.streams++
	stream = fmt.Sprintf("m%d", v.streams)
	own := fmt.Sprintf("mallory.%d", v.streams)
	cfg := &nats.StreamConfig{Name: stream, Subjects: []string{own}, Storage: nats.MemoryStorage, AllowDirect: true}
	if subject != "" {
		cfg.SubjectTransform = &nats.SubjectTransformConfig{Source: own, Destination: subject}
	}
	if _, err := js.AddStream(cfg); err != nil {
		t.Fatal(err)
	}
	for _, p := range packets {
		if _, err := js.Publish(own, p); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := js.AddConsumer(stream, &nats.ConsumerConfig{Durable: "c", AckPolicy: nats.AckNonePolicy, FilterSubject: subject}); err != nil {
		t.Fatal(err)
	}
	return js, stream
}

// inject makes JetStream publish packets to a subject, so that they look as if the subject's user
// had published them.
func (v *victims) inject(t *testing.T, subject string, packets ...[]byte) {
	t.Helper()
	_, stream := v.store(t, subject, packets...)
	for range packets {
		if err := v.mallory.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+stream+".c", subject, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// untilStats waits until the counters of b satisfy ok.
func untilStats(t *testing.T, b *bus, what string, ok func(natsbus.Stats) bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(b.Stats()); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s; %+v", what, b.Stats())
		}
	}
}

// The link still works, and neither end has received anything that the other did not send.
func (v *victims) unharmed(t *testing.T) {
	t.Helper()
	v.from.send(1001)
	v.to.send(1002)
	if got := v.to.untilGot(1); !slices.Equal(got, []uint64{1001}) {
		t.Errorf("shop got %d", got)
	}
	if got := v.from.untilGot(1); !slices.Equal(got, []uint64{1002}) {
		t.Errorf("bank got %d", got)
	}
	if len(v.shop.accepted)+len(v.bank.accepted) > 0 {
		t.Error("a link was accepted that nobody opened")
	}
}

// linkID returns the id of the victims' link.
func (v *victims) linkID(t *testing.T) string {
	t.Helper()
	for {
		m, err := v.tap.NextMsg(patience)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(m.Subject, "test.node.shop.") && m.Data[1] == kindConfirm|fromDialler {
			return string(m.Data[2:18])
		}
	}
}
