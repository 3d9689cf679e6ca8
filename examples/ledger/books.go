package main

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"

	_ "modernc.org/sqlite"
)

const (
	accounts = 10
	opening  = 200 // what each account has at first
)

// schema has no unique key for transfers, so that one that ran twice would show.
const schema = `
CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, balance INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS transfers (number INTEGER, source TEXT, target TEXT, amount INTEGER);
CREATE TABLE IF NOT EXISTS completions (id TEXT PRIMARY KEY, record BLOB);`

// openBooks opens the database in file, and creates it if there is none. Transactions lock it when
// they begin, so none has to be retried because another one came first.
func openBooks(ctx context.Context, file string) (*sql.DB, error) {
	settings := url.Values{"_txlock": {"immediate"}, "_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)"}}
	db, err := sql.Open("sqlite", "file:"+file+"?"+settings.Encode())
	if err != nil {
		return nil, err
	}
	_, err = db.ExecContext(ctx, schema)
	for i := 0; i < accounts && err == nil; i++ {
		_, err = db.ExecContext(ctx, `INSERT INTO accounts VALUES (?, ?) ON CONFLICT DO NOTHING`, account(i), opening)
	}
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("opening the books: %w", err)
	}
	return db, nil
}

func account(i int) string { return fmt.Sprintf("account-%d", i) }

// audit is the content of the books in the end.
type audit struct {
	times map[int]int // how often each transfer is in them
	sum   int64       // of all balances
	wrong int         // accounts whose balance is not what their transfers amount to
}

func auditBooks(ctx context.Context, db *sql.DB) (audit, error) {
	a := audit{times: map[int]int{}}
	rows, err := db.QueryContext(ctx, `SELECT number, count(*) FROM transfers GROUP BY number`)
	if err != nil {
		return a, err
	}
	defer rows.Close()
	for rows.Next() {
		var number, times int
		if err := rows.Scan(&number, &times); err != nil {
			return a, err
		}
		a.times[number] = times
	}
	if err := rows.Err(); err != nil {
		return a, err
	}
	err = db.QueryRowContext(ctx, `SELECT sum(balance), count(*) FILTER (WHERE balance != ?
			+ (SELECT coalesce(sum(amount), 0) FROM transfers WHERE target = name)
			- (SELECT coalesce(sum(amount), 0) FROM transfers WHERE source = name))
		FROM accounts`, opening).Scan(&a.sum, &a.wrong)
	return a, err
}
