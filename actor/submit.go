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

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// Submit sends a message whose reply is fetched later, and returns once the actor's node
// has accepted it: the token names the job for good, until its result expires
// (Config.TokenLife after it is over). The handler is an ordinary one, made by Answer;
// it can say how far it is with Context.Progress.
//
// ctx, and the options, are those of the submission, not of the job: that has no
// deadline, and is ended by Token.Cancel. A submission that is retried gets the same
// token; so does one that is repeated under a rpc.Key, for a Durable kind also after the
// node was started anew. A principal may have Config.Tokens tokens at a node; one more is
// refused as rpc.Overloaded, and did not run. So is one for whose result there is no room
// beside those that are kept for the principal, a quarter of Config.ResultBytes; a job that
// was accepted waits for room before it starts. What has run keeps its result.
func Submit[M Question[R], R any](ctx context.Context, to Ref, m M, opts ...rpc.Option) (rpc.Token[R], error) {
	var none rpc.Token[R]
	from := handling(ctx)
	dest, err := targetOf(to, from)
	if err != nil {
		return none, err
	}
	if dest.addr.node == anyNode {
		return submitService[M, R](ctx, from, dest, m, opts)
	}
	return submitAt[M, R](ctx, dest, m, opts)
}

// submitAt is Submit to one actor.
func submitAt[M Question[R], R any](ctx context.Context, t *target, m M, opts []rpc.Option) (rpc.Token[R], error) {
	var none rpc.Token[R]
	s := t.sys
	job, err := s.jobOf(t, m, reflect.TypeFor[M](), opts)
	if err != nil {
		return none, err
	}
	if err := s.types.of(reflect.TypeFor[R]()).err; err != nil {
		return none, err
	}
	desk, err := s.jobDesk(t.addr.node)
	if err != nil {
		return none, err
	}
	if key := rpc.Apply(opts).Key; key != nil && *key != "" && len(*key) <= transport.MaxTarget { // else it is refused
		opts = append(slices.Clip(opts), rpc.Key(deskKey(t.addr.name, *key)))
	}
	id, err := Call(ctx, desk, job, opts...)
	err = s.withName(err, job.TypeID)
	if err != nil && (rpc.Ran(err) != rpc.NotRun || rpc.CodeOf(err) == rpc.IDReused) { // the key's job may run; or the desk ran, perhaps: that says nothing about the job
		err = unsure(err)
	}
	if err != nil {
		return none, err
	}
	return rpc.NewToken[R](t.addr.node+tokenSep+id, redeemer{s}), nil
}

// deskKey is an actor's key at the desk, which has those of all actors.
func deskKey(target, key string) string {
	return jobID([16]byte(hashOf(fmt.Appendf(nil, "%d %s%s", len(target), target, key)))) // the length: no two pairs are one text
}

// Redeem returns the token of that text, which may come from another process or node, for
// a result of type R. An error says that it is no token's text; whether there is such a
// job is found out by its methods.
func Redeem[R any](sys *System, text string) (rpc.Token[R], error) {
	if _, _, err := splitToken(text); err != nil {
		return rpc.Token[R]{}, err
	}
	return rpc.NewToken[R](text, redeemer{sys}), nil
}

var _ encoding.TextMarshaler = rpc.Token[int]{}

// tokenSep stands between the node and the id in a token's text.
const tokenSep = ":"

func splitToken(text string) (node, id string, err error) {
	node, id, ok := strings.Cut(text, tokenSep)
	if !ok || !isJobID(id) || transport.ValidName("node", node) != nil {
		return "", "", rpc.Errorf(rpc.Invalid, rpc.NotRun, "this is no token")
	}
	return node, id, nil
}

// jobOf is the message that submits m to t.
func (s *System) jobOf(t *target, m any, typ reflect.Type, opts []rpc.Option) (submitJob, error) {
	job := submitJob{Target: t.addr.name}
	if t.addr.node == s.cfg.Name && !keyed(opts) && !s.cfg.CopyLocal {
		job.msg = m
	}
	typ, refusal := dynamic(m, typ)
	if refusal != nil {
		return job, refusal
	}
	mt := s.types.of(typ)
	if job.TypeID = mt.id; job.msg != nil {
		return job, nil // which need not travel
	}
	if mt.err != nil {
		return job, mt.err
	}
	c := s.codecFor(t.addr.name, rpc.Apply(opts).Codec)
	body, refusal := encodeMessage(c, nil, m, mt)
	if refusal != nil {
		return job, refusal
	}
	job.Codec, job.Body = c.ID(), body
	return job, nil
}

