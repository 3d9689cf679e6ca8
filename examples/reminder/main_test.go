package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// The program checks itself.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a quarter of a minute")
	}
	var out bytes.Buffer
	err := run(t.Context(), &out)
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), late+"  "); n < 3 {
		t.Errorf("%d letters are shown", n)
	}
}

// Each kind of wrong letters is found.
func TestCheck(t *testing.T) {
	sound := func() []Letter { return []Letter{{1, 3 * time.Second, 0}, {2, 0, 0}, {3, 0, 0}} }
	if err := check(sound(), nil); err != nil {
		t.Error(err)
	}
	for what, harm := range map[string]func([]Letter) []Letter{
		"one is missing":     func(l []Letter) []Letter { return l[:2] },
		"too many":           func(l []Letter) []Letter { return append(l, Letter{4, 0, 0}, Letter{5, 0, 0}) },
		"one is doubled":     func(l []Letter) []Letter { l[2].Number = 2; return l },
		"the first is early": func(l []Letter) []Letter { l[0].Late = 0; return l },
		"the second is late": func(l []Letter) []Letter { l[1].Late = 2 * time.Second; return l },
	} {
		if check(harm(sound()), nil) == nil {
			t.Errorf("%s: no error", what)
		}
	}
	if check(sound(), sound()) == nil {
		t.Error("a letter to somebody who is not late: no error")
	}
}
