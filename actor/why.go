package actor

import (
	"context"
	"encoding/hex"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/rpc"
)

// Requests returns the requests of this node, sent and served, that are remembered and that the filter lets
// through, those first that the node took notice of last. It remembers Config.RecentRequests of them: all
// that are unusual or have a key, a job or a recorded trace, and of the others one in 64, or all if they are few.
// Requests within the node are among them only if they took a road, for example because they have a key.
func (s *System) Requests(f inspect.RequestFilter) iter.Seq[inspect.Request] {
	return func(yield func(inspect.Request) bool) {
		for before := uint64(0); ; {
			page, last, more := s.requestPage(f, before, pageSize, nil)
			for _, r := range page {
				if !yield(r) {
					return
				}
			}
			if before = last; !more {
				return
			}
		}
	}
}

// RequestsOf is Requests for any node. It asks the node for a page of them at a time, each under the deadline
// of ctx, or for Config.Timeout. The node leaves out the requests to actors that its access list does not let this
// one see (access.Inspect). An error is the last thing that is returned.
func (s *System) RequestsOf(ctx context.Context, node string, f inspect.RequestFilter) iter.Seq2[inspect.Request, error] {
	return func(yield func(inspect.Request, error) bool) {
		if node == s.cfg.Name {
			s.Requests(f)(func(r inspect.Request) bool { return yield(r, nil) })
			return
		}
		for before := uint64(0); ; {
			reply, err := Call(ctx, s.Ref(nodeServerName+"@"+node), listRequests{Filter: f, Before: before})
			if err != nil {
				yield(inspect.Request{}, err)
				return
			}
			for _, r := range reply.Requests {
				if !yield(r, nil) {
					return
				}
			}
			if before = reply.Last; !reply.More {
				return
			}
		}
	}
}

// Why returns what this node knows of what became of a request, in the order of its steps. id is an
// rpc.RequestID as text (an *rpc.Error and Context.RequestID have it), an rpc.Key, the text of a job's token, or a
// trace id of 32 hexadecimal digits; there can be several requests with a key or in a trace. It also
// says what the node's records have of a key, a token, or a durable request. There are inspect.MaxSteps steps at
// most, the latest ones. If nothing is known here, there are no steps and no error.
func (s *System) Why(ctx context.Context, id string) ([]inspect.Step, error) {
	q, _, err := s.question(id)
	if err != nil {
		return nil, err
	}
	return s.why(q, nil), nil
}

// WhyOf is Why for any node. The node leaves out the requests to actors that its access list does not let
// this one see (access.Inspect). A token itself is not sent, only what stands for it.
func (s *System) WhyOf(ctx context.Context, node, id string) ([]inspect.Step, error) {
	q, _, err := s.question(id)
	if err != nil {
		return nil, err
	}
	return s.askWhy(ctx, node, q)
}

// askWhy asks a node, which may be this one.
func (s *System) askWhy(ctx context.Context, node string, q whyAsked) ([]inspect.Step, error) {
	if node == s.cfg.Name {
		return s.why(q, nil), nil
	}
	reply, err := Call(ctx, s.Ref(nodeServerName+"@"+node), q)
	return reply.Steps, err
}

// question is what is asked about id. node is the one that a token names.
func (s *System) question(id string) (q whyAsked, node string, err error) {
	if id == "" || len(id) > maxWhy {
		return q, "", rpc.Errorf(rpc.Invalid, rpc.NotRun, "an id of %d bytes: want 1 to %d", len(id), maxWhy)
	}
	if node, job, err := splitToken(id); err == nil {
		q.Job = trail.Sum(job)
		return q, node, nil
	}
	if _, err := rpc.ParseRequestID(id); err == nil {
		q.Request = id
		return q, "", nil
	}
	q.Key = id
	if trace, err := hex.DecodeString(traceIn(id)); err == nil && len(trace) == 16 {
		q.Trace = traceIn(id)
	}
	return q, "", nil
}

// maxWhy is how long an id may be.
const maxWhy = 1 << 10