// jobDesk is the actor that takes jobs on a node.
func (s *System) jobDesk(node string) (Ref, error) {
	if node == s.cfg.Name {
		return s.spawnHidden(jobDeskName, jobDeskKind)
	}
	return s.Ref(jobDeskName + "@" + node), nil
}

// redeemer is the system as an rpc.Redeemer.
type redeemer struct{ s *System }

// PollJob implements rpc.Redeemer.
func (r redeemer) PollJob(ctx context.Context, token string) (rpc.JobStatus, error) {
	node, id, err := splitToken(token)
	if err != nil {
		return rpc.JobStatus{}, err
	}
	desk, err := r.s.jobDesk(node)
	if err != nil {
		return rpc.JobStatus{}, err
	}
	report, err := Call(ctx, desk, pollJob{ID: id}, rpc.Idempotent())
	return report.status(node), err
}

// CancelJob implements rpc.Redeemer.
func (r redeemer) CancelJob(ctx context.Context, token string) (rpc.JobStatus, error) {
	node, id, err := splitToken(token)
	if err != nil {
		return rpc.JobStatus{}, err
	}
	desk, err := r.s.jobDesk(node)
	if err != nil {
		return rpc.JobStatus{}, err
	}
	report, err := Call(ctx, desk, cancelJob{ID: id}, rpc.Idempotent())
	return report.status(node), err
}

// How an Await asks: a question is answered when the job is over, or after awaitTurn with
// what it is then, so that neither side holds one for ever.
const (
	awaitTurn  = 20 * time.Second
	shortTurn  = time.Second      // where many wait for theirs
	awaitSlack = 10 * time.Second // of a question beyond awaitTurn
	firstPause = 100 * time.Millisecond
	lastPause  = 2 * time.Second // between questions that got no answer, each twice the one before
	maxAsking  = 1024            // questions at once to other nodes, which leave room for other requests there
	awaitTries = 4               // to be sent a result whose reply is lost, in a row
)

// AwaitJob implements rpc.Redeemer.
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
		case err == nil: // it is not over yet
			dropped, pause = 0, firstPause
		case ctx.Err() != nil:
			return rpc.FromContext(ctx, rpc.Unknown)
		case r.s.ctx.Err() != nil:
			return unsure(errShutdown)
		case rpc.CodeOf(err) == rpc.ReplyDropped && dropped < awaitTries: // no copy of a large reply is kept, but the result is
			dropped++
		case passes(err) || there && rpc.CodeOf(err) == rpc.NotFound: // it is being started anew
			select {
			case <-time.After(pause/2 + rand.N(pause/2)):
				pause = min(2*pause, lastPause)
			case <-ctx.Done():
				return rpc.FromContext(ctx, rpc.Unknown)
			case <-r.s.ctx.Done():
			}
		case rpc.CodeOf(err) == rpc.ReplyDropped:
			return err // only a result is that large
		default:
			return unsure(err)
		}
	}
}

// ask asks once, and waits as long as a question lasts.
func (r redeemer) ask(ctx context.Context, node, id string) (jobReport, error) {
	desk, err := r.s.jobDesk(node)
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
	return Call(turn, desk, q, rpc.WithRetry(rpc.Retry{Attempts: 1})) // AwaitJob asks again
}

// passes reports whether asking again may help.
func passes(err error) bool {
	switch rpc.CodeOf(err) {
	case rpc.Unavailable, rpc.Overloaded, rpc.SessionLost, rpc.OutcomeUnknown, rpc.Expired, rpc.Stale:
		return true
	}
	return false
}

// unsure is err without its verdict: that a question about a job did not run says nothing
// about the job.
func unsure(err error) error {
	var e *rpc.Error
	if !errors.As(err, &e) || e.Verdict == rpc.Unknown {
		return err
	}
	worse := *e
	worse.Verdict = rpc.Unknown
	return &worse
}

// result decodes what a job that is over has left.
func (s *System) result(report jobReport, node string, into any) error {
	if report.State != rpc.JobDone {
		return report.status(node).Err
	}
	if report.typ != nil {
		want := reflect.ValueOf(into).Elem()
		if report.typ != want.Type() {
			return rpc.Errorf(rpc.WrongReply, rpc.HasRun, "the job's result is a %v, not a %v", report.typ, want.Type())
		}
		if report.value != nil { // else it is an interface of nothing
			want.Set(reflect.ValueOf(report.value))
		}
		return nil
	}
	want := s.types.of(reflect.TypeOf(into).Elem())
	return s.decodeReply(&rpc.Reply{TypeID: report.TypeID, Codec: report.Codec, Node: node, Body: report.Body}, want, into)
}
