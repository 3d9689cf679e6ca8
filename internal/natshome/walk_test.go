package natshome

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// many is how many messages these tests store: a walk takes three pages.
const many = 2*pageSize + 50

// fill stores messages of many ids, and returns the ids.
func fill(t testing.TB, h *Home) (ids []string) {
	t.Helper()
	for i := range many {
		ids = append(ids, fmt.Sprint(i))
		put(t, h, ids[i], "body "+ids[i])
	}
	return ids
}

// again replaces the message of an id.
func again(t testing.TB, h *Home, id string) {
	t.Helper()
	ctx, subject := servers.Within(t, 20*time.Second), h.Subject("k", id)
	last, err := h.Last(ctx, subject)
	ok(t, err)
	_, _, err = h.Publish(ctx, &nats.Msg{Subject: subject, Data: []byte("again")}, last.Sequence, new(jserror.Attempts))
	ok(t, err)
}

// walked returns the ids of the messages of a walk in order. After each one, it calls each.
func walked(t testing.TB, h *Home, each func(i int, id string)) (ids []string) {
	t.Helper()
	last := uint64(0)
	for m, err := range h.Walk(servers.Within(t, 60*time.Second), "k", true) {
		ok(t, err)
		id, err := h.ID("k", m.Subject)
		if ok(t, err); m.Sequence <= last {
			t.Fatalf("%s has the number %d, behind %d", id, m.Sequence, last)
		}
		if text := string(m.Data); text != "body "+id && text != "again" {
			t.Fatalf("%s has the body %q", id, text)
		}
		last = m.Sequence
		ids = append(ids, id)
		each(len(ids), id)
	}
	return ids
}

func nothing(int, string) {}

// consumers returns how many consumers the stream has.
func consumers(t testing.TB, js natsjs.JetStream) int {
	t.Helper()
	s, err := js.Stream(t.Context(), plan().Stream)
	ok(t, err)
	return s.CachedInfo().State.Consumers
}

// A walk of several pages finds each message of its kind once, with or without its body, and leaves
// nothing behind, also if the loop is left early.
func TestWalk(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	h := opened(t, js, plan())
	if got := walked(t, h, nothing); got != nil {
		t.Errorf("of nothing: %q", got)
	}
	ids := fill(t, h)
	_, err := js.Publish(t.Context(), h.Subject("other", "x"), nil)
	ok(t, err)
	if got := walked(t, h, nothing); !slices.Equal(got, ids) {
		t.Errorf("got %d, want %d", len(got), len(ids))
	}
	n := 0
	for m, err := range h.Walk(t.Context(), "k", false) {
		if ok(t, err); len(m.Data) > 0 || m.Header == nil {
			t.Errorf("without bodies: %q, %v", m.Data, m.Header)
		}
		n++
	}
	for range h.Walk(t.Context(), "k", false) {
		break
	}
	if n != many || consumers(t, js) != 0 {
		t.Errorf("%d without bodies, %d consumers are left", n, consumers(t, js))
	}
}

// What does not arrive is fetched again: all messages of an answer, the first ones, one in the
// middle, the last ones; also several times. A consumer of which nobody knows is not left for long.
func TestWalkLosesAnswers(t *testing.T) {
	t.Parallel()
	none := func([]natsjs.Msg) []natsjs.Msg { return nil }
	first := func(all []natsjs.Msg) []natsjs.Msg { return all[min(7, len(all)):] }
	hole := func(all []natsjs.Msg) []natsjs.Msg {
		if len(all) > 20 {
			return slices.Delete(all, 10, 11)
		}
		return all
	}
	end := func(all []natsjs.Msg) []natsjs.Msg { return all[:len(all)/2] }
	whole := func(all []natsjs.Msg) []natsjs.Msg { return all }
	f := &servers.Faulty{JetStream: servers.Connect(t, servers.Start(t, embedded.Config{}))}
	h := opened(t, f, plan())
	ids := fill(t, h)
	for i, fates := range [][]func([]natsjs.Msg) []natsjs.Msg{{none}, {none, none, none}, {first}, {hole}, {end}, {whole, none}, {whole, first}, {whole, hole},
		{whole, end}, {whole, whole, none}, {whole, whole, hole}, {whole, whole, end}, {end, hole, none, first, end, hole}} {
		f.Fetched(fates...)
		if got := walked(t, h, nothing); !slices.Equal(got, ids) {
			t.Errorf("%d: got %d, want %d", i, len(got), len(ids))
		}
	}
}

// The consumer is gone, as after a long pause of the loop.
func TestWalkLosesConsumer(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	h := opened(t, js, plan())
	ids := fill(t, h)
	got := walked(t, h, func(i int, _ string) {
		if i%pageSize != 1 {
			return
		}
		s, err := js.Stream(t.Context(), plan().Stream)
		ok(t, err)
		for name := range s.ConsumerNames(t.Context()).Name() {
			ok(t, s.DeleteConsumer(t.Context(), name))
		}
	})
	if !slices.Equal(got, ids) {
		t.Errorf("got %d, want %d", len(got), len(ids))
	}
}

