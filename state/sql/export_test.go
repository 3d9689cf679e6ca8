package sql

import "slices"

// Statements returns all texts for a table: those of the schema, and the others.
func Statements(d Dialect, table string) []string {
	s := d.statements(table)
	return slices.Concat(s.schema, []string{s.insert, s.update, s.look, s.walk, s.exists})
}

// FateOf returns what an error says, as text.
func FateOf(d Dialect, err error) string { return d.fateOf(err).String() }

// Waiting returns how many commits wait for their turn.
func (s *Store) Waiting() int {
	s.line.mu.Lock()
	defer s.line.mu.Unlock()
	return len(s.line.waiting)
}
