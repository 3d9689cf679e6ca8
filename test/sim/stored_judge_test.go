package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/reminder"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/state"
)

// act is what somebody does with an actor that moves.
type act string

const (
	giving  act = "give" // a transfer of a vault
	looking act = "look" // a reader asks a vault
	telling act = "tell" // a one-way message to a vault
	staying act = "stay" // a request to a guest, who is not stored
)

// deed is one of these, as its caller has seen it. Begun and Ended are moments, no two of which are the same.
type deed struct {
	ID           uint64
	Sort         act
	Caller       int
	Node, To     string
	Fails        int  // its handler does
	Patient      bool // its deadline is later than the end of all faults
	Lives        bool // the caller's node has not been ended meanwhile
	Ring         *Ring
	Begun, Ended int
	Seen         Seen
	Err          error
}

func (d *deed) String() string {
	return fmt.Sprintf("%s %x to %s from %s", d.Sort, d.ID, d.To, d.Node)
}

// answered reports whether it has an answer of its actor.
func (d *deed) answered() bool { return d.Ended > 0 && d.Err == nil && d.Sort != telling }

// arrival is a gift that has come to a desk, on a start of its node.
type arrival struct {
	Desk, Epoch string
	Gift
}

// history is what is known of a run when it is over. Judging it has no effects.
type history struct {
	Deeds   []*deed
	Chests  map[string]Chest // by vault, in the end
	Arrived []arrival        // in their order
	Commits []simulation.Taken
	Lost    []string // nodes of which a start has ended

	Book    []simulation.Bell // of the store of reminders
	Tolled  []tolled          // firings that guests have handled
	Waiting []reminder.Entry  // in the end
	Settled time.Time         // nothing that was due before may be late
	End     time.Time
}

// judge returns what is wrong with a history.
func (h *history) judge() (wrong []string) {
	bad := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	h.judgeTokens(bad)
	h.judgeCommits(bad)
	h.judgeVerdicts(bad)
	h.judgePlaces(bad)
	h.judgeGifts(bad)
	h.judgeOrder(bad)
	h.judgeBells(bad)
	return wrong
}

// answers are the answers of each actor.
func (h *history) answers() map[string][]*deed {
	all := map[string][]*deed{}
	for _, d := range h.Deeds {
		if d.answered() {
			all[d.To] = append(all[d.To], d)
		}
	}
	return all
}

// overtaken calls fn with each answer that shows less than another one which had come before its request was made.
func overtaken(answers []*deed, shows func(*deed) uint64, fn func(late, before *deed)) {
	byBegin, byEnd := slices.Clone(answers), slices.Clone(answers)
	slices.SortFunc(byBegin, func(a, b *deed) int { return cmp.Compare(a.Begun, b.Begun) })
	slices.SortFunc(byEnd, func(a, b *deed) int { return cmp.Compare(a.Ended, b.Ended) })
	var most *deed
	for _, d := range byBegin {
		for ; len(byEnd) > 0 && byEnd[0].Ended < d.Begun; byEnd = byEnd[1:] {
			if most == nil || shows(byEnd[0]) > shows(most) {
				most = byEnd[0]
			}
		}
		if most != nil && shows(d) < shows(most) {
			fn(d, most)
		}
	}
}

// judgeTokens checks that no two activations of an actor have answered at one time: after the answer of one was
// received, no earlier one answers what is asked then.
func (h *history) judgeTokens(bad func(string, ...any)) {
	for _, answers := range h.answers() {
		overtaken(answers, func(d *deed) uint64 { return d.Seen.Token }, func(d, before *deed) {
			bad("%v was answered by activation %d after %d had answered %v", d, d.Seen.Token, before.Seen.Token, before)
		})
	}
}

// judgeCommits checks that the store has taken no commit of an activation after one of its successor.
func (h *history) judgeCommits(bad func(string, ...any)) {
	latest := map[state.Key]uint64{}
	for _, c := range h.Commits {
		if c.Token < latest[c.Key] {
			bad("a commit of %v by activation %d was taken after one of %d", c.Key, c.Token, latest[c.Key])
		}
		latest[c.Key] = max(latest[c.Key], c.Token)
	}
}

// effects are how often a transfer is in its vault.
func (h *history) effects() map[uint64]int {
	all := map[uint64]int{}
	for _, c := range h.Chests {
		for _, g := range c.Gave {
			all[g.ID]++
		}
	}
	return all
}

