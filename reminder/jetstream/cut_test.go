package jetstream_test

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/reminder"
	"github.com/tandem-go/tandem/reminder/jetstream"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// cutter is a JetStream that cuts its connection at some publishes: before the message is sent, and every
// other time when it is a record, after the server has stored it and before its answer is there.
type cutter struct {
	natsjs.JetStream
	relay   *servers.Relay
	records natsjs.Stream // by another connection

	mu         sync.Mutex // guards what follows
	publishes  int
	cuts       int
	sent       bool // whether the last record at which the connection was cut had been sent
	now        bool // whether the answer to the next record is lost
	unanswered int  // how many records were stored without an answer
}

const (
	each = 10 // how many publishes there are from one cut to the next
	most = 16 // how often the connection is cut
)

// next says what happens to the next publish.
func (c *cutter) next(subject string) servers.Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.publishes++
	record := strings.HasPrefix(subject, "tandem_reminders.")
	switch {
	case c.now && record:
		c.now = false
		return servers.AckLost
	case c.cuts == most || c.publishes < (c.cuts+1)*each || !c.Conn().IsConnected():
		return servers.None
	}
	c.cuts++
	if record {
		c.sent = !c.sent
	}
	if !record || !c.sent {
		return servers.Lost
	}
	return servers.AckLost
}

// loseAnswer has the answer to the next record lost, if none was lost before. It reports whether one was.
func (c *cutter) loseAnswer() (before bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.unanswered == 0
	return !c.now
}

func (c *cutter) PublishMsg(ctx context.Context, m *nats.Msg, opts ...natsjs.PublishOpt) (*natsjs.PubAck, error) {
	switch c.next(m.Subject) {
	case servers.None:
		return c.JetStream.PublishMsg(ctx, m, opts...)
	case servers.Lost:
		c.relay.Cut()
		return c.JetStream.PublishMsg(ctx, m, opts...)
	}
	watched, stop := context.WithCancel(ctx)
	stored := false
	var watch sync.WaitGroup
	c.relay.Mute()
	watch.Go(func() {
		defer c.relay.Speak()
		for ; watched.Err() == nil && !stored; time.Sleep(time.Millisecond) {
			last, err := c.records.GetLastMsgForSubject(watched, m.Subject)
			stored = err == nil && bytes.Equal(last.Data, m.Data)
		}
	})
	ack, err := c.JetStream.PublishMsg(ctx, m, opts...)
	stop() // nothing was sent, if it is not stored yet
	watch.Wait()
	if stored && err != nil {
		c.mu.Lock()
		c.unanswered++
		c.mu.Unlock()
	}
	return ack, err
}

func (c *cutter) done() (cuts, unanswered int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cuts, c.unanswered
}

// A follower whose connection was cut asks NATS again as soon as it is back, and not only when it misses the
// signs of life of its request.
func TestFollowerComesBack(t *testing.T) {
	t.Parallel()
	srv := servers.Start(t, embedded.Config{})
	relay := servers.Between(t, srv)
	js := relay.Connect(t)
	s, other := open(t, js, jetstream.Config{}), open(t, servers.Connect(t, srv), jetstream.Config{})
	s.Hasten(100 * patience)
	l := newBook(t)
	follow(t, s, l.done)
	for i := range 3 {
		set(t, other, note(fmt.Sprint(i), in(0)))
		l.await(i + 1)
		client, err := js.Conn().GetClientID()
		ok(t, err)
		relay.Cut()
		for srv.Server().GetClient(client) != nil { // until the server has noticed, and sends it nothing more
			time.Sleep(time.Millisecond)
		}
	}
}

// The connection between client and server is cut again and again while reminders are set, forgotten and
// fire, also with a firing in a handler's hands. None is missed, none fires that was forgotten in time, and
// what Set and Forget say is true.
func TestLinkIsCut(t *testing.T) {
	t.Parallel()
	srv := servers.Start(t, embedded.Config{})
	direct := servers.Connect(t, srv)
	witness := open(t, direct, jetstream.Config{})
	records, err := direct.Stream(servers.Within(t, patience), "tandem_reminders")
	ok(t, err)
	relay := servers.Between(t, srv)
	c := &cutter{JetStream: relay.Connect(t), relay: relay, records: records}
	s := open(t, c, jetstream.Config{})
	s.Hasten(2 * time.Second)
	l, forgotten := newBook(t), sync.Map{}
	stop := follow(t, s, func(ctx context.Context, f reminder.Firing) reminder.Outcome {
		if _, is := forgotten.Load(f.Name); is {
			t.Errorf("%s was forgotten, and fires", f.Name)
		}
		if f.Attempt == 1 && strings.HasSuffix(f.Name, "3") {
			relay.Cut()
		}
		return l.done(ctx, f)
	})
	often := set(t, s, note("often", reminder.Every(time.Second)))
	const n = 20
	var all sync.WaitGroup
	began := time.Now()
	for i := range n {
		all.Go(func() {
			set(t, s, note(fmt.Sprint("fires", i), reminder.At(began.Add(time.Duration(i)*50*time.Millisecond))))
		})
		all.Go(func() {
			name := fmt.Sprint("forgotten", i)
			e := set(t, s, note(name, in(10*time.Second)))
			ok(t, s.Forget(servers.Within(t, patience), alice, name, reminder.ID{}))
			if generation(t, witness, name) != (reminder.ID{}) {
				t.Errorf("%s is there after Forget", name)
			}
			if time.Now().Before(e.Due) {
				forgotten.Store(name, true)
			}
		})
	}
	all.Wait()
	set(t, s, note("last", reminder.At(time.Now().Add(10*time.Second)))) // all that could come has come before
	for l.named("fires")+l.named("last") < n+1 {
		l.await(l.count() + 1)
	}
	for ctx := servers.Within(t, patience); ; time.Sleep(10 * time.Millisecond) { // until all answers are stored
		list, err := witness.List(ctx, alice)
		ok(t, err)
		if len(list) == 1 && list[0].Generation == often.Generation {
			break
		}
	}
	stop()
	for ctx := servers.Within(t, patience); !c.loseAnswer() && ctx.Err() == nil; {
		set(t, s, note("unanswered", in(time.Hour)))
	}
	cuts, unanswered := c.done()
	if l.numbers(often) == 0 || cuts < most || unanswered == 0 {
		t.Errorf("%d times often, %d cuts, %d answers lost", l.numbers(often), cuts, unanswered)
	}
	t.Logf("%d cuts, %d answers lost, %d firings were handed out more than once", cuts, unanswered, l.await(n))
}
