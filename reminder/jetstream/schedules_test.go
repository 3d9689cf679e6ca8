package jetstream_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// The tests in this file are about the message schedules of the NATS server alone. The package
// relies on what they show, and avoids what they show to go wrong.

// bell is a stream whose messages can be scheduled.
type bell struct {
	testing.TB
	js natsjs.JetStream
	s  natsjs.Stream
}

func newBell(t testing.TB, js natsjs.JetStream, replicas int) bell {
	t.Helper()
	s, err := js.CreateStream(within(t, patience), natsjs.StreamConfig{
		Name: "bell", Subjects: []string{"bell.>"}, Storage: natsjs.FileStorage, Replicas: replicas,
		Retention: natsjs.WorkQueuePolicy, AllowMsgSchedules: true,
	})
	ok(t, err)
	return bell{t, js, s}
}

// set schedules a message.
func (b bell) set(subject, when, target, body string) {
	b.Helper()
	m := nats.NewMsg("bell." + subject)
	m.Header.Set("Nats-Schedule", when)
	m.Header.Set("Nats-Schedule-Target", "bell.due."+target)
	m.Data = []byte(body)
	_, err := b.js.PublishMsg(within(b, patience), m)
	ok(b, err)
}

func at(t time.Time) string { return "@at " + t.UTC().Format(time.RFC3339Nano) }

// heard returns what has been scheduled and is due, in the order of the stream.
func (b bell) heard() (all []heard) {
	b.Helper()
	for seq := uint64(1); ; seq++ { //
		m, err := b.s.GetMsg(within(b, patience), seq, natsjs.WithGetMsgSubject("bell.due.>"))
		if err == natsjs.ErrMsgNotFound {
			return all
		}
		ok(b, err)
		all = append(all, heard{strings.TrimPrefix(m.Subject, "bell.due."), string(m.Data), m.Time})
		seq = m.Sequence
	}
}

type heard struct {
	target, body string
	at           time.Time
}

// await waits until n messages were heard.
func (b bell) await(n int) []heard {
	b.Helper()
	for ctx := within(b, patience); ; {
		all := b.heard()
		if len(all) >= n {
			return all
		}
		if ctx.Err() != nil {
			b.Fatalf("heard %d of %d", len(all), n)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestExplore(t *testing.T) {
	s := start(t, embedded.Config{StoreDir: t.TempDir()})
	b := newBell(t, connect(t, s), 1)
	// precision
	var due []time.Time
	for i := range 50 {
		d := time.Now().Add(time.Second + time.Duration(i)*20*time.Millisecond)
		due = append(due, d)
		b.set(fmt.Sprintf("at.%d", i), at(d), fmt.Sprint(i), "x")
	}
	for i, h := range b.await(50) {
		var k int
		fmt.Sscan(h.target, &k)
		if i%5 == 0 {
			t.Logf("late by %v", h.at.Sub(due[k]))
		}
	}
	ok(t, b.s.Purge(t.Context()))
	t0 := time.Now()
	b.set("past", at(t0.Add(-time.Hour)), "past", "x")
	t.Logf("past: late by %v", b.await(1)[0].at.Sub(t0))
	ok(t, b.s.Purge(t.Context()))
	// race
	lost := 0
	for round := range 6 {
		d := time.Now().Add(3 * time.Second)
		const n = 5000
		pub := func(i int, when time.Time, body string) {
			m := nats.NewMsg(fmt.Sprintf("bell.at.%d", i))
			m.Header.Set("Nats-Schedule", at(when))
			m.Header.Set("Nats-Schedule-Target", fmt.Sprintf("bell.due.%d", i))
			m.Data = []byte(body)
			_, err := b.js.PublishMsgAsync(m)
			ok(t, err)
		}
		for i := range n {
			pub(i, d, "old")
		}
		<-b.js.PublishAsyncComplete()
		t.Log("set", time.Until(d))
		for {
			info, _ := b.s.Info(t.Context())
			if int(info.State.LastSeq) > (round*3)*n*0 && len(b.one()) > 0 {
				break
			}
		}
		for i := n - 1; i >= 0; i-- {
			pub(i, d.Add(time.Hour), "new")
		}
		<-b.js.PublishAsyncComplete()
		time.Sleep(time.Second)
		info, err := b.s.Info(t.Context(), natsjs.WithSubjectFilter("bell.>"))
		ok(t, err)
		fired, kept := 0, 0
		for s := range info.State.Subjects {
			if strings.HasPrefix(s, "bell.at.") {
				kept++
			} else {
				fired++
			}
		}
		t.Logf("round %d: %d fired old, %d new kept of %d", round, fired, kept, n)
		lost += n - kept
		ok(t, b.s.Purge(t.Context()))
	}
	t.Logf("lost %d", lost)
	var x json.RawMessage
	_ = x
	_ = net.Listen
	_ = slices.Sort[[]int]
	_ = context.Background
}

func (b bell) one() []heard {
	m, err := b.s.GetMsg(within(b, patience), 1, natsjs.WithGetMsgSubject("bell.due.>"))
	if err != nil {
		return nil
	}
	return []heard{{m.Subject, string(m.Data), m.Time}}
}
