package leased

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/test/bubble"
)

func started(t *testing.T, log *strings.Builder) *Registry {
	t.Helper()
	cfg, err := Config{Package: "test", Lease: 10 * time.Second, Logger: slog.New(slog.NewTextHandler(log, nil))}.Checked(time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return New(nil, cfg) // the store is not asked here
}

func encoded(t *testing.T, name, epoch string) []byte {
	t.Helper()
	value, err := json.Marshal(registry.Node{Name: name, Epoch: epoch})
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// An expiry counts at once, but not within one lease of trouble: then it counts a lease later. A session that
// begins again doubts what it does not find.
func TestGrace(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		r := started(t, new(strings.Builder))
		sessions := make(chan *Session)
		broken := make(chan error)
		if err := r.Open(t.Context(), func(ctx context.Context, complete func()) error {
			s := r.Begin(complete)
			defer s.End()
			for i, name := range []string{"a", "b"} {
				s.Record(name, encoded(t, name, "e1"), uint64(i+1))
			}
			s.Whole(2)
			for {
				select {
				case <-ctx.Done():
					return ctx.Err()
				case sessions <- s:
				case now := <-s.Due():
					s.Expire(now)
				case err := <-broken:
					return err
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		events, err := r.Watch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		expect := func(want string) {
			t.Helper()
			synctest.Wait()
			select {
			case e := <-events:
				if got := fmt.Sprint(e.Change, " ", e.Node.Name); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			default:
				if want != "" {
					t.Errorf("nothing was reported, want %s", want)
				}
			}
		}
		expect("joined a")
		expect("joined b")
		(<-sessions).Expired("a", 3) // nothing was wrong
		expect("expired a")

		broken <- registry.ErrUnavailable
		<-sessions // the next session has a again
		expect("joined a")
		time.Sleep(9 * time.Second)
		(<-sessions).Expired("b", 4)
		time.Sleep(9 * time.Second)
		expect("")
		(<-sessions).Record("b", encoded(t, "b", "e1"), 5) // it lives
		time.Sleep(time.Hour)
		expect("")
		r.Trouble()
		(<-sessions).Expired("b", 6)
		time.Sleep(9 * time.Second)
		expect("")
		time.Sleep(2 * time.Second)
		expect("expired b")
	})
}

// What a new session finds expired may have ended while the store was away, however long it took to begin.
func TestExpiredMeanwhile(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		r := started(t, new(strings.Builder))
		serves := func(want int) {
			t.Helper()
			if nodes, err := r.Nodes(t.Context()); err != nil || len(nodes) != want {
				t.Errorf("%d nodes, %v, want %d", len(nodes), err, want)
			}
		}
		s := r.Begin(func() {})
		s.Record("a", encoded(t, "a", "e1"), 1)
		s.Whole(1)
		s.End()
		time.Sleep(time.Hour)
		s = r.Begin(func() {})
		s.Expired("a", 2)
		s.Whole(2)
		serves(1)
		s.Expire(<-s.Due())
		serves(0)
		s.End()
	})
}

// Open waits for a store that is away and says so once. It does not wait for what cannot get better.
func TestOpen(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		for _, hopeless := range []error{registry.ErrDenied, registry.ErrClosed} {
			began := time.Now()
			err := started(t, new(strings.Builder)).Open(t.Context(), func(context.Context, func()) error { return hopeless })
			if !errors.Is(err, hopeless) || time.Since(began) != 0 {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		}
		log, began, tries := new(strings.Builder), time.Now(), 0
		err := started(t, log).Open(t.Context(), func(context.Context, func()) error {
			tries++
			return fmt.Errorf("%w: try %d", registry.ErrUnavailable, tries)
		})
		if d := time.Since(began); !errors.Is(err, registry.ErrUnavailable) || d != DefaultStartWait {
			t.Errorf("%v after %v", err, d)
		}
		if n := strings.Count(log.String(), "is not open"); n != 1 || tries < 20 || tries > 60 {
			t.Errorf("%d lines, %d tries", n, tries)
		}

		tries = 0
		r := started(t, log)
		if err := r.Open(t.Context(), func(ctx context.Context, complete func()) error {
			if tries++; tries < 4 {
				return registry.ErrUnavailable
			}
			s := r.Begin(complete)
			defer s.End()
			s.Whole(0)
			<-ctx.Done()
			return ctx.Err()
		}); err != nil {
			t.Error(err)
		}
		r.Close()
		r.Close()
		if n := strings.Count(log.String(), "is back"); n != 1 {
			t.Errorf("said %d times that the watch is back", n)
		}
	})
}
