package actor

import "testing"

// Every way from every state of a Context. The handler's own states matter no more once it has
// returned, and nothing leads out of released.
func TestContextStates(t *testing.T) {
	ways := map[string]func(*contextLife){
		"answer": (*contextLife).answer, "own": (*contextLife).own, "stash": (*contextLife).stash,
		"handlerReturned": (*contextLife).handlerReturned, "release": (*contextLife).release,
	}
	for _, row := range []struct {
		before []string
		from   contextState
		to     map[string]contextState
	}{
		{nil, unanswered, map[string]contextState{"answer": answered, "own": unanswered, "handlerReturned": returned, "release": released, "stash": stashed}},
		{[]string{"answer"}, answered, map[string]contextState{"answer": answered, "own": owned, "handlerReturned": returned, "release": released, "stash": answered}},
		{[]string{"answer", "own"}, owned, map[string]contextState{"answer": owned, "own": owned, "handlerReturned": returned, "release": released, "stash": owned}},
		{[]string{"stash"}, stashed, map[string]contextState{"answer": stashed, "own": stashed, "handlerReturned": returned, "release": released, "stash": stashed}},
		{[]string{"stash", "release"}, released, map[string]contextState{"answer": released, "own": released, "handlerReturned": released, "release": released, "stash": released}},
		{[]string{"handlerReturned"}, returned, map[string]contextState{"answer": returned, "own": returned, "handlerReturned": returned, "release": released, "stash": returned}},
		{[]string{"answer", "own", "handlerReturned"}, returned, map[string]contextState{"answer": returned, "own": returned, "handlerReturned": returned, "release": released, "stash": returned}},
		{[]string{"release"}, released, map[string]contextState{"answer": released, "own": released, "handlerReturned": released, "release": released, "stash": released}},
		{[]string{"answer", "handlerReturned", "release"}, released, map[string]contextState{"answer": released, "own": released, "handlerReturned": released, "release": released, "stash": released}},
	} {
		for way, want := range row.to {
			var l contextLife
			for _, first := range row.before {
				ways[first](&l)
			}
			if now := l.now(); now != row.from {
				t.Errorf("%v leads to %d, want %d", row.before, now, row.from)
			}
			ways[way](&l)
			now := l.now()
			if now != want {
				t.Errorf("%s of %d leads to %d, want %d", way, row.from, now, want)
			}
			if l.running() != (now < returned) || l.released() != (now == released) {
				t.Errorf("after %s of %d: running %v, released %v", way, row.from, l.running(), l.released())
			}
		}
	}
}

// Every way from every state of a request whose answer was put off. Only the first answer counts.
func TestDeferralStates(t *testing.T) {
	for _, row := range []struct {
		from, answer deferralState
		first        bool
		returned     deferralState
	}{
		{from: pending, answer: decided, first: true, returned: awaited},
		{from: awaited, answer: complete, first: true, returned: awaited},
		{from: decided, answer: decided, returned: complete},
		{from: complete, answer: complete, returned: complete},
	} {
		s := row.from
		if first := s.answer(); s != row.answer || first != row.first {
			t.Errorf("an answer in %d leads to %d, want %d; it was the first: %v", row.from, s, row.answer, first)
		}
		if !s.over() {
			t.Errorf("%d after an answer is without an outcome", s)
		}
		s = row.from
		if s.handlerReturned(); s != row.returned {
			t.Errorf("the handler's return in %d leads to %d, want %d", row.from, s, row.returned)
		}
		if s.over() != row.from.over() {
			t.Errorf("the handler's return in %d is taken for an outcome", row.from)
		}
	}
}