// traceIn returns the trace id in a traceparent, or text itself.
func traceIn(text string) string {
	if parts := strings.Split(text, "-"); len(parts) == 4 {
		return parts[1]
	}
	return text
}

// query is the question as the trail understands it.
func (q whyAsked) query() (t trail.Query) {
	t.ID, _ = rpc.ParseRequestID(q.Request)
	t.Key, t.Job = q.Key, q.Job
	if trace, err := hex.DecodeString(q.Trace); err == nil && len(trace) == len(t.Trace) {
		t.Trace = [16]byte(trace)
	}
	return t
}

// why returns what this node knows. seen, if not nil, says whether a request may be seen.
func (s *System) why(q whyAsked, seen func(*trail.Record) bool) (steps []inspect.Step) {
	records := s.trail.Find(q.query(), inspect.MaxSteps)
	slices.Reverse(records)
	for i := range records {
		if r := &records[i]; seen == nil || seen(r) {
			steps = append(steps, s.stepsOf(r)...)
		}
	}
	steps = append(inspect.Merge(steps), s.stands(q, records, seen)...)
	return steps[max(len(steps)-inspect.MaxSteps, 0):]
}

// stepsOf returns the steps of a request.
func (s *System) stepsOf(r *trail.Record) (steps []inspect.Step) {
	for i := range r.Len() {
		at := r.At(i)
		v := inspect.Step{Time: s.at(at.At), About: at.About, Node: s.cfg.Name, Side: sides[r.Side], What: whats[at.What], Request: r.ID.String(), Peer: r.Peer, Principal: r.Principal,
			Target: r.Target, Type: s.types.nameOf(r.TypeID), Key: r.Key.String(), Trace: traceText(r.Trace), Job: jobText(r.Job), Road: at.Road, Other: at.Other.String()}
		if at.Code != 0 {
			v.Code, v.Ran = at.Code.String(), at.Verdict.String()
		}
		if i == trail.FirstSteps {
			v.Left = r.Dropped
		}
		steps = append(steps, v)
	}
	return steps
}

// requestPage returns the first n requests with numbers below before that the filter lets through, the number of the last one
// that was looked at, and whether there are more. seen, if not nil, says whether one may be seen.
func (s *System) requestPage(f inspect.RequestFilter, before uint64, n int, seen func(*trail.Record) bool) (page []inspect.Request, last uint64, more bool) {
	for last = before; ; {
		records := s.trail.Page(last, trailPage, func(*trail.Record) bool { return true })
		for i := range records {
			r := &records[i]
			last = r.Number
			if v := s.requestOf(r); f.Match(v) && (seen == nil || seen(r)) {
				if page = append(page, v); len(page) == n {
					return page, last, true
				}
			}
		}
		if len(records) < trailPage {
			return page, last, false
		}
	}
}

// trailPage is how many requests are copied from the trail at a time.
const trailPage = 256

// requestOf describes a request.
func (s *System) requestOf(r *trail.Record) inspect.Request {
	v := inspect.Request{ID: r.ID.String(), Node: s.cfg.Name, Side: sides[r.Side], Peer: r.Peer, Principal: r.Principal, Target: r.Target, Type: s.types.nameOf(r.TypeID),
		Key: r.Key.String(), Trace: traceText(r.Trace), Job: jobText(r.Job), Unusual: r.Class == trail.Unusual, Steps: r.Len() + r.Dropped, Number: r.Number}
	for i := range r.Len() {
		at := r.At(i)
		if i == 0 {
			v.First = s.at(at.At)
		}
		v.Last, v.What = s.at(at.At), whats[at.What]
		if at.Code != 0 {
			v.Code, v.Ran = at.Code.String(), at.Verdict.String()
		}
	}
	return v
}

// at is the wall clock when the node's clock showed d.
func (s *System) at(d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return s.node.At(d).Round(0)
}

func traceText(id [16]byte) string {
	if id == [16]byte{} {
		return ""
	}
	return hex.EncodeToString(id[:])
}

