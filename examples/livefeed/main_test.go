package main

import (
	"strings"
	"testing"
)

// The program checks itself: it fails unless every price came once and in order, and
// the slow consumer held up nobody.
func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(&out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{"The TCP link was cut", "fast one", "fast two", "slow", "Every price came once"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}
