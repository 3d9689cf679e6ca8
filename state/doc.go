// Package state is where the stored state of virtual actors lives: the interface of the stores,
// what they keep under a key, how that is encoded, and their errors.
//
//	rec, rev, err := store.Load(ctx, key)
//	if err != nil && !errors.Is(err, state.ErrNone) {
//		return err
//	}
//	rec.Token, rec.ID = token, state.ID{} // the ID of a new commit is drawn by the store
//	rec.State = newState
//	rev, err = store.Commit(ctx, key, rec, rev)
//
// The promise. A [Record] holds the state of one actor, the outcomes of the requests that made
// it, and the messages that are to be sent because of it. One Commit stores all of that, or
// nothing. It names the commit that it replaces by its [Revision], and is stored only if that is
// still the last one. So of several holders of one key at most one has its commits accepted, and
// nobody writes over what it has not read. A commit under a token that is lower than that of the
// commit before it is refused.
//
// An error says what is known. [ErrNotStored], and all errors that wrap it ([ErrConflict],
// [ErrFenced], [ErrTooLarge], [ErrFull]), are proofs: the commit is not stored and never will be.
// After [ErrUnknown] it may be stored, now or later; the same Commit, under the same ID, may be
// made again until the answer is known. A store whose content was deleted, emptied or replaced
// says [ErrLost], and never that there is no record.
//
// [github.com/tandem-go/tandem/state/jetstream] keeps records in NATS.
// [github.com/tandem-go/tandem/state/sql], a module of its own, keeps them in SQLite or PostgreSQL.
// [github.com/tandem-go/tandem/state/memory] keeps them in the memory of the process, for tests
// and for single nodes. Package storetest has the suite that every store passes.
//
// The limits. A record must fit into one message of the store: about 1 MiB in NATS, unless the
// server is configured otherwise; it is not divided. A record has at most [MaxOutcomes] outcomes
// and [MaxMessages] messages. What was deleted leaves a small record behind, for ever, because
// its revision and its token must not be used again. A Load shows a record that was the last one
// when it was read, as far as the store could see; only the Commit after it proves that it still
// was. So a holder that takes over commits before it answers.
package state
