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

// What errors prove. What is not known proves nothing.
func TestFates(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("anything"), "doubt"},
		{io.ErrUnexpectedEOF, "doubt"},
		{context.DeadlineExceeded, "doubt"},
		{context.Canceled, "doubt"},
		{driver.ErrBadConn, "retry"},
		{stdsql.ErrConnDone, "retry"},
		{closed(t), "refused"},

		{posted("40001"), "retry"},
		{wrapped(posted("40P01")), "retry"},
		{posted("53300"), "retry"},
		{posted("57P03"), "retry"},
		{posted("57014"), "retry"},
		{posted("40003"), "doubt"},
		{posted("08006"), "doubt"},
		{posted("57P01"), "doubt"},
		{posted("58030"), "doubt"},
		{posted("XX000"), "doubt"},
		{posted(""), "doubt"},
		{posted("53100"), "full"},
		{posted("54000"), "too large"},
		{posted("42P01"), "refused"},
		{posted("25006"), "refused"},
		{posted("28P01"), "refused"},

		{errPlain(5), "retry"},
		{errPlain(5 | 2<<8), "retry"}, // busy, because of the snapshot
		{wrapped(errPlain(6)), "retry"},
		{errPlain(13), "full"},
		{errPlain(18), "too large"},
		{errPlain(10 | 4<<8), "doubt"}, // the disk has not synced
		{errPlain(9), "doubt"},
		{errPlain(1), "refused"},
		{errPlain(8), "refused"},
		{wrapped(errStruct{Code: 13}), "full"},
		{&errStruct{Code: 5}, "retry"},
		{wrapped(&errMethod{5}), "retry"},
		{&errMethod{1}, "refused"},
	} {
		if got := sql.FateOf(c.err); got != c.want {
			t.Errorf("%#v: %s, want %s", c.err, got, c.want)
		}
	}
}
