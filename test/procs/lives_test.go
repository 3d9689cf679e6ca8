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

// livesRun has the processes of one run of lives.
type livesRun struct {
	*town
	chronicle *chronicle
}

func newLivesRun(dir string, seed uint64, c cheat) (*livesRun, error) {
	t, err := newTown(dir, seed)
	if err != nil {
		return nil, err
	}
	t.role.Cheat = c
	t.plan(1)
	return &livesRun{t, newChronicle()}, nil
}

// look reads what has come, and sees to it that nobody has died of himself.
func (l *livesRun) look() error {
	for _, f := range l.files {
		if err := f.read(l.chronicle.take); err != nil {
			return err
		}
	}
	for _, c := range l.procs {
		if c.died() {
			return fmt.Errorf("%s ended of itself: %v; %s", c.name, c.err, c.lastWords())
		}
	}
	return nil
}

// await looks until ok.
func (l *livesRun) await(within time.Duration, what string, ok func() bool) error {
	for limit := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		if err := l.look(); err != nil || ok() {
			return err
		}
		if time.Now().After(limit) {
			return fmt.Errorf("after %v: %s", within, what)
		}
	}
}

// begin starts a node, for the first time or again.
func (l *livesRun) begin(i int) error {
	r := l.node("being", beings[i], service{KV: true}, nil)
	r.Who = beingOf(i)
	return l.start(r)
}

// life is the present start of a node.
func (l *livesRun) life(i int) life { return life{beingOf(i), l.lives[beings[i]]} }

// whole waits until all nodes watch each other, and each gets what each publishes.
func (l *livesRun) whole() error {
	since := time.Now().UnixNano()
	return l.await(toldWait, "not all watch each other and hear of each other", func() bool {
		for i := range beings {
			if l.chronicle.watched(l.life(i), time.Now().UnixNano()) < watchers*(len(beings)-1) {
				return false
			}
			for k := range beings {
				if !l.chronicle.knows(l.life(i), l.life(k), since) {
					return false
				}
			}
		}
		return true
	})
}

// kill kills a node while it publishes, and starts it again: at once, or when the others know of its end.
func (l *livesRun) kill(i int, late bool) error {
	name := beings[i]
	l.chronicle.kills[l.life(i)] = time.Now().UnixNano()
	l.procs[name].kill()
	delete(l.procs, name)
	told := func() error {
		return l.await(toldWait, fmt.Sprintf("not all know that %s was killed", name), func() bool { return l.chronicle.untold() == 0 })
	}
	if late {
		if err := told(); err != nil {
			return err
		}
		return l.begin(i)
	}
	if err := l.begin(i); err != nil {
		return err
	}
	return told()
}

// play kills nodes n times.
func (l *livesRun) play(n int, patient bool) error {
	defer l.close()
	if err := l.startNATS(); err != nil {
		return err
	}
	for i := range beings {
		if err := l.begin(i); err != nil {
			return err
		}
	}
	for k := range n {
		if err := l.whole(); err != nil {
			return err
		}
		if err := l.kill(k%(len(beings)-1), patient && k%4 == 3); err != nil {
			return err
		}
	}
	return errors.Join(l.whole(), l.finish())
}

// finish has all come to rest, and decides.
func (l *livesRun) finish() error {
	for _, c := range l.procs {
		if _, err := io.WriteString(c.orders, restOrder); err != nil {
			return err
		}
	}
	time.Sleep(settle)
	var errs []error
	for name, c := range l.procs {
		errs = append(errs, c.end())
		delete(l.procs, name)
	}
	errs = append(errs, l.look())
	l.chronicle.decide()
	return errors.Join(errs...)
}

// TestLives kills nodes whose actors are watched, that publish and that have subscribed. Who watches
// gets one Terminated for each start, and can watch the next; what one publisher publishes arrives at
// the others once and in order; who has started anew gets what is published then.
func TestLives(t *testing.T) {
	t.Parallel()
	defer enter()()
	l, err := newLivesRun(t.TempDir(), *seed, honest)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	err = l.play(*kills, *patient)
	t.Logf("%d kills in %v: %+v", *kills, short(time.Since(began)), l.chronicle.count)
	if err != nil {
		t.Error(err)
	}
	for _, line := range l.chronicle.wrong {
		t.Error(line)
	}
	if c := l.chronicle.count; c.ends < watchers**kills || c.papers < 100 || c.read < 100 || c.readAlone < 50 {
		t.Errorf("a stalled system is not a safe one: %+v", c)
	}
}

