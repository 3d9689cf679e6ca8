package jetstream_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/reminder"
	"github.com/tandem-go/tandem/reminder/jetstream"
	"github.com/tandem-go/tandem/reminder/remindertest"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

var alice = reminder.Actor{Kind: "bank.account", ID: "alice"}

func note(name string, when reminder.When) reminder.Reminder {
	return reminder.Reminder{Actor: alice, Name: name, When: when, Message: reminder.Message{Type: "bank.Note", Body: []byte(name)}}
}

func in(d time.Duration) reminder.When { return reminder.At(time.Now().Add(d)) }

// set sets a reminder. The test may not be waiting for it.
func set(t testing.TB, s *jetstream.Store, r reminder.Reminder) reminder.Entry {
	t.Helper()
	e, err := s.Set(servers.Within(t, patience), r, reminder.ID{})
	ok(t, err)
	return e
}

// generation returns the ID of the Set whose reminder is listed, zero if none is.
func generation(t testing.TB, s *jetstream.Store, name string) reminder.ID {
	t.Helper()
	list, err := s.List(servers.Within(t, patience), alice)
	ok(t, err)
	for _, e := range list {
		if e.Name == name {
			return e.Generation
		}
	}
	return reminder.ID{}
}

// With each fault, Set and Forget find out by themselves whether they are stored, if they have the time.
func TestFaultsAreHidden(t *testing.T) {
	t.Parallel()
	f := &servers.Faulty{JetStream: servers.Connect(t, servers.Start(t, embedded.Config{}))}
	s := open(t, f, jetstream.Config{})
	for what := servers.Lost; what <= servers.InFlight; what++ {
		for n, faults := range [][]servers.Fault{{what}, {what, what}, {what, servers.Lost}, {servers.AckLost, what}} {
			name := fmt.Sprint(what, n)
			for range 2 {
				f.Plan(faults...)
				if e := set(t, s, note(name, in(time.Hour))); generation(t, s, name) != e.Generation {
					t.Errorf("%v: it is not there", faults)
				}
				f.Plan(faults...)
				ok(t, s.Forget(servers.Within(t, patience), alice, name, reminder.ID{}))
				if generation(t, s, name) != (reminder.ID{}) {
					t.Errorf("%v: it is there", faults)
				}
			}
		}
	}
}

// The ctx of a Set ends while it is unknown whether it is stored. It says so, and the same Set, made again,
// finds out, whatever was stored in the meantime.
func TestUnknown(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	f := &servers.Faulty{JetStream: js}
	s, other := open(t, f, jetstream.Config{}), open(t, js, jetstream.Config{})
	for what := servers.Lost; what <= servers.InFlight; what++ {
		for others := range 3 {
			name, id := fmt.Sprint(what, others), reminder.NewID()
			set(t, s, note(name, in(time.Hour)))
			ctx, cancel := context.WithCancel(servers.Within(t, patience))
			f.After(cancel)
			f.Plan(what)
			_, err := s.Set(ctx, note(name, in(time.Hour)), id)
			if !errors.Is(err, reminder.ErrUnknown) || errors.Is(err, reminder.ErrNotStored) {
				t.Fatalf("fault %d: %v", what, err)
			}
			was := generation(t, other, name) == id
			last := id
			for range others {
				last = set(t, other, note(name, in(time.Hour))).Generation
			}
			e, err := s.Set(servers.Within(t, patience), note(name, in(time.Hour)), id)
			ok(t, err)
			if !was { // it is stored now, and the last one
				last = id
			}
			if e.Generation != last || generation(t, other, name) != last {
				t.Errorf("fault %d, %d others: got %v and %v, want %v", what, others, e.Generation, generation(t, other, name), last)
			}
		}
	}
}

// Somebody else sets the reminder while it is unknown whether a Set is stored. In the end both are, each once,
// unless so many came that nothing is left that could tell.
func TestOvertakenInDoubt(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	f := &servers.Faulty{JetStream: js}
	s, other := open(t, f, jetstream.Config{}), open(t, js, jetstream.Config{})
	for what := servers.Lost; what <= servers.InFlight; what++ {
		for _, others := range []int{1, 3, reminder.MaxChanges, reminder.MaxChanges + 1} {
			name, stored := fmt.Sprint(what, others), false
			set(t, s, note(name, in(time.Hour)))
			id := reminder.NewID()
			f.After(func() {
				for range others {
					stored = stored || generation(t, other, name) == id
					set(t, other, note(name, in(time.Hour)))
				}
			})
			f.Plan(what)
			e, err := s.Set(servers.Within(t, patience), note(name, in(time.Hour)), id)
			switch {
			case errors.Is(err, reminder.ErrUnknown) && others >= reminder.MaxChanges:
			case err != nil:
				t.Errorf("fault %d, %d others: %v", what, others, err)
			case !e.Has(id) || stored == (e.Generation == id):
				t.Errorf("fault %d, %d others: stored before them %v, got %+v", what, others, stored, e)
			}
		}
	}
}

