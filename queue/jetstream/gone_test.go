package jetstream_test

import (
	"bytes"
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
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/queue/jetstream"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/natsbus/permissions"
)

// log collects what is logged.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// lines returns the lines that contain a text.
func (l *log) lines(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// watched is a queue with its changes of State and its log.
type watched struct {
	*jetstream.Queue
	ref     actor.Ref
	log     *log
	changes chan jetstream.State
}

func watch(t testing.TB, js natsjs.JetStream) *watched {
	t.Helper()
	w := &watched{log: &log{}, changes: make(chan jetstream.State, 100)}
	var err error
	w.Queue, err = jetstream.Open(t.Context(), js, jetstream.Config{Name: "jobs", Logger: slog.New(slog.NewTextHandler(w.log, nil)),
		Queue: queue.Config{Lease: 5 * time.Second}, Changed: func(s jetstream.State) { w.changes <- s }})
	ok(t, err)
	t.Cleanup(w.Close)
	w.ref = serveQueue(t, system(t), w.Queue)
	return w
}

// becomes waits for the next change.
func (w *watched) becomes(t testing.TB, want jetstream.State, within time.Duration) {
	t.Helper()
	select {
	case got := <-w.changes:
		if got != want {
			t.Fatalf("the queue is %v, want %v", got, want)
		}
	case <-time.After(within):
		t.Fatalf("the queue is not %v within %v", want, within)
	}
}

// The stream of the items is deleted, or NATS loses its store. Within seconds that is logged
// once, and reported to every pull that waits and to every later request, none of which ran.
// Once the loss is accepted, the queue works again.
func TestItemsGone(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(t *testing.T, s *embedded.Server, cfg embedded.Config, js natsjs.JetStream){
		"deleted": func(t *testing.T, _ *embedded.Server, _ embedded.Config, js natsjs.JetStream) {
			ok(t, js.DeleteStream(t.Context(), "tandem_queue_jobs"))
		},
		"recreated by another": func(t *testing.T, _ *embedded.Server, _ embedded.Config, js natsjs.JetStream) {
			ok(t, js.DeleteStream(t.Context(), "tandem_queue_jobs"))
			q, err := jetstream.Open(t.Context(), js, jetstream.Config{Name: "jobs"})
			ok(t, err)
			q.Close()
		},
		"empty store": func(t *testing.T, s *embedded.Server, cfg embedded.Config, _ natsjs.JetStream) {
			cfg.Port = s.Port()
			s.Shutdown()
			ok(t, os.RemoveAll(cfg.StoreDir))
			start(t, cfg)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := embedded.Config{StoreDir: t.TempDir() + "/store"}
			s := start(t, cfg)
			js := connect(t, s)
			w := watch(t, js)
			ctx := t.Context()
			push(t, w.ref, 1)
			d := pull(t, w.ref, []string{"1:1"})[0]
			waits := make(chan error, 1)
			go func() {
				_, err := actor.Pull[Work](ctx, w.ref)
				waits <- err
			}()
			lose(t, s, cfg, js)
			for state := range w.changes {
				if state == jetstream.Gone {
					break
				}
			}
			gone := func(what string, err error) {
				t.Helper()
				if !errors.Is(err, actor.ErrGone) || rpc.Ran(err) != rpc.NotRun {
					t.Errorf("%s: %v, want ErrGone, not run", what, err)
				}
			}
			gone("the pull that waits", <-waits)
			gone("push", actor.Push(ctx, w.ref, Work{2}))
			gone("ack", d.Ack(ctx))
			_, err := actor.Pull[Work](ctx, w.ref)
			gone("pull", err)
			var what *jetstream.GoneError
			if !errors.As(w.Err(), &what) || what.Queue != "tandem_queue_jobs" {
				t.Errorf("%+v", w.Err())
			}
			time.Sleep(3 * time.Second) // several checks
			if n := w.log.lines("the items of the queue are gone"); n != 1 {
				t.Errorf("logged %d times", n)
			}
			ok(t, w.Accept(ctx))
			ok(t, w.Err())
			push(t, w.ref, 3)
			ok(t, pull(t, w.ref, []string{"3:1"}, actor.Wait(20*time.Second))[0].Ack(ctx))
		})
	}
}

