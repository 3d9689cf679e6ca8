package actor

import (
	"fmt"
	"testing"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

func TestSummaries(t *testing.T) {
	full, gone := rpc.Errorf(rpc.Overloaded, rpc.NotRun, "full"), rpc.Errorf(rpc.NotFound, rpc.NotRun, "gone")
	var sum summaries
	begin := time.Unix(0, 0)
	for _, row := range []struct {
		after  time.Duration
		to     string
		reason error
		want   uint64 // the count in the line; 0 if no line is due
	}{
		{0, "x", full, 1},
		{0, "x", full, 0},
		{0, "x", gone, 1}, // another reason
		{0, "y", full, 1}, // another actor
		{9 * time.Second, "x", full, 0},
		{10 * time.Second, "x", full, 3},
		{11 * time.Second, "y", full, 1},
		{12 * time.Second, "x", full, 0},
		{40 * time.Second, "x", full, 2},
	} {
		line, due := sum.note(begin.Add(row.after), DeadLetter{To: row.to, Reason: row.reason, Type: "T"}, "", rpc.Trace{})
		if due != (row.want > 0) || line.count != row.want || due && (line.to != row.to || line.code != rpc.CodeOf(row.reason) || line.last != "T") {
			t.Errorf("%+v: %+v", row, line)
		}
	}
}

// If there are more summaries than their bound, all others share one line. Old summaries are
// forgotten.
func TestSummariesAreBounded(t *testing.T) {
	var sum summaries
	now := time.Unix(0, 0)
	spread := func() (lines int) {
		for i := range 10 * letterKinds {
			if _, due := sum.note(now, DeadLetter{To: fmt.Sprint("a", i), Reason: errGone}, "", rpc.Trace{}); due {
				lines++
			}
		}
		return lines
	}
	if got := spread(); got != letterKinds+1 || len(sum.sums) != letterKinds+1 {
		t.Errorf("%d lines of %d kept", got, len(sum.sums))
	}
	lines, next := sum.flush(now, false)
	if len(lines) != 0 || next != now.Add(letterPause) {
		t.Errorf("%v, next %v", lines, next)
	}
	lines, next = sum.flush(now, true)
	if len(lines) != 1 || lines[0].to != "" || lines[0].count != 9*letterKinds-1 || !next.IsZero() {
		t.Errorf("the last: %+v", lines)
	}
	now = now.Add(letterPause)
	if lines, _ := sum.flush(now, false); len(lines) != 0 || len(sum.sums) != 0 {
		t.Errorf("%d lines, %d sums are kept", len(lines), len(sum.sums))
	}
}
