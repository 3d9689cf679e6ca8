package natskv_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

var quiet = slog.New(slog.DiscardHandler)

// recorder keeps what is logged.
type recorder struct {
	mu      sync.Mutex // guards what follows
	text    bytes.Buffer
	changed chan struct{} // closed and replaced by every line; nil if nobody waits
}

func (r *recorder) logger() *slog.Logger { return slog.New(slog.NewTextHandler(r, nil)) }

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
	return r.text.Write(b)
}

// lines returns the lines with text in them.
func (r *recorder) lines(text string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []string
	for l := range strings.Lines(r.text.String()) {
		if strings.Contains(l, text) {
			found = append(found, l)
		}
	}
	return found
}

// await waits for a line with text in it.
func (r *recorder) await(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		r.mu.Lock()
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed, there := r.changed, strings.Contains(r.text.String(), text)
		r.mu.Unlock()
		if there {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("%q was not logged:\n%s", text, r.text.String())
		}
	}
}

// A registry may be opened before NATS is there. It logs once what it waits for.
func TestOpenedBeforeNATS(t *testing.T) {
	s := start(t, embedded.Config{})
	cfg := embedded.Config{Port: s.Port()}
	s.Shutdown()
	nc, err := nats.Connect(s.URL(), nats.ReconnectBufSize(-1), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	log := new(recorder)
	opened := make(chan error, 1)
	go func() {
		r, err := natskv.New(within(t, 30*time.Second), js, natskv.Config{Logger: log.logger()})
		if err == nil {
			r.Close()
		}
		opened <- err
	}()
	log.await(t, "waiting for NATS: no connection to NATS")
	start(t, cfg)
	if err := <-opened; err != nil {
		t.Error(err)
	}
	if n := len(log.lines("no connection to NATS")); n != 1 {
		t.Errorf("said %d times that there was no connection", n)
	}
	log.await(t, "what was missing is there")
}

// When the wait ends in vain, the error says what is missing, for how long, and what to do.
func TestStartWait(t *testing.T) {
	t.Parallel()
	s := start(t, embedded.Config{Configure: func(o *server.Options) { o.JetStream = false }})
	log := new(recorder)
	began := time.Now()
	_, err := natskv.New(t.Context(), connect(t, s), natskv.Config{StartWait: time.Second, Logger: log.logger()})
	if d := time.Since(began); d < time.Second || d > 4*time.Second {
		t.Errorf("it took %v", d)
	}
	if !errors.Is(err, registry.ErrUnavailable) || !strings.Contains(err.Error(), "JetStream does not serve, still after 1") || !strings.Contains(err.Error(), "see that JetStream is enabled") {
		t.Errorf("got %v", err)
	}
	if n := len(log.lines("waiting for NATS")); n != 1 {
		t.Errorf("said %d times what is missing", n)
	}
	if _, err := natskv.New(t.Context(), connect(t, s), natskv.Config{StartWait: -1}); err == nil {
		t.Error("a negative wait is taken")
	}
}
