package server

import "testing"

// The table has every transition from every stage. No transition leaves finished, and a request
// that was doomed or cancelled can only finish.
func TestStages(t *testing.T) {
	ways := map[string]func(*life){"doom": (*life).doom, "cancel": (*life).cancel, "finish": (*life).finish}
	for _, row := range []struct {
		from stage
		to   map[string]stage
	}{
		{waiting, map[string]stage{"doom": doomed, "cancel": canceled, "finish": finished}},
		{doomed, map[string]stage{"doom": doomed, "cancel": doomed, "finish": finished}},
		{canceled, map[string]stage{"doom": canceled, "cancel": canceled, "finish": finished}},
		{finished, map[string]stage{"doom": finished, "cancel": finished, "finish": finished}},
	} {
		for way, to := range row.to {
			l := life{stage: row.from}
			if ways[way](&l); l.stage != to {
				t.Errorf("%s of %d leads to %d, want %d", way, row.from, l.stage, to)
			}
		}
	}
}

// The memory is free when the request has its outcome and neither its record nor its handler
// needs it, in whatever order they let go of it.
func TestUnused(t *testing.T) {
	for _, finishes := range []bool{false, true} {
		for _, released := range []user{0, byRecord, byHandler, byRecord | byHandler} {
			var l life
			l.release(released)
			if finishes {
				l.finish()
			}
			if got, want := l.unused(), finishes && released == byRecord|byHandler; got != want {
				t.Errorf("finished %v, released %b: unused %v", finishes, released, got)
			}
		}
	}
}
