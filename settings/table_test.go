package settings_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/settings"
)

const (
	debug = `{"level":"debug"}`
	info  = `{"level":"info"}`
	loud  = `{"level":"loud"}`
)

// inForce returns the revision that is in force; 0: none.
func inForce(t *settings.Table, s settings.Section) uint64 {
	if v := t.InForce(s); v != nil {
		return v.Revision
	}
	return 0
}

func revisions(all []*settings.Version) (list []uint64) {
	for _, v := range all {
		list = append(list, v.Revision)
	}
	return list
}

func whole(entries ...settings.Entry) settings.Update {
	return settings.Update{Source: "s", Whole: true, Entries: entries}
}

func some(entries ...settings.Entry) settings.Update {
	return settings.Update{Source: "s", Entries: entries}
}

func TestTable(t *testing.T) {
	for _, row := range []struct {
		what    string
		updates []settings.Update
		refused []uint64 // by the last update
		want    uint64   // in force in the end
	}{
		{"nothing", nil, nil, 0},
		{"a good one", []settings.Update{whole(entry("log", 1, debug))}, nil, 1},
		{"a bad one", []settings.Update{whole(entry("log", 1, loud))}, []uint64{1}, 0},
		{"a bad one behind a good one", []settings.Update{whole(entry("log", 1, debug)), some(entry("log", 2, loud))}, []uint64{2}, 1},
		{"the same in one", []settings.Update{whole(entry("log", 1, debug), entry("log", 2, loud))}, []uint64{2}, 1},
		{"bad ones before a good one are not told", []settings.Update{whole(entry("log", 1, loud), entry("log", 2, loud), entry("log", 3, info))}, nil, 3},
		{"only the latest bad one is told", []settings.Update{whole(entry("log", 1, info), entry("log", 2, loud), entry("log", 3, loud))}, []uint64{3}, 1},
		{"a bad one that comes again is not told again", []settings.Update{whole(entry("log", 2, loud)), whole(entry("log", 2, loud))}, nil, 0},
		{"a deleted one", []settings.Update{whole(entry("log", 1, debug)), some(entry("log", 2, ""))}, nil, 0},
		{"a bad one behind a deleted one", []settings.Update{whole(entry("log", 1, debug), entry("log", 2, ""), entry("log", 3, loud))}, []uint64{3}, 0},
		{"an older one", []settings.Update{whole(entry("log", 5, debug)), some(entry("log", 4, info))}, nil, 5},
		{"an older one behind a deleted one", []settings.Update{whole(entry("log", 5, "")), some(entry("log", 4, info))}, nil, 0},
		{"an older one behind a bad one", []settings.Update{whole(entry("log", 5, loud)), some(entry("log", 4, info))}, nil, 0},
		{"in the wrong order", []settings.Update{whole(entry("log", 5, debug), entry("log", 4, info))}, nil, 5},
		{"an older whole", []settings.Update{whole(entry("log", 5, debug)), whole(entry("log", 4, info))}, nil, 5},
		{"a whole without it", []settings.Update{whole(entry("log", 5, debug)), whole(entry("retry", 4, `{}`))}, nil, 0},
		{"the node's own", []settings.Update{whole(entry("log", 5, debug), entry("node.a.log", 4, info))}, nil, 4},
		{"the node's own, bad", []settings.Update{whole(entry("log", 5, debug), entry("node.a.log", 6, loud))}, []uint64{6}, 5},
		{"the node's own, deleted", []settings.Update{whole(entry("log", 5, debug), entry("node.a.log", 6, info)), some(entry("node.a.log", 7, ""))}, nil, 5},
		{"another node's", []settings.Update{whole(entry("log", 5, debug), entry("node.b.log", 6, loud))}, nil, 5},
		{"a key that there is not", []settings.Update{whole(entry("log", 5, debug)), some(entry("logs", 6, info))}, []uint64{6}, 5},
		{"the same again", []settings.Update{whole(entry("logs", 6, info)), whole(entry("logs", 6, info))}, nil, 0},
		{"the same, deleted", []settings.Update{whole(entry("logs", 6, info)), some(entry("logs", 7, ""))}, nil, 0},
		{"before a whole one", []settings.Update{some(entry("log", 5, debug))}, nil, 0},
		{"of another source, before its whole one", []settings.Update{whole(entry("log", 5, debug)), {Source: "t", Entries: []settings.Entry{entry("log", 9, info)}}}, nil, 5},
		{"of another source, whose revisions begin anew", []settings.Update{whole(entry("log", 5, debug)), {Source: "t", Whole: true, Entries: []settings.Entry{entry("log", 1, info)}}}, nil, 1},
		{"of another source, bad", []settings.Update{whole(entry("log", 5, debug)), {Source: "t", Whole: true, Entries: []settings.Entry{entry("log", 1, loud)}}}, []uint64{1}, 5},
		{"of another source, empty", []settings.Update{whole(entry("log", 5, debug)), {Source: "t", Whole: true}}, nil, 0},
		{"away", []settings.Update{whole(entry("log", 5, debug)), {Away: errors.New("x")}}, nil, 5},
	} {
		table := settings.NewTable("a")
		var refused []*settings.Version
		for _, u := range row.updates {
			refused = table.Take(u)
		}
		want(t, row.what+": refused", revisions(refused), row.refused)
		want(t, row.what+": in force", inForce(table, "log"), row.want)
	}
}

