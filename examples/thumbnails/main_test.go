package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The test binary is the other processes as well.
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
	if err := run(t.Context(), options{out: filepath.Join(t.TempDir(), "sheet.png")}, &out); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	for _, want := range []string{"submitted a sheet of 160 photos", "link was cut half-way", "killed with kill -9", "was cancelled", "ran: ran"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}
