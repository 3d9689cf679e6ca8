package sendopt

import "time"

// Trail has what was done for a request to another node, step by step. It is filled in before the
// request ends, and must not be read before.
type Trail struct {
	Steps []Step // in their order, MaxSteps at most
	Lost  int    // how many more there were
}

// MaxSteps is how many steps a Trail has at most.
const MaxSteps = 32

// Step is a copy of a request that was handed to a road, or the end of an attempt.
type Step struct {
	At       time.Time
	Attempt  int // the first is 1
	What     Happening
	Node     string
	Road     string // of a copy
	Err      error  // of an attempt that has ended without a reply; nil: it was answered
	Replayed bool   // of an attempt: the outcome is a recorded one
}

// Happening is what a Step is.
type Happening string

// The happenings.
const (
	CopySent   Happening = "sent"       // the first copy of an attempt
	CopyResent Happening = "sent again" // a further copy under the same number, because the one before may be lost, or was slow
	Ended      Happening = "ended"      // the attempt has ended
)

// Add appends a step.
func (t *Trail) Add(s Step) {
	if len(t.Steps) >= MaxSteps {
		t.Lost++
		return
	}
	t.Steps = append(t.Steps, s)
}
