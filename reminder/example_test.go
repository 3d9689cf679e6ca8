package reminder_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/tandem-go/tandem/reminder"
	"github.com/tandem-go/tandem/reminder/memory"
)

// A reminder comes due, and its message is sent under the key of the firing.
func ExampleStore() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var store reminder.Store = memory.New(memory.Config{})
	alice := reminder.Actor{Kind: "bank.account", ID: "alice"}

	e, err := store.Set(ctx, reminder.Reminder{
		Actor: alice, Name: "interest", When: reminder.At(time.Now().Add(50 * time.Millisecond)),
		Message: reminder.Message{Type: "bank.AddInterest", Body: []byte("2 %")},
	}, reminder.ID{})
	if err != nil {
		log.Fatal(err)
	}
	all, err := store.List(ctx, alice)
	fmt.Println(len(all), err)

	err = store.Follow(ctx, func(_ context.Context, f reminder.Firing) reminder.Outcome {
		fmt.Println(f.Actor, f.Message.Type, string(f.Message.Body), f.Number, f.Missed)
		fmt.Println(f.Generation == e.Generation, len(f.Key().String()))
		cancel()
		return reminder.Done()
	})
	fmt.Println(err)
	// Output:
	// 1 <nil>
	// bank.account/alice bank.AddInterest 2 % 1 0
	// true 64
	// <nil>
}

// What was missed is told with the next firing.
func ExampleEntry() {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	e, err := reminder.Entry{}.Set(reminder.Reminder{
		Actor: reminder.Actor{Kind: "shop.cart", ID: "7"}, Name: "tidy", When: reminder.Every(time.Hour),
		Message: reminder.Message{Type: "shop.Tidy"},
	}, reminder.NewID(), noon)
	if err != nil {
		log.Fatal(err)
	}
	f, err := e.Firing(noon.Add(4*time.Hour+30*time.Minute), 1)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(f.Due.Format(time.TimeOnly), f.Late, f.Missed)
	e, ok, err := e.Answered(&f, noon.Add(4*time.Hour+31*time.Minute))
	fmt.Println(e.Due.Format(time.TimeOnly), e.Number, ok, err)
	// Output:
	// 13:00:00 3h30m0s 3
	// 17:00:00 2 true <nil>
}
