package tandemotel

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/rpc"
)

// The labels of metrics.
const (
	labelNode    = attribute.Key("node")
	labelPattern = attribute.Key("pattern")
	labelService = attribute.Key("service")
	labelKind    = attribute.Key("kind")
	labelMessage = attribute.Key("message")
	labelCode    = attribute.Key("code")
	labelRan     = attribute.Key("ran")
	labelRoad    = attribute.Key("road")
	labelStore   = attribute.Key("store")
	labelOp      = attribute.Key("operation")
	labelResult  = attribute.Key("result")
	labelEvent   = attribute.Key("event")
)

// codeOK is the code of what has not failed.
const codeOK = "ok"

// messages are the metrics by message.
type messages struct{ sent, received *side }

// side counts the messages that pass on one side.
type side struct {
	node     string
	series   series
	at       func(*intercept.Operation) string
	count    metric.Int64Counter
	duration metric.Float64Histogram
}

func newMessages(meter metric.Meter, node string, size int) (m messages, err error) {
	if m.sent, err = newSide(meter, node, clientMessages, clientDuration, labelService, size, destination); err != nil {
		return m, err
	}
	m.received, err = newSide(meter, node, serverMessages, serverDuration, labelKind, size, func(op *intercept.Operation) string { return op.Kind })
	return m, err
}

func newSide(meter metric.Meter, node string, count, duration Metric, name attribute.Key, size int, at func(*intercept.Operation) string) (s *side, err error) {
	s = &side{node: node, at: at, series: series{size: size, name: name}}
	if s.count, err = meter.Int64Counter(count.Name, metric.WithUnit(count.Unit), metric.WithDescription(count.About)); err != nil {
		return nil, err
	}
	s.duration, err = meter.Float64Histogram(duration.Name, metric.WithUnit(duration.Unit), metric.WithDescription(duration.About), metric.WithExplicitBucketBoundaries(seconds()...))
	return s, err
}

// seconds are the bounds of the buckets of latencies, in s.
func seconds() []float64 {
	return []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
}

// around is the interceptor of the side.
func (s *side) around(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
	begun, returned := time.Now(), false
	defer func() {
		if !returned { // a panic, which goes on
			s.record(ctx, op, begun, rpc.Panicked.String())
		}
	}()
	err := next(ctx)
	returned = true
	code := codeOK
	if err != nil {
		code = codeOf(op, err)
	}
	s.record(ctx, op, begun, code)
	return err
}

func (s *side) record(ctx context.Context, op *intercept.Operation, begun time.Time, code string) {
	r := s.series.of(labels{pattern: pattern(op.Op), at: s.at(op), message: messageOf(op), code: code, ran: op.Verdict.String()}, s.node)
	s.count.Add(ctx, 1, r.count)
	s.duration.Record(ctx, time.Since(begun).Seconds(), r.duration)
}

// codeOf is the code of an operation's error. A code that this build does not know may be any number. What a
// handler returns is Failed for its caller, unless it has a code itself.
func codeOf(op *intercept.Operation, err error) string {
	code := rpc.CodeOf(err)
	if e := (*rpc.Error)(nil); op.Side == intercept.Incoming && !errors.As(err, &e) {
		code = rpc.Failed
	}
	name := code.String()
	if _, known := rpc.ParseCode(name); !known {
		return Other
	}
	return name
}

// messageOf is the label of a message's type. The name of one that was sent in encoded form, as
// gateways do, is whatever somebody has written there.
func messageOf(op *intercept.Operation) string {
	if op.Side == intercept.Outgoing {
		if _, encoded := op.Message().(actor.Encoded); encoded {
			return Other
		}
	}
	return op.Type()
}

// What a message that is sent to no service is labelled with.
const (
	toActor = "actor" // one actor, whose kind its sender does not know
	toTopic = "topic"
)

// destination is the label of whom a message is sent to: a service, the kind of a virtual actor, or else
// what it is. It is never an actor.
func destination(op *intercept.Operation) string {
	if op.Op == access.Publish {
		return toTopic
	}
	to := op.To()
	if service, ok := strings.CutSuffix(to, "@*"); ok {
		return service
	}
	if virtual, ok := strings.CutSuffix(to, "@~"); ok {
		kind, _, _ := strings.Cut(virtual, "/")
		return kind
	}
	return toActor
}
