package main

import (
	"strings"
	"testing"
)

// The program checks itself: it fails unless every deposit ran once, and unless enough
// replies were lost to show something.
func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(&out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{"the balance is 40", "[41 42]", "is ErrAmount: true; ran: ran", "to nobody: ran: not run", "Every deposit ran"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}
