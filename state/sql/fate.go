package sql

import (
	"context"
	stdsql "database/sql"
	"database/sql/driver"
	"errors"
	"reflect"
	"strings"
)

// fate is what an error of the database says about the statement that it ended.
type fate uint8

const (
	doubt    fate = iota // it may have taken effect, or may yet
	retry                // it has no effect, and another attempt can succeed
	refused              // it has no effect, and another attempt would fail, too
	full                 // the same: there is no room
	tooLarge             // the same: a value is too large
)

var fateNames = [...]string{"doubt", "retry", "refused", "full", "too large"}

func (f fate) String() string { return fateNames[f] }

// fateOf says what an error proves about a statement that was a transaction of its own. What it
// does not know, it doubts: the error of a connection that broke says nothing.
func (d Dialect) fateOf(err error) fate {
	switch {
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, stdsql.ErrConnDone): // by contract nothing was sent
		return retry
	case errors.Is(err, errClosed):
		return refused
	}
	if d == SQLite {
		return ofSQLite(sqliteCode(err))
	}
	var posted interface{ SQLState() string }
	if errors.As(err, &posted) {
		return ofPostgres(posted.SQLState())
	}
	return doubt
}

// ofPostgres judges by the SQLSTATE, see PostgreSQL's appendix A. A server that answers with an
// error has rolled the statement back, except where its own end, or that of the connection, is the
// error.
func ofPostgres(code string) fate {
	switch code {
	case "40001", "40P01", // serialization failure, deadlock
		"55P03", "57014", // a lock was not available in time; the statement took too long
		"53300", "57P03": // too many connections; the server is starting, or shutting down
		return retry
	case "40003": // completion unknown
		return doubt
	case "53100": // disk full
		return full
	}
	switch class := code[:min(2, len(code))]; {
	case class == "54": // beyond a limit of the program
		return tooLarge
	case class == "08", class == "58", class == "XX", strings.HasPrefix(code, "57P"), class == "": // connection, system, internal; the operator intervened
		return doubt
	}
	return refused
}

// ofSQLite judges by the result code, see sqlite.org/rescode.html. A statement that fails is rolled
// back, but after an error of the disk the log may have it, and show it after a crash.
func ofSQLite(code int) fate {
	switch code & 0xff { // the rest says more than is needed
	case 5, 6, 15, 17: // busy, locked, protocol (a race for the lock), schema (it was changed meanwhile)
		return retry
	case 9, 10, 0: // interrupted, I/O error, no code
		return doubt
	case 13: // no space
		return full
	case 18: // too big
		return tooLarge
	}
	return refused
}

// errClosed is what calls return after the database was closed. The package that has it does not
// export it.
var errClosed = func() error {
	db := stdsql.OpenDB(nowhere{})
	db.Close()
	return db.Ping()
}()

// nowhere makes no connections.
type nowhere struct{}

func (nowhere) Connect(context.Context) (driver.Conn, error) { return nil, driver.ErrBadConn }
func (nowhere) Driver() driver.Driver                        { return nil }

// sqliteCode returns the result code in an error of SQLite, 0 if there is none. Drivers have it in
// different places: modernc.org/sqlite in a method Code, github.com/ncruces/go-sqlite3 in methods
// Code or ExtendedCode with types of its own, and github.com/mattn/go-sqlite3 in a field Code.
func sqliteCode(err error) int {
	if err == nil {
		return 0
	}
	if code := ownCode(reflect.ValueOf(err)); code != 0 {
		return code
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return sqliteCode(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			if code := sqliteCode(err); code != 0 {
				return code
			}
		}
	}
	return 0
}

// ownCode returns the code that an error has itself.
func ownCode(err reflect.Value) int {
	for _, m := range []reflect.Value{err.MethodByName("Code"), err.MethodByName("ExtendedCode")} {
		if m.IsValid() && m.Type().NumIn() == 0 && m.Type().NumOut() == 1 {
			return number(m.Call(nil)[0])
		}
	}
	if v := reflect.Indirect(err); v.Kind() == reflect.Struct {
		return number(v.FieldByName("Code"))
	}
	return 0
}

// number returns the value of an integer of any type, and 0 for anything else.
func number(v reflect.Value) int {
	switch {
	case v.CanInt():
		return int(v.Int())
	case v.CanUint():
		return int(v.Uint())
	}
	return 0
}
