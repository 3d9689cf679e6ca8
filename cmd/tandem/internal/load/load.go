// Package load measures requests to a running cluster, through its NATS gateway.
package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/natsapi"
)

// Limits.
const (
	MaxClients = 1024
	MaxCount   = 10_000_000
	MaxFor     = 10 * time.Minute
	DefaultFor = 10 * time.Second

	DefaultCount = 10_000
	maxErrors    = 10 // different ones that are told apart
)

// DefaultPrefix is what the subjects of natsapi begin with.
const DefaultPrefix = "tandem.api"

// Config says what is measured.
type Config struct {
	Conn            *nats.Conn
	Prefix          string // natsapi.Config.Prefix; empty: DefaultPrefix
	Target, Message string // of natsapi
	User            string // the token of who asks; empty: nobody
	Body            []byte // JSON
	Clients, Count  int
	For             time.Duration
	Timeout         time.Duration // of a request
}

// Verdicts of requests that failed.
const (
	Ran     = "ran"
	NotRun  = "not run"
	Unknown = "unknown"
)

// Result is what was measured. Times are those of answers without an error.
type Result struct {
	Requests  int            `json:"requests"`
	Answered  int            `json:"answered"`
	Took      time.Duration  `json:"took_ns"`
	PerSecond float64        `json:"per_second"` // answers
	P50       time.Duration  `json:"p50_ns"`
	P90       time.Duration  `json:"p90_ns"`
	P99       time.Duration  `json:"p99_ns"`
	Max       time.Duration  `json:"max_ns"`
	Failed    map[string]int `json:"failed"` // by verdict
	Errors    []Counted      `json:"errors,omitempty"`
}

// Counted is an error and how often it came.
type Counted struct {
	Text  string `json:"error"`
	Count int    `json:"count"`
}

func (c *Config) validate() error {
	switch {
	case c.Clients < 1 || c.Clients > MaxClients:
		return fmt.Errorf("%d clients: want 1 to %d", c.Clients, MaxClients)
	case c.Count < 1 || c.Count > MaxCount:
		return fmt.Errorf("%d requests: want 1 to %d", c.Count, MaxCount)
	case c.Timeout <= 0:
		return fmt.Errorf("a timeout of %v: want more than 0", c.Timeout)
	case c.For <= 0 || c.For > MaxFor:
		return fmt.Errorf("for %v: want up to %v", c.For, MaxFor)
	case !json.Valid(c.Body):
		return fmt.Errorf("%q is not JSON", c.Body)
	case c.Target == "" || c.Message == "" || strings.ContainsAny(c.Target+c.Message+c.Prefix, " *>"):
		return errors.New("the target, the message and the prefix are names")
	}
	if c.Prefix == "" {
		c.Prefix = DefaultPrefix
	}
	if c.User == "" {
		c.User = "-"
	}
	if c.User != natsapi.Escape(c.User) {
		return fmt.Errorf("%q cannot be a token of a subject", c.User)
	}
	return nil
}

// outcome is what became of a request. verdict is empty for an answer without an error.
type outcome struct {
	took          time.Duration
	verdict, text string
}

// Run measures until Count, For or ctx ends it. The error says what is wrong with cfg.
func Run(ctx context.Context, cfg Config) (Result, error) {
	if err := cfg.validate(); err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.For)
	defer cancel()
	var begun atomic.Int64
	all := make([][]outcome, cfg.Clients)
	began := time.Now()
	var clients sync.WaitGroup
	for i := range all {
		clients.Go(func() {
			for ctx.Err() == nil && begun.Add(1) <= int64(cfg.Count) {
				all[i] = append(all[i], cfg.ask(ctx))
			}
		})
	}
	clients.Wait()
	return sum(slices.Concat(all...), time.Since(began)), nil
}

// ask makes one request, which ends even if the measurement does, so that its verdict is known.
func (c *Config) ask(ctx context.Context) outcome {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.Timeout)
	defer cancel()
	m := nats.NewMsg(c.Prefix + "." + c.User + "." + c.Target + "." + c.Message)
	m.Data = c.Body
	m.Header.Set(gateway.HeaderTimeout, fmt.Sprintf("%.3f", c.Timeout.Seconds()))
	began := time.Now()
	r, err := c.Conn.RequestMsgWithContext(ctx, m)
	took := time.Since(began)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return outcome{took, NotRun, "no gateway serves " + c.Target + " with " + c.Message}
	case err != nil:
		return outcome{took, Unknown, err.Error()}
	case r.Header.Get(gateway.HeaderCode) == "":
		return outcome{took: took}
	}
	verdict := map[string]string{"yes": Ran, "no": NotRun}[r.Header.Get(gateway.HeaderRan)]
	if verdict == "" {
		verdict = Unknown
	}
	var p gateway.Problem
	_ = json.Unmarshal(r.Data, &p) // the code is in the header
	return outcome{took, verdict, strings.TrimSpace(r.Header.Get(gateway.HeaderCode) + " " + p.Detail)}
}
