package sql_test

import (
	"bufio"
	"context"
	stdsql "database/sql"
	"database/sql/driver"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/state/sql"
)

var kills = flag.Int("sql.kills", 12, "how often each process is killed")

// asHolder makes this test binary a process that commits. Its value says how: see holder.
const asHolder = "TANDEM_SQL_TEST_HOLDER"

func TestMain(m *testing.M) {
	if how := os.Getenv(asHolder); how != "" {
		if err := holder(how); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

var shared = state.Key{Kind: "k", ID: "shared"}

// holder counts in a record of its own, and at the same time in one that all count in, and prints a
// line for each commit that was acknowledged. It kills itself at a commit, if it is told to, before or after the
// statement took effect.
func holder(how string) error {
	f := strings.Split(how, " ") // dialect, table, own id, "before" or "after" or "never", number of the commit, DSN
	d, _ := strconv.Atoi(f[0])
	at, _ := strconv.Atoi(f[4])
	b := base{Dialect: sql.Dialect(d), table: f[1], dsn: f[5]}
	t := failing{}
	kill := &deadly{Connector: b.connector(t), when: f[3]}
	kill.left.Store(int64(at))
	db := stdsql.OpenDB(kill)
	s := b.over(t, db)
	own := state.Key{Kind: "k", ID: f[2]}
	ended := make(chan error)
	for _, key := range []state.Key{own, shared} {
		go func() {
			for {
				if err := count(s, key); err != nil {
					ended <- err
				}
				fmt.Println(key.ID)
			}
		}()
	}
	return <-ended
}

// count adds 1.
func count(s state.Store, key state.Key) error {
	for {
		n, rev, err := counted(s, key)
		if err != nil {
			return err
		}
		_, err = s.Commit(ctx(), key, state.Record{Token: 1, State: strconv.AppendInt(nil, int64(n+1), 10)}, rev)
		if !errors.Is(err, state.ErrConflict) {
			return err
		}
	}
}

func counted(s state.Store, key state.Key) (int, state.Revision, error) {
	rec, rev, err := s.Load(ctx(), key)
	if errors.Is(err, state.ErrNone) {
		return 0, rev, nil
	}
	if err != nil {
		return 0, rev, err
	}
	n, err := strconv.Atoi(string(rec.State))
	return n, rev, err
}

// failing is a testing.TB of a process that is no test.
type failing struct{ testing.TB }

func (failing) Helper()                  {}
func (failing) Fatal(args ...any)        { panic(fmt.Sprint(args...)) }
func (failing) Context() context.Context { return context.Background() }

// deadly kills the process at a statement that writes.
type deadly struct {
	driver.Connector
	when string
	left atomic.Int64
}

func (d *deadly) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := d.Connector.Connect(ctx)
	return &deadlyConn{faultyConn{Conn: c, from: &faulty{}}, d}, err
}

type deadlyConn struct {
	faultyConn
	d *deadly
}

func (c *deadlyConn) ExecContext(ctx context.Context, text string, args []driver.NamedValue) (driver.Result, error) {
	now := c.d.left.Add(-1) == 0
	if now && c.d.when == "before" {
		die()
	}
	r, err := c.faultyConn.ExecContext(ctx, text, args)
	if now && c.d.when == "after" {
		die()
	}
	return r, err
}

func die() {
	self, _ := os.FindProcess(os.Getpid())
	_ = self.Kill()
	select {} // it takes a moment
}

// Two processes commit, and are killed again and again: before a statement, between its effect and
// its answer, and from outside at any moment. What was acknowledged is there, and nothing else but
// what was under way at a kill.
func TestProcesses(t *testing.T) {
	each(t, func(t *testing.T, b base) {
		program, err := os.Executable()
		ok(t, err)
		type result struct {
			id            string
			acked, shared int
			err           error
		}
		results := make(chan result)
		for p := range 2 {
			go func() {
				r := result{id: fmt.Sprint("p", p)}
				for life := range *kills {
					when := []string{"before", "after", "never"}[(life+p)%3]
					cmd := exec.CommandContext(t.Context(), program)
					cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s %s %s %d %s", asHolder, b.Dialect, b.table, r.id, when, 3+life%7, b.dsn))
					cmd.Stderr = os.Stderr
					out, err := cmd.StdoutPipe()
					if err == nil {
						err = cmd.Start()
					}
					if err != nil {
						r.err = err
						break
					}
					lines := bufio.NewScanner(out)
					for n := 0; lines.Scan(); n++ {
						if lines.Text() == shared.ID {
							r.shared++
						} else {
							r.acked++
						}
						if when == "never" && n == 5+life {
							_ = cmd.Process.Kill()
						}
					}
					_, _ = io.Copy(io.Discard, out)
					var exit *exec.ExitError
					if err := cmd.Wait(); !errors.As(err, &exit) || exit.Exited() {
						r.err = fmt.Errorf("life %d, killed %s: %w", life, when, err)
					}
				}
				results <- r
			}()
		}
		s := b.store(t)
		// A life ends with at most one commit of each record that is stored and was not acknowledged.
		check := func(id string, acked, lives int) {
			if n, _, err := counted(s, state.Key{Kind: "k", ID: id}); err != nil || n < acked || n > acked+lives {
				t.Errorf("%s: %d commits are stored, and %d were acknowledged in %d lives; %v", id, n, acked, lives, err)
			}
		}
		all := 0
		for range 2 {
			r := <-results
			if r.err != nil || r.acked+r.shared < *kills {
				t.Errorf("%+v", r)
			}
			check(r.id, r.acked, *kills)
			all += r.shared
		}
		check(shared.ID, all, 2**kills)
	})
}
