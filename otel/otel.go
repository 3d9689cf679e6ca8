// Package tandemotel shows what a system of Tandem does with OpenTelemetry: as spans, as metrics, and
// with the ids of traces in log lines.
//
//	cfg := actor.Config{Name: "shop"}
//	err := tandemotel.Instrument(&cfg, tandemotel.Config{Tracers: tracers, Meters: meters})
//	sys, err := actor.NewSystem(cfg)
//
// The package prometheus below it serves the metrics to Prometheus. docs/metrics.md lists all metrics
// and spans.
//
// A trace follows a message over nodes: the W3C trace context of the sender's span is in the message,
// without its tracestate. The node at which a trace begins decides whether it is recorded (Config.Sample), and
// a message without a trace context is of a trace that is not: so what is not recorded costs next to nothing,
// not even bytes on the wire. Where nodes do not use this package, their messages are in no trace either.
//
// The number of series is bounded whatever happens: no label has the name or the id of an actor, and
// what exceeds Config.Series is counted under the value Other.
package tandemotel

import (
	"errors"
	"fmt"
	"log/slog"
	"math"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/intercept"
)

const scope = "github.com/tandem-go/tandem/otel"

// The defaults of Config.
const (
	DefaultSample = 0.01
	DefaultSeries = 500
)

// MaxSeries is the largest Config.Series.
const MaxSeries = 100_000

// ErrConfig is wrapped by the errors of Instrument.
var ErrConfig = errors.New("tandemotel: bad configuration")

// Config says what of a system is to be seen. Its zero value shows nothing but the ids of traces in log lines.
type Config struct {
	Tracers trace.TracerProvider // gets the spans; nil: there are none
	Meters  metric.MeterProvider // gets the metrics; nil: there are none

	// Sample is the share of the traces that begin at this node which are recorded, from 0 to 1. A trace that has
	// begun elsewhere, at another node or in a span of the application, is recorded here if it is there. 0: DefaultSample.
	// Less than 0: none begins here. It is cheaper than a sampler of the SDK, which
	// may decide, too: of the spans that this package begins.
	Sample float64

	// Series is how many combinations of pattern, service or kind, message, code and verdict the metrics of messages tell
	// apart, on each side. What would exceed it is counted under Other. 0: DefaultSeries.
	Series int

	// Sparse leaves out the metrics by message, which cost an interceptor at each message. All others cost
	// nothing but their collection.
	Sparse bool
}

// Instrument has the system that is made of cfg report as with says. Call it once for a cfg, when the rest of
// cfg is set. It sets Sampled, puts interceptors before those of Outgoing and Incoming, and wraps Setup, Logger and the stores.
// Its errors wrap ErrConfig.
func Instrument(cfg *actor.Config, with Config) error {
	if err := with.validate(cfg); err != nil {
		return err
	}
	log := cfg.Logger
	if log == nil {
		log = slog.Default()
	}
	cfg.Logger = slog.New(NewLogHandler(log.Handler()))
	if with.Tracers != nil {
		cfg.Sampled = (&tracing{tracer: with.Tracers.Tracer(scope), node: cfg.Name, below: threshold(with.Sample)}).sampled()
	}
	if with.Meters == nil {
		return nil
	}
	meter := with.Meters.Meter(scope)
	node := nodeOf(cfg)
	if !with.Sparse {
		m, err := newMessages(meter, node, with.Series)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrConfig, err)
		}
		cfg.Outgoing = append([]intercept.Func{m.sent.around}, cfg.Outgoing...)
		cfg.Incoming = append([]intercept.Func{m.received.around}, cfg.Incoming...)
	}
	stores, err := newStores(meter, node)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	failing := stores.wrap(cfg)
	setup := cfg.Setup
	cfg.Setup = func(sys *actor.System) error {
		if err := watch(sys, meter, node, failing); err != nil {
			return err
		}
		if setup != nil {
			return setup(sys)
		}
		return nil
	}
	return nil
}

// validate fills in defaults.
func (c *Config) validate(cfg *actor.Config) error {
	var errs []error
	if math.IsNaN(c.Sample) || c.Sample > 1 {
		errs = append(errs, fmt.Errorf("%w: Sample is %v: want at most 1", ErrConfig, c.Sample))
	}
	if c.Series < 0 || c.Series > MaxSeries {
		errs = append(errs, fmt.Errorf("%w: Series is %d: want 0 to %d", ErrConfig, c.Series, MaxSeries))
	}
	if c.Tracers != nil && (cfg.Sampled.Wants != nil || cfg.Sampled.Outgoing != nil || cfg.Sampled.Incoming != nil) {
		errs = append(errs, fmt.Errorf("%w: the system's Config.Sampled is set already", ErrConfig))
	}
	if c.Sample == 0 {
		c.Sample = DefaultSample
	}
	if c.Series == 0 {
		c.Series = DefaultSeries
	}
	return errors.Join(errs...)
}

// nodeOf is the name that the system of cfg will have.
func nodeOf(cfg *actor.Config) string {
	if cfg.Name == "" {
		return "local"
	}
	return cfg.Name
}
