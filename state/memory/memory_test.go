package memory_test

import (
	"context"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/state/memory"
	"github.com/tandem-go/tandem/state/storetest"
)

func TestConformance(t *testing.T) {
	storetest.Run(t, storetest.Config{
		Open: func(t *testing.T) func() state.Store {
			s := memory.New(memory.Config{})
			return func() state.Store { return s }
		},
		TooLarge: memory.DefaultMaxRecord,
	})
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { storetest.Model(t, []state.Store{memory.New(memory.Config{})}, nil) })
}

// A store that is full refuses what would need more room, and takes what needs less.
func TestFull(t *testing.T) {
	ctx := context.Background()
	s := memory.New(memory.Config{MaxBytes: 1000})
	key := state.Key{Kind: "k", ID: "a"}
	rev, err := s.Commit(ctx, key, state.Record{State: make([]byte, 600)}, state.Revision{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(ctx, state.Key{Kind: "k", ID: "b"}, state.Record{State: make([]byte, 600)}, state.Revision{}); !errors.Is(err, state.ErrFull) || !errors.Is(err, state.ErrNotStored) {
		t.Errorf("got %v", err)
	}
	if _, err = s.Commit(ctx, key, state.Record{State: make([]byte, 10)}, rev); err != nil {
		t.Error(err)
	}
	if _, err := s.Commit(ctx, state.Key{Kind: "k", ID: "b"}, state.Record{State: make([]byte, 600)}, state.Revision{}); err != nil {
		t.Error(err)
	}
}