func jobText(job uint64) string {
	if job == 0 {
		return ""
	}
	return fmt.Sprintf("%016x", job)
}

// whyAsked asks a node what it knows of a request. Job stands for the id of a job.
type whyAsked struct {
	Returns[whyAnswer]
	Request, Key, Trace string
	Job                 uint64
}

type whyAnswer struct{ Steps []inspect.Step }

// listRequests asks a node for its requests before one of them.
type listRequests struct {
	Returns[requestPage]
	Filter inspect.RequestFilter
	Before uint64
}

// requestPage is the answer. Last is where the next page begins.
type requestPage struct {
	Requests []inspect.Request
	Last     uint64
	More     bool
}

func (whyAsked) WireName() string                { return "tandem.node.why" }
func (whyAnswer) WireName() string               { return "tandem.node.because" }
func (listRequests) WireName() string            { return "tandem.node.requests" }
func (requestPage) WireName() string             { return "tandem.node.requestpage" }
func (whyAsked) neededOp() (access.Op, bool)     { return access.Inspect, true }
func (listRequests) neededOp() (access.Op, bool) { return access.Inspect, true }

func (nodeServer) why(ctx *Context, m whyAsked) (whyAnswer, error) {
	return whyAnswer{ctx.System().why(m, ctx.mayTrace(reflect.TypeFor[whyAsked]()))}, nil
}

func (nodeServer) requests(ctx *Context, m listRequests) (requestPage, error) {
	page, last, more := ctx.System().requestPage(m.Filter, m.Before, pageSize, ctx.mayTrace(reflect.TypeFor[listRequests]()))
	return requestPage{page, last, more}, nil
}

// mayTrace says which requests the caller may learn of: those to actors that it may inspect.
func (c *Context) mayTrace(typ reflect.Type) func(*trail.Record) bool {
	in, remote := c.request().(*server.Inbound)
	if !remote {
		return nil
	}
	s := c.System()
	a, typeID := in.Arrival(), s.types.get(typ).id
	return func(r *trail.Record) bool {
		a.Target, a.TypeID = r.Target, typeID
		m := matter{name: r.Target, typeID: typeID, op: access.Inspect}
		if r.Side != trail.Client {
			m.cell = s.refs.live(r.Target)
		}
		return s.judge(a, m) == nil
	}
}

// The words of package inspect for those of package trail.
var (
	sides = [...]inspect.Side{trail.Client: inspect.Client, trail.Server: inspect.Server, trail.Job: inspect.OfJob}
	whats = [...]inspect.What{trail.Asked: inspect.Asked, trail.Sent: inspect.Sent, trail.Resent: inspect.Resent, trail.Hedged: inspect.Hedged, trail.Probed: inspect.Probed,
		trail.Heard: inspect.Heard, trail.LinkLost: inspect.LinkLost, trail.SessionGone: inspect.SessionGone, trail.Inquired: inspect.Inquired, trail.Answered: inspect.Answered, trail.Replayed: inspect.GotRecorded,
		trail.GaveUp: inspect.GaveUp, trail.RetriedAs: inspect.RetriedAs, trail.RetryOf: inspect.RetryOf, trail.Ended: inspect.Ended,
		trail.Received: inspect.Received, trail.Copied: inspect.Copied, trail.Questioned: inspect.Questioned, trail.Refused: inspect.Refused, trail.WaitsFor: inspect.WaitsFor, trail.Started: inspect.Started, trail.PutBack: inspect.PutBack,
		trail.Canceled: inspect.Canceled, trail.Decided: inspect.Decided, trail.Earlier: inspect.Recorded, trail.Replied: inspect.Replied, trail.Again: inspect.Replayed, trail.Acked: inspect.Acked,
		trail.Recalled: inspect.Recalled, trail.Unanswered: inspect.Unanswered,
		trail.Accepted: inspect.Accepted, trail.Running: inspect.Running, trail.Over: inspect.Over, trail.Fetched: inspect.Fetched, trail.Stopped: inspect.Stopped}
)
