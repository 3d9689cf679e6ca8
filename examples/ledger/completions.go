package main

import (
	"context"
	"database/sql"
	"errors"
)

// completions are the records of what the bank's transactions have done, in the same
// database as the effects: a dedup.Completions for any database/sql with an upsert.
//
//	CREATE TABLE completions (id TEXT PRIMARY KEY, record BLOB)
//
// A row without a record is a void: its request has committed nothing, and its primary
// key sees to it that it never will. A program that runs for years gives the table a
// time, and deletes what is older than any deadline and any key of its callers.
type completions struct{ db *sql.DB }

// enter puts the record of a request into the transaction of its effect. It fails if
// the request was settled otherwise meanwhile; the transaction must then be rolled back.
func (completions) enter(ctx context.Context, tx *sql.Tx, id string, record []byte) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO completions (id, record) VALUES (?, ?)`, id, record)
	return err
}

// Completed returns what was committed under id.
func (c completions) Completed(ctx context.Context, id string) (record []byte, found bool, err error) {
	err = c.db.QueryRowContext(ctx, `SELECT record FROM completions WHERE id = ? AND record IS NOT NULL`, id).Scan(&record)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	return record, err == nil, err
}

// Void does the same, and where there is nothing leaves a void. It is one statement, so
// nothing can come between the look and the insertion.
func (c completions) Void(ctx context.Context, id string) (record []byte, found bool, err error) {
	err = c.db.QueryRowContext(ctx, `INSERT INTO completions (id) VALUES (?)
		ON CONFLICT (id) DO UPDATE SET id = excluded.id
		RETURNING record, record IS NOT NULL`, id).Scan(&record, &found)
	return record, found, err
}
