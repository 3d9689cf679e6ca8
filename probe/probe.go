// Package probe answers the questions of whoever runs the process: is it alive, is it ready, what is it busy with.
//
//	probes := probe.New(probe.Config{})
//	go http.ListenAndServe(":8081", probes) // before the system starts: it is alive and not ready until then
//
//	cfg.Setup = func(sys *actor.System) error {
//		if err := probes.Watch(sys); err != nil {
//			return err
//		}
//		...
//	}
//	err := actor.Run(ctx, cfg)
//
// /livez is 200 as long as the run loops of the system answer, also while it starts and while it drains. It asks nothing
// outside of the process: if NATS is away, to start all nodes again would make it worse. It is 503 if they do not answer, or if the
// system has ended by itself.
//
// /readyz is 200 if the node is to get requests: it has joined, its lease and its stores are confirmed, Config.Checks find
// nothing, and Shutdown was not called. Otherwise it is 503. From the call of Shutdown on it is 503, while
// the node still answers what comes, for as long as that takes (see actor.System.Shutdown).
//
// Both say which check fails, as JSON. That is not secret, but tells names of hosts: do not serve it to the public.
//
// /debug/pprof/ has the profiles of package runtime/pprof, only if Config.Debug lets the request in. The package does not import
// net/http/pprof, which would open them to everybody on http.DefaultServeMux.
package probe

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/actor"
)

// DefaultWait is how long a check may take.
const DefaultWait = 2 * time.Second

// Config says what is asked. Its zero value asks about the system alone.
type Config struct {
	// Checks are what the application needs in addition to be ready, by name: a database, say. They are called at each request
	// for /readyz, each once at a time, with a context that ends after Wait. One that does not return by then has failed, and
	// is not called again before it has returned.
	Checks map[string]func(context.Context) error

	// Debug says who may read profiles: Bearer returns such a function. nil: nobody, and there is no such path.
	Debug func(*http.Request) bool

	Wait time.Duration // how long the run loops, or a check, may take to answer; default DefaultWait. It should be below the timeout of who probes
}

// Handler serves /livez, /readyz and, if Config.Debug is set, /debug/pprof/. Its methods may be called concurrently.
type Handler struct {
	cfg    Config
	mux    *http.ServeMux
	sys    atomic.Pointer[actor.System] // nil: Watch was not called yet
	pulse  single
	checks map[string]*single
}

// Report is what /livez and /readyz answer.
type Report struct {
	OK     bool    `json:"ok"`
	Stage  string  `json:"stage"` // of the system's life, see actor.Health; "starting" before Watch
	Checks []Check `json:"checks"`
}

// Check is one thing that was looked at.
type Check struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"` // what is wrong
}

// StageStarting is the stage in a Report before Watch was called.
const StageStarting = "starting"

// The names of checks in a Report, beside those of Config.Checks.
const (
	CheckLoops   = "loops"   // the run loops answer; in /livez
	CheckLife    = "life"    // the system serves: it has joined, and does not shut down
	CheckName    = "name"    // the lease of the node's name is confirmed
	CheckRecords = "records" // records are written to actor.Config.Store
	CheckStates  = "states"  // actor.Config.States serves
)

// ErrEnded is why a system that has ended is not alive, if it has no error.
var ErrEnded = errors.New("probe: the system has ended")

// New returns a handler that says alive and not ready until Watch is called.
func New(cfg Config) *Handler {
	if cfg.Wait <= 0 {
		cfg.Wait = DefaultWait
	}
	h := &Handler{cfg: cfg, mux: http.NewServeMux(), checks: map[string]*single{}}
	for name := range cfg.Checks {
		h.checks[name] = &single{}
	}
	h.mux.HandleFunc("GET /livez", func(w http.ResponseWriter, r *http.Request) { answer(w, h.live(r.Context())) })
	h.mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { answer(w, h.ready(r.Context())) })
	if cfg.Debug != nil {
		h.mux.Handle("GET "+profilePath, guarded(cfg.Debug, http.HandlerFunc(listProfiles)))
		h.mux.Handle("GET "+profilePath+"{name}", guarded(cfg.Debug, http.HandlerFunc(writeProfile)))
	}
	return h
}

// ServeHTTP serves the paths that Handler names.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// answer writes a report, with status 200 or 503.
func answer(w http.ResponseWriter, r Report) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !r.OK {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(r) // if the client is gone, nobody misses it
}

// beat is answered by an actor of the system: so a run loop works.
type beat struct{ actor.Returns[bool] }

// heart answers.
type heart struct{}

func (*heart) beat(*actor.Context, beat) (bool, error) { return true, nil }

// Name is the name of the actor that Watch starts.
const Name = "probe"

// Watch has the handler speak of sys from now on. Call it in actor.Config.Setup. It starts an actor, which answers when the
// run loops work. The error is that of System.Spawn.
func (h *Handler) Watch(sys *actor.System) error {
	if _, err := sys.Spawn(Name, actor.Define("tandem.probe", func() *heart { return &heart{} }, actor.Answer((*heart).beat))); err != nil {
		return err
	}
	h.sys.Store(sys)
	return nil
}

// live is the report of /livez. It waits for Config.Wait at most.
func (h *Handler) live(ctx context.Context) Report {
	sys := h.sys.Load()
	if sys == nil {
		return report(StageStarting, nil)
	}
	stage := actor.StageDown
	err := h.pulse.do(ctx, h.cfg.Wait, func(ctx context.Context) error {
		if stage := sys.Health().Stage; stage == actor.StageDown {
			return errors.Join(ErrEnded, sys.Err())
		}
		_, err := actor.Call(ctx, sys.Ref(Name), beat{})
		if err != nil && drains(sys.Health().Stage) {
			return nil // it has stopped its actors
		}
		return err
	})
	if !errors.Is(err, errStuck) { // else a look at the stage could be stuck, too
		stage = sys.Health().Stage
	}
	return report(stage, []named{{CheckLoops, err}})
}

// drains reports whether a system may have stopped its actors, and has not ended.
func drains(stage string) bool { return stage == actor.StageDraining || stage == actor.StageDown }

// ready is the report of /readyz. It waits for Config.Wait at most.
func (h *Handler) ready(ctx context.Context) Report {
	sys := h.sys.Load()
	if sys == nil {
		return report(StageStarting, []named{{CheckLife, errors.New("the system has not been set up yet")}})
	}
	results := make(chan named, len(h.checks))
	for name, s := range h.checks {
		go func() { results <- named{name, s.do(ctx, h.cfg.Wait, h.cfg.Checks[name])} }() // it ends after Wait
	}
	failed := map[string]error{}
	for range h.checks {
		r := <-results
		failed[r.name] = r.err
	}
	now := sys.Health() // last, so that a drain that has begun meanwhile counts
	var life error
	if now.Stage != actor.StageServing {
		life = errors.New("the node is " + now.Stage)
	}
	all := []named{{CheckLife, life}}
	if life == nil { // else nothing is known of them
		all = append(all, named{CheckName, now.Name}, named{CheckRecords, now.Records}, named{CheckStates, now.States})
	}
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		all = append(all, named{name, failed[name]})
	}
	return report(now.Stage, all)
}

// named is the result of a check.
type named struct {
	name string
	err  error
}

func report(stage string, all []named) Report {
	r := Report{OK: true, Stage: stage, Checks: []Check{}}
	for _, n := range all {
		c := Check{Name: n.name, OK: n.err == nil}
		if n.err != nil {
			r.OK, c.Error = false, n.err.Error()
		}
		r.Checks = append(r.Checks, c)
	}
	return r
}
