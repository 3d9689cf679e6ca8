package sim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/reminder"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/state"
)

// soundHistory is a history in which nothing is wrong: three transfers of vault a, two to vault b and one to a desk, which
// activation 1 has answered, then a look, at activation 2, and two requests to a guest.
func soundHistory() *history {
	const a, b, desk = "sim.vault/a@~", "sim.vault/b@~", "desk@n0"
	d := func(id uint64, sort act, to string, begun int, seen Seen) *deed {
		return &deed{ID: id, Sort: sort, Node: "n1", To: to, Patient: true, Lives: true, Begun: begun, Ended: begun + 1, Seen: seen}
	}
	h := &history{
		Deeds: []*deed{
			d(1, giving, a, 1, Seen{1, 1, 1}), d(2, giving, a, 3, Seen{2, 2, 1}), d(3, giving, a, 5, Seen{3, 3, 1}), d(4, looking, a, 7, Seen{3, 3, 2}),
			d(5, staying, "sim.guest/0@~", 9, Seen{Token: 7}), d(6, staying, "sim.guest/0@~", 11, Seen{Token: 7}), d(7, telling, b, 13, Seen{}),
		},
		Chests: map[string]Chest{
			a: {Gave: []Given{{1, b}, {2, b}, {3, desk}}},
			b: {Took: []Gift{{1, a, 1}, {2, a, 2}, {7, "", 0}}},
		},
		Arrived: []arrival{{desk, "e1", Gift{3, a, 3}}},
		Commits: []simulation.Taken{{Key: state.Key{Kind: "sim.vault", ID: "a"}, Token: 1, Seq: 1}, {Key: state.Key{Kind: "sim.vault", ID: "b"}, Token: 1, Seq: 2}, {Key: state.Key{Kind: "sim.vault", ID: "a"}, Token: 2, Seq: 3}},
	}
	soundBells(h)
	return h
}

// soundBells has vault a set four reminders: x, which it forgets, y, which comes once, z, of which the third firing fails, and
// later x again, which waits; and guest 0 has one. The book of their store has a line every ten seconds.
func soundBells(h *history) {
	a, guest, began := reminder.Actor{Kind: "sim.vault", ID: "a"}, reminder.Actor{Kind: "sim.guest", ID: "0"}, time.Unix(1000, 0)
	at := func(line int) time.Time { return began.Add(time.Duration(line) * 10 * time.Second) }
	line := func(op simulation.BellOp, of reminder.Actor, name string, id byte, number uint64) {
		b := simulation.Bell{Op: op, Actor: of, Name: name, ID: reminder.ID{id}, Number: number, At: at(len(h.Book))}
		if op == simulation.BellSet {
			b.When = reminder.Every(10 * time.Second)
		}
		h.Book = append(h.Book, b)
	}
	const set, forget, hand = simulation.BellSet, simulation.BellForgotten, simulation.BellHanded
	line(set, a, "x", 1, 0)
	line(hand, a, "x", 1, 1)
	line(hand, a, "x", 1, 2)
	line(hand, a, "x", 1, 2)
	line(forget, a, "x", 2, 0)
	line(set, a, "y", 3, 0)
	h.Book[5].When = reminder.At(at(6))
	line(hand, a, "y", 3, 1)
	line(set, a, "z", 4, 0)
	line(hand, a, "z", 4, 1)
	line(hand, a, "z", 4, 2)
	line(hand, a, "z", 4, 3)
	line(set, guest, "x", 5, 0)
	line(hand, guest, "x", 5, 1)
	line(hand, guest, "x", 5, 2)
	line(set, a, "x", 6, 0)
	h.Settled, h.End = at(20), at(21)
	waits := func(of reminder.Actor, name string, id byte, number uint64) {
		h.Waiting = append(h.Waiting, reminder.Entry{Reminder: reminder.Reminder{Actor: of, Name: name}, Generation: reminder.ID{id}, Number: number, Due: at(21)})
	}
	waits(a, "z", 4, 4)
	waits(guest, "x", 5, 3)
	waits(a, "x", 6, 1)
	fired := func(id uint64, name string, gen byte, number uint64) Rung {
		return Rung{rang, id, name, reminder.ID{gen}, number, 0, false}
	}
	chest := h.Chests["sim.vault/a@~"]
	chest.Rung = []Rung{{Op: set, ID: 2, Name: "x"}, fired(2, "x", 1, 1), fired(2, "x", 1, 2), {Op: forget, ID: 3, Name: "x"},
		{Op: set, ID: 3, Name: "y"}, fired(3, "y", 3, 1), {Op: set, ID: 1, Name: "z"}, fired(1, "z", 4, 1), fired(1, "z", 4, 2), {Op: set, ID: 2, Name: "x"}}
	h.Chests["sim.vault/a@~"] = chest
	h.Deeds[4].Ring = &Ring{Name: "x", Every: 10 * time.Second}
	h.Tolled = []tolled{{"sim.guest/0@~", "e1", fired(5, "x", 5, 1)}, {"sim.guest/0@~", "e1", fired(5, "x", 5, 2)}, {"sim.guest/0@~", "e2", fired(5, "x", 5, 2)}}
}