// What can be recreated without a loss of items is recreated: the consumers, and the streams
// of a queue that has never had an item.
func TestRecreated(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(t *testing.T, js natsjs.JetStream, w *watched){
		"consumers": func(t *testing.T, js natsjs.JetStream, w *watched) {
			push(t, w.ref, 1)
			for _, level := range []string{"high", "normal", "low"} {
				ok(t, js.DeleteConsumer(t.Context(), "tandem_queue_jobs", level))
			}
		},
		"dead letters": func(t *testing.T, js natsjs.JetStream, w *watched) {
			push(t, w.ref, 1)
			ok(t, js.DeleteStream(t.Context(), "tandem_queue_jobs_dead"))
		},
		"a queue that was never used": func(t *testing.T, js natsjs.JetStream, w *watched) {
			ok(t, js.DeleteStream(t.Context(), "tandem_queue_jobs"))
			ok(t, js.DeleteStream(t.Context(), "tandem_queue_jobs_dead"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			js := connect(t, start(t, embedded.Config{}))
			w := watch(t, js)
			lose(t, js, w)
			for began := time.Now(); w.log.lines("recreated") == 0; time.Sleep(10 * time.Millisecond) {
				if time.Since(began) > 20*time.Second {
					t.Fatal("nothing is recreated")
				}
			}
			if name == "a queue that was never used" {
				push(t, w.ref, 1)
			}
			ok(t, pull(t, w.ref, []string{"1:1"})[0].Ack(t.Context()))
			must(actor.QueueStats[Work](t.Context(), w.ref))
			ok(t, w.Err())
			if n := w.log.lines("recreated"); n != 1 {
				t.Errorf("logged %d times", n)
			}
		})
	}
}

// When NATS goes away, and when it comes back, that is one change and one log line each,
// however long it takes.
func TestAway(t *testing.T) {
	t.Parallel()
	cfg := embedded.Config{StoreDir: t.TempDir()}
	s := start(t, cfg)
	w := watch(t, connect(t, s))
	push(t, w.ref, 1)
	cfg.Port = s.Port()
	s.Shutdown()
	w.becomes(t, jetstream.Away, 20*time.Second)
	time.Sleep(5 * time.Second) // several checks
	start(t, cfg)
	w.becomes(t, jetstream.Opened, 20*time.Second)
	if a, b := w.log.lines("does not answer"), w.log.lines("answers for the queue again"); a != 1 || b != 1 {
		t.Errorf("logged %d and %d times", a, b)
	}
	ok(t, pull(t, w.ref, []string{"1:1"})[0].Ack(t.Context()))
}

// Open waits for NATS, and says what is missing if it does not come.
func TestOpenWaits(t *testing.T) {
	t.Parallel()
	s := start(t, embedded.Config{})
	js := connect(t, s)
	cfg := embedded.Config{Port: s.Port()}
	s.Shutdown()
	for began := time.Now(); js.Conn().IsConnected(); time.Sleep(time.Millisecond) { // otherwise JetStream would be what is missing at first
		if time.Since(began) > 20*time.Second {
			t.Fatal("the connection does not break")
		}
	}
	l := &log{}
	open := func(js natsjs.JetStream, wait time.Duration, change func(*jetstream.Config)) error {
		c := jetstream.Config{Name: "jobs", StartWait: wait, Logger: slog.New(slog.NewTextHandler(l, nil))}
		if change != nil {
			change(&c)
		}
		q, err := jetstream.Open(t.Context(), js, c)
		if err == nil {
			q.Close()
		}
		return err
	}
	missing := func(err error, want string, within time.Duration, began time.Time) {
		t.Helper()
		var why *jetstream.OpenError
		if !errors.As(err, &why) || !strings.Contains(why.Missing, want) || why.Do == "" || time.Since(began) > within {
			t.Errorf("after %v: %v, want that %s is missing", time.Since(began), err, want)
		}
	}
	began := time.Now()
	missing(open(js, time.Second, nil), "no connection to NATS", 5*time.Second, began)
	opened := make(chan error)
	go func() { opened <- open(js, time.Minute, nil) }()
	for began := time.Now(); l.lines("waiting for NATS") != 2; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 20*time.Second {
			t.Fatal("it does not say that it waits")
		}
	}
	start(t, cfg)
	ok(t, <-opened)
	if l.lines("what was missing is there") != 1 {
		t.Error("it does not say that it waits no more")
	}
	without := start(t, embedded.Config{Configure: func(o *server.Options) { o.JetStream = false }})
	began = time.Now()
	missing(open(connect(t, without), time.Second, nil), "JetStream does not serve", 10*time.Second, began)

	nobody := start(t, embedded.Config{Configure: func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"$JS.API.>"}}}}}
	}})
	nc, err := nobody.Connect(nats.UserInfo("u", "p"), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	ok(t, err)
	defer nc.Close()
	js, err = natsjs.New(nc)
	ok(t, err)
	began = time.Now()
	missing(open(js, time.Minute, nil), "ermissions", 20*time.Second, began)
}

