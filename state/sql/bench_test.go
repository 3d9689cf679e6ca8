package sql_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/state/sql"
)

// benchState is the size of a state in bytes.
const benchState = 256

// pass is how long one side of a comparison runs before the other one has its turn.
const pass = 200 * time.Millisecond

// BenchmarkCommit compares commits with bare updates of as many bytes, of one row each, in the same
// database: both sides in turn, in one run, each committer with a key of its own.
func BenchmarkCommit(b *testing.B) {
	for _, c := range []struct {
		dialect sql.Dialect
		sync    string
	}{{sql.SQLite, "NORMAL"}, {sql.SQLite, "FULL"}, {sql.PostgreSQL, "default"}} {
		for _, committers := range []int{1, 16} {
			b.Run(fmt.Sprintf("%v-%s/committers=%d", c.dialect, c.sync, committers), func(b *testing.B) {
				var over base
				if c.dialect == sql.SQLite {
					over = fresh(b, c.dialect, "synchronous("+c.sync+")")
				} else {
					over = fresh(b, c.dialect)
				}
				benchCommit(b, over, c.sync, committers)
			})
		}
	}
}

func benchCommit(b *testing.B, over base, mode string, committers int) {
	db := over.open(b)
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	s := over.over(b, db)
	blob := map[sql.Dialect]string{sql.SQLite: "BLOB", sql.PostgreSQL: "bytea"}[over.Dialect]
	ok(b, over.run(b, `CREATE TABLE {t}_bare (id `+blob+` PRIMARY KEY, data `+blob+`)`))
	b.Cleanup(func() { ok(b, over.run(b, `DROP TABLE {t}_bare`)) })
	key := func(i int) state.Key { return state.Key{Kind: "bank.account", ID: fmt.Sprint("customer-", i)} }
	sample, err := state.Next(key(0), state.Record{State: make([]byte, benchState)}, state.Revision{})
	ok(b, err)
	bodies := make([][]byte, committers)
	revs := make([]state.Revision, committers)
	for i := range committers {
		bodies[i] = make([]byte, sample.Size())
		_, err := db.Exec(`INSERT INTO `+over.table+`_bare VALUES ($1, $2)`, []byte(key(i).ID), bodies[i])
		ok(b, err)
	}
	bare := `UPDATE ` + over.table + `_bare SET data = $1 WHERE id = $2`
	if over.Dialect == sql.SQLite {
		bare = strings.ReplaceAll(bare, "$", "?")
		var synchronous string
		ok(b, db.QueryRow(`PRAGMA synchronous`).Scan(&synchronous))
		if want := map[string]string{"NORMAL": "1", "FULL": "2"}[mode]; synchronous != want {
			b.Fatalf("synchronous is %s, want %s", synchronous, want)
		}
	}
	var turn sync.Mutex // as the store has it
	compare(b, committers, func(ctx context.Context, i int) error {
		rev, err := s.Commit(ctx, key(i), state.Record{Token: 1, State: make([]byte, benchState)}, revs[i])
		revs[i] = rev
		return err
	}, func(ctx context.Context, i int) error {
		if over.Dialect == sql.SQLite {
			turn.Lock()
			defer turn.Unlock()
		}
		binary.BigEndian.PutUint64(bodies[i], binary.BigEndian.Uint64(bodies[i])+1) // SQLite does not write what is as it was
		r, err := db.ExecContext(ctx, bare, bodies[i], []byte(key(i).ID))
		if err == nil {
			if n, _ := r.RowsAffected(); n != 1 {
				err = fmt.Errorf("%d rows", n)
			}
		}
		return err
	})
}

// compare runs both sides in turn, each with so many workers, and reports what both do in a second,
// how long that takes, the CPU time that an operation of each takes of this process, and the ratios.
func compare(b *testing.B, workers int, ours, bare func(ctx context.Context, i int) error) {
	var times [2][]time.Duration
	var took, cpu [2]time.Duration
	for b.Loop() {
		for side, do := range []func(context.Context, int) error{ours, bare} {
			began, used := time.Now(), cpuTime()
			var all sync.WaitGroup
			var mu sync.Mutex // guards times
			for i := range workers {
				all.Go(func() {
					var mine []time.Duration
					for at := began; at.Sub(began) < pass; {
						if err := do(b.Context(), i); err != nil {
							b.Error(err)
							return
						}
						now := time.Now()
						mine, at = append(mine, now.Sub(at)), now
					}
					mu.Lock()
					defer mu.Unlock()
					times[side] = append(times[side], mine...)
				})
			}
			all.Wait()
			took[side] += time.Since(began)
			cpu[side] += cpuTime() - used
		}
	}
	rate := func(side int) float64 { return float64(len(times[side])) / took[side].Seconds() }
	each := func(side int) float64 { return float64(cpu[side].Microseconds()) / float64(len(times[side])) }
	for _, all := range times {
		slices.Sort(all)
	}
	part := func(side int, of float64) float64 {
		return float64(times[side][int(of*float64(len(times[side])-1))].Microseconds())
	}
	b.ReportMetric(rate(0), "ours/s")
	b.ReportMetric(rate(1), "bare/s")
	b.ReportMetric(rate(0)/rate(1), "ratio")
	b.ReportMetric(part(0, 0.5), "p50-µs")
	b.ReportMetric(part(0, 0.99), "p99-µs")
	b.ReportMetric(part(1, 0.5), "bare-p50-µs")
	b.ReportMetric(part(1, 0.99), "bare-p99-µs")
	b.ReportMetric(each(0), "ours-cpu-µs")
	b.ReportMetric(each(1)/each(0), "cpu-ratio")
	b.ReportMetric(0, "ns/op")
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
