package rpc

import (
	"context"
	"fmt"
)

// Token is an unguessable handle to the result of a job: a request that was accepted and
// whose result is fetched later, perhaps by another process. It is a small value that
// may be copied, and sent as text; the text is as good as the token, for whoever is the
// same principal. Its methods may be called concurrently.
type Token[R any] struct {
	text string
	by   Redeemer
}

// Redeemer finds out about jobs. A system is one.
type Redeemer interface {
	// PollJob returns where a job is in its life.
	PollJob(ctx context.Context, token string) (JobStatus, error)
	// AwaitJob waits until a job is over and decodes its result.
	AwaitJob(ctx context.Context, token string, result any) error
	// CancelJob has a job end early, and returns where it is then.
	CancelJob(ctx context.Context, token string) (JobStatus, error)
}

// NewToken returns the token of that text.
func NewToken[R any](text string, by Redeemer) Token[R] { return Token[R]{text, by} }

// String is the token as text, to be kept and redeemed elsewhere. Whoever has it can
// fetch the result, if it is the same principal: treat it as a secret.
func (t Token[R]) String() string { return t.text }

// MarshalText is String.
func (t Token[R]) MarshalText() ([]byte, error) { return []byte(t.text), nil }

// Poll returns where the job is in its life, at once.
func (t Token[R]) Poll(ctx context.Context) (JobStatus, error) {
	if t.by == nil {
		return JobStatus{}, errNoToken
	}
	return t.by.PollJob(ctx, t.text)
}

// Await waits until the job is over and returns its result: the server says when, nobody
// polls. It goes on through changes of road and reconnects until ctx ends, which ends
// the waiting and not the job. Any number of callers may wait. An error is what the job
// ended with, or says why nobody can tell.
func (t Token[R]) Await(ctx context.Context) (R, error) {
	var r R
	if t.by == nil {
		return r, errNoToken
	}
	err := t.by.AwaitJob(ctx, t.text, &r)
	return r, err
}

// Cancel has the job end early: one that waits never runs, the context of one that runs
// ends. Cancelling a job that is over does nothing. The status is that after the cancel.
func (t Token[R]) Cancel(ctx context.Context) (JobStatus, error) {
	if t.by == nil {
		return JobStatus{}, errNoToken
	}
	return t.by.CancelJob(ctx, t.text)
}

var errNoToken = Errorf(Invalid, NotRun, "the token is of no job")

// JobState is where a job is in its life.
type JobState uint8

// The states. Numbers are wire and storage format and never change.
const (
	JobUnknown   JobState = 0 // the node knows no such job, or it was running when the node was lost: see JobStatus.Err
	JobAccepted  JobState = 1 // it waits for its turn
	JobRunning   JobState = 2
	JobDone      JobState = 3 // its result can be fetched
	JobFailed    JobState = 4 // its handler failed, or it was refused
	JobCancelled JobState = 5
	JobExpired   JobState = 6 // it was over so long ago that its result is gone
)

// String returns the state's name in lower case.
func (s JobState) String() string {
	names := [...]string{"unknown", "accepted", "running", "done", "failed", "cancelled", "expired"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Over reports whether the state is a last one.
func (s JobState) Over() bool { return s >= JobDone }

// JobStatus is what Poll finds out.
type JobStatus struct {
	State       JobState
	Done, Total int64 // of a running job, as far as it says; see actor.Context.Progress
	Err         error // of a failed or cancelled one, and of one that is unknown: OutcomeUnknown, with what is known of it
}
