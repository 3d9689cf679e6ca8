package probe_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/probe"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/test/ports"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/tcp"
)

// get asks a handler. failed is the names of the checks that fail.
func get(t *testing.T, h http.Handler, path string) (status int, stage string, failed []string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	var r probe.Report
	if err := json.Unmarshal(w.Body.Bytes(), &r); err != nil {
		t.Fatalf("%s: %v: %s", path, err, w.Body)
	}
	for _, c := range r.Checks {
		if c.OK != (c.Error == "") {
			t.Errorf("%s: ok %t with error %q", c.Name, c.OK, c.Error)
		}
		if !c.OK {
			failed = append(failed, c.Name)
		}
	}
	if r.OK != (w.Code == 200) || r.OK != (len(failed) == 0) {
		t.Errorf("%s: status %d, %s", path, w.Code, w.Body)
	}
	return w.Code, r.Stage, failed
}

// want checks what a handler answers now.
func want(t *testing.T, h http.Handler, path string, status int, stage string, failed ...string) {
	t.Helper()
	if got, at, what := get(t, h, path); got != status || at != stage || !slices.Equal(what, failed) {
		t.Errorf("%s: %d, %s, %q; want %d, %s, %q", path, got, at, what, status, stage, failed)
	}
}

// becomes waits until a handler answers so, for as long as the test may take.
func becomes(t *testing.T, h http.Handler, path string, status int, failed ...string) {
	t.Helper()
	ctx := servers.Within(t, 20*time.Second)
	for tick := time.NewTicker(5 * time.Millisecond); ; {
		got, stage, what := get(t, h, path)
		if got == status && slices.Equal(what, failed) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %d, %s, %q; want %d, %q", path, got, stage, what, status, failed)
		case <-tick.C:
		}
	}
}

var quiet = slog.New(slog.DiscardHandler)

// work is done when its test says so.
type work struct{}

type worker struct{ begun, end chan struct{} }

func (w *worker) do(*actor.Context, work) error { close(w.begun); <-w.end; return nil }

func TestLife(t *testing.T) {
	usual := make(chan os.Signal, 1)
	signal.Notify(usual, syscall.SIGHUP) // starts what the bubble would otherwise wait for
	signal.Stop(usual)
	synctest.Test(t, func(t *testing.T) {
		h := probe.New(probe.Config{})
		want(t, h, "/livez", 200, probe.StageStarting)
		want(t, h, "/readyz", 503, probe.StageStarting, probe.CheckLife)

		setUp, begun, end := make(chan struct{}), make(chan struct{}), make(chan struct{})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		kind := actor.Define("test.worker", func() *worker { return &worker{begun, end} }, actor.Handle((*worker).do))
		go func() {
			ended <- actor.Run(ctx, actor.Config{Logger: quiet, Setup: func(sys *actor.System) error {
				if err := h.Watch(sys); err != nil {
					return err
				}
				ref, err := sys.Spawn("w", kind)
				if err != nil {
					return err
				}
				<-setUp // a slow start
				return actor.Tell(t.Context(), ref, work{})
			}})
		}()
		synctest.Wait()
		want(t, h, "/livez", 200, actor.StageJoining)
		want(t, h, "/readyz", 503, actor.StageJoining, probe.CheckLife)
		close(setUp)
		<-begun
		synctest.Wait()
		want(t, h, "/readyz", 200, actor.StageServing)
		want(t, h, "/livez", 200, actor.StageServing)

		stop() // a handler still works
		synctest.Wait()
		want(t, h, "/readyz", 503, actor.StageDraining, probe.CheckLife)
		want(t, h, "/livez", 200, actor.StageDraining)
		close(end)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		want(t, h, "/readyz", 503, actor.StageDown, probe.CheckLife)
		want(t, h, "/livez", 503, actor.StageDown, probe.CheckLoops)
	})
}

// The run loops are asked once at a time, and a stuck check of the application does not make the process look dead.
func TestChecks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		var away atomic.Bool
		stuck := make(chan struct{})
		h := probe.New(probe.Config{Wait: time.Second, Checks: map[string]func(context.Context) error{
			"database": func(context.Context) error {
				if away.Load() {
					return errors.New("away")
				}
				return nil
			},
			"hangs":  func(context.Context) error { calls.Add(1); <-stuck; return nil },
			"panics": func(context.Context) error { panic("oh") },
		}})
		sys, err := actor.NewSystem(actor.Config{Logger: quiet, Setup: h.Watch})
		if err != nil {
			t.Fatal(err)
		}
		defer sys.Shutdown(t.Context())
		began := time.Now()
		want(t, h, "/readyz", 503, actor.StageServing, "hangs", "panics")
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %v", took)
		}
		want(t, h, "/livez", 200, actor.StageServing)
		away.Store(true)
		want(t, h, "/readyz", 503, actor.StageServing, "database", "hangs", "panics")
		if n := calls.Load(); n != 1 {
			t.Errorf("called %d times", n)
		}
		close(stuck)
		synctest.Wait()
		want(t, h, "/readyz", 503, actor.StageServing, "database", "panics")
	})
}

