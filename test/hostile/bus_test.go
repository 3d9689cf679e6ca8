//go:build linux && !race

package hostile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/natsbus/permissions"
)

// inbox is the prefix of a user's own inboxes.
func inbox(user string) string { return "_INBOX_" + user }

// server runs the NATS server until the process ends, and returns its URL. Each node's user has
// the permissions that are printed for it. There is one more user, which mallory has got: it
// may use JetStream for its own subjects, and receives what is sent to nodes. Whoever makes
// streams for an application may do as much.
func (r role) server() (string, error) {
	srv, err := embedded.Start(embedded.Config{StoreDir: r.Dir + "/nats", Configure: func(o *server.Options) {
		user := func(name string, may permissions.Set) {
			o.Users = append(o.Users, &server.User{Username: name, Password: name, Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: may.Publish},
				Subscribe: &server.SubjectPermission{Allow: may.Subscribe},
			}})
		}
		for _, name := range everybody {
			n := permissions.Node{Cluster: "tandem", Name: name, Principal: name, Inbox: inbox(name)}
			user(name, permissions.All(n.Bus(), n.Registry(), n.MakeRegistry()))
			user(name+"-records", permissions.All(permissions.Node{Cluster: "tandem", Name: name, Inbox: inbox(name + "-records")}.Records(),
				permissions.Node{Cluster: "tandem", Name: name, Inbox: inbox(name + "-records")}.MakeRecords()))
		}
		user("streams", permissions.Set{Publish: []string{"$JS.API.>", "mallory.>"}, Subscribe: []string{inbox("streams") + ".>", "tandem.node.>"}})
	}})
	if err != nil {
		return "", err
	}
	return srv.URL(), nil
}

// user connects as a user of the server.
func (r role) user(ctx context.Context, name string) (*nats.Conn, error) {
	return natsbus.Connect(ctx, r.Bus, nats.UserInfo(name, name), nats.CustomInboxPrefix(inbox(name)))
}

// jets returns JetStream for a part of the node.
func (r role) jets(part string) (natsjs.JetStream, error) {
	nc, err := r.user(context.Background(), r.Name+"-"+part)
	if err != nil {
		return nil, err
	}
	return natsjs.New(nc)
}

// onBus is the road and the registry of a node on the bus.
func (r role) onBus(ctx context.Context, user string, cfg natsbus.Config) (*natsbus.Transport, registry.Registry, error) {
	nc, err := r.user(ctx, user)
	if err != nil {
		return nil, nil, err
	}
	js, err := natsjs.New(nc)
	if err != nil {
		return nil, nil, err
	}
	reg, err := natskv.New(ctx, js, natskv.Config{Lease: time.Minute, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, nil, err
	}
	return natsbus.New(nc, cfg), reg, nil
}

// start starts the road of a node that is correctly registered.
func (m *mallory) start(ctx context.Context) (transport.Transport, error) {
	m.once.Do(func() {
		var reg registry.Registry
		if m.road, reg, m.err = m.onBus(ctx, m.Name, natsbus.Config{}); m.err != nil {
			return
		}
		local := transport.Local{Cluster: "tandem", Node: m.Name, Epoch: "e-" + m.Name, Logger: slog.New(slog.DiscardHandler)}
		addr, err := m.road.Start(ctx, local, func(transport.Link) transport.Receiver { return &ear{m.newLine()} })
		if err == nil {
			err = reg.Register(ctx, registry.Node{Name: local.Node, Epoch: local.Epoch, Addrs: map[string]string{natsbus.Road: addr}})
		}
		m.err = err
	})
	return m.road, m.err
}

// dialBus opens a link over the bus. The node always has the name of its user.
func (m *mallory) dialBus(ctx context.Context, _ string) (*line, error) {
	road, err := m.start(ctx)
	if err != nil {
		return nil, err
	}
	l := m.newLine()
	l.link, err = road.Dial(ctx, transport.Endpoint{Node: victimName}, func(link transport.Link) transport.Receiver {
		l.link = link
		return &ear{l}
	})
	return l, err
}

// publish sends an envelope over the bus, once there is room for it.
func (l *line) publish(e *transport.Envelope) error {
	for {
		_, err := l.link.Send(e)
		if !errors.Is(err, transport.ErrFull) {
			return err
		}
		select {
		case <-l.room:
		case <-l.gone:
			return errEnough
		}
	}
}

// ear is the Receiver of a link over the bus.
type ear struct{ *line }

func (r *ear) Receive(e *transport.Envelope) { r.hear(e) }
func (r *ear) Flush()                        {}
func (r *ear) Disturbed()                    {}
func (r *ear) Closed(error)                  { close(r.gone) }
func (r *ear) Drained() {
	select {
	case r.room <- struct{}{}:
	default:
	}
}

// busLinks opens 4,200 links over the bus, and keeps those that are accepted.
func busLinks(m *mallory) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := m.start(ctx); err != nil {
		return err
	}
	each(256, func(int) {
		for i := 0; i < 4200/256/m.Share+1 && ctx.Err() == nil; i++ {
			_, _ = m.dial(ctx, "") // to be refused is what it comes to
		}
	})
	time.Sleep(stay)
	return nil
}