// What cannot be applied is refused, and what was good before is good again.
func TestRefuse(t *testing.T) {
	table := settings.NewTable("a")
	table.Take(whole(entry("log", 1, debug)))
	table.Take(some(entry("log", 2, info)))
	v := table.Refuse(table.InForce("log"), errors.New("no"))
	want(t, "refused", fmt.Sprint(v.Revision, v.Value, rpc.CodeOf(v.Err)), "2 <nil> rpc: invalid")
	want(t, "in force", inForce(table, "log"), 1)
	table.Take(some(entry("retry", 3, `{}`)))
	table.Refuse(table.InForce("log"), errors.New("no"))
	want(t, "the first one, refused late", inForce(table, "log"), 0)
}

func TestStates(t *testing.T) {
	table := settings.NewTable("a")
	table.Take(whole(entry("log", 1, debug), entry("log", 2, loud), entry("node.a.log", 3, info), entry("access", 4, loud), entry("strange", 5, info)))
	var got []string
	for _, s := range table.States() {
		line := s.Key.String()
		if s.Applied != nil {
			line += fmt.Sprint(" applied ", s.Applied.Revision, " by ", s.Applied.Author, " in force ", s.InForce)
		}
		if s.Refused != nil {
			line += fmt.Sprint(" refused ", s.Refused.Revision)
		}
		got = append(got, line)
	}
	want(t, "states", slices.Concat([]string{}, got), []string{"access refused 4", "log applied 1 by ann in force false refused 2", "node.a.log applied 3 by ann in force true", "strange refused 5"})
}

// However many keys there are that should not be, few of them are kept.
func TestStrangeKeysAreBounded(t *testing.T) {
	table := settings.NewTable("a")
	refused := 0
	for i := range 1000 {
		refused += len(table.Take(whole(append([]settings.Entry{entry("log", 1, debug)}, strangers(i)...)...)))
	}
	want(t, "refused", refused, 32)
	want(t, "kept", len(table.States()), 33)
}

func strangers(n int) (all []settings.Entry) {
	for i := range n {
		all = append(all, entry(fmt.Sprint("x", i), uint64(2+i), info))
	}
	return all
}

// write is one of a random sequence.
type write struct {
	settings.Entry
	good bool
}

// Whatever is written, and in whatever way it comes to the nodes, stale, twice and in snapshots: in the end, each has in
// force what is the last good one in the order of revisions; and never has it gone back to an older one.
func TestLastGoodInRevisionOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var log []write
		nodes := []string{"a", "b", "c"}
		keys := []string{"log", "retry", "node.a.log", "node.b.log"}
		tables := map[string]*settings.Table{}
		at, highest := map[string]int{}, map[string]uint64{}
		for _, n := range nodes {
			tables[n] = settings.NewTable(n)
			tables[n].Take(whole())
		}
		check := func(n string) {
			for _, s := range []settings.Section{"log", "retry"} {
				v := tables[n].InForce(s)
				if v == nil {
					continue
				}
				if v.Err != nil || v.Value == nil || !log[v.Revision-1].good {
					t.Fatalf("node %s has revision %d in force, which is bad", n, v.Revision)
				}
				if k := n + v.Key.String(); v.Revision < highest[k] {
					t.Fatalf("node %s has gone from %d back to %d", n, highest[k], v.Revision)
				} else {
					highest[k] = v.Revision
				}
			}
		}
		entries := func(from, to int) (all []settings.Entry) {
			for _, w := range log[from:to] {
				all = append(all, w.Entry)
			}
			return all
		}
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				key := rapid.SampledFrom(keys).Draw(t, "key")
				value := rapid.SampledFrom([]string{debug, info, `{}`, `{"attempts":3}`, loud, `{"attempts":-1}`, `[`, "", "null"}).Draw(t, "value")
				w := write{Entry: entry(key, uint64(len(log)+1), value)}
				w.good = value != "" && settings.NewVersion(w.Entry).Err == nil
				log = append(log, w)
			},
			"next": func(t *rapid.T) {
				n := rapid.SampledFrom(nodes).Draw(t, "node")
				to := min(at[n]+rapid.IntRange(1, 3).Draw(t, "n"), len(log))
				tables[n].Take(some(entries(at[n], to)...))
				at[n] = to
				check(n)
			},
			"stale": func(t *rapid.T) {
				n := rapid.SampledFrom(nodes).Draw(t, "node")
				from := rapid.IntRange(0, at[n]).Draw(t, "from")
				tables[n].Take(some(entries(from, rapid.IntRange(from, at[n]).Draw(t, "to"))...))
				check(n)
			},
			"reconnect": func(t *rapid.T) {
				n := rapid.SampledFrom(nodes).Draw(t, "node")
				tables[n].Take(whole(entries(0, len(log))...))
				at[n] = len(log)
				check(n)
			},
		})
		for _, n := range nodes {
			tables[n].Take(some(entries(at[n], len(log))...))
			check(n)
			for _, s := range []settings.Section{"log", "retry"} {
				if got, want := inForce(tables[n], s), model(log, n, s); got != want {
					t.Fatalf("node %s has revision %d of %s in force, want %d", n, got, s, want)
				}
			}
		}
	})
}

// model is what is to be in force after all writes.
func model(log []write, node string, s settings.Section) uint64 {
	last := func(key string) (revision uint64) {
		for _, w := range log {
			switch {
			case w.Key != key:
			case w.Deleted:
				revision = 0
			case w.good:
				revision = w.Revision
			}
		}
		return revision
	}
	if own := last("node." + node + "." + string(s)); own > 0 {
		return own
	}
	return last(string(s))
}
