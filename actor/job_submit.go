package actor

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/tandem-go/tandem/internal/jobtoken"
	"github.com/tandem-go/tandem/internal/promise"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// Submit sends a message whose reply is fetched later. It returns once the actor's node
// has accepted the message as a job. The token names the job until its result expires, which is
// Config.TokenLife after the job has ended. The handler is an ordinary one, made by Answer;
// it can report its progress with Context.Progress.
//
// ctx and the options apply to the submission, not to the job: a job has no
// deadline, and can be ended by Token.Cancel. A submission that is retried gets the same
// token. So does one that is repeated under an rpc.Key, for a Durable kind even after a
// restart of the node. A principal may have Config.Tokens tokens at a node. Beyond that a
// submission is refused as rpc.Overloaded, and did not run; the same happens if there is no
// room for its result beside those that are kept for the principal, which may take a quarter
// of Config.ResultBytes. An accepted job waits for room before it starts. A job that has run
// keeps its result.
//
// From the handler of a stored actor a job is submitted when the effect of the handler is written, to an actor of one
// node; see Stored. Until it is accepted its token names a job that the node does not know.
func Submit[M Question[R], R any](ctx context.Context, to Ref, m M, opts ...rpc.Option) (rpc.Token[R], error) {
	return submitWith[M, R](ctx, to, m, opts)
}

// submitWith is Submit of a message of any type.
func submitWith[M, R any](ctx context.Context, to Ref, m M, opts []rpc.Option) (rpc.Token[R], error) {
	var none rpc.Token[R]
	from := handling(ctx)
	dest, err := targetOf(to, from)
	if err != nil {
		return none, err
	}
	if fns := dest.sys.intercepts(ctx, from, dest); fns != nil {
		return submitThrough[M, R](ctx, fns, dest, to, m, opts)
	}
	if dest.addr.routed() && from.transaction(ctx) == nil {
		return submitService[M, R](ctx, from, dest, m, opts)
	}
	return submitAt[M, R](ctx, dest, m, opts)
}

// submitAt is Submit to one actor.
func submitAt[M, R any](ctx context.Context, t *target, m M, opts []rpc.Option) (rpc.Token[R], error) {
	var none rpc.Token[R]
	s, set := t.sys, settingsOf(opts)
	if own := handling(ctx).transaction(ctx); own != nil {
		return submitLater[M, R](ctx, own, t, m, set)
	}
	job, err := s.jobOf(t, m, reflect.TypeFor[M](), set)
	if err != nil {
		return none, err
	}
	if err := s.types.get(reflect.TypeFor[R]()).err; err != nil {
		return none, err
	}
	jobs, err := s.jobServer(t.addr.node)
	if err != nil {
		return none, err
	}
	if set.IsKeyed() && isKey(set.Key) { // a key that is not valid is refused by Call
		opts = append(slices.Clip(opts), rpc.Key(jobServerKey(t.addr.name, set.Key)))
	}
	id, err := Call(ctx, jobs, job, opts...)
	err = s.withName(err, job.TypeID)
	if err != nil && (rpc.Ran(err) != rpc.NotRun || rpc.CodeOf(err) == rpc.IDReused) { // the verdict is about the question: the job may have been accepted, or run under the same key
		err = verdictUnknown(err)
	}
	if err != nil {
		return none, err
	}
	return token[R](s, t.addr.node+tokenSep+id, set), nil
}

// submitLater is Submit from the handler of a stored actor.
func submitLater[M, R any](ctx context.Context, own *transaction, t *target, m M, set *settings) (rpc.Token[R], error) {
	var none rpc.Token[R]
	if err := t.sys.types.get(reflect.TypeFor[R]()).err; err != nil {
		return none, err
	}
	id, err := own.submit(ctx, handling(ctx), t, m, reflect.TypeFor[M](), set)
	if err != nil {
		return none, err
	}
	return token[R](t.sys, t.addr.node+tokenSep+id, nil), nil
}

// token makes the token of a job from its text. Its questions are sent on behalf of the principal that opts name.
func token[R any](s *System, text string, opts *settings) rpc.Token[R] {
	r := redeemer{s: s}
	if opts != nil {
		r.behalf = opts.Behalf
	}
	_, r.road = any((*R)(nil)).(*Encoded)
	return rpc.Token[R](jobtoken.New[rpc.JobStatus](text, r))
}

// jobServerKey is the key at the job server for a key at one of the node's actors.
func jobServerKey(target, key string) string {
	return jobID([16]byte(hashOf(fmt.Appendf(nil, "%d %s%s", len(target), target, key)))) // with the length no two pairs have the same text
}

