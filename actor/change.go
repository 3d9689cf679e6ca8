package actor

import "github.com/tandem-go/tandem/rpc"

// What can be changed while a system runs: SetAccess (access.go), SetAdmission (admission.go) and SetRetry.
// Package settings changes it by what a bucket or a file says.

// SetRetry replaces the policy (Config.Retry) of requests that begin from now on and have none of their own, by
// an option or by their kind. Requests that are under way keep theirs. The budget of all retries is changed at once: what
// was spent of it stays spent. If r is invalid, the error says why, and the old policy stays in force.
func (s *System) SetRetry(r rpc.Retry) error {
	if err := r.Validate(); err != nil {
		return err
	}
	s.retry.Store(&r)
	s.node.SetRetry(r)
	return nil
}

// Retry returns the policy in force: that of the last SetRetry, or of Config.
func (s *System) Retry() rpc.Retry { return *s.retry.Load() }

// Raise makes an event of the system, for its subscribers (Events). It is for what belongs to a system and is no
// part of it, as package settings. It writes nothing into the log.
func (s *System) Raise(typ rpc.EventType, err error) { s.event(Event{Type: typ, Err: err}) }
