package main

import (
	"os"
	"os/exec"
	"testing"
)

// asMain is set for a process that is to be the README's first program.
const asMain = "TANDEM_README_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// The first program, in a process of its own, prints the balance and nothing else.
func TestFirstProgram(t *testing.T) {
	program := exec.Command(os.Args[0])
	program.Env = append(os.Environ(), asMain+"=1")
	out, err := program.CombinedOutput()
	if err != nil || string(out) != "the balance is 5\n" {
		t.Errorf("the first program prints %q, %v", out, err)
	}
}
