package placement

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// What a node does about an actor that is kept active, as a story: at second n, what happens, and what follows.
func TestKeep(t *testing.T) {
	a, b := Holder{Node: "a", Epoch: "1", Token: 5}, Holder{Node: "b", Epoch: "2"}
	type at struct {
		k      Keep
		chosen bool
		gone   map[string]bool
	}
	next := func(s *at, now time.Time) string {
		begin, pause := s.k.Next(now, s.chosen, func(h Holder) bool { return !s.gone[h.Node] })
		switch {
		case begin:
			return "begin"
		case pause > 0:
			return pause.String()
		}
		return "rest"
	}
	for name, story := range map[string]string{
		"the chosen node begins once":                             "0 chosen, 0 begin, 0 rest, 1 b has it, 1 rest",
		"another node does nothing":                               "0 rest, 100 left, 100 rest",
		"it is activated here, by a message":                      "0 chosen, 0 began!, 0 rest, 5 left, 5 rest",
		"its holder has gone":                                     "0 chosen, 0 begin, 1 b has it, 50 b gone, 50 left, 50 begin, 51 began!, 51 rest",
		"its holder leaves, and still has it":                     "0 chosen, 0 begin, 1 b has it, 50 b gone, 50 begin, 50 b has it, 50 200ms, 51 begin, 51 began!, 51 rest",
		"another node has gone, which may have had it":            "0 chosen, 0 begin, 1 b has it, 9 left, 9 begin, 9 b has it, 9 rest",
		"this node is chosen later":                               "0 rest, 5 chosen, 5 begin, 5 b has it, 5 rest, 6 not chosen, 6 b gone, 6 rest, 7 chosen, 7 begin",
		"it cannot be activated":                                  "0 chosen, 0 begin, 1 failed!, 1 100ms, 2 begin, 2 failed, 2 200ms, 3 begin, 3 failed, 3 400ms, 4 begin, 4 b has it!, 4 rest",
		"it has ended here, and this node is not chosen":          "0 began!, 9 ended!, 9 100ms, 10 begin, 10 failed, 10 200ms, 11 begin, 11 b has it!, 11 rest, 20 left, 20 rest",
		"it is to be active elsewhere":                            "0 began!, 9 moves, 9 begin, 9 b has it, 9 rest",
		"it ends again and again":                                 "0 chosen, 0 began!, 1 ended!, 1 100ms, 2 begin, 2 began!, 3 ended!, 3 200ms, 4 begin, 4 began!, 5 ended!, 5 400ms",
		"it has ended after a long time":                          "0 chosen, 0 began!, 1 ended!, 2 begin, 2 began!, 62 ended!, 62 100ms",
		"an attempt ends after it was activated here":             "0 chosen, 0 begin, 1 began!, 2 failed, 2 rest, 2 b has it, 2 rest",
		"it has failed before it had begun: the attempt says why": "0 chosen, 0 begin, 1 ended, 1 rest, 1 failed!, 1 100ms",
		"the end of an earlier activation here comes late":        "0 chosen, 0 began!, 1 began again!, 2 ended, 2 rest",
	} {
		s, start := at{gone: map[string]bool{}}, time.Unix(1000, 0)
		for _, line := range strings.Split(story, ", ") {
			var sec int
			if _, err := fmt.Sscan(line, &sec); err != nil {
				t.Fatal(err)
			}
			_, what, _ := strings.Cut(line, " ")
			what, news := strings.CutSuffix(what, "!")
			now, change := start.Add(time.Duration(sec)*time.Second), false
			switch what {
			case "chosen", "not chosen":
				s.chosen = what == "chosen"
			case "b gone":
				s.gone["b"] = true
			case "left":
				s.k.Left(now, Holder{Node: "a", Epoch: "1"})
			case "b has it":
				change = s.k.Tried(now, b, false)
			case "failed":
				change = s.k.Tried(now, Holder{}, true)
			case "began":
				change = s.k.Began(now, a)
			case "began again":
				change = s.k.Began(now, Holder{a.Node, a.Epoch, a.Token + 1})
			case "ended", "moves":
				change = s.k.Ended(now, a, what == "moves")
			default:
				if got := next(&s, now); got != what {
					t.Errorf("%s: %s: %s", name, line, got)
				}
			}
			if change != news {
				t.Errorf("%s: %s: news: %v", name, line, change)
			}
		}
	}
}

// However often it fails, the pause has a bound.
func TestKeepPauses(t *testing.T) {
	var k Keep
	now, last := time.Unix(1000, 0), time.Duration(0)
	for i := range 100 {
		if begin, _ := k.Next(now, true, func(Holder) bool { return true }); !begin {
			t.Fatal(i)
		}
		k.Tried(now, Holder{}, true)
		_, pause := k.Next(now, true, nil)
		if pause < last || pause > MaxKeepPause {
			t.Fatalf("%d: %v after %v", i, pause, last)
		}
		now, last = now.Add(pause), pause
	}
	if last != MaxKeepPause {
		t.Errorf("the last one is %v", last)
	}
}