// The server is restarted, or killed, in the middle, and messages are replaced by those that the
// walk has yet to come to.
func TestWalkOverRestart(t *testing.T) {
	t.Parallel()
	for _, kill := range []bool{false, true} {
		t.Run(fmt.Sprint("killed=", kill), func(t *testing.T) {
			t.Parallel()
			cfg := embedded.Config{StoreDir: t.TempDir()}
			s := servers.Start(t, cfg)
			cfg.Port = s.Port()
			h := opened(t, servers.Connect(t, s), plan())
			ids := fill(t, h)
			got := walked(t, h, func(i int, _ string) {
				if i != pageSize/2 {
					return
				}
				if kill { // what it would find after a kill
					now := t.TempDir()
					ok(t, os.CopyFS(now, os.DirFS(cfg.StoreDir)))
					cfg.StoreDir = now
				}
				s.Shutdown()
				s = servers.Start(t, cfg)
				ok(t, h.Read(servers.Within(t, 30*time.Second), func(error) bool { return false }, h.Whole))
				again(t, h, ids[0])
				again(t, h, ids[many-1])
			})
			if want := append(slices.Clone(ids[:many-1]), ids[0], ids[many-1]); !slices.Equal(got, want) {
				t.Errorf("got %d, want %d", len(got), len(want))
			}
		})
	}
}

// Messages are replaced all the time, each just before the walk comes to it. They are yielded all the
// same, and the walk ends.
func TestWalkIsOvertaken(t *testing.T) {
	t.Parallel()
	h := opened(t, servers.Connect(t, servers.Start(t, embedded.Config{})), plan())
	ids := fill(t, h)
	runaway := ids[many-1]
	seen, yielded := map[string]bool{}, 0
	walked(t, h, func(i int, id string) {
		seen[id] = true
		yielded++
		if i%(pageSize/2) == 0 || i > many-10 {
			again(t, h, ids[i%many]) // one that is found again behind the others
			again(t, h, runaway)
		}
		if yielded > 10*many {
			t.Fatal("it does not end")
		}
	})
	for _, id := range ids {
		if !seen[id] {
			t.Errorf("%s is missing", id)
		}
	}
}

// understated is a message of a consumer that says that it is the last one.
type understated struct{ natsjs.Msg }

func (m understated) Metadata() (*natsjs.MsgMetadata, error) {
	meta, err := m.Msg.Metadata()
	if err == nil {
		meta.NumPending = 0
	}
	return meta, err
}

// All that is left is replaced while the walk is on its way. Then only the first message of each
// answer arrives, and its consumer may say that nothing is left, which the walk does not believe at
// once.
func TestWalkIsNotOverEarly(t *testing.T) {
	t.Parallel()
	f := &servers.Faulty{JetStream: servers.Connect(t, servers.Start(t, embedded.Config{}))}
	h := opened(t, f, plan())
	ids := fill(t, h)
	whole := func(all []natsjs.Msg) []natsjs.Msg { return all }
	first := func(all []natsjs.Msg) []natsjs.Msg { return all[:min(1, len(all))] }
	last := func(all []natsjs.Msg) []natsjs.Msg { return []natsjs.Msg{understated{all[0]}} }
	none := func([]natsjs.Msg) []natsjs.Msg { return nil }
	for i, fates := range [][]func([]natsjs.Msg) []natsjs.Msg{{whole, first, none, first, none, first, none, first, none, first, none, first}, {whole, last}, {whole, last, none, last}} {
		f.Fetched(fates...)
		got := walked(t, h, func(n int, _ string) {
			if n == 1 {
				for _, id := range ids[pageSize:] {
					again(t, h, id)
				}
			}
		})
		slices.Sort(got)
		if want := slices.Sorted(slices.Values(ids)); !slices.Equal(slices.Compact(got), want) {
			t.Errorf("%d: got %d, want %d", i, len(got), len(want))
		}
	}
}

// The end of ctx is the end of a walk, also while nothing arrives.
func TestWalkEnds(t *testing.T) {
	t.Parallel()
	f := &servers.Faulty{JetStream: servers.Connect(t, servers.Start(t, embedded.Config{}))}
	h := opened(t, f, plan())
	fill(t, h)
	ctx, cancel := context.WithCancel(t.Context())
	f.Fetched(func(all []natsjs.Msg) []natsjs.Msg { return all }, func([]natsjs.Msg) []natsjs.Msg { cancel(); return nil })
	n, last := 0, error(nil)
	for _, err := range h.Walk(ctx, "k", false) {
		if last != nil {
			t.Fatal("more after an error")
		}
		if last = err; err == nil {
			n++
		}
	}
	if n != pageSize || !errors.Is(last, context.Canceled) {
		t.Errorf("%d, %v", n, last)
	}
	n = 0
	for _, err := range h.Walk(ctx, "k", false) {
		if n++; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d of a ctx that has ended", n)
	}
}

// A loss in the middle is an error at the end, also if the stream was made anew meanwhile.
func TestWalkNoticesLoss(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	h := opened(t, js, plan())
	fill(t, h)
	n, last := 0, error(nil)
	for _, err := range h.Walk(servers.Within(t, 30*time.Second), "k", false) {
		if last = err; err != nil {
			break
		}
		if n++; n == 10 {
			ok(t, recreate(t.Context(), js, func(*natsjs.StreamConfig) {}))
		}
	}
	if !errors.Is(last, errLost) {
		t.Errorf("%d, %v", n, last)
	}
}
