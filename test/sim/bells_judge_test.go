package sim

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/reminder"
)

// bell is one reminder: all that was ever set under a name of an actor.
type bell struct {
	actor   reminder.Actor
	name    string
	changes []*ringed                // in the order in which the store has stored them, without those that it has stored again
	last    reminder.ID              // the latest one, also if it was stored again
	handed  map[reminder.ID][]uint64 // the firings that it has handed out, by generation
}

// ringed is a change of a reminder, and until when it was the last word.
type ringed struct {
	simulation.Bell
	until time.Time // zero: to the end
}

// bells are the reminders of a run, as their store has seen them.
func (h *history) bells(bad func(string, ...any)) []*bell {
	all := map[string]*bell{}
	for _, e := range h.Book {
		b := all[e.Actor.String()+" "+e.Name]
		if b == nil {
			b = &bell{actor: e.Actor, name: e.Name, handed: map[reminder.ID][]uint64{}}
			all[e.Actor.String()+" "+e.Name] = b
		}
		if e.Op != simulation.BellHanded {
			b.change(e)
			continue
		}
		b.handed[e.ID] = append(b.handed[e.ID], e.Number)
		i := slices.IndexFunc(b.changes, func(c *ringed) bool { return c.Op == simulation.BellSet && c.ID == e.ID })
		if i < 0 || !b.changes[i].until.IsZero() && e.At.After(b.changes[i].until) {
			bad("firing %d of reminder %s of %v was handed out when it was no more", e.Number, e.Name, e.Actor)
		}
	}
	keys := slices.Sorted(maps.Keys(all))
	sorted := make([]*bell, 0, len(keys))
	for _, k := range keys {
		sorted = append(sorted, all[k])
	}
	return sorted
}

// change takes in a change that was stored. A successor of an activation that has died makes those again which it finds in the
// record, in their order, and the store knows only the last of them.
func (b *bell) change(e simulation.Bell) {
	for _, c := range b.changes {
		if c.ID == b.last {
			c.until = e.At
		}
	}
	b.last = e.ID
	if !e.Again {
		b.changes = append(b.changes, &ringed{Bell: e})
		return
	}
	for _, c := range b.changes {
		if c.ID == e.ID {
			c.until = time.Time{}
		}
	}
}

// judgeBells checks the reminders.
func (h *history) judgeBells(bad func(string, ...any)) {
	all := h.bells(bad)
	for _, to := range slices.Sorted(maps.Keys(h.Chests)) {
		for _, r := range h.Chests[to].Rung {
			h.judgeRung(to, r, h.Chests[to].Rung, all, bad)
		}
	}
	for _, t := range h.Tolled {
		h.judgeRung(t.Of, t.Rung, nil, all, bad)
	}
	for _, b := range all {
		to := b.actor.String() + "@~"
		if chest, stored := h.Chests[to]; stored {
			b.judgeChanges(chest.Rung, bad)
		} else {
			h.judgeGuest(b, to, bad)
		}
		h.judgeFirings(b, h.rung(b, to), bad)
	}
	h.judgeLost(all, bad)
}

// judgeRung checks one firing that an actor has handled, of those that are in its log.
func (h *history) judgeRung(to string, r Rung, log []Rung, all []*bell, bad func(string, ...any)) {
	if r.Op != rang {
		return
	}
	i := slices.IndexFunc(all, func(b *bell) bool { return b.actor == ringerOf(to) && b.name == r.Name })
	if i < 0 || !slices.Contains(all[i].handed[r.Generation], r.Number) {
		bad("firing %d of reminder %s of %s was handled, and never handed out", r.Number, r.Name, to)
	}
	if r.Early {
		bad("firing %d of reminder %s of %s was handled before its time", r.Number, r.Name, to)
	}
	if log == nil {
		return
	}
	if !slices.ContainsFunc(log, func(s Rung) bool { return s.Op == simulation.BellSet && s.ID == r.ID && s.Name == r.Name }) {
		bad("firing %d of reminder %s of %s is of %x, which has set none", r.Number, r.Name, to, r.ID)
	}
	if tollFails(r.ID, r.Number) {
		bad("firing %d of reminder %s of %s has an effect, and its handler fails", r.Number, r.Name, to)
	}
}

// rung are the firings of a reminder that its actor has handled, in their order, without those that a guest has handled
// again on another start of a node, as it may.
func (h *history) rung(b *bell, to string) (all []Rung) {
	for _, r := range h.Chests[to].Rung {
		if r.Op == rang && r.Name == b.name {
			all = append(all, r)
		}
	}
	for i, t := range h.Tolled {
		again := func(o tolled) bool {
			return o.Of == t.Of && o.ID == t.ID && o.Generation == t.Generation && o.Number == t.Number && o.Epoch != t.Epoch
		}
		if t.Of == to && t.Name == b.name && !slices.ContainsFunc(h.Tolled[:i], again) {
			all = append(all, t.Rung)
		}
	}
	return all
}

// judgeChanges checks that the store has got what the actor has committed, in that order.
func (b *bell) judgeChanges(log []Rung, bad func(string, ...any)) {
	var made, got []string
	for _, r := range log {
		if r.Op != rang && r.Name == b.name {
			made = append(made, string(r.Op))
		}
	}
	for _, c := range b.changes {
		got = append(got, string(c.Op))
	}
	if n := len(b.changes); n > 0 && b.last != b.changes[n-1].ID {
		bad("reminder %s of %v was set back to what it was before", b.name, b.actor)
	}
	if !slices.Equal(made, got) {
		bad("%v has changed reminder %s by %s, and the store has got %s", b.actor, b.name, strings.Join(made, ", "), strings.Join(got, ", "))
	}
}

