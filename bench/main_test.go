package main

import (
	"os"
	"testing"
)

// TestMain lets this binary be a node, as the bench's own.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == nodeFlag {
		nodeMain(os.Args[2:], os.Stdin, os.Stdout)
		return
	}
	os.Exit(m.Run())
}