// judgeVerdicts checks what callers were told.
func (h *history) judgeVerdicts(bad func(string, ...any)) {
	effects, came := h.effects(), map[uint64]int{}
	for _, c := range h.Chests {
		for _, g := range c.Took {
			if g.From == "" {
				came[g.ID]++
			}
		}
	}
	for _, d := range h.Deeds {
		n := effects[d.ID]
		if n > 1 || came[d.ID] > 1 {
			bad("%v has had its effect %d times, and has come %d times", d, n, came[d.ID])
		}
		verdict := rpc.Ran(d.Err)
		switch {
		case d.Ended == 0:
			bad("%v never ended", d)
		case d.answered() && d.Sort == giving && (n == 0 || d.Fails > 0):
			bad("%v was answered, and has no effect, or should have failed", d)
		case d.Err == nil:
		case verdict == rpc.NotRun && n+came[d.ID] > 0:
			bad("%v was said not to have run, and has an effect: %v", d, d.Err)
		case verdict == rpc.HasRun && n+came[d.ID] > 0:
			bad("%v was said to have failed, and has an effect: %v", d, d.Err)
		case verdict == rpc.HasRun && d.Fails == 0 && d.Sort != staying:
			bad("%v was said to have run, and its handler does not fail: %v", d, d.Err)
		case verdict == rpc.Unknown && d.Patient && d.Lives && d.Sort != staying && d.Sort != telling:
			bad("%v ended, and nobody knows whether it ran, although its caller lives: %v", d, d.Err)
		}
	}
}

// judgePlaces checks that each answer of a vault tells of what is stored in the end, and of all that was answered
// before.
func (h *history) judgePlaces(bad func(string, ...any)) {
	for to, answers := range h.answers() {
		chest, stored := h.Chests[to]
		if !stored {
			continue // a guest
		}
		for _, d := range answers {
			switch p := d.Seen.Place; {
			case p > len(chest.Gave) || p > 0 && chest.Gave[p-1].ID != d.Seen.Last:
				bad("%v was answered with %+v, which is not what the vault has", d, d.Seen)
			case d.Sort == giving && d.Seen.Last != d.ID:
				bad("%v was answered with the transfer %x", d, d.Seen.Last)
			}
		}
		overtaken(answers, func(d *deed) uint64 { return uint64(d.Seen.Place) }, func(d, before *deed) {
			bad("%v has seen %d transfers, after %v had seen %d", d, d.Seen.Place, before, before.Seen.Place)
		})
	}
}

// judgeGifts checks that each message of a vault has arrived once: at a desk, if no start of its node has ended.
func (h *history) judgeGifts(bad func(string, ...any)) {
	type way struct {
		from, to string
		id       uint64
	}
	came, sent := map[way]int{}, map[way]int{}
	for to, c := range h.Chests {
		for _, g := range c.Took {
			if g.From != "" {
				came[way{g.From, to, g.ID}]++
			}
		}
		for _, g := range c.Gave {
			sent[way{to, g.To, g.ID}]++
		}
	}
	for _, a := range h.Arrived {
		came[way{a.From, a.Desk, a.ID}]++
	}
	for w, n := range came {
		if sent[w] == 0 {
			bad("gift %x of %s has come to %s, and was never sent", w.id, w.from, w.to)
		} else if n > 1 {
			bad("gift %x of %s has come to %s %d times", w.id, w.from, w.to, n)
		}
	}
	for w := range sent {
		if desk := w.to[0] == 'd'; came[w] == 0 && !(desk && slices.Contains(h.Lost, nodeOf(w.to))) {
			bad("gift %x of %s has not come to %s", w.id, w.from, w.to)
		}
	}
}

// judgeOrder checks that the messages of one vault have come to each receiver in their order.
func (h *history) judgeOrder(bad func(string, ...any)) {
	logs := map[string][]Gift{}
	for to, c := range h.Chests {
		logs[to] = c.Took
	}
	for _, a := range h.Arrived {
		on := a.Desk + "/" + a.Epoch
		logs[on] = append(logs[on], a.Gift)
	}
	for _, on := range slices.Sorted(maps.Keys(logs)) {
		latest := map[string]int{}
		for _, g := range logs[on] {
			if g.From == "" {
				continue
			}
			if g.Place < latest[g.From] {
				bad("gift %x, place %d of %s, has come to %s after place %d", g.ID, g.Place, g.From, on, latest[g.From])
			}
			latest[g.From] = max(latest[g.From], g.Place)
		}
	}
}
