//go:build linux && !race

package hostile

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/queuestore"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/transport"
)

// These check by the victim's counters that an attack had the effect that it should have.

func atLeast(what string, want, got uint64) error {
	if got < want {
		return fmt.Errorf("%s: %d, want %d at least", what, got, want)
	}
	return nil
}

func refusedOpens(before, after Inner) error {
	return atLeast("opens refused", 100, after.Stats.RPC.OpensRefused-before.Stats.RPC.OpensRefused)
}

func refusedHolds(before, after Inner) error {
	return atLeast("refusals for want of memory", 1, after.Stats.RPC.HoldsRefused-before.Stats.RPC.HoldsRefused)
}

func servedMany(before, after Inner) error {
	return atLeast("requests", 500, after.Stats.RPC.Served-before.Stats.RPC.Served)
}

func panickedOften(before, after Inner) error {
	return atLeast("panics", 1000, after.Stats.Panics-before.Stats.Panics)
}

func replayedOften(before, after Inner) error {
	return atLeast("outcomes said again", 1000, after.Stats.RPC.Replayed-before.Stats.RPC.Replayed)
}

func deadLetters(before, after Inner) error {
	return atLeast("dead letters", 100, after.Stats.DeadLetters-before.Stats.DeadLetters)
}

// askedJobs submits 5,000 jobs to a busy actor, more than the tokens that a principal may have,
// and then as many that have a result.
func askedJobs(m *mallory) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	limits := codec.Msgpack(codec.Limits{})
	nap, err := limits.Append(nil, Nap{Pad: make([]byte, 1<<10)})
	if err != nil {
		return err
	}
	report, err := limits.Append(nil, Report{})
	if err != nil {
		return err
	}
	return floodOf(ctx, m, 5, 2000/m.Share, func(l *line, n int) error {
		job := submit{"slow", transport.TypeID(Nap{}.WireName()), codec.IDMsgpack, nap}
		if n%2 == 1 {
			job = submit{"pages", transport.TypeID(Report{}.WireName()), codec.IDMsgpack, report}
		}
		return l.message(transport.VerbRequest, "$jobs", job)
	})
}

// opensOnOneLink opens 100,000 sessions on one link.
func opensOnOneLink(m *mallory) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return flood(ctx, m, 1, 100_000/m.Share, func(l *line) error {
		l.seq++
		return l.send(&transport.Envelope{Verb: transport.VerbOpen, Seq: l.seq + 1})
	})
}

// sessionsLeft opens 16,384 sessions, four on each link, and leaves them.
func sessionsLeft(m *mallory) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	each(8, func(n int) {
		for i := 0; i < 4096/8/m.Share && ctx.Err() == nil; i++ {
			l, err := m.dial(ctx, fmt.Sprintf("m-%d", n))
			if err != nil {
				continue
			}
			for k := range uint64(4) {
				_ = l.send(&transport.Envelope{Verb: transport.VerbOpen, Seq: k + 1})
			}
			_ = l.arrived(ctx)
			l.close()
		}
	})
	return nil
}

// probes asks 100,000 times what became of a request whose reply is kept and large, and of
// requests that were never made, and does not read the answers.
func probes(m *mallory) error {
	var calls atomic.Int64
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return floodOf(ctx, m, 20, 5000/m.Share, func(l *line, n int) error {
		switch n {
		case 0:
			to := "pages"
			if calls.Add(1)%2 == 0 {
				to = "lines"
			}
			if err := l.message(transport.VerbRequest, to, Report{}); err != nil {
				return err
			}
			return await(ctx, l, l.reply)
		case 1:
			l.deaf.Store(true)
		}
		return l.send(&transport.Envelope{Verb: transport.VerbProbe, Seq: l.seq + uint64(n%2)<<20})
	})
}

// unreadReplies asks for 100 replies of 20 MB, and does not read them.
func unreadReplies(m *mallory) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return flood(ctx, m, 10, 10, func(l *line) error {
		l.deaf.Store(true)
		return l.message(transport.VerbRequest, "reports", Report{})
	})
}

// pullMail is what Pull sends for a Mail.
type pullMail struct {
	Op   queuestore.Op
	Max  int
	Wait time.Duration
}

func (pullMail) WireName() string { return "tandem.Dequeue[hostile.mail]" }

// pulls waits in a queue 4,096 times, each time for as long as is allowed, and goes away.
func pulls(m *mallory) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for range 2 {
		lines := make([]*line, 4)
		for i := range lines {
			var err error
			if lines[i], err = m.session(ctx, fmt.Sprintf("mallory-%d", i)); err != nil {
				return err
			}
		}
		each(len(lines), func(i int) {
			for n := 0; n < 2048/m.Share; n++ {
				if lines[i].message(transport.VerbRequest, "mails", pullMail{Op: queuestore.Pull, Max: actor.MaxPull, Wait: time.Hour}) != nil {
					return
				}
			}
			_ = lines[i].arrived(ctx)
			lines[i].close()
		})
	}
	return nil
}

// useQueue pushes a mail and pulls it.
func useQueue(ctx context.Context, h *honest) error {
	q, mark := h.sys.Ref("mails@"+victimName), -1
	if err := actor.Push(ctx, q, Mail{mark}); err != nil {
		return err
	}
	for {
		mails, err := actor.Pull[Mail](ctx, q, actor.Max(16), actor.Wait(5*time.Second))
		if err != nil || len(mails) == 0 {
			return fmt.Errorf("a mail that was pushed does not come: %d, %v", len(mails), err)
		}
		if err := actor.AckAll(ctx, mails); err != nil {
			return err
		}
		for _, d := range mails {
			if d.Message.N == mark {
				return nil
			}
		}
	}
}

// newNames opens 53,000 links, each as a node of another name, and closes them.
func newNames(m *mallory) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	const workers = 8
	var first error
	var once sync.Once
	each(workers, func(n int) {
		own := mallory{role: m.role, from: net.IPv4(127, 0, 1, byte(n+1))} // or there would not be ports enough
		for i := 0; i < 53_000/workers/m.Share && ctx.Err() == nil; i++ {
			l, err := own.dial(ctx, fmt.Sprintf("m-%d-%d", n, i))
			if err != nil {
				once.Do(func() { first = err })
				return
			}
			l.close()
		}
	})
	return first
}

// silentSockets keeps as many silent connections from two addresses as it gets.
func silentSockets(m *mallory) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	each(256, func(n int) {
		from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+n%2))}}
		for ctx.Err() == nil {
			conn, err := from.DialContext(ctx, "tcp", m.Addr)
			if err != nil {
				return
			}
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			_, _ = conn.Read(make([]byte, 1)) // until it is thrown out
			stop()
			_ = conn.Close()
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	return nil
}
