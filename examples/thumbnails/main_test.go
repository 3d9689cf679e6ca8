package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The test binary is the customer and the messenger as well.
func TestMain(m *testing.M) {
	for _, arg := range os.Args[1:] {
		if arg == "-role" {
			main()
			return
		}
	}
	os.Exit(m.Run())
}

// The program checks itself.
func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), filepath.Join(t.TempDir(), "sheet.png"), &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{"submitted a sheet of 160 photos", "has fetched it", "was cancelled", "ran: ran"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}