// busMarks sends as many marks as it can over the bus for three seconds: small ones that make
// no sense, and some with as many exceptions as are allowed.
func busMarks(m *mallory) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	frames := ackFrames(8192)
	return floodOf(ctx, m, 4, 1<<30, func(l *line, n int) error {
		l.seq++
		switch n % 3 {
		case 0:
			return l.send(&transport.Envelope{Verb: transport.VerbAck, Grant: l.grant, Mark: transport.Mark{Below: 1 << 40}, Body: frames[n/3%2]})
		case 1:
			return l.send(&transport.Envelope{Verb: transport.VerbPing, Seq: l.seq, Grant: l.grant, Mark: transport.Mark{Below: l.seq, Except: []uint64{l.seq - 1}}})
		}
		return l.message(transport.VerbRequest, "slow", Nap{})
	})
}

// ackFrames returns two bodies of acks with that many exceptions, which have none in common.
func ackFrames(n int) [2][]byte {
	var all [2][]byte
	for i := range uint64(n) {
		for k := range uint64(2) {
			all[k] = appendSeq(all[k], 2*i+k+1)
		}
	}
	return all
}

// forgedByJetStream makes JetStream publish what it has recorded of the honest node's messages,
// and changed copies of it, on the subject on which the honest node sends to the victim.
func forgedByJetStream(m *mallory) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	nc, err := m.user(ctx, "streams")
	if err != nil {
		return err
	}
	js, err := natsjs.New(nc)
	if err != nil {
		return err
	}
	tap, err := nc.SubscribeSync("tandem.node." + victimName + ".*.honest")
	if err != nil {
		return err
	}
	e, err := m.newLine().envelope(transport.VerbRequest, "echo", Echo{N: 7})
	if err != nil {
		return err
	}
	call, err := e.Append(nil)
	if err != nil {
		return err
	}
	for i := range 2000 / m.Share {
		heard, err := tap.NextMsgWithContext(ctx)
		for errors.Is(err, nats.ErrNoResponders) { // said of a question of mallory's own, and dropped by the victim
			heard, err = tap.NextMsgWithContext(ctx)
		}
		if err != nil {
			return fmt.Errorf("hearing the honest node: %w", err)
		}
		if len(heard.Data) < 18 {
			continue
		}
		var packets [][]byte
		packets = append(packets, heard.Data) // as it is
		frame := appendFrame(nil, call)
		for _, kind := range []byte{0x80 | 3, 0x80 | 4, 0x80 | 5, 0x80 | 7, 0x80 | 8, 1, 2, 10} { // data, close, reset, confirm, ask; open, welcome, refuse
			p := append([]byte{1, kind}, heard.Data[2:18]...)
			p = appendSeq(p, 1<<40+uint64(i))
			packets = append(packets, append(append(p, frame...), make([]byte, 16)...))
		}
		stream := fmt.Sprintf("m%d", i%8)
		if i < 8 {
			if _, err := js.CreateStream(ctx, natsjs.StreamConfig{Name: stream, Subjects: []string{"mallory." + stream}, Storage: natsjs.MemoryStorage, AllowDirect: true,
				MaxMsgs: 64, SubjectTransform: &natsjs.SubjectTransformConfig{Source: "mallory." + stream, Destination: heard.Subject}}); err != nil {
				return err
			}
			if _, err := js.CreateConsumer(ctx, stream, natsjs.ConsumerConfig{Durable: "c", AckPolicy: natsjs.AckNonePolicy}); err != nil {
				return err
			}
		}
		for _, p := range packets {
			if err := nc.Publish("mallory."+stream, p); err != nil {
				return err
			}
			for _, ask := range []struct {
				subject string
				body    string
			}{{"$JS.API.CONSUMER.MSG.NEXT." + stream + ".c", ""}, {"$JS.API.DIRECT.GET." + stream, fmt.Sprintf(`{"last_by_subj":%q}`, heard.Subject)}, {"$JS.API.STREAM.INFO." + stream, ""}} {
				if err := nc.PublishRequest(ask.subject, heard.Subject, []byte(ask.body)); err != nil {
					return err
				}
			}
		}
	}
	if err := nc.FlushWithContext(ctx); err != nil {
		return err
	}
	time.Sleep(stay)
	return nil
}

// refusedLinks checks that there were more links than are allowed, and that these were refused.
func refusedLinks(before, after Inner) error {
	return atLeast("links refused", 1, after.Bus.Refused-before.Bus.Refused)
}

// forgeries checks that forged messages have reached the victim.
func forgeries(before, after Inner) error {
	b, a := before.Bus, after.Bus
	if forged := a.Forged - b.Forged; forged < 50 || a.Malformed == b.Malformed || a.Replayed == b.Replayed {
		return fmt.Errorf("%d forged packets came to the victim, %d malformed and %d old ones", forged, a.Malformed-b.Malformed, a.Replayed-b.Replayed)
	}
	return nil
}
