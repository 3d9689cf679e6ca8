// Package reminder is where the reminders of virtual actors live: durable timers, each of which
// sends its actor a message at a time, every so often, or at the times of a cron expression. The
// package has the interface of the stores, the decisions that they share, and their errors.
//
//	_, err := store.Set(ctx, reminder.Reminder{
//		Actor: reminder.Actor{Kind: "bank.account", ID: "alice"}, Name: "interest",
//		When:    reminder.Cron("0 3 1 * *", "Europe/Berlin"),
//		Message: reminder.Message{Type: "bank.AddInterest", Body: body},
//	}, reminder.ID{}) // the ID of a new Set is drawn by the store
//
//	err = store.Follow(ctx, func(ctx context.Context, f reminder.Firing) reminder.Outcome {
//		if send(ctx, f.Actor, f.Message, f.Key()) != nil {
//			return reminder.Retry(time.Second)
//		}
//		return reminder.Done()
//	})
//
// The promise. A reminder that was set comes due, also if processes, servers or the whole cluster
// were down at its time. Then it fires once, late, and is told so: [Firing.Late] says how late, and
// [Firing.Missed] how many of its times have passed without a firing. After that it fires at its
// usual times. A firing is handed to one follower at a time, and again until one has answered it,
// so it may be handed out twice. Its [Key] is the same each time: who sends the message under that
// key has it run once. The firings of one Set are in order, since the next one comes only after the
// answer to the one before; times that pass until then are counted in its Missed. If the store has not
// heard the answer to an attempt, a later attempt may have counted times that the message which has run
// does not tell of.
//
// A reminder that was replaced or forgotten does not fire any more: of each firing the store reads,
// right before it hands it out, whether that is still the last word on the reminder. What was read
// before the Set or Forget was stored may still be handed out, and what was handed out may still
// be with its handler; the answer to it changes nothing any more. Who must exclude that compares
// [Firing.Generation] with what the Set returned.
//
// An error says what is known. [ErrNotStored], and all errors that wrap it ([ErrInvalid],
// [ErrTooLarge], [ErrFull]), are proofs: the change is not stored and never will be. After
// [ErrUnknown] it may be stored, now or later, but not once a later Set or Forget of the same
// reminder has returned without an error; the same call, under the same ID, finds out. A store
// whose content was deleted, emptied or replaced says [ErrLost], and never that there is nothing.
//
// [github.com/tandem-go/tandem/reminder/jetstream] keeps reminders in NATS, for a cluster.
// [github.com/tandem-go/tandem/reminder/memory] keeps them in the memory of the process, for tests
// and for single nodes. Package remindertest has the suite that every store passes.
//
// The limits are the constants of this package. How exact the time is depends on the store, and on
// the clocks of its servers. A Set is recognised by its ID as long as it is among the last
// [MaxChanges] of its reminder and, once the reminder has ended, for [KeepEnded].
package reminder
