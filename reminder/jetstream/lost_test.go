package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/reminder"
	"github.com/tandem-go/tandem/reminder/jetstream"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// losses are ways in which an operator can lose reminders.
var losses = map[string]func(ctx context.Context, js natsjs.JetStream) error{
	"deleted": func(ctx context.Context, js natsjs.JetStream) error { return js.DeleteStream(ctx, "tandem_reminders") },
	"both deleted": func(ctx context.Context, js natsjs.JetStream) error {
		return errors.Join(js.DeleteStream(ctx, "tandem_reminders"), js.DeleteStream(ctx, "tandem_alarms"))
	},
	"recreated": func(ctx context.Context, js natsjs.JetStream) error {
		return servers.Recreate(ctx, js, "tandem_reminders", nil)
	},
	"made forgetful": func(ctx context.Context, js natsjs.JetStream) error {
		s, err := js.Stream(ctx, "tandem_reminders")
		if err == nil {
			cfg := s.CachedInfo().Config
			cfg.MaxAge = time.Hour
			_, err = js.UpdateStream(ctx, cfg)
		}
		return err
	},
}

// The loss of reminders is noticed, at once or after the time in which a former leader could be wrong. List
// never says that there are none. The store never works again, and neither does one that is opened later,
// until an operator says so.
func TestLost(t *testing.T) {
	t.Parallel()
	for name, lose := range losses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			js := servers.Connect(t, servers.Start(t, embedded.Config{}))
			ctx := servers.Within(t, patience)
			s := open(t, js, jetstream.Config{})
			s.Hasten(time.Second)
			set(t, s, note("n", in(time.Hour)))
			ok(t, s.Check(ctx))
			follows := make(chan error, 1)
			ok(t, lose(ctx, js))
			go func() { follows <- s.Follow(ctx, newBook(t).done) }()
			bob := reminder.Actor{Kind: "k", ID: "bob"}
			if _, err := s.List(ctx, bob); !errors.Is(err, reminder.ErrLost) {
				t.Errorf("list: %v", err)
			}
			if err := s.Check(ctx); !errors.Is(err, reminder.ErrLost) {
				t.Errorf("check: %v", err)
			}
			if _, err := s.Set(ctx, note("m", in(time.Hour)), reminder.ID{}); !errors.Is(err, reminder.ErrLost) {
				t.Errorf("set: %v", err)
			}
			if err := <-follows; !errors.Is(err, reminder.ErrLost) {
				t.Errorf("follow: %v", err)
			}
			again := func() (*jetstream.Store, error) {
				return jetstream.Open(ctx, js, jetstream.Config{Logger: slog.New(slog.DiscardHandler)})
			}
			if name != "both deleted" { // then nothing is left that could tell
				if _, err := again(); !errors.Is(err, reminder.ErrLost) {
					t.Errorf("open: %v", err)
				}
				ok(t, js.DeleteStream(ctx, "tandem_alarms"))
			}
			if name == "made forgetful" { // it still is
				return
			}
			fresh, err := again()
			ok(t, err)
			l := newBook(t)
			follow(t, fresh, l.done)
			set(t, fresh, note("n", in(0)))
			l.await(1)
			if _, err := s.List(ctx, bob); !errors.Is(err, reminder.ErrLost) {
				t.Errorf("list, after the loss was accepted: %v", err)
			}
		})
	}
}

// The server refuses to delete a single alarm, which nobody would notice.
func TestAlarmIsNotDeleted(t *testing.T) {
	t.Parallel()
	js, ctx := servers.Connect(t, servers.Start(t, embedded.Config{})), servers.Within(t, patience)
	s := open(t, js, jetstream.Config{})
	follow(t, s, newBook(t).done)
	set(t, s, note("n", in(time.Hour)))
	alarms := awaitAlarms(t, js, "at", 1)
	m, err := alarms.GetLastMsgForSubject(ctx, "tandem_alarms.at.>")
	ok(t, err)
	for _, del := range []func(context.Context, uint64) error{alarms.DeleteMsg, alarms.SecureDeleteMsg} {
		if err := del(ctx, m.Sequence); err == nil {
			t.Errorf("%s was deleted", m.Subject)
		}
	}
	_, err = alarms.GetMsg(ctx, m.Sequence)
	ok(t, err)
}

// The stream of alarms, or a consumer, is deleted or emptied by an operator while reminders wait, while nobody
// follows and while somebody does. All alarms are set again.
func TestAlarmsAreLost(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(ctx context.Context, js natsjs.JetStream) error{
		"deleted": func(ctx context.Context, js natsjs.JetStream) error { return js.DeleteStream(ctx, "tandem_alarms") },
		"purged": func(ctx context.Context, js natsjs.JetStream) error {
			s, err := js.Stream(ctx, "tandem_alarms")
			if err == nil {
				err = s.Purge(ctx)
			}
			return err
		},
		"consumer deleted": func(ctx context.Context, js natsjs.JetStream) error {
			return js.DeleteConsumer(ctx, "tandem_alarms", "due")
		},
		"consumer of records deleted": func(ctx context.Context, js natsjs.JetStream) error {
			s, err := js.Stream(ctx, "tandem_reminders")
			if err == nil {
				for c := range s.ListConsumers(ctx).Info() {
					err = js.DeleteConsumer(ctx, "tandem_reminders", c.Name)
				}
			}
			return err
		},
	} {
		for _, followed := range []bool{false, true} {
			t.Run(fmt.Sprint(name, ", followed ", followed), func(t *testing.T) {
				t.Parallel()
				js := servers.Connect(t, servers.Start(t, embedded.Config{}))
				ctx := servers.Within(t, patience)
				s := open(t, js, jetstream.Config{})
				s.Hasten(2 * time.Second)
				l := newBook(t)
				stop := follow(t, s, l.done)
				const n = 20
				for i := range n {
					set(t, s, note(fmt.Sprint(i), in(3*time.Second)))
				}
				set(t, s, note("first", in(0)))
				l.await(1) // the alarms are set
				if !followed {
					stop()
				}
				ok(t, lose(ctx, js))
				if !followed {
					follow(t, s, l.done)
				}
				set(t, s, note("more", in(3*time.Second)))
				l.await(n + 2)
			})
		}
	}
}
