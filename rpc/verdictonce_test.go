package rpc

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Ten seconds of attempts that fail are one PeerDown, and the return is one PeerUp.
func TestFailingDialsAreOneEvent(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a := r.start("a", "a1", twoRoads)
		r.start("b", "b1", twoRoads)
		r.net.Partition("", "b", "")
		for range 10 {
			_, err := a.ask("b", "x")
			wantErr(t, "nobody answers", err, Unavailable, NotRun)
			oneVerdict(t, err)
			time.Sleep(time.Second)
		}
		if down, up := a.saw(PeerDown), a.saw(PeerUp); down != 1 || up != 0 {
			t.Errorf("it was down %d times and up %d times", down, up)
		}
		r.net.Heal("", "b", "")
		time.Sleep(10 * time.Second)
		a.echoes("b", "x")
		if down, up := a.saw(PeerDown), a.saw(PeerUp); down != 1 || up != 1 {
			t.Errorf("after its return it was down %d times and up %d times", down, up)
		}
	})
}

// A verdict is said once, however deep the causes are that have the same.
func TestVerdictIsSaidOnce(t *testing.T) {
	inner := Errorf(NotFound, NotRun, "no node b")
	wrapped := fmt.Errorf("resolving: %w", inner)
	for _, err := range []error{
		Errorf(Unavailable, NotRun, "no road: %w", inner),
		Errorf(Unavailable, NotRun, "no road: %w", wrapped),
		Errorf(Unavailable, NotRun, "no road: %w", Errorf(Unavailable, NotRun, "again: %w", wrapped)),
		Errorf(Unavailable, NotRun, "no road: %w", reasons{wrapped, inner, fmt.Errorf("two\nlines: %w", Errorf(OutcomeUnknown, Unknown, "gone"))}),
	} {
		oneVerdict(t, err)
		if !errors.Is(err, NotFound) {
			t.Errorf("%v does not know its cause", err)
		}
	}
	err := Errorf(Failed, HasRun, "the handler failed: %w", inner)
	if text := err.Error(); !strings.Contains(text, "[not run]") || !strings.HasSuffix(text, "["+HasRun.String()+"]") {
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
