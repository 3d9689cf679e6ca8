package sql_test

import (
	"context"
	stdsql "database/sql"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite"

	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/state/sql"
)

// A record is there for the next process, and a table that an operator has dropped is not taken for
// an empty one.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "state-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := "file:" + filepath.Join(dir, "state.db") + "?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"
	db, err := stdsql.Open("sqlite", file)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	ctx := context.Background()
	cfg := sql.Config{Logger: slog.New(slog.DiscardHandler)}
	alice := state.Key{Kind: "bank.account", ID: "alice"}

	if err := sql.Create(ctx, db, sql.SQLite, cfg); err != nil { // when the cluster is set up
		log.Fatal(err)
	}
	store, err := sql.Open(ctx, db, sql.SQLite, cfg)
	if err != nil {
		log.Fatal(err)
	}
	if _, err = store.Commit(ctx, alice, state.Record{Token: 1, State: []byte("5 €")}, state.Revision{}); err != nil {
		log.Fatal(err)
	}

	store, err = sql.Open(ctx, db, sql.SQLite, cfg) // in the next process
	if err != nil {
		log.Fatal(err)
	}
	rec, _, err := store.Load(ctx, alice)
	fmt.Println(string(rec.State), err)
	for id, err := range store.Walk(ctx, "bank.account") {
		fmt.Println(id, err)
	}
	fmt.Println(store.Check(ctx))

	_, err = db.Exec(`DELETE FROM tandem_state`)
	fmt.Println(err != nil)
	if _, err := db.Exec(`DROP TABLE tandem_state`); err != nil {
		log.Fatal(err)
	}
	_, _, err = store.Load(ctx, alice)
	fmt.Println(errors.Is(err, state.ErrLost))
	_, err = sql.Open(ctx, db, sql.SQLite, cfg)
	fmt.Println(err)
	// Output:
	// 5 € <nil>
	// alice <nil>
	// <nil>
	// true
	// true
	// state/sql: there is no table tandem_state: Create makes it, or the text of Schema
}

// The statements for those who make tables themselves. They run in one transaction.
func ExampleSchema() {
	for line := range strings.Lines(sql.Schema(sql.PostgreSQL, sql.Config{Table: "shop_state"})) {
		if strings.HasPrefix(line, "CREATE") {
			fmt.Print(line)
		}
	}
	// Output:
	// CREATE TABLE shop_state (
	// CREATE OR REPLACE FUNCTION shop_state_keep() RETURNS trigger LANGUAGE plpgsql AS
	// CREATE TRIGGER shop_state_keep BEFORE DELETE OR TRUNCATE ON shop_state
}

// Create may be called by several processes, and changes nothing where there is a table.
func ExampleCreate() {
	dir, err := os.MkdirTemp("", "state-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := stdsql.Open("sqlite", "file:"+filepath.Join(dir, "state.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	var none *sql.SchemaError
	_, err = sql.Open(context.Background(), db, sql.SQLite, sql.Config{})
	fmt.Println(errors.As(err, &none))
	for range 2 {
		fmt.Println(sql.Create(context.Background(), db, sql.SQLite, sql.Config{}))
	}
	// Output:
	// true
	// <nil>
	// <nil>
}
