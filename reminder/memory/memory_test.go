package memory_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/reminder"
	"github.com/tandem-go/tandem/reminder/memory"
	"github.com/tandem-go/tandem/reminder/remindertest"
	"github.com/tandem-go/tandem/test/bubble"
)

func TestConformance(t *testing.T) {
	remindertest.Run(t, remindertest.Config{
		Open: func(*testing.T) func() reminder.Store {
			s := memory.New(memory.Config{Patience: 20 * time.Second})
			return func() reminder.Store { return s }
		},
		In:       bubble.Test,
		Patience: 20 * time.Second,
	})
}

var alice = reminder.Actor{Kind: "bank.account", ID: "alice"}

func note(name string, when reminder.When) reminder.Reminder {
	return reminder.Reminder{Actor: alice, Name: name, When: when, Message: reminder.Message{Type: "bank.Note"}}
}

// A full store refuses what is more, and what has ended makes room after a day.
func TestFull(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := memory.New(memory.Config{MaxBytes: 1000})
		ctx, n := t.Context(), 0
		for ; ; n++ {
			if _, err := s.Set(ctx, note(fmt.Sprint(n), reminder.Every(time.Hour)), reminder.ID{}); err != nil {
				if !errors.Is(err, reminder.ErrFull) || !errors.Is(err, reminder.ErrNotStored) || n < 4 {
					t.Fatal(n, err)
				}
				break
			}
		}
		for i := range n {
			if err := s.Forget(ctx, alice, fmt.Sprint(i), reminder.ID{}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(reminder.KeepEnded)
		synctest.Wait()
		for i := range n {
			if _, err := s.Set(ctx, note(fmt.Sprint("n", i), reminder.Every(time.Hour)), reminder.ID{}); err != nil {
				t.Fatal(i, err)
			}
		}
	})
}

// At most as many handlers run at the same time as configured, and the others come when one has ended.
func TestHandlers(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		s := memory.New(memory.Config{Handlers: 2})
		for i := range 5 {
			if _, err := s.Set(t.Context(), note(fmt.Sprint(i), reminder.At(time.Now())), reminder.ID{}); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		running, most, all := 0, 0, 0
		lock := make(chan struct{}, 1)
		ended := make(chan error)
		go func() {
			ended <- s.Follow(ctx, func(context.Context, reminder.Firing) reminder.Outcome {
				lock <- struct{}{}
				running, all = running+1, all+1
				most = max(most, running)
				<-lock
				time.Sleep(time.Second)
				lock <- struct{}{}
				running--
				<-lock
				return reminder.Done()
			})
		}()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if most != 2 || all != 5 {
			t.Errorf("%d ran, %d at the same time", all, most)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
