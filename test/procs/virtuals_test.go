//go:build unix

package procs

import (
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// virtualsRun has the processes of one run of virtual actors.
type virtualsRun struct {
	*hostsRun
	judge *registrar
}

func newVirtualsRun(dir string, seed uint64, c cheat) (*virtualsRun, error) {
	h, err := newHostsRun(dir, seed, c, "virtuals", 1)
	if err != nil {
		return nil, err
	}
	v := &virtualsRun{h, newRegistrar()}
	h.take, h.struck = v.judge.take, v.judge.struck
	return v, nil
}

// open starts everything.
func (v *virtualsRun) open() error {
	if err := v.hostsRun.open(); err != nil {
		return err
	}
	return v.well()
}

// well waits until all nodes have reached all actors.
func (v *virtualsRun) well() error {
	since := monotonic()
	return v.await("not all nodes reach all virtual actors", func() bool {
		for i := range hosts {
			if !v.judge.reaches(hostOf(i), since) {
				return false
			}
		}
		return true
	})
}

// injure kills a node and starts it again, at once or later; around that, other things happen.
func (v *virtualsRun) injure(k int) error {
	i, other := k%len(hosts), (k+1)%len(hosts)
	switch k % 6 {
	case 1:
		if err := v.freeze(other); err != nil { // and while it wakes, another one is killed
			return err
		}
	case 3:
		if err := v.replace(other); err != nil {
			return err
		}
	case 5:
		after := 300 * time.Millisecond
		if k%12 == 5 { // all leases end
			after = *nodeLease + time.Second
		}
		if err := v.restartNATS(0, after); err != nil {
			return err
		}
	}
	v.kill(i)
	if k%2 == 0 {
		time.Sleep(time.Duration(v.r.IntN(1000)) * time.Millisecond)
	}
	if err := v.begin(i); err != nil {
		return err
	}
	if k%4 == 3 { // the next one follows before all is well
		return nil
	}
	return v.well()
}

// finish has all come to rest, waits until the nodes agree on where everything is if they have to, and decides.
func (v *virtualsRun) finish(agree bool) error {
	for _, c := range v.procs {
		if _, err := io.WriteString(c.orders, restOrder); err != nil {
			return err
		}
	}
	var errs []error
	if agree {
		errs = append(errs, v.await("not all nodes reach the same activations", v.judge.agreed))
	}
	for name, c := range v.procs {
		errs = append(errs, c.end())
		delete(v.procs, name)
	}
	errs = append(errs, v.look())
	v.judge.decide()
	return errors.Join(errs...)
}

// play kills nodes n times.
func (v *virtualsRun) play(n int) error {
	if err := v.open(); err != nil {
		return err
	}
	for k := range n {
		if err := v.injure(k); err != nil {
			return fmt.Errorf("injury %d: %w", k, err)
		}
	}
	if err := v.well(); err != nil {
		return err
	}
	return v.finish(true)
}

// TestVirtuals kills, stops and replaces nodes that host virtual actors, and NATS, while all nodes call them. An
// activation never answers after a later one has; no two have the same token; verdicts are true; nothing is
// handled twice; and in the end all nodes reach the same activations.
func TestVirtuals(t *testing.T) {
	t.Parallel()
	defer enter()()
	v, err := newVirtualsRun(t.TempDir(), *seed, honest)
	if err != nil {
		t.Fatal(err)
	}
	defer v.close()
	n := 6 * *kills
	began := time.Now()
	err = v.play(n)
	t.Logf("%d kills in %v: %+v", n, short(time.Since(began)), v.judge.count)
	for what, stopped := range map[string]bool{"kill": false, "stop": true} {
		d := v.judge.successions(stopped)
		t.Logf("from a %s of the holder to the first answer of its successor: %d times, p50 %v, p99 %v", what, len(d), short(quantile(d, 0.5)), short(quantile(d, 0.99)))
	}
	if err != nil {
		t.Error(err)
	}
	for _, line := range v.judge.wrong {
		t.Error(line)
	}
	if c := v.judge.count; c.answers < 100*n || c.activations < virtualIDs+n {
		t.Errorf("a stalled system is not a safe one: %+v", c)
	}
}

// TestVirtualsCheats breaks the rules of virtual actors on purpose: it must be noticed.
func TestVirtualsCheats(t *testing.T) {
	t.Parallel()
	defer enter()()
	v, err := newVirtualsRun(t.TempDir(), *seed, dishonest)
	if err != nil {
		t.Fatal(err)
	}
	defer v.close()
	if err := v.open(); err != nil {
		t.Fatal(err)
	}
	v.kill(0)
	if err := errors.Join(v.begin(0), v.well(), v.finish(false)); err != nil {
		t.Fatal(err)
	}
	if c := v.judge.count; c.lower == 0 || c.shared == 0 || c.twice == 0 || c.wrong == 0 || c.lost == 0 {
		t.Errorf("not everything was noticed: %+v", c)
	}
}

// TestRegistrar plants one violation at a time among records that are sound.
func TestRegistrar(t *testing.T) {
	const id = 5
	a, b := life{hostOf(0), 1}, life{hostOf(1), 1}
	op := func(n uint32, v verb) uint64 { return visitID(a, 1, n, v, id) }
	x, y, way := op(1, calling), op(2, asking), op(3, telling)
	begun := func(op uint64) record { return record{sort: asked, op: op} }
	runs := func(op uint64, by life, token uint64) record {
		return record{sort: ran, who: by.who, life: by.n, op: op, aux: token}
	}
	answer := func(op, token uint64) record {
		return record{sort: told, op: op, verdict: rpc.HasRun, aux: token}
	}
	failed := func(op uint64, v rpc.Verdict) record {
		return record{sort: told, op: op, verdict: v, code: rpc.Unavailable}
	}
	sent := record{sort: told, op: way}
	dies := record{} // the caller's process, of no sort
	type rs = []record
	for _, c := range []struct {
		name    string
		records rs
		want    virtualsCount
	}{
		{"an answer", rs{begun(x), runs(x, a, 7), answer(x, 7)}, virtualsCount{}},
		{"a later activation", rs{begun(x), runs(x, a, 7), answer(x, 7), begun(y), runs(y, b, 9), answer(y, 9)}, virtualsCount{}},
		{"an earlier one to a call that was under way", rs{begun(x), begun(y), runs(x, a, 7), runs(y, b, 9), answer(y, 9), answer(x, 7)}, virtualsCount{}},
		{"nobody knows, and it ran", rs{begun(x), runs(x, a, 7), failed(x, rpc.Unknown)}, virtualsCount{}},
		{"nobody knows, and it did not run", rs{begun(x), failed(x, rpc.Unknown)}, virtualsCount{}},
		{"a caller that was killed", rs{begun(x), dies}, virtualsCount{}},
		{"a one-way message", rs{begun(way), sent, runs(way, b, 7)}, virtualsCount{}},
		{"a one-way message that is lost", rs{begun(way), sent}, virtualsCount{}},
		{"it ran, and its answer was held back", rs{begun(x), runs(x, a, 7), failed(x, rpc.HasRun)}, virtualsCount{}},

		{"an earlier activation", rs{begun(x), runs(x, b, 9), answer(x, 9), begun(y), runs(y, a, 7), answer(y, 7)}, virtualsCount{lower: 1}},
		{"two with one token", rs{begun(x), runs(x, a, 7), answer(x, 7), begun(y), runs(y, b, 7), answer(y, 7)}, virtualsCount{shared: 1}},
		{"two with one token, one of them before a kill", rs{begun(x), runs(x, a, 7), answer(x, 7), begun(y), runs(y, life{a.who, 2}, 7), answer(y, 7)}, virtualsCount{shared: 1}},
		{"handled twice", rs{begun(x), runs(x, a, 7), runs(x, a, 7), answer(x, 7)}, virtualsCount{twice: 1}},
		{"a one-way message that is handled twice", rs{begun(way), sent, runs(way, a, 7), runs(way, b, 9)}, virtualsCount{twice: 1}},
		{"not run, and it did", rs{begun(x), runs(x, a, 7), failed(x, rpc.NotRun)}, virtualsCount{wrong: 1}},
		{"not run, and it did later", rs{begun(x), failed(x, rpc.NotRun), runs(x, a, 7)}, virtualsCount{wrong: 1}},
		{"a one-way message that was not run, and was", rs{begun(way), failed(way, rpc.NotRun), runs(way, a, 7)}, virtualsCount{wrong: 1}},
		{"it ran, and did not", rs{begun(x), failed(x, rpc.HasRun)}, virtualsCount{wrong: 1}},
		{"an answer of nobody", rs{begun(x), answer(x, 7)}, virtualsCount{wrong: 1}},
		{"an answer of another activation", rs{begun(x), runs(x, a, 7), answer(x, 9)}, virtualsCount{wrong: 1}},
		{"nobody asked", rs{runs(x, a, 7)}, virtualsCount{wrong: 1}},
		{"it ends twice", rs{begun(x), failed(x, rpc.Unknown), failed(x, rpc.Unknown)}, virtualsCount{wrong: 1}},
		{"it does not end", rs{begun(x)}, virtualsCount{lost: 1}},
	} {
		g := newRegistrar()
		for i, r := range c.records {
			r.at = int64(i + 1)
			if r.sort == 0 {
				g.struck(a, r.at, false)
				continue
			}
			g.take(parseRecord(r.append(nil)))
		}
		g.decide()
		got := virtualsCount{lower: g.count.lower, shared: g.count.shared, twice: g.count.twice, wrong: g.count.wrong, lost: g.count.lost}
		if got != c.want || (c.want == virtualsCount{}) != (len(g.wrong) == 0) {
			t.Errorf("%s: %+v, %q", c.name, got, g.wrong)
		}
	}
}

// TestRegistrarTimes checks what is measured: a blow counts for what its process held, until a later
// activation answers.
func TestRegistrarTimes(t *testing.T) {
	a, b := life{hostOf(0), 1}, life{hostOf(1), 1}
	g := newRegistrar()
	at := func(op uint64, by life, token uint64, ended int64) {
		for _, r := range []record{{sort: asked, at: ended - 1}, {sort: ran, who: by.who, life: by.n, at: ended, aux: token}, {sort: told, at: ended, verdict: rpc.HasRun, aux: token}} {
			r.op = op
			g.take(r)
		}
	}
	for n := range uint32(2) { // id 0 is at a, id 1 at b
		at(visitID(b, 1, 1, calling, int(n)), []life{a, b}[n], 3, 10)
		at(visitID(b, 1, 2, calling, int(n)), []life{a, b}[n], 3, 25) // an answer that was under way
		at(visitID(b, 1, 3, calling, int(n)), b, 3+uint64(1-n), 50)
		at(visitID(b, 1, 4, calling, int(n)), b, 3+uint64(1-n), 60)
	}
	g.struck(a, 20, false)
	g.struck(b, 100, true)
	if d := g.successions(false); len(d) != 1 || d[0] != 30 {
		t.Errorf("after a kill: %v", d)
	}
	if d := g.successions(true); len(d) != 0 {
		t.Errorf("after a stop: %v", d)
	}
	for i := range hosts {
		for id := range virtualIDs {
			if g.agreed() {
				t.Errorf("agreed without host %d", i)
			}
			at(visitID(life{hostOf(i), 1}, sweeper, 1, sweeping, id), b, 9, 200)
		}
	}
	if !g.agreed() || !g.reaches(hostOf(0), 198) || g.reaches(hostOf(0), 199) {
		t.Error("not agreed, or not reached")
	}
	at(visitID(life{hostOf(2), 1}, sweeper, 2, sweeping, 0), a, 10, 210)
	if g.agreed() {
		t.Error("agreed on two activations")
	}
}
