package sql

import (
	"fmt"
	"strings"
)

// Dialect says which database it is. The zero Dialect is none.
type Dialect uint8

// The dialects.
const (
	SQLite     Dialect = 1
	PostgreSQL Dialect = 2
)

// String returns the name of the database.
func (d Dialect) String() string {
	switch d {
	case SQLite:
		return "SQLite"
	case PostgreSQL:
		return "PostgreSQL"
	}
	return fmt.Sprintf("dialect %d", uint8(d))
}

func (d Dialect) known() bool { return d == SQLite || d == PostgreSQL }

// statements is the text of everything that is sent to the database.
type statements struct {
	schema []string // creates the table, and its first row

	// insert makes the first commit of a key, and update each later one. They change one row, or
	// none if the condition is not met. Their parameters: kind, id, token, commit, deleted, data,
	// the identity of the home, its generation; update has two more, the number and the ID of the
	// commit that is replaced.
	insert, update string

	// look reads the home, the row of the witness, and that of a key, which are all NULL if they
	// are not there. Its parameters: kind and id of the witness, kind and id of the key.
	look string

	// walk reads the next ids of a kind. Its parameters: kind, the id before them, the home's
	// identity and generation.
	walk string

	exists string // counts the tables of a name
}

// walked is how many ids a Walk reads at once.
const walked = 256

// statements returns the text for a table. It is written once, with marks for what the dialects
// write differently.
func (d Dialect) statements(table string) statements {
	home := ` EXISTS (SELECT 1 FROM {table} WHERE kind = {empty} AND id = {empty} AND commit_id = `
	s := statements{
		insert: `INSERT INTO {table} (kind, id, seq, token, commit_id, deleted, data)` +
			` SELECT $1{bytes}, $2{bytes}, 1, $3{bytes}, $4{bytes}, $5{bool}, $6{bytes}` +
			` WHERE` + home + `$7 AND seq = $8) ON CONFLICT (kind, id) DO NOTHING`,
		update: `UPDATE {table} SET seq = seq + 1, token = $3, commit_id = $4, deleted = $5, data = $6` +
			` WHERE kind = $1 AND id = $2 AND seq = $9 AND commit_id = $10 AND token <= $3` +
			` AND` + home + `$7 AND seq = $8)`,
		look: `SELECT h.commit_id, h.seq, h.token, w.seq, w.commit_id, r.seq, r.data FROM (SELECT 1 AS one) AS o` +
			` LEFT JOIN {table} AS h ON h.kind = {empty} AND h.id = {empty}` +
			` LEFT JOIN {table} AS w ON w.kind = $1 AND w.id = $2` +
			` LEFT JOIN {table} AS r ON r.kind = $3 AND r.id = $4`,
		walk: `SELECT id FROM {table} WHERE kind = $1 AND id > $2 AND NOT deleted` +
			` AND` + home + `$3 AND seq = $4) ORDER BY id LIMIT ` + fmt.Sprint(walked),
	}
	var write *strings.Replacer
	switch d {
	case SQLite:
		write = strings.NewReplacer("{table}", table, "{empty}", "X''", "{bytes}", "", "{bool}", "", "$", "?")
		s.schema = sqliteSchema
		s.exists = `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND lower(name) = lower($1)`
	case PostgreSQL:
		write = strings.NewReplacer("{table}", table, "{empty}", "''::bytea", "{bytes}", "::bytea", "{bool}", "::boolean")
		s.schema = postgresSchema
		s.exists = `SELECT count(*) FROM pg_class WHERE oid = to_regclass($1)`
	}
	for _, text := range []*string{&s.insert, &s.update, &s.look, &s.walk, &s.exists} {
		*text = write.Replace(*text)
	}
	schema := strings.NewReplacer("{table}", table)
	s.schema = append([]string(nil), s.schema...)
	for i := range s.schema {
		s.schema[i] = schema.Replace(s.schema[i])
	}
	return s
}

// The token is eight bytes, big-endian, so that the database compares it as the number that it is:
// its own integers have a sign. The row whose kind and id are empty, as those of no actor are, is
// the home: its commit_id is the identity of the table, its seq the generation, and its token the
// version of the schema.
var sqliteSchema = []string{
	`CREATE TABLE {table} (
	kind BLOB NOT NULL,
	id BLOB NOT NULL,
	seq INTEGER NOT NULL,
	token BLOB NOT NULL,
	commit_id BLOB NOT NULL,
	deleted BOOLEAN NOT NULL,
	data BLOB NOT NULL,
	PRIMARY KEY (kind, id)
)`,
	`INSERT INTO {table} VALUES (X'', X'', 1, X'0000000000000001', randomblob(16), 0, X'')`,
	`CREATE TRIGGER {table}_keep BEFORE DELETE ON {table}
BEGIN SELECT RAISE(ABORT, 'rows of {table} are never deleted'); END`,
}

var postgresSchema = []string{
	`CREATE TABLE {table} (
	kind bytea NOT NULL,
	id bytea NOT NULL,
	seq bigint NOT NULL,
	token bytea NOT NULL,
	commit_id bytea NOT NULL,
	deleted boolean NOT NULL,
	data bytea NOT NULL,
	PRIMARY KEY (kind, id)
)`,
	`INSERT INTO {table} VALUES ('', '', 1, '\x0000000000000001', uuid_send(gen_random_uuid()), false, '')`,
	`CREATE OR REPLACE FUNCTION {table}_keep() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'rows of {table} are never deleted'; END $$`,
	`CREATE TRIGGER {table}_keep BEFORE DELETE OR TRUNCATE ON {table}
FOR EACH STATEMENT EXECUTE FUNCTION {table}_keep()`,
}