// judgeGuest checks that what a guest was told to be set is stored. More may be, since its callers may not have
// heard of it.
func (h *history) judgeGuest(b *bell, to string, bad func(string, ...any)) {
	said := 0
	for _, d := range h.Deeds {
		if d.Sort == staying && d.To == to && d.Ring != nil && d.Ring.Name == b.name && d.answered() {
			said++
		}
	}
	if said > len(b.changes) {
		bad("%v has answered %d changes of reminder %s, and the store has got %d", b.actor, said, b.name, len(b.changes))
	}
}

// judgeFirings checks that each firing was handled once, and in order, and that none is missing: all are there before
// the last one that was handed out, and that one unless the reminder was changed meanwhile, or still waits for its answer.
func (h *history) judgeFirings(b *bell, rung []Rung, bad func(string, ...any)) {
	times, last, told := map[reminder.ID]map[uint64]int{}, map[reminder.ID]uint64{}, map[reminder.ID]uint64{}
	for _, r := range rung {
		if times[r.Generation] == nil {
			times[r.Generation] = map[uint64]int{}
		}
		times[r.Generation][r.Number]++
		if r.Number < last[r.Generation] {
			bad("firing %d of reminder %s of %v was handled after firing %d", r.Number, b.name, b.actor, last[r.Generation])
		}
		told[r.Generation] += r.Missed + 1
		last[r.Generation] = max(last[r.Generation], r.Number)
	}
	set := h.tolls(b)
	for i, c := range b.changes {
		if c.Op != simulation.BellSet {
			continue
		}
		most := uint64(0)
		if handed := b.handed[c.ID]; len(handed) > 0 {
			most = slices.Max(handed)
		}
		e := h.waits(b)
		ends := i == len(b.changes)-1
		for n := uint64(1); n <= most; n++ {
			switch got := times[c.ID][n]; {
			case got > 1:
				bad("firing %d of reminder %s of %v was handled %d times", n, b.name, b.actor, got)
			case got == 0 && n == most && (!ends || e != nil && e.Number == n):
			case got == 0 && !tollFails(set[i], n):
				bad("firing %d of reminder %s of %v, of %d, was not handled", n, b.name, b.actor, most)
			}
		}
		_, once := c.When.Time()
		came := uint64(1)
		if every, ok := c.When.Interval(); ok {
			came = uint64(h.End.Sub(c.At) / every)
		}
		if told[c.ID] > came {
			bad("reminder %s of %v has told of %d times, and there were %d", b.name, b.actor, told[c.ID], came)
		}
		switch {
		case !ends:
		case e == nil && (!once || most == 0):
			bad("reminder %s of %v is gone, after %d firings", b.name, b.actor, most)
		case e != nil && e.Generation != c.ID:
			bad("reminder %s of %v is another one than was set", b.name, b.actor)
		case e != nil && e.Due.Before(h.Settled) && times[c.ID][e.Number] == 0 && !tollFails(set[i], e.Number): // otherwise, the answer was lost
			bad("firing %d of reminder %s of %v should have come %v before all was well for long", e.Number, b.name, b.actor, h.Settled.Sub(e.Due))
		}
	}
}

// tolls are the requests that have made the changes of a vault's reminder, in their order.
func (h *history) tolls(b *bell) []uint64 {
	all := make([]uint64, 0, len(b.changes))
	for _, r := range h.Chests[b.actor.String()+"@~"].Rung {
		if r.Op != rang && r.Name == b.name {
			all = append(all, r.ID)
		}
	}
	return append(all, make([]uint64, max(0, len(b.changes)-len(all)))...)
}

// waits is the entry of a reminder in the store; nil: it has ended.
func (h *history) waits(b *bell) *reminder.Entry {
	i := slices.IndexFunc(h.Waiting, func(e reminder.Entry) bool { return e.Actor == b.actor && e.Name == b.name })
	if i < 0 {
		return nil
	}
	return &h.Waiting[i]
}

// judgeLost checks that no reminder waits that was forgotten, and that the store has heard of each that a vault has changed.
func (h *history) judgeLost(all []*bell, bad func(string, ...any)) {
	for _, b := range all {
		if n := len(b.changes); h.waits(b) != nil && n > 0 && b.changes[n-1].Op == simulation.BellForgotten {
			bad("reminder %s of %v was forgotten, and waits", b.name, b.actor)
		}
	}
	for to, c := range h.Chests {
		for _, r := range c.Rung {
			if !slices.ContainsFunc(all, func(b *bell) bool { return b.actor == ringerOf(to) && b.name == r.Name }) {
				bad("the store has never heard of reminder %s of %s", r.Name, to)
			}
		}
	}
	slices.SortFunc(h.Waiting, func(a, b reminder.Entry) int { return cmp.Compare(a.Actor.String(), b.Actor.String()) })
}

// firings counts the changes of reminders, the firings that were handled, and those of them that were handed out again.
func (h *history) firings() (changed, rung, again int) {
	for _, b := range h.bells(func(string, ...any) {}) {
		changed += len(b.changes)
		rung += len(h.rung(b, b.actor.String()+"@~"))
		for _, handed := range b.handed {
			again += len(handed) - len(slices.Compact(slices.Sorted(slices.Values(handed))))
		}
	}
	return changed, rung, again
}