// Redeem makes a token of its text, which may come from another process or node, for
// a result of type R. The error says that the text is not that of a token. Whether the job
// exists is found out by the token's methods. Of the options rpc.OnBehalfOf counts: a gateway asks for the principal
// to whom the job belongs.
func Redeem[R any](sys *System, text string, opts ...rpc.Option) (rpc.Token[R], error) {
	if _, _, err := splitToken(text); err != nil {
		return rpc.Token[R]{}, err
	}
	return token[R](sys, text, settingsOf(opts)), nil
}

var _ encoding.TextMarshaler = rpc.Token[int]{}

// tokenSep separates the node from the id in a token's text.
const tokenSep = ":"

func splitToken(text string) (node, id string, err error) {
	node, id, ok := strings.Cut(text, tokenSep)
	if !ok || !isJobID(id) || transport.ValidName("node", node) != nil {
		return "", "", rpc.Errorf(rpc.Invalid, rpc.NotRun, "this is no token")
	}
	return node, id, nil
}

// jobOf is the message that submits m to t.
func (s *System) jobOf(t *target, m any, typ reflect.Type, opts *settings) (submitJob, error) {
	if t.addr.node != s.cfg.Name || opts.ByRoad() || s.cfg.CopyLocal {
		return s.encodedJob(t, m, typ, opts)
	}
	typ, refusal := dynamic(m, typ)
	if refusal != nil {
		return submitJob{}, refusal
	}
	return submitJob{Target: t.addr.name, TypeID: s.types.get(typ).id, msg: m}, nil // the message stays on this node
}

// encodedJob is jobOf for a message that leaves this node, or is kept.
func (s *System) encodedJob(t *target, m any, typ reflect.Type, opts *settings) (job submitJob, _ error) {
	typ, refusal := dynamic(m, typ)
	if refusal != nil {
		return job, refusal
	}
	mt := s.types.get(typ)
	if mt.wraps {
		mt = m.(*wrapped).messageType()
	}
	if mt.err != nil {
		return job, mt.err
	}
	c := s.codecFor(t.addr.name, opts)
	body, refusal := encodeMessage(c, nil, m, mt)
	if refusal != nil {
		return job, refusal
	}
	return submitJob{Target: t.addr.name, TypeID: mt.id, Codec: c.ID(), Body: body}, nil
}

// jobServer returns the job server of a node.
func (s *System) jobServer(node string) (Ref, error) {
	if node == s.cfg.Name {
		return s.spawnHidden(jobServerName, jobServerKind)
	}
	return s.Ref(jobServerName + "@" + node), nil
}

// redeemer is the system as a jobtoken.Redeemer.
type redeemer struct {
	s      *System
	behalf string // the principal that asks; empty: the node itself
	road   bool   // questions take a road also within the node, so that results are encoded
}

// PollJob implements jobtoken.Redeemer.
func (r redeemer) PollJob(ctx context.Context, token string) (rpc.JobStatus, error) {
	node, id, err := splitToken(token)
	if err != nil {
		return rpc.JobStatus{}, err
	}
	jobs, err := r.s.jobServer(node)
	if err != nil {
		return rpc.JobStatus{}, err
	}
	report, err := Call(ctx, jobs, pollJob{ID: id}, rpc.Idempotent(), rpc.OnBehalfOf(r.behalf), byRoad(r.road))
	return report.status(node), err
}

// CancelJob implements jobtoken.Redeemer.
func (r redeemer) CancelJob(ctx context.Context, token string) (rpc.JobStatus, error) {
	node, id, err := splitToken(token)
	if err != nil {
		return rpc.JobStatus{}, err
	}
	jobs, err := r.s.jobServer(node)
	if err != nil {
		return rpc.JobStatus{}, err
	}
	report, err := Call(ctx, jobs, cancelJob{ID: id}, rpc.Idempotent(), rpc.OnBehalfOf(r.behalf), byRoad(r.road))
	return report.status(node), err
}

// Await asks with one question after another. Each is answered when the job has ended, or after
// awaitTurn with the job's state, so that neither side has a question open for ever.
const (
	awaitTurn  = 20 * time.Second
	shortTurn  = time.Second      // the turn if many questions are open
	awaitSlack = 10 * time.Second // how much longer than its turn a question may take
	firstPause = 100 * time.Millisecond
	lastPause  = 2 * time.Second // the pause after a question without an answer; it doubles up to this
	maxAsking  = 1024            // questions that may be open at other nodes; the rest of the window is for other requests
	awaitTries = 4               // how often in a row to ask again when the reply with the result was lost
)