// A copy of a Set of unknown fate arrives after a later change of the reminder was stored. It has no effect.
func TestLateCopy(t *testing.T) {
	t.Parallel()
	f := &servers.Faulty{JetStream: servers.Connect(t, servers.Start(t, embedded.Config{}))}
	s := open(t, f, jetstream.Config{})
	for what := servers.Late; what <= servers.LateAgain; what++ {
		name := fmt.Sprint(what)
		ctx, cancel := context.WithCancel(servers.Within(t, patience))
		f.After(cancel)
		f.Plan(what)
		if _, err := s.Set(ctx, note(name, in(time.Hour)), reminder.ID{}); !errors.Is(err, reminder.ErrUnknown) {
			t.Fatalf("fault %d: %v", what, err)
		}
		ok(t, s.Forget(servers.Within(t, patience), alice, name, reminder.ID{})) // the copy arrives behind it
		if generation(t, s, name) != (reminder.ID{}) {
			t.Errorf("fault %d: the copy was stored after Forget", what)
		}
	}
}

// Random changes through two stores, with and without faults.
func TestModel(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	clusters := 0
	rapid.Check(t, func(rt *rapid.T) {
		clusters++
		f := &servers.Faulty{JetStream: js}
		cfg := jetstream.Config{Cluster: fmt.Sprint("c", clusters)}
		a, b := open(t, f, cfg), open(t, js, cfg)
		defer func() {
			for _, name := range []string{"_reminders", "_alarms"} {
				ok(t, js.DeleteStream(context.Background(), cfg.Cluster+name))
			}
		}()
		remindertest.Model(rt, []reminder.Store{a, b}, func(rt *rapid.T, ctx context.Context) context.Context {
			ctx, cancel := context.WithCancel(ctx)
			t.Cleanup(cancel)
			faults := rapid.SliceOfN(rapid.Map(rapid.IntRange(0, int(servers.InFlight)), func(i int) servers.Fault { return servers.Fault(i) }), 0, 2).Draw(rt, "faults")
			if rapid.Bool().Draw(rt, "gives up") {
				f.After(cancel)
			}
			f.Plan(faults...)
			return ctx
		})
	})
}

// book counts what handlers got.
type book struct {
	testing.TB
	mu    sync.Mutex // guards what follows
	times map[reminder.Key]int
	more  chan struct{} // has an element if there is more
}

func newBook(t testing.TB) *book {
	return &book{TB: t, times: map[reminder.Key]int{}, more: make(chan struct{}, 1)}
}

func (l *book) note(f reminder.Firing) {
	l.mu.Lock()
	l.times[f.Key()]++
	l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
}

func (l *book) done(_ context.Context, f reminder.Firing) reminder.Outcome {
	l.note(f)
	return reminder.Done()
}

// await waits until n firings have come, and returns how many of them came more than once.
func (l *book) await(n int) (doubled int) {
	l.Helper()
	for timeout := time.After(patience); ; {
		l.mu.Lock()
		got := len(l.times)
		doubled = 0
		for _, times := range l.times {
			if times > 1 {
				doubled++
			}
		}
		l.mu.Unlock()
		if got >= n {
			return doubled
		}
		select {
		case <-l.more:
		case <-timeout:
			l.Fatalf("%d of %d came", got, n)
		}
	}
}

func (l *book) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.times)
}

// named returns how many firings have come of reminders whose names begin so.
func (l *book) named(prefix string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range l.times {
		if strings.HasPrefix(key.Name, prefix) {
			n++
		}
	}
	return n
}

