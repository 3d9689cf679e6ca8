package settings_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/admission"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/settings"
)

var quiet = slog.New(slog.DiscardHandler)

// fake is a settings.System that notes what is done with it.
type fake struct {
	mu      sync.Mutex // guards what follows
	rules   access.Rules
	limits  admission.Rules
	retry   rpc.Retry
	weights map[string]map[string]int
	raised  []string
	changes []*settings.Change
	refuses error         // what the setters return
	gate    chan struct{} // if it is not nil, the setters wait until it is closed; set before
}

func (f *fake) Name() string { return "till-1" }

func (f *fake) Access() access.Rules { return f.rules }

func (f *fake) Admission() admission.Rules { return f.limits }

func (f *fake) Retry() rpc.Retry { return f.retry }

func (f *fake) set(do func()) error {
	if f.gate != nil {
		<-f.gate
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuses == nil {
		do()
	}
	return f.refuses
}

func (f *fake) SetAccess(r access.Rules) error       { return f.set(func() { f.rules = r }) }
func (f *fake) SetAdmission(r admission.Rules) error { return f.set(func() { f.limits = r }) }
func (f *fake) SetRetry(r rpc.Retry) error           { return f.set(func() { f.retry = r }) }

func (f *fake) Weights(service string) map[string]int { return f.weights[service] }

func (f *fake) SetWeights(service string, w map[string]int) error {
	if service == "bad" && len(w) > 0 {
		return errors.New("no such service")
	}
	return f.set(func() {
		if f.weights == nil {
			f.weights = map[string]map[string]int{}
		}
		f.weights[service] = w
	})
}

func (f *fake) Raise(typ rpc.EventType, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.raised = append(f.raised, fmt.Sprint(typ, ": ", err))
	var c *settings.Change
	if errors.As(err, &c) {
		f.changes = append(f.changes, c)
	}
}

// events returns what was raised since the last call.
func (f *fake) events() (all []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all, f.raised = f.raised, nil
	return all
}

// hand is a settings.Source that says what a test has it say, one update at a time.
type hand struct {
	updates chan settings.Update
	taken   chan struct{}
	ends    chan error
}

func newHand() *hand {
	return &hand{make(chan settings.Update), make(chan struct{}), make(chan error)}
}

func (h *hand) Follow(ctx context.Context, take func(settings.Update)) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-h.ends:
			return err
		case u := <-h.updates:
			take(u)
			h.taken <- struct{}{}
		}
	}
}

// say says something, and returns when it was taken in.
func (h *hand) say(u settings.Update) {
	h.updates <- u
	<-h.taken
}

// write says that a key was written.
func (h *hand) write(key string, revision uint64, value string) {
	h.say(settings.Update{Source: "s", Entries: []settings.Entry{entry(key, revision, value)}})
}

// entry is a write by "ann" of a value; empty: a deletion.
func entry(key string, revision uint64, value string) settings.Entry {
	if value == "" {
		return settings.Entry{Key: key, Revision: revision, Deleted: true, Data: []byte(`{"author":"ann"}`)}
	}
	return settings.Entry{Key: key, Revision: revision, Data: []byte(`{"author":"ann","value":` + value + `}`)}
}

// watch begins to watch h, which says at once that it has the given entries and no others.
func watch(t testing.TB, h *hand, targets settings.Targets, entries ...settings.Entry) *settings.Watcher {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.say(settings.Update{Source: "s", Whole: true, Entries: entries})
	}()
	if targets.Logger == nil {
		targets.Logger = quiet
	}
	w, err := settings.Watch(t.Context(), h, targets)
	if err != nil {
		t.Fatal(err)
	}
	<-done
	t.Cleanup(w.Close)
	return w
}

func want(t testing.TB, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s:\ngot  %v\nwant %v", what, got, want)
	}
}