// TestMovesJudge plants one violation at a time in a history that is sound.
func TestMovesJudge(t *testing.T) {
	const a, b = "sim.vault/a@~", "sim.vault/b@~"
	notRun, hasRun, unknown := rpc.Errorf(rpc.Unavailable, rpc.NotRun, "no"), rpc.NewError("sim.e", "yes"), rpc.Errorf(rpc.OutcomeUnknown, rpc.Unknown, "who knows")
	gave := func(h *history, all ...Given) { h.Chests[a] = Chest{Gave: all, Rung: h.Chests[a].Rung} }
	rung := func(h *history, change func([]Rung) []Rung) {
		h.Chests[a] = Chest{Gave: h.Chests[a].Gave, Rung: change(h.Chests[a].Rung)}
	}
	without := func(h *history, from, to int) {
		rung(h, func(all []Rung) []Rung { return slices.Delete(all, from, to) })
	}
	waits := func(h *history, i int, change func(*reminder.Entry)) { change(&h.Waiting[i]) }
	unheard := func(h *history, from, to int) { h.Book = slices.Delete(h.Book, from, to) }
	took := func(h *history, all ...Gift) { h.Chests[b] = Chest{Took: all} }
	fails := func(d *deed, err error) { d.Seen, d.Err = Seen{}, err }
	for _, c := range []struct {
		name  string
		plant func(*history)
		found string // empty: nothing is wrong
	}{
		{"nothing", func(*history) {}, ""},
		{"a guest answers under an old token", func(h *history) { h.Deeds[5].Seen.Token = 6 }, "was answered by activation 6 after 7"},
		{"two activations answer, but at one time", func(h *history) { h.Deeds[5].Seen.Token, h.Deeds[5].Begun = 6, 9 }, ""},
		{"a reader of an old activation answers", func(h *history) { h.Deeds[0].Seen.Token, h.Deeds[1].Seen.Token, h.Deeds[2].Seen.Token = 3, 3, 3 }, "was answered by activation 2 after 3"},
		{"a fenced holder commits", func(h *history) {
			h.Commits = append(h.Commits, simulation.Taken{Key: state.Key{Kind: "sim.vault", ID: "a"}, Token: 1, Seq: 4})
		}, "by activation 1 was taken after one of 2"},
		{"an answer without its effect", func(h *history) { gave(h, Given{2, b}, Given{3, "desk@n0"}); took(h, Gift{2, a, 1}, Gift{7, "", 0}) }, "was answered, and has no effect"},
		{"an effect twice", func(h *history) { gave(h, Given{1, b}, Given{2, b}, Given{3, "desk@n0"}, Given{3, "desk@n0"}) }, "has had its effect 2 times"},
		{"an effect without its answer", func(h *history) { fails(h.Deeds[1], notRun) }, "was said not to have run, and has an effect"},
		{"an effect of who has failed", func(h *history) { h.Deeds[1].Fails = 1; fails(h.Deeds[1], hasRun) }, "was said to have failed, and has an effect"},
		{"an answer of who fails", func(h *history) { h.Deeds[1].Fails = 1 }, "or should have failed"},
		{"it has run, and its answer is gone", func(h *history) { fails(h.Deeds[3], hasRun) }, "its handler does not fail"},
		{"nobody knows", func(h *history) { fails(h.Deeds[1], unknown) }, "although its caller lives"},
		{"nobody knows, and the caller is dead", func(h *history) { fails(h.Deeds[1], unknown); h.Deeds[1].Lives = false }, ""},
		{"nobody knows, at a deadline", func(h *history) { fails(h.Deeds[1], unknown); h.Deeds[1].Patient = false }, ""},
		{"it never ends", func(h *history) { h.Deeds[5].Ended = 0 }, "never ended"},
		{"a one-way message comes twice", func(h *history) { took(h, Gift{1, a, 1}, Gift{2, a, 2}, Gift{7, "", 0}, Gift{7, "", 0}) }, "has come 2 times"},
		{"a one-way message comes that was refused", func(h *history) { fails(h.Deeds[6], notRun) }, "was said not to have run, and has an effect"},
		{"an answer of what is not stored", func(h *history) { h.Deeds[3].Seen = Seen{3, 9, 2} }, "which is not what the vault has"},
		{"an answer of more than is stored", func(h *history) { h.Deeds[3].Seen = Seen{4, 4, 2} }, "which is not what the vault has"},
		{"another one's answer", func(h *history) { h.Deeds[1].Seen = Seen{1, 1, 1} }, "was answered with the transfer 1"},
		{"a reader tells of the past", func(h *history) { h.Deeds[3].Seen = Seen{2, 2, 2} }, "has seen 2 transfers, after"},
		{"a message is lost", func(h *history) { took(h, Gift{2, a, 2}, Gift{7, "", 0}) }, "gift 1 of sim.vault/a@~ has not come"},
		{"a message is doubled", func(h *history) { took(h, Gift{1, a, 1}, Gift{1, a, 1}, Gift{2, a, 2}, Gift{7, "", 0}) }, "gift 1 of sim.vault/a@~ has come to sim.vault/b@~ 2 times"},
		{"a message of nobody", func(h *history) { took(h, Gift{1, a, 1}, Gift{2, a, 2}, Gift{8, a, 3}, Gift{7, "", 0}) }, "was never sent"},
		{"a message to a desk is lost", func(h *history) { h.Arrived = nil }, "gift 3 of sim.vault/a@~ has not come to desk@n0"},
		{"a message to a desk is lost with its node", func(h *history) { h.Arrived, h.Lost = nil, []string{"n0"} }, ""},
		{"a message to a desk is doubled", func(h *history) { h.Arrived = append(h.Arrived, arrival{"desk@n0", "e2", h.Arrived[0].Gift}) }, "has come to desk@n0 2 times"},
		{"messages change places", func(h *history) { took(h, Gift{2, a, 2}, Gift{1, a, 1}, Gift{7, "", 0}) }, "has come to sim.vault/b@~ after place 2"},

		{"a firing is missed", func(h *history) { without(h, 1, 2) }, "firing 1 of reminder x of sim.vault/a, of 2, was not handled"},
		{"the last firing is missed", func(h *history) { without(h, 8, 9) }, "firing 2 of reminder z of sim.vault/a, of 3, was not handled"},
		{"the only firing is missed", func(h *history) { without(h, 5, 6) }, "firing 1 of reminder y of sim.vault/a, of 1, was not handled"},
		{"the last firing before it is forgotten is not handled", func(h *history) { without(h, 2, 3) }, ""},
		{"a firing is in hand", func(h *history) { waits(h, 1, func(e *reminder.Entry) { e.Number = 2 }); h.Tolled = h.Tolled[:1] }, ""},
		{"a firing of a guest is missed", func(h *history) { h.Tolled = h.Tolled[1:] }, "firing 1 of reminder x of sim.guest/0, of 2, was not handled"},
		{"a firing is handled twice", func(h *history) {
			rung(h, func(all []Rung) []Rung { return slices.Insert(all, 3, all[2]) })
		}, "firing 2 of reminder x of sim.vault/a was handled 2 times"},
		{"one start of a node handles a firing twice", func(h *history) { h.Tolled[2].Epoch = "e1" }, "firing 2 of reminder x of sim.guest/0 was handled 2 times"},
		{"times are told of twice", func(h *history) { h.Chests[a].Rung[8].Missed = 20 }, "reminder z of sim.vault/a has told of 22 times, and there were 14"},
		{"a reminder that comes once has missed some", func(h *history) { h.Chests[a].Rung[5].Missed = 1 }, "reminder y of sim.vault/a has told of 2 times, and there were 1"},
		{"firings change places", func(h *history) {
			rung(h, func(all []Rung) []Rung { all[1], all[2] = all[2], all[1]; return all })
		}, "firing 1 of reminder x of sim.vault/a was handled after firing 2"},
		{"a firing comes early", func(h *history) { h.Chests[a].Rung[1].Early = true }, "was handled before its time"},
		{"a firing comes that was never handed out", func(h *history) { unheard(h, 2, 4) }, "firing 2 of reminder x of sim.vault/a@~ was handled, and never handed out"},
		{"a firing is handed out of what was forgotten", func(h *history) {
			h.Book = append(h.Book, h.Book[2])
			h.Book[len(h.Book)-1].At = h.Book[5].At
		}, "firing 2 of reminder x of sim.vault/a was handed out when it was no more"},
		{"a firing is handed out at that very moment", func(h *history) {
			h.Book = append(h.Book, h.Book[2])
			h.Book[len(h.Book)-1].At = h.Book[4].At
		}, ""},
		{"what was forgotten waits", func(h *history) {
			unheard(h, 14, 15)
			without(h, 9, 10)
		}, "reminder x of sim.vault/a was forgotten, and waits"},
		{"a Forget is lost", func(h *history) { unheard(h, 4, 5) }, "has changed reminder x by set, forget, set, and the store has got set, set"},
		{"a Remind is lost", func(h *history) { unheard(h, 14, 15); h.Waiting = h.Waiting[:2] }, "has changed reminder x by set, forget, set, and the store has got set, forget"},
		{"the only Remind is lost", func(h *history) { unheard(h, 5, 7); without(h, 5, 6) }, "the store has never heard of reminder y of"},
		{"a Remind of a guest is lost", func(h *history) { h.Deeds[5].Ring = h.Deeds[4].Ring }, "has answered 2 changes of reminder x, and the store has got 1"},
		{"a Remind of a guest is lost, as it was said", func(h *history) { h.Deeds[5].Ring = h.Deeds[4].Ring; fails(h.Deeds[5], unknown) }, ""},
		{"a Remind of who has failed fires", func(h *history) { without(h, 6, 7) }, "firing 1 of reminder z of sim.vault/a@~ is of 1, which has set none"},
		{"a Remind of who has failed waits", func(h *history) { without(h, 9, 10) }, "has changed reminder x by set, forget, and the store has got set, forget, set"},
		{"a firing fails, and has an effect", func(h *history) {
			rung(h, func(all []Rung) []Rung { r := all[8]; r.Number = 3; return slices.Insert(all, 9, r) })
		}, "firing 3 of reminder z of sim.vault/a@~ has an effect, and its handler fails"},
		{"a reminder is overdue", func(h *history) { waits(h, 1, func(e *reminder.Entry) { e.Due = h.Settled.Add(-time.Second) }) }, "firing 3 of reminder x of sim.guest/0 should have come 1s before"},
		{"a reminder is gone", func(h *history) { h.Waiting = h.Waiting[1:] }, "reminder z of sim.vault/a is gone, after 3 firings"},
		{"a reminder that comes once is gone", func(h *history) { unheard(h, 6, 7); without(h, 5, 6) }, "reminder y of sim.vault/a is gone, after 0 firings"},
		{"an earlier change is made again", func(h *history) {
			again := h.Book[0]
			again.At, again.Again = h.Book[14].At, true
			h.Book = append(h.Book, again)
		}, "reminder x of sim.vault/a was set back to what it was before"},
		{"all changes are made again", func(h *history) {
			for _, i := range []int{0, 4, 14} {
				again := h.Book[i]
				again.At, again.Again = h.Book[14].At, true
				h.Book = append(h.Book, again)
			}
		}, ""},
		{"an earlier reminder waits", func(h *history) { waits(h, 2, func(e *reminder.Entry) { e.Generation = reminder.ID{1} }) }, "is another one than was set"},
	} {
		h := soundHistory()
		c.plant(h)
		wrong := h.judge()
		found := slices.ContainsFunc(wrong, func(w string) bool { return strings.Contains(w, c.found) })
		if c.found == "" && len(wrong) > 0 || c.found != "" && !found {
			t.Errorf("%s: %q", c.name, wrong)
		}
	}
}
