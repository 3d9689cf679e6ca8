package registry

import (
	"os"
	"os/exec"
	"testing"
)

func TestSelf(t *testing.T) {
	own := Self()
	if own == nil || own.PID != os.Getpid() || own.Boot == "" || own.Started == 0 {
		t.Fatalf("got %+v", own)
	}
	if again := Self(); *again != *own {
		t.Errorf("%+v and %+v", own, again)
	}
	if err := (Node{Name: "n", Epoch: "e", Proof: own}).Valid(); err != nil {
		t.Error(err)
	}
	if own.Dead(own, Look(own.PID)) {
		t.Error("we are dead")
	}
}

// A killed process is dead at once, even if its parent has not waited for it yet.
func TestLook(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	own, p := Self(), Look(cmd.Process.Pid)
	if !p.Seen || !p.Exists || p.Started == 0 {
		t.Errorf("while it runs: %+v", p)
	}
	holder := *own
	holder.PID, holder.Started = cmd.Process.Pid, p.Started
	if holder.Dead(own, p) {
		t.Error("dead while it runs")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for !holder.Dead(own, Look(holder.PID)) { // as soon as the kernel has done it
	}
	cmd.Wait()
	if !holder.Dead(own, Look(holder.PID)) {
		t.Error("alive after it was waited for")
	}
}

func TestParseStat(t *testing.T) {
	const tail = " 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20"
	for text, want := range map[string]Process{
		"7 (sleep) S" + tail:        {true, true, 4242},
		"7 (a) Z 1) (b) R" + tail:   {true, true, 4242},
		"7 (sleep) Z" + tail:        {true, false, 4242},
		"7 (sleep) X" + tail:        {true, false, 4242},
		"7 (sleep) S 1 2":           {true, true, 0},
		"":                          {true, true, 0},
		"7 (sleep":                  {true, true, 0},
		"7 (s) S" + tail[:36] + "x": {true, true, 0},
	} {
		if got := parseStat([]byte(text)); got != want {
			t.Errorf("%q: got %+v, want %+v", text, got, want)
		}
	}
}
