package client

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/tandem-go/tandem/rpc"
)

// The text of an error has its verdict once, however many of its causes have the same verdict.
func TestVerdictIsSaidOnce(t *testing.T) {
	inner := rpc.Errorf(rpc.NotFound, rpc.NotRun, "no node b")
	wrapped := fmt.Errorf("resolving: %w", inner)
	for _, err := range []error{
		rpc.Errorf(rpc.Unavailable, rpc.NotRun, "no road: %w", inner),
		rpc.Errorf(rpc.Unavailable, rpc.NotRun, "no road: %w", wrapped),
		rpc.Errorf(rpc.Unavailable, rpc.NotRun, "no road: %w", rpc.Errorf(rpc.Unavailable, rpc.NotRun, "again: %w", wrapped)),
		rpc.Errorf(rpc.Unavailable, rpc.NotRun, "no road: %w", reasons{wrapped, inner, fmt.Errorf("two\nlines: %w", rpc.Errorf(rpc.OutcomeUnknown, rpc.Unknown, "gone"))}),
	} {
		oneVerdict(t, err)
		if !errors.Is(err, rpc.NotFound) {
			t.Errorf("%v does not know its cause", err)
		}
	}
	err := rpc.Errorf(rpc.Failed, rpc.HasRun, "the handler failed: %w", inner)
	if text := err.Error(); !strings.Contains(text, "[not run]") || !strings.HasSuffix(text, "["+rpc.HasRun.String()+"]") {
		t.Errorf("the cause's own verdict is lost: %q", text)
	}
}

// oneVerdict fails the test unless err is one line that ends with its only verdict.
func oneVerdict(t *testing.T, err error) {
	t.Helper()
	if text := err.Error(); strings.Contains(text, "\n") || strings.Count(text, "[") != 1 || !strings.HasSuffix(text, "[not run]") {
		t.Errorf("not one line with one verdict at its end: %q", text)
	}
}
