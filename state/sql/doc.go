// Package sql keeps the stored state of virtual actors in a table of SQLite or PostgreSQL.
//
//	import (
//		stdsql "database/sql"
//
//		"github.com/tandem-go/tandem/state/sql"
//		_ "modernc.org/sqlite"
//	)
//
//	db, err := stdsql.Open("sqlite", "file:state.db?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
//	err = sql.Create(ctx, db, sql.SQLite, sql.Config{}) // once, when the cluster is set up
//	store, err := sql.Open(ctx, db, sql.SQLite, sql.Config{})
//	rec, rev, err := store.Load(ctx, state.Key{Kind: "bank.account", ID: "alice"})
//
// It is a module of its own, and needs no driver: the program chooses one, and opens the database.
// So it also says how many connections there are; for PostgreSQL that should be limited
// (SetMaxOpenConns), since each commit that is under way has one.
//
// The promise is that of [state.Store]. All processes share one table, with a row for each key. A
// commit is one statement, which changes the row only if it still has the number and the ID of the
// commit before, and no higher token. The database applies such a statement at most once, however
// often and however late it arrives. So when a connection breaks, also in the middle of a
// transaction's end, Commit executes the statement again until it is applied, or finds its
// condition not met; then the row tells whether this commit is in it, or was. [state.ErrUnknown]
// remains if ctx ends before that, or if others have replaced the row several times meanwhile. A
// database that is locked, full of connections, or cannot serialize a transaction, is asked again
// until ctx ends, which is [state.ErrNotStored].
//
// SQLite has one writer at a time. The commits of a store that wait for their turn share a
// transaction, so they also share its sync to disk; in it each has its own condition, and its own
// result. Processes that share a file wait for one another by polling, so one process should have
// most of the writing. PostgreSQL does the like by itself.
//
// How safe a commit is depends on the database. SQLite keeps it through a loss of power with
// synchronous(FULL), and with WAL and synchronous(NORMAL) only through the end of processes.
// PostgreSQL keeps it unless synchronous_commit is off. The connections must always lead to a
// primary, never to a replica that may lag behind. After a failover to a replica that did not have
// everything, records are lost; see below. A database in memory is not safe at all, and none for a
// pool of connections: package state/memory is made for that.
//
// What an operator does cannot make a store begin empty unnoticed, with one exception. A trigger
// refuses to delete rows. A first row, the home, has an identity, which was drawn when the table was
// made, and a generation. Each commit names both in its condition, and each read sees them; and it
// also sees whether the last commit that this store has made is still there. If the table was
// dropped, emptied, made anew, or set back to a moment before that commit, all calls of an open store
// say [state.ErrLost], for ever. Open refuses where there is no table (a [*SchemaError]), or no home
// (state.ErrLost), and so does Create if there is no home. The exception is Create in a database
// that has no such table, because it cannot know that there was one. So a process should not call
// Create whenever it starts.
//
// A database that was set back has the same identity. Processes that are started later trust what
// they find in it, and nobody notices that the last commits of some keys are missing, but those who
// commit after one that is missing. So an operator who has restored a backup says so before any
// process is started:
//
//	UPDATE tandem_state SET seq = seq + 1 WHERE length(kind) = 0
//
// This raises the generation, after which all stores that are still open say state.ErrLost, and have
// to be opened again. If the table was emptied, and the loss is accepted, the operator drops it, and
// Create makes another one.
//
// The limits. A record has at most Config.MaxRecord bytes; a larger one gets [state.ErrTooLarge]
// before anything is sent. The mark that a Delete leaves is kept for ever, about 200 bytes. The file
// of an SQLite database must not be replaced or deleted while it is open: SQLite goes on in the old
// one. The table belongs to this package, but may be read, and copied with the database's own tools.
//
// The errors of a database prove something only if their numbers are known: the SQLSTATE of
// PostgreSQL, as the drivers pgx and pq have it (a method SQLState), and the result codes of SQLite,
// as modernc.org/sqlite, ncruces/go-sqlite3 and mattn/go-sqlite3 have them. Errors of other drivers
// make a Commit wait longer, and say ErrUnknown more often; they never make it say what is not true.
// The tests are made with modernc.org/sqlite; the suite of stores passed with the two others, too, when
// it was run once by hand. Only where the environment variable TANDEM_POSTGRES has the DSN of a
// database, they are also made with pgx and PostgreSQL, which was so with version 15; elsewhere
// PostgreSQL's dialect is tested as text. pq, and other databases that speak PostgreSQL's protocol,
// were never tried.
package sql