// The permissions that package permissions lists are sufficient, and each of them is needed:
// in the end all were used.
func TestPermissions(t *testing.T) {
	may := permissions.Node{Cluster: "tandem"}.Queue("jobs")
	s := start(t, embedded.Config{Configure: func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: may.Publish},
			Subscribe: &server.SubjectPermission{Allow: may.Subscribe},
		}}, {Username: "root", Password: "p"}}
	}})
	root, err := s.Connect(nats.UserInfo("root", "p"))
	ok(t, err)
	defer root.Close()
	published := make(chan *nats.Msg, 1<<16)
	_, err = root.ChanSubscribe(">", published)
	ok(t, err)
	ok(t, root.Flush())
	var violations log
	nc, err := s.Connect(nats.UserInfo("u", "p"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { fmt.Fprintln(&violations, err) }))
	ok(t, err)
	defer nc.Close()
	js, err := natsjs.New(nc)
	ok(t, err)
	q := spawn(t, system(t), js, queue.Config{Attempts: 1, Lease: time.Second})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	push(t, q, 1)
	d := pull(t, q, []string{"1:1"})[0]
	time.Sleep(700 * time.Millisecond) // so that NATS is told that the item is held
	ok(t, d.Extend(ctx, 5*time.Second))
	ok(t, d.Ack(ctx))
	push(t, q, 2, actor.Delay(500*time.Millisecond))
	ok(t, pull(t, q, []string{"2:1"})[0].Nack(ctx, 0))
	ok(t, waitDead(t, q, 1)[0].Revive(ctx))
	ok(t, actor.PauseQueue[Work](ctx, q))
	ok(t, actor.ResumeQueue[Work](ctx, q))
	must(actor.WaitingItems[Work](ctx, q, actor.Max(9)))
	ok(t, pull(t, q, []string{"2:1"})[0].Ack(ctx))
	push(t, q, 3)
	if n := must(actor.PurgeQueue[Work](ctx, q)); n != 1 {
		t.Errorf("%d were purged", n)
	}
	must(actor.QueueStats[Work](ctx, q))
	if n := violations.lines(""); n > 0 {
		t.Errorf("%d violations: %s", n, violations.b.String())
	}
	again, err := jetstream.Open(ctx, js, jetstream.Config{Name: "jobs"}) // now the streams are there already
	ok(t, err)
	again.Close()
	ok(t, nc.Flush())
	ok(t, root.Flush())
	unused := slices.Clone(may.Publish)
	for len(published) > 0 {
		m := <-published
		unused = slices.DeleteFunc(unused, func(pattern string) bool { return server.SubjectsCollide(m.Subject, pattern) })
	}
	if len(unused) > 0 {
		t.Errorf("not needed: %q", unused)
	}
}
