package jserror_test

import (
	"context"
	"errors"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/jserror"
)

// The table itself is held against a server by the tests of package ledger/jetstream.

// That a later attempt was not made says nothing of an earlier one that may have been.
func TestAttempts(t *testing.T) {
	full := &jetstream.APIError{ErrorCode: 10077, Description: "maximum messages exceeded"}
	other := &jetstream.APIError{ErrorCode: 10077, Description: "store is closed"}
	for name, c := range map[string]struct {
		errs []error
		want jserror.Proof
	}{
		"refused":                     {[]error{full}, jserror.NotDone},
		"refused twice":               {[]error{nats.ErrNoResponders, full}, jserror.NotDone},
		"timed out, and then refused": {[]error{context.DeadlineExceeded, full}, jserror.Unknown},
		"timed out, and then done":    {[]error{context.DeadlineExceeded, nil}, jserror.Done},
		"a failed store":              {[]error{other}, jserror.Unknown},
		"in process":                  {[]error{&jetstream.APIError{ErrorCode: 10158}}, jserror.Unknown},
		"no leader, says a server":    {[]error{&jetstream.APIError{ErrorCode: 10008}}, jserror.Unknown},
		"and then there is nothing":   {[]error{&jetstream.APIError{ErrorCode: 10008}, &jetstream.APIError{ErrorCode: 10043}}, jserror.Unknown},
		"a code of a later server":    {[]error{&jetstream.APIError{ErrorCode: 19999}}, jserror.Unknown},
		"any other error":             {[]error{errors.New("x")}, jserror.Unknown},
	} {
		var attempts jserror.Attempts
		var f jserror.Finding
		for _, err := range c.errs {
			f = attempts.Add(err)
		}
		if f.Proof != c.want {
			t.Errorf("%s: %v, want %v", name, f.Proof, c.want)
		}
	}
}