// TestLivesCheats breaks the rules of all that on purpose: it must be noticed.
func TestLivesCheats(t *testing.T) {
	t.Parallel()
	defer enter()()
	l, err := newLivesRun(t.TempDir(), *seed, dishonest)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	if err := l.startNATS(); err != nil {
		t.Fatal(err)
	}
	for i := range beings {
		if err := l.begin(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.whole(); err != nil {
		t.Fatal(err)
	}
	l.chronicle.kills[l.life(0)] = time.Now().UnixNano()
	l.procs[beings[0]].kill()
	delete(l.procs, beings[0])
	if err := l.begin(0); err != nil { // so that its end is known
		t.Fatal(err)
	}
	if err := errors.Join(l.whole(), l.finish()); err != nil {
		t.Fatal(err)
	}
	if c := l.chronicle.count; c.twice == 0 || c.lost == 0 || c.wrong == 0 || c.disorder == 0 {
		t.Errorf("not everything was noticed: %+v", c)
	}
}

// TestChronicle plants one violation at a time among records that are sound.
func TestChronicle(t *testing.T) {
	const n = 3 // the number of a watch or publication
	a, b := life{beingOf(0), 1}, life{beingOf(1), 1}
	op := func(by life, n uint32) uint64 { return opID(by.n, uint16(by.who)<<8, n) }
	watch := record{sort: watching, who: a.who, life: b.n, op: op(b, n), aux: uint64(a.n)}
	end := record{sort: ended, who: b.who, life: b.n, op: op(b, n)}
	write := func(n uint32) record { return record{sort: printing, who: a.who, life: a.n, op: op(a, n)} }
	wrote := record{sort: printed, who: a.who, life: a.n, op: op(a, n)}
	refused := record{sort: printed, who: a.who, life: a.n, op: op(a, n), code: rpc.Unavailable, verdict: rpc.NotRun}
	read := func(n uint32) record { return record{sort: got, who: b.who, life: b.n, op: op(a, n)} }
	alone := func(by life) record { return record{sort: gotAlone, who: by.who, life: by.n, op: op(a, n)} }
	dies := func(l life) record { return record{who: l.who, life: l.n} } // of no sort
	type rs = []record
	for _, c := range []struct {
		name    string
		records rs
		want    livesCount
	}{
		{"a watch that goes on", rs{watch}, livesCount{}},
		{"an end that is told", rs{watch, watch, dies(a), end}, livesCount{}},
		{"a watcher that was killed", rs{watch, watch, dies(a), dies(b)}, livesCount{}},
		{"a watch that is too young", rs{dies(a), watch}, livesCount{}},
		{"an end that is told twice", rs{watch, dies(a), end, end}, livesCount{twice: 1}},
		{"an end that is lost", rs{watch, write(1), dies(a)}, livesCount{lost: 1}},
		{"an end that is none", rs{watch, end}, livesCount{wrong: 1}},
		{"an end that comes before", rs{watch, end, dies(a)}, livesCount{wrong: 1}},
		{"an end of nobody", rs{end}, livesCount{wrong: 1}},

		{"publications in order", rs{write(n), wrote, write(n + 1), read(n), read(n + 1), alone(b)}, livesCount{}},
		{"one that is left out", rs{write(n), wrote, write(n + 1), read(n + 1)}, livesCount{}},
		{"one that comes twice", rs{write(n), read(n), read(n)}, livesCount{twice: 1}},
		{"one that comes too late", rs{write(n), write(n + 1), read(n + 1), read(n)}, livesCount{disorder: 1}},
		{"two members", rs{write(n), alone(a), alone(b)}, livesCount{twice: 1}},
		{"one that there is not", rs{read(n)}, livesCount{wrong: 1}},
		{"one that was refused", rs{write(n), refused, read(n)}, livesCount{wrong: 1}},
	} {
		j := newChronicle()
		for i, r := range c.records {
			r.at = int64(i+1) * int64(time.Second) * 2 / 3 // so two steps are longer than heldFor, and one is not
			if r.sort == 0 {
				j.kills[life{r.who, r.life}] = r.at
				continue
			}
			j.take(parseRecord(r.append(nil)))
		}
		j.decide()
		got := livesCount{twice: j.count.twice, lost: j.count.lost, wrong: j.count.wrong, disorder: j.count.disorder}
		if got != c.want || (c.want == livesCount{}) != (len(j.wrong) == 0) {
			t.Errorf("%s: %+v, %q", c.name, got, j.wrong)
		}
	}
}
