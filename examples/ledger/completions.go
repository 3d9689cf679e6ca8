package main

import (
	"context"
	"database/sql"
	"errors"
)

// completions are the records of what the bank's transactions have done, in the same
// database as the effects: a ledger.Completions for any database/sql with an upsert.
//
//	CREATE TABLE completions (id TEXT PRIMARY KEY, record BLOB)
//
// A row without a record is a void: its request has committed nothing, and because of the primary
// key it never will. A program that runs for years should add a time to the table, and delete rows
// that are older than any deadline and any key of its callers.
type completions struct{ db *sql.DB }

// enter writes the record of a request in the transaction of its effect. It fails if there is a
// record or a void already; then the transaction must be rolled back.
func (completions) enter(ctx context.Context, tx *sql.Tx, id string, record []byte) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO completions (id, record) VALUES (?, ?)`, id, record)
	return err
}

// Completed returns the record that was committed under id.
func (c completions) Completed(ctx context.Context, id string) (record []byte, found bool, err error) {
	err = c.db.QueryRowContext(ctx, `SELECT record FROM completions WHERE id = ? AND record IS NOT NULL`, id).Scan(&record)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	return record, err == nil, err
}

// Void returns the same, and inserts a void if there is no record. It is one statement, so nothing
// can happen between the check and the insertion.
func (c completions) Void(ctx context.Context, id string) (record []byte, found bool, err error) {
	err = c.db.QueryRowContext(ctx, `INSERT INTO completions (id) VALUES (?)
		ON CONFLICT (id) DO UPDATE SET id = excluded.id
		RETURNING record, record IS NOT NULL`, id).Scan(&record, &found)
	return record, found, err
}