// An outage of NATS makes a node not ready when its lease may have ended, and never makes it look dead.
func TestNATSAway(t *testing.T) {
	cfg := embedded.Config{StoreDir: t.TempDir(), Port: ports.Free()}
	srv := servers.Start(t, cfg)
	ctx := servers.Within(t, time.Minute)
	reg, err := natskv.New(ctx, servers.Connect(t, srv), natskv.Config{Cluster: "shop", Lease: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer reg.Close()
	h := probe.New(probe.Config{})
	sys, err := actor.NewSystem(actor.Config{Name: "a", Cluster: "shop", Registry: reg, Logger: quiet, Setup: h.Watch,
		Transports: []transport.Transport{tcp.New(tcp.Config{Listen: "127.0.0.1:0"})}})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Shutdown(ctx)
	want(t, h, "/readyz", 200, actor.StageServing)
	srv.Shutdown()
	becomes(t, h, "/readyz", 503, probe.CheckName)
	want(t, h, "/livez", 200, actor.StageServing)
	if err := sys.Health().Ready(); !errors.Is(err, actor.ErrNotReady) {
		t.Error(err)
	}
	servers.Start(t, cfg)
	becomes(t, h, "/readyz", 200)
	if err := sys.Health().Ready(); err != nil {
		t.Error(err)
	}
}

// Profiles are for those whom Config.Debug lets in, and nobody else, nor anywhere else.
func TestProfiles(t *testing.T) {
	const token = "0123456789abcdef"
	ask := func(h http.Handler, method, path, auth string) *httptest.ResponseRecorder {
		r, w := httptest.NewRequest(method, path, nil), httptest.NewRecorder()
		if auth != "" {
			r.Header.Set("Authorization", auth)
		}
		h.ServeHTTP(w, r)
		return w
	}
	closed, open := probe.New(probe.Config{}), probe.New(probe.Config{Debug: probe.Bearer(token)})
	for _, c := range []struct {
		h          http.Handler
		path, auth string
		status     int
		has        string
	}{
		{closed, "/debug/pprof/", "Bearer " + token, 404, ""},
		{closed, "/debug/pprof/heap", "Bearer " + token, 404, ""},
		{open, "/debug/pprof/", "", 401, ""},
		{open, "/debug/pprof/heap", token, 401, ""},
		{open, "/debug/pprof/heap", "Bearer " + token[1:], 401, ""},
		{open, "/debug/pprof/heap", "Basic " + token, 401, ""},
		{open, "/debug/pprof/heap?token=" + token, "", 401, ""},
		{open, "/debug/pprof/", "Bearer " + token, 200, "goroutine\n"},
		{open, "/debug/pprof/goroutine?debug=1", "bearer " + token, 200, "goroutine profile:"},
		{open, "/debug/pprof/none", "Bearer " + token, 404, ""},
		{open, "/debug/pprof/profile?seconds=121", "Bearer " + token, 400, "want 1 to 120"},
		{open, "/debug/pprof/profile?seconds=1", "Bearer " + token, 200, "\x1f\x8b"},
		{probe.New(probe.Config{Debug: probe.Bearer("")}), "/debug/pprof/", "Bearer ", 401, ""},
		{probe.New(probe.Config{Debug: probe.Bearer("short")}), "/debug/pprof/", "Bearer short", 401, ""},
	} {
		w := ask(c.h, "GET", c.path, c.auth)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.has) {
			t.Errorf("%s with %q: %d %q", c.path, c.auth, w.Code, w.Body)
		}
	}
	deps, err := exec.Command("go", "list", "-deps", "github.com/tandem-go/tandem/probe").Output()
	if err != nil || !strings.Contains(string(deps), "\nruntime/pprof\n") || strings.Contains(string(deps), "\nnet/http/pprof\n") {
		t.Errorf("it imports net/http/pprof, which opens the profiles to everybody: %v", err)
	}
	if w := ask(open, "POST", "/readyz", ""); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}
