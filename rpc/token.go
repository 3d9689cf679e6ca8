package rpc

import (
	"context"
	"fmt"

	"github.com/tandem-go/tandem/internal/jobtoken"
)

// Token is an unguessable handle to the result of a job: a request that was accepted and
// whose result is fetched later, perhaps by another process. It is a small value that may
// be copied and sent as text. Everybody who has the text, and is the same principal, can use it
// like the token. Its methods may be called concurrently.
type Token[R any] jobtoken.Token[JobStatus]

// redeemer returns who finds out about the job. An error says that there is no job.
func (t Token[R]) redeemer() (jobtoken.Redeemer[JobStatus], error) {
	by := jobtoken.Token[JobStatus](t).Redeemer()
	if by == nil {
		return nil, errNoToken
	}
	return by, nil
}

// String is the token as text, to be kept and redeemed elsewhere. Everybody who has it can
// fetch the result, if it is the same principal: treat it as a secret.
func (t Token[R]) String() string { return jobtoken.Token[JobStatus](t).Text() }

// MarshalText is String.
func (t Token[R]) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Poll returns the status of the job at once.
func (t Token[R]) Poll(ctx context.Context) (JobStatus, error) {
	by, err := t.redeemer()
	if err != nil {
		return JobStatus{}, err
	}
	return by.PollJob(ctx, t.String())
}

// Await waits until the job is over and returns its result. The server says when it is
// over; nobody polls. Await goes on through changes of road and reconnects until
// ctx ends, which ends the waiting and not the job. Any number of callers may wait. An
// error is what the job ended with, or says why nobody can tell.
func (t Token[R]) Await(ctx context.Context) (R, error) {
	var r R
	by, err := t.redeemer()
	if err == nil {
		err = by.AwaitJob(ctx, t.String(), &r)
	}
	return r, err
}

// Cancel has the job end early: a job that waits never runs, and the context of one that
// runs ends. To cancel a job that is over does nothing. The status is that after the
// cancel.
func (t Token[R]) Cancel(ctx context.Context) (JobStatus, error) {
	by, err := t.redeemer()
	if err != nil {
		return JobStatus{}, err
	}
	return by.CancelJob(ctx, t.String())
}

var errNoToken = Errorf(Invalid, NotRun, "the token is of no job")

// JobState is where a job is in its life.
type JobState uint8

// The states. Their numbers are part of the wire format and of what stores keep, and never
// change.
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

// Over reports whether the job is over: its state does not change any more, except to
// JobExpired.
func (s JobState) Over() bool { return s >= JobDone }

// JobStatus is where a job is in its life, as Poll returns it.
type JobStatus struct {
	State       JobState
	Done, Total int64 // how far a running job is, if it says so; see actor.Context.Progress
	Err         error // why a job failed or was cancelled; if it is unknown, OutcomeUnknown with what is known of it
}
