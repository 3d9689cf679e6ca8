package sql_test

import (
	"context"
	stdsql "database/sql"
	"database/sql/driver"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tandem-go/tandem/state/sql"
)

var update = flag.Bool("update", false, "write testdata/*.golden again")

// The text of all statements, as it is in the files. A changed table needs another SchemaVersion.
func TestStatements(t *testing.T) {
	for _, d := range []sql.Dialect{sql.SQLite, sql.PostgreSQL} {
		path := filepath.Join("testdata", strings.ToLower(d.String())+".golden")
		got := strings.Join(sql.Statements(d, "tandem_state"), ";\n\n") + ";\n"
		if *update {
			ok(t, os.WriteFile(path, []byte(got), 0o644))
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatalf("%v (run with -update to make it)", err)
		}
		if got != string(want) {
			t.Errorf("%v: got\n%s\nwant\n%s", d, got, want)
		}
	}
}

// Errors as other drivers have them.
type (
	errNo     int
	code      uint8
	errStruct struct { // github.com/mattn/go-sqlite3
		Code         errNo
		ExtendedCode int
	}
	errMethod struct{ n code } // github.com/ncruces/go-sqlite3
	errPlain  int              // modernc.org/sqlite
)

func (errStruct) Error() string    { return "struct" }
func (*errMethod) Error() string   { return "method" }
func (e *errMethod) Code() code    { return e.n }
func (errPlain) Error() string     { return "plain" }
func (e errPlain) Code() int       { return int(e) }
func posted(code string) error     { return &pgconn.PgError{Code: code} }
func wrapped(err error) error      { return fmt.Errorf("wrapped: %w", err) }
func closed(t *testing.T) error    { return shut(t).Ping() }
func shut(t *testing.T) *stdsql.DB { db := fresh(t, sql.SQLite).open(t); db.Close(); return db }

// extended is a code that is an error itself, as github.com/ncruces/go-sqlite3 has it.
type extended uint8

func (extended) Error() string          { return "extended" }
func (e extended) ExtendedCode() uint16 { return uint16(e) }

// What errors prove. What is not known proves nothing.
func TestFates(t *testing.T) {
	const lite, post = sql.SQLite, sql.PostgreSQL
	for _, c := range []struct {
		dialect sql.Dialect
		err     error
		want    string
	}{
		{post, errors.New("anything"), "doubt"},
		{lite, errors.New("anything"), "doubt"},
		{post, io.ErrUnexpectedEOF, "doubt"},
		{lite, syscall.ENOSPC, "doubt"}, // a number, and none of SQLite
		{post, errPlain(5), "doubt"},
		{lite, posted("40001"), "doubt"},
		{post, context.DeadlineExceeded, "doubt"},
		{lite, context.Canceled, "doubt"},
		{post, driver.ErrBadConn, "retry"},
		{lite, stdsql.ErrConnDone, "retry"},
		{post, closed(t), "refused"},
		{lite, closed(t), "refused"},

		{post, posted("40001"), "retry"},
		{post, wrapped(posted("40P01")), "retry"},
		{post, posted("53300"), "retry"},
		{post, posted("57P03"), "retry"},
		{post, posted("57014"), "retry"},
		{post, posted("40003"), "doubt"},
		{post, posted("08006"), "doubt"},
		{post, posted("57P01"), "doubt"},
		{post, posted("58030"), "doubt"},
		{post, posted("XX000"), "doubt"},
		{post, posted(""), "doubt"},
		{post, posted("53100"), "full"},
		{post, posted("54000"), "too large"},
		{post, posted("42P01"), "refused"},
		{post, posted("25006"), "refused"},
		{post, posted("28P01"), "refused"},

		{lite, errPlain(5), "retry"},
		{lite, errPlain(5 | 2<<8), "retry"}, // busy, because of the snapshot
		{lite, wrapped(errPlain(6)), "retry"},
		{lite, errPlain(13), "full"},
		{lite, errPlain(18), "too large"},
		{lite, errPlain(10 | 4<<8), "doubt"}, // the disk has not synced
		{lite, errPlain(9), "doubt"},
		{lite, errPlain(1), "refused"},
		{lite, errPlain(8), "refused"},
		{lite, wrapped(errStruct{Code: 13}), "full"},
		{lite, &errStruct{Code: 5}, "retry"},
		{lite, wrapped(&errMethod{5}), "retry"},
		{lite, &errMethod{1}, "refused"},
		{lite, extended(13), "full"},
		{lite, errors.Join(errors.New("rollback"), extended(13)), "full"},
	} {
		if got := sql.FateOf(c.dialect, c.err); got != c.want {
			t.Errorf("%v: %#v: %s, want %s", c.dialect, c.err, got, c.want)
		}
	}
}