// follow follows until the test ends, or until the function that it returns is called.
func follow(t testing.TB, s *jetstream.Store, handle func(context.Context, reminder.Firing) reminder.Outcome) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Follow(ctx, handle) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("follow: %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// numbers checks that a reminder has fired as number 1 to n, without a gap.
func (l *book) numbers(e reminder.Entry) (n uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key := range l.times {
		if key.Name == e.Name {
			n = max(n, key.Number)
		}
	}
	for i := range n {
		if l.times[reminder.Key{Actor: e.Actor, Name: e.Name, Generation: e.Generation, Number: i + 1}] == 0 {
			l.Errorf("%s: number %d of %d did not come", e.Name, i+1, n)
		}
	}
	return n
}

// The server is restarted again and again while reminders are set and fire. None is missed.
func TestServerIsRestarted(t *testing.T) {
	t.Parallel()
	cfg := embedded.Config{StoreDir: t.TempDir()}
	srv := servers.Start(t, cfg)
	cfg.Port = srv.Port()
	s := open(t, servers.Connect(t, srv), jetstream.Config{})
	s.Hasten(2 * time.Second)
	l := newBook(t)
	follow(t, s, l.done)
	often := set(t, s, note("often", reminder.Every(time.Second)))
	const each = 100
	for round := range 3 {
		var all sync.WaitGroup
		began := time.Now()
		for i := range each {
			all.Go(func() {
				set(t, s, note(fmt.Sprint(round, ".", i), reminder.At(began.Add(time.Duration(i)*30*time.Millisecond))))
			})
			if i == each/2 {
				all.Go(func() { srv.Shutdown(); srv = servers.Start(t, cfg) })
			}
		}
		all.Wait()
	}
	l.await(3 * each)
	n := l.numbers(often)
	for l.numbers(often) == n { // until it fires again
		l.await(l.count() + 1)
	}
	t.Logf("%d were handed out more than once", l.await(3*each))
}

// A follower dies with a firing in its hands: its connection is closed, and it gives nothing back. Another
// one gets it.
func TestFollowerDies(t *testing.T) {
	t.Parallel()
	srv := servers.Start(t, embedded.Config{})
	dying := servers.Connect(t, srv)
	a, b := open(t, dying, jetstream.Config{}), open(t, servers.Connect(t, srv), jetstream.Config{})
	a.Hasten(2 * time.Second)
	b.Hasten(2 * time.Second)
	held := make(chan reminder.Firing)
	ended := make(chan error)
	go func() {
		ended <- a.Follow(servers.Within(t, patience), func(ctx context.Context, f reminder.Firing) reminder.Outcome {
			held <- f
			dying.Conn().Close()
			<-ctx.Done()
			return reminder.Done() // to nobody
		})
	}()
	e := set(t, b, note("n", in(time.Second)))
	first := <-held
	if err := <-ended; !errors.Is(err, reminder.ErrUnavailable) {
		t.Errorf("the follower ended: %v", err)
	}
	l := newBook(t)
	follow(t, b, func(ctx context.Context, f reminder.Firing) reminder.Outcome {
		if f.Key() != first.Key() || f.Generation != e.Generation || f.Attempt < 2 {
			t.Errorf("got %+v", f)
		}
		return l.done(ctx, f)
	})
	l.await(1)
}

// awaitAlarms waits until so many alarms wait ("at"), or have gone off ("due"), or the test has failed. It returns
// their stream.
func awaitAlarms(t testing.TB, js natsjs.JetStream, stage string, n int) natsjs.Stream {
	t.Helper()
	ctx := servers.Within(t, patience)
	for ; ; time.Sleep(10 * time.Millisecond) {
		alarms, err := js.Stream(ctx, "tandem_alarms")
		ok(t, err)
		info, err := alarms.Info(ctx, natsjs.WithSubjectFilter("tandem_alarms."+stage+".>"))
		if ok(t, err); len(info.State.Subjects) == n || t.Failed() {
			return alarms
		}
	}
}

// What replaces a reminder deletes its alarm, however often it is replaced, and so does Forget.
func TestAlarmsDoNotPileUp(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	s := open(t, js, jetstream.Config{})
	follow(t, s, newBook(t).done)
	for range 200 {
		set(t, s, note("n", in(time.Hour)))
	}
	set(t, s, note("m", in(time.Hour)))
	ok(t, s.Forget(servers.Within(t, patience), alice, "m", reminder.ID{}))
	alarms, err := js.Stream(servers.Within(t, patience), "tandem_alarms")
	ok(t, err)
	for ctx := servers.Within(t, patience); ; time.Sleep(10 * time.Millisecond) {
		info, err := alarms.Info(ctx, natsjs.WithSubjectFilter("tandem_alarms.at.>"))
		ok(t, err)
		armed, err := js.Stream(ctx, "tandem_reminders")
		ok(t, err)
		waiting := uint64(0)
		for c := range armed.ListConsumers(ctx).Info() {
			waiting += c.NumPending + uint64(c.NumAckPending)
		}
		if waiting == 0 && len(info.State.Subjects) <= 1 {
			break
		}
	}
}

// A record that cannot be decoded is an error of its reminder alone, until that is forgotten.
func TestFormat(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	s := open(t, js, jetstream.Config{})
	l := newBook(t)
	follow(t, s, l.done)
	set(t, s, note("n", in(time.Hour)))
	stream, err := js.Stream(servers.Within(t, patience), "tandem_reminders")
	ok(t, err)
	subject := strings.TrimSuffix(stream.CachedInfo().Config.Subjects[0], ">") + "bank=2eaccount.alice.n"
	_, err = js.Publish(servers.Within(t, patience), subject, []byte("garbage"))
	ok(t, err)
	var format *reminder.FormatError
	if _, err := s.List(servers.Within(t, patience), alice); !errors.Is(err, reminder.ErrFormat) || !errors.As(err, &format) || string(format.Data) != "garbage" {
		t.Errorf("list: %v", err)
	}
	if _, err := s.Set(servers.Within(t, patience), note("n", in(time.Hour)), reminder.ID{}); !errors.Is(err, reminder.ErrNotStored) || !errors.Is(err, reminder.ErrFormat) {
		t.Errorf("set: %v", err)
	}
	set(t, s, note("m", in(0)))
	l.await(1)
	ok(t, s.Forget(servers.Within(t, patience), alice, "n", reminder.ID{}))
	set(t, s, note("n", in(0)))
	l.await(2)
}

// What does not fit is refused before anything is sent or lost.
func TestTooLargeAndFull(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{MaxPayload: 64 << 10}))
	_, err := js.CreateStream(servers.Within(t, patience), natsjs.StreamConfig{
		Name: "tandem_reminders", Subjects: []string{"tandem_reminders.x.>"}, MaxMsgsPerSubject: 1, Discard: natsjs.DiscardNew,
		AllowMsgTTL: true, DenyDelete: true, DenyPurge: true, MaxMsgs: 3,
	})
	ok(t, err)
	s := open(t, js, jetstream.Config{})
	r := note("n", in(time.Hour))
	r.Message.Body = make([]byte, 64<<10)
	if _, err := s.Set(servers.Within(t, patience), r, reminder.ID{}); !errors.Is(err, reminder.ErrTooLarge) || !errors.Is(err, reminder.ErrNotStored) {
		t.Errorf("too large: %v", err)
	}
	set(t, s, note("1", in(time.Hour)))
	set(t, s, note("2", in(time.Hour)))
	if _, err := s.Set(servers.Within(t, patience), note("3", in(time.Hour)), reminder.ID{}); !errors.Is(err, reminder.ErrFull) || !errors.Is(err, reminder.ErrNotStored) {
		t.Errorf("full: %v", err)
	}
	set(t, s, note("2", in(time.Hour)))
	for _, bad := range []natsjs.StreamConfig{{AllowDirect: true}, {MaxAge: time.Hour}, {Discard: natsjs.DiscardOld, MaxMsgs: 9}} {
		bad.Name, bad.Subjects, bad.MaxMsgsPerSubject, bad.AllowMsgTTL, bad.DenyDelete, bad.DenyPurge = "bad_reminders", []string{"bad_reminders.x.>"}, 1, true, true, true
		ok(t, servers.Settled(t.Context(), func() error {
			_, err := js.CreateStream(servers.Within(t, patience), bad)
			return err
		}))
		if _, err := jetstream.Open(servers.Within(t, patience), js, jetstream.Config{Cluster: "bad", Logger: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "bad_reminders") {
			t.Errorf("opened %+v: %v", bad, err)
		}
		ok(t, js.DeleteStream(servers.Within(t, patience), "bad_reminders"))
	}
}

// A reminder is replaced, and another one forgotten, while nobody follows, so that nobody purges their alarms.
// They go off, and nothing fires.
func TestReplacedWhileNobodyFollows(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	s := open(t, js, jetstream.Config{})
	l := newBook(t)
	handle := func(ctx context.Context, f reminder.Firing) reminder.Outcome {
		if f.Name != "last" {
			t.Errorf("%s has fired", f.Name)
		}
		return l.done(ctx, f)
	}
	stop := follow(t, s, handle)
	due := in(5 * time.Second) // they must not fire before nobody follows
	set(t, s, note("replaced", due))
	set(t, s, note("forgotten", due))
	awaitAlarms(t, js, "at", 2)
	stop()
	set(t, s, note("replaced", in(time.Hour)))
	ok(t, s.Forget(servers.Within(t, patience), alice, "forgotten", reminder.ID{}))
	awaitAlarms(t, js, "due", 2)
	follow(t, s, handle)
	awaitAlarms(t, js, "due", 0) // they were looked at
	set(t, s, note("last", in(0)))
	l.await(1)
}