// AwaitJob implements jobtoken.Redeemer.
func (r redeemer) AwaitJob(ctx context.Context, token string, result any) error {
	node, id, err := splitToken(token)
	if err != nil {
		return err
	}
	if node == r.s.cfg.Name && r.s.jobs.isOwn(ctx, id) {
		return rpc.Errorf(rpc.Invalid, rpc.Unknown, "the actor awaits a job of its own in its turn, and would wait for ever")
	}
	there, dropped, pause := false, 0, firstPause
	for {
		report, err := r.ask(ctx, node, id)
		there = there || rpc.CodeOf(err) != rpc.NotFound
		switch {
		case err == nil && report.State.Over():
			return r.s.result(report, node, result)
		case err == nil && report.State == rpc.JobUnknown:
			return report.status(node).Err
		case err == nil: // the job has not ended yet
			dropped, pause = 0, firstPause
		case ctx.Err() != nil:
			return rpc.FromContext(ctx, rpc.Unknown)
		case r.s.ctx.Err() != nil:
			return verdictUnknown(errShutdown)
		case rpc.CodeOf(err) == rpc.ReplyDropped && dropped < awaitTries: // the large reply was not kept for copies, but the result is still there
			dropped++
		case temporary(err) || there && rpc.CodeOf(err) == rpc.NotFound: // the node may be restarting
			select {
			case <-time.After(pause/2 + rand.N(pause/2)):
				pause = min(2*pause, lastPause)
			case <-ctx.Done():
				return rpc.FromContext(ctx, rpc.Unknown)
			case <-r.s.ctx.Done():
			}
		case rpc.CodeOf(err) == rpc.ReplyDropped:
			return err // only a result can be that large, so the job has run
		default:
			return verdictUnknown(err)
		}
	}
}

// ask sends one question, and waits for its answer.
func (r redeemer) ask(ctx context.Context, node, id string) (jobReport, error) {
	jobs, err := r.s.jobServer(node)
	if err != nil {
		return jobReport{}, err
	}
	q := awaitJob{ID: id, Turn: awaitTurn}
	if node != r.s.cfg.Name {
		select {
		case r.s.jobs.asking <- struct{}{}:
			defer func() { <-r.s.jobs.asking }()
		case <-ctx.Done():
			return jobReport{}, rpc.FromContext(ctx, rpc.Unknown)
		case <-r.s.ctx.Done():
			return jobReport{}, errShutdown
		}
		if len(r.s.jobs.asking) > maxAsking/2 {
			q.Turn = shortTurn
		}
	}
	turn, cancel := context.WithTimeout(ctx, q.Turn+awaitSlack)
	defer cancel()
	return Call(turn, jobs, q, rpc.WithRetry(rpc.Retry{Attempts: 1}), rpc.OnBehalfOf(r.behalf), byRoad(r.road)) // AwaitJob retries
}

// temporary reports whether asking again may help.
func temporary(err error) bool {
	switch rpc.CodeOf(err) {
	case rpc.Unavailable, rpc.Overloaded, rpc.SessionLost, rpc.OutcomeUnknown, rpc.Expired, rpc.Stale:
		return true
	}
	return false
}

// verdictUnknown is err without its verdict, which is about a question and says nothing about
// the job.
func verdictUnknown(err error) error {
	var e *rpc.Error
	if !errors.As(err, &e) || e.Verdict == rpc.Unknown {
		return err
	}
	worse := *e
	worse.Verdict = rpc.Unknown
	return &worse
}

// result returns the result of a job that has ended, in into, or the job's error.
func (s *System) result(report jobReport, node string, into any) error {
	if report.State != rpc.JobDone {
		return report.status(node).Err
	}
	if report.typ != nil {
		want := reflect.ValueOf(into).Elem()
		if report.typ != want.Type() {
			return rpc.Errorf(rpc.WrongReply, rpc.HasRun, "the job's result is a %v, not a %v", report.typ, want.Type())
		}
		if report.value != nil { // otherwise it is a nil interface
			want.Set(reflect.ValueOf(report.value))
		}
		return nil
	}
	want := s.types.get(reflect.TypeOf(into).Elem())
	return s.decodeReply(&promise.Reply{TypeID: report.TypeID, Codec: report.Codec, Node: node, Body: report.Body}, want, into)
}
