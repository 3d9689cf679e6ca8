package gateway

import (
	"context"
	"encoding/json"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// Job is a job as clients of all gateways get it.
type Job struct {
	Token  string          `json:"token,omitempty"` // of one that was just submitted
	State  string          `json:"state"`           // as rpc.JobState's String says
	Done   int64           `json:"done,omitempty"`
	Total  int64           `json:"total,omitempty"`
	Result json.RawMessage `json:"result,omitempty"` // of one that is done
	Error  *Problem        `json:"error,omitempty"`  // why it failed or was cancelled

	Ran rpc.Verdict `json:"-"` // whether its handler ran
}

// Submit sends the request as a job.
func (c Call) Submit(ctx context.Context, r Request) (Job, error) {
	if c.Message.Reply == nil || c.Message.Items != nil {
		return Job{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%s has no reply that could be fetched later", c.Name)
	}
	if r.Key != "" && (c.of.any || c.of.many) {
		return Job{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "a job of %s cannot have a key", c.Target)
	}
	m, opts := c.message(&r)
	if r.Key != "" {
		opts = append(opts, rpc.Key(r.Key))
	}
	token, err := m.Submit(ctx, c.to, opts...)
	if err != nil {
		return Job{}, err
	}
	return Job{Token: token.String(), State: rpc.JobAccepted.String()}, nil
}

// Redeem finds out about the job of that token, and waits for at most that long for its end. An error says that there is no
// such job, that it is another principal's, or that nobody can tell.
func (t *Table) Redeem(ctx context.Context, principal, token string, wait time.Duration) (Job, error) {
	tok, err := t.token(principal, token)
	if err != nil {
		return Job{}, err
	}
	if wait > 0 {
		turn, cancel := context.WithTimeout(ctx, wait)
		_, _ = tok.Await(turn)
		cancel()
	}
	s, err := tok.Poll(ctx)
	if err != nil {
		return Job{}, err
	}
	j, err := jobOf(s)
	if err != nil || s.State != rpc.JobDone {
		return j, err
	}
	r, err := tok.Await(ctx)
	j.Result = r.Body
	return j, err
}

// Cancel has the job of that token end early, and returns what it is then.
func (t *Table) Cancel(ctx context.Context, principal, token string) (Job, error) {
	tok, err := t.token(principal, token)
	if err != nil {
		return Job{}, err
	}
	s, err := tok.Cancel(ctx)
	if err != nil {
		return Job{}, err
	}
	return jobOf(s)
}

func (t *Table) token(principal, token string) (rpc.Token[actor.Encoded], error) {
	if principal == "" {
		principal = Anonymous
	}
	return actor.Redeem[actor.Encoded](t.sys, token, rpc.OnBehalfOf(principal))
}

// jobOf is a job of that status.
func jobOf(s rpc.JobStatus) (Job, error) {
	if s.State == rpc.JobUnknown {
		return Job{}, rpc.Errorf(rpc.NotFound, rpc.Unknown, "there is no such job, or it was running when its node was lost")
	}
	j := Job{State: s.State.String(), Done: s.Done, Total: s.Total}
	if s.Err != nil {
		p := ProblemOf(s.Err)
		j.Error = &p
	}
	switch {
	case s.State == rpc.JobDone:
		j.Ran = rpc.HasRun
	case s.Err != nil:
		j.Ran = rpc.Ran(s.Err)
	}
	return j, nil
}
