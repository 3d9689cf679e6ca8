package storetest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/ledger/storetest"
	"github.com/tandem-go/tandem/test/bubble"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, storetest.Config{
		Open: func(*testing.T) func() ledger.Store {
			m := &storetest.Memory{}
			return func() ledger.Store { return m }
		},
		TooLarge: storetest.MaxChange,
	})
}

func change(seq uint64) ledger.Change {
	return ledger.Change{Op: ledger.Begun, ID: ledger.ID{Seq: seq}, Time: time.Unix(1, 2)}
}

func take(t *testing.T, m *storetest.Memory) ledger.Log {
	t.Helper()
	log, err := m.Take(t.Context(), "n", "e", func(ledger.Change) {})
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func TestFailNext(t *testing.T) {
	var m storetest.Memory
	log := take(t, &m)
	before, after := errors.New("before"), errors.New("after")
	m.FailNext(false, before)
	m.FailNext(true, after)
	for seq, want := range []error{before, after, nil} {
		if err := log.Append(t.Context(), []ledger.Change{change(uint64(seq))}); err != want {
			t.Errorf("append %d: %v, want %v", seq, err, want)
		}
	}
	kept := m.Changes("n")
	if len(kept) != 2 || kept[0].ID.Seq != 1 || kept[1].ID.Seq != 2 {
		t.Errorf("kept %v", kept)
	}
	if calls, changes := m.Appends(); calls != 1 || changes != 1 {
		t.Errorf("%d appends with %d changes", calls, changes)
	}
	if m.Changes("other") != nil {
		t.Error("something is kept of nobody")
	}
}

// A rewrite that fails at any step loses nothing.
func TestFailRewrite(t *testing.T) {
	for step := range 5 {
		for _, stored := range []bool{false, true} {
			var m storetest.Memory
			log := take(t, &m)
			if err := log.Append(t.Context(), []ledger.Change{change(1)}); err != nil {
				t.Fatal(err)
			}
			failed := errors.New("failed")
			at := 0
			err := log.Rewrite(t.Context(), func(yield func(ledger.Change) bool) {
				for range 3 {
					if at == step {
						m.FailNext(stored, failed)
					}
					at++
					if !yield(change(2)) {
						return
					}
				}
				if at == step {
					m.FailNext(stored, failed)
				}
			})
			kept := m.Changes("n")
			switch replaced := kept[0].ID.Seq == 2; {
			case (err != nil) != (step < 4):
				t.Errorf("step %d: %v", step, err)
			case replaced && err != nil && !stored, replaced && len(kept) != 3:
				t.Errorf("step %d: kept %v", step, kept)
			}
		}
	}
}

func TestDelay(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var m storetest.Memory
		log := take(t, &m)
		m.SetDelay(time.Minute)
		began := time.Now()
		if err := log.Append(t.Context(), []ledger.Change{change(1)}); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d != time.Minute {
			t.Errorf("it took %v", d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := log.Append(ctx, []ledger.Change{change(2)}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		// An Append that is waiting when another owner takes over is fenced.
		held := make(chan error)
		go func() { held <- log.Append(t.Context(), []ledger.Change{change(3)}) }()
		synctest.Wait()
		take(t, &m)
		if err := <-held; !errors.Is(err, ledger.ErrFenced) {
			t.Errorf("got %v", err)
		}
		if kept := m.Changes("n"); len(kept) != 1 {
			t.Errorf("kept %v", kept)
		}
	})
}
