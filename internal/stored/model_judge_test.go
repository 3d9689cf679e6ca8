package stored_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/state"
)

// finish ends what is under way, has every request answered, and judges.
func (w *world) finish() {
	for _, f := range w.late {
		if w.oneIn(2, "late in the end") {
			f()
		}
	}
	for _, n := range w.nodes {
		w.kill(n)
	}
	w.activate()
	n := w.last()
	settle := func() {
		for i := 0; !n.dead && i < 10; i++ {
			n.core.Flush()
			if c, ok := n.core.Next(w.now); ok {
				rev, err := w.store.Commit(context.Background(), key, c.Record, c.After)
				if err != nil {
					w.t.Fatalf("the last activation: %v", err)
				}
				w.committed(n, rev)
			}
			for len(n.outbox) > 0 {
				w.sendFrom(n, true)
			}
		}
		if n.core.Flush(); !n.core.Quiet() || n.held > 0 {
			w.t.Fatalf("the last activation is not quiet: it has %d copies", n.held)
		}
	}
	settle()
	for _, r := range w.open() {
		if r.what == "read" || r.what == "big" {
			continue
		}
		for range 5 { // it may have no room before others are acked, and may be withdrawn
			if r.accepted == "" {
				w.copy(r, n)
				w.handle(w.copies[len(w.copies)-1])
				settle()
			}
		}
		if r.accepted == "" && !r.refused {
			w.t.Fatalf("request %d has no answer, and nothing is in its way", r.id)
		}
	}
	for _, r := range w.requests { // another process uses the same key
		if r.key() && !r.closed {
			w.copy(r, n)
		}
	}
	for _, c := range w.copies {
		w.handle(w.arrive(c))
	}
	settle()
	w.judge()
}

func (w *world) judge() {
	rec, _, err := w.store.Load(context.Background(), key)
	if err != nil && !errors.Is(err, state.ErrNone) {
		w.t.Fatal(err)
	}
	list, sent := string(rec.State), map[string][]string{}
	effects := map[int]int{}
	for run := range strings.SplitSeq(strings.TrimSuffix(list, ";"), ";") {
		if run == "" {
			continue
		}
		if w.notRun[run+";"] {
			w.t.Errorf("run %s was reported as NotRun, and is in %q", run, list)
		}
		text, _, _ := strings.Cut(run, ".")
		id, _ := strconv.Atoi(text)
		effects[id]++
		for i := range id % 3 {
			to := fmt.Sprint("t", i%2)
			sent[to] = append(sent[to], fmt.Sprintf("%s;%d", run, i))
		}
	}
	for _, r := range w.requests {
		for _, text := range []string{r.accepted, r.effect} {
			message, seen, ok := strings.Cut(text, "/")
			switch want := ok && message == "" || r.effect != "" && strings.HasPrefix(r.effect, "/"); {
			case effects[r.id] > 1, text != "" && (effects[r.id] == 1) != want:
				w.t.Errorf("request %d was answered %q and has its effect %d times in %q", r.id, text, effects[r.id], list)
			case !strings.HasPrefix(list, seen):
				w.t.Errorf("request %d was answered %q, and in the end there is %q", r.id, text, list)
			}
		}
	}
	for _, to := range []string{"t0", "t1"} {
		if !slices.Equal(w.arrived[to], sent[to]) {
			w.t.Errorf("%s has got %q, want %q", to, w.arrived[to], sent[to])
		}
	}
}

func TestModel(t *testing.T) {
	if testing.Short() { // mutations, of which nobody reads the smallest run that shows them
		flag.Set("rapid.shrinktime", "0s")
	}
	for range 30 { // with seeds of its own each time
		rapid.Check(t, func(t *rapid.T) {
			w := newWorld(t)
			actions := w.actions()
			for range 20 + w.pick("steps", 180) {
				oneOf(w, "action", actions)()
				if err := w.last().core.Accounts(); err != nil {
					t.Fatal(err)
				}
			}
			w.finish()
		})
	}
}
