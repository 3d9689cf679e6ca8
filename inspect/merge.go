package inspect

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Merge puts the steps of several requests and nodes into one order: those that a node has of one request in
// the order in which it has them, and all others by their times, except where these contradict what is
// certain: a request comes after it was sent, and is answered after it was decided. Then the clock of the
// other node is taken to be as much off as it must be at least. Times are not changed.
func Merge(steps []Step) []Step {
	off := offsets(steps)
	places := make([]place, len(steps))
	last := map[stream]place{}
	for i, s := range steps {
		of := stream{s.Node, s.Side, s.Request, s.Job}
		p, before := place{at: s.Time.Add(off[s.Node]), stage: stageOf(s.What), step: i}, last[of]
		if s.Time.IsZero() || p.at.Before(before.at) {
			p.at = before.at
		}
		if p.at.Equal(before.at) {
			p.stage = max(p.stage, before.stage)
		}
		places[i], last[of] = p, p
	}
	slices.SortStableFunc(places, func(a, b place) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.stage, b.stage)) })
	merged := make([]Step, len(steps))
	for i, p := range places {
		merged[i] = steps[p.step]
	}
	return merged
}

// stream is what a node has of one request.
type stream struct {
	node         string
	side         Side
	request, job string
}

// place is where a step belongs.
type place struct {
	at    time.Time // by the clock of the first node
	stage int       // decides among steps at the same time
	step  int
}

// stageOf is the order of steps at the same time.
func stageOf(w What) int {
	switch w {
	case Asked, RetryOf:
		return 0
	case Sent:
		return 1
	case Received:
		return 2
	case Answered, GotRecorded, Ended, Acked:
		return 4
	case Kept:
		return 5
	}
	return 3
}

// offsets returns what is to be added to the times of each node so that nothing comes before its cause. The
// nodes are placed one after another, each as little off as possible from those that have been.
func offsets(steps []Step) map[string]time.Duration {
	type end struct{ node, request string }
	sent, got, came, decided := map[end]time.Time{}, map[end]time.Time{}, map[end]time.Time{}, map[end]time.Time{}
	var nodes []string
	for _, s := range steps {
		if !slices.Contains(nodes, s.Node) {
			nodes = append(nodes, s.Node)
		}
		if s.Time.IsZero() || s.Request == "" {
			continue
		}
		at := end{s.Node, s.Request}
		switch s.What {
		case Sent:
			earliest(sent, at, s.Time)
		case Received:
			earliest(came, at, s.Time)
		case Answered, GotRecorded:
			earliest(got, at, s.Time)
		case Decided, Recorded:
			earliest(decided, at, s.Time)
		}
	}
	off := map[string]time.Duration{}
	for len(off) < len(nodes) {
		next, move, bound := "", time.Duration(0), false
		for _, node := range nodes {
			if _, placed := off[node]; placed || bound {
				continue
			}
			least, most := time.Duration(math.MinInt64/4), time.Duration(math.MaxInt64/4)
			for at, t := range sent { // it comes to the other one after it was sent
				if known, placed := off[at.node]; placed && !came[end{node, at.request}].IsZero() {
					least, bound = max(least, t.Add(known).Sub(came[end{node, at.request}])), true
				}
			}
			for at, t := range came {
				if known, placed := off[at.node]; placed && !sent[end{node, at.request}].IsZero() {
					most, bound = min(most, t.Add(known).Sub(sent[end{node, at.request}])), true
				}
			}
			for at, t := range decided { // it is answered after it was decided
				if known, placed := off[at.node]; placed && !got[end{node, at.request}].IsZero() {
					least, bound = max(least, t.Add(known).Sub(got[end{node, at.request}])), true
				}
			}
			for at, t := range got {
				if known, placed := off[at.node]; placed && !decided[end{node, at.request}].IsZero() {
					most, bound = min(most, t.Add(known).Sub(decided[end{node, at.request}])), true
				}
			}
			if next == "" || bound { // one with bounds comes first
				next, move = node, within(least, most)
			}
		}
		off[next] = move
	}
	return off
}

// within returns the number nearest to 0 that is not less than least and not more than most; what is between them if no
// number is: then the clock was set meanwhile, or goes at another rate.
func within(least, most time.Duration) time.Duration {
	switch {
	case least > most:
		return least/2 + most/2
	case least > 0:
		return least
	}
	return min(most, 0)
}

// earliest keeps the earlier one of two times.
func earliest[K comparable](m map[K]time.Time, k K, t time.Time) {
	if known, ok := m[k]; !ok || t.Before(known) {
		m[k] = t
	}
}
