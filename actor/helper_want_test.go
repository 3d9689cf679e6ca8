package actor_test

// Checks of errors.

import (
	"errors"
	"strings"
	"testing"

	"github.com/tandem-go/tandem/rpc"
)

// wantText checks that an error contains a text.
func wantText(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("%v; want an error about %s", err, text)
	}
}

// wantErr checks the code and the verdict of an error.
func wantErr(t testing.TB, what string, err error, code rpc.Code, ran rpc.Verdict) {
	t.Helper()
	if rpc.CodeOf(err) != code || rpc.Ran(err) != ran {
		t.Errorf("%s: %v, ran: %v; want %v, %v", what, err, rpc.Ran(err), code, ran)
	}
}

// isOverloaded reports whether one of the causes of err is Overloaded.
func isOverloaded(err error) bool { return errors.Is(err, rpc.Overloaded) }

// second is the error of a function that returns something else, too.
func second[T any](_ T, err error) error { return err }
