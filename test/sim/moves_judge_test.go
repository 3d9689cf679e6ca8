package sim

import (
	"slices"
	"strings"
	"testing"

	"github.com/tandem-go/tandem/internal/simulation"
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
	return &history{
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
}

// TestMovesJudge plants one violation at a time in a history that is sound.
func TestMovesJudge(t *testing.T) {
	const a, b = "sim.vault/a@~", "sim.vault/b@~"
	notRun, hasRun, unknown := rpc.Errorf(rpc.Unavailable, rpc.NotRun, "no"), rpc.NewError("sim.e", "yes"), rpc.Errorf(rpc.OutcomeUnknown, rpc.Unknown, "who knows")
	gave := func(h *history, all ...Given) { h.Chests[a] = Chest{Gave: all} }
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
