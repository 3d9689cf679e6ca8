package main

import (
	"bytes"
	"context"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The workers that a test starts are this program.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-worker" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestNothingIsLost(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	err := run(ctx, &out, 400)
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(out.String(), "kill -9 ") != kills || !regexp.MustCompile(`(?m)^\s*400\s+399\s+1\s+0\s+\d+\s+\d+\s+2\s*$`).MatchString(out.String()) {
		t.Error("the table is not as expected")
	}
}
