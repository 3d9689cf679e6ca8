//go:build unix

package procs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// postsRun has the processes of one run of posts.
type postsRun struct {
	*town
	master    *postmaster
	committed map[string]bool // the transactions that the master knows
}

func newPostsRun(dir string, seed uint64, c cheat) (*postsRun, error) {
	t, err := newTown(dir, seed)
	if err != nil {
		return nil, err
	}
	t.role.Cheat = c
	t.plan(1)
	return &postsRun{t, newPostmaster(), map[string]bool{}}, os.Mkdir(filepath.Join(dir, commitsDir), 0o700)
}

// look reads what has come, and sees to it that nobody has died of himself.
func (p *postsRun) look() error {
	for _, f := range p.files {
		if err := f.read(p.master.take); err != nil {
			return err
		}
	}
	for _, c := range p.procs {
		if c.died() {
			return fmt.Errorf("%s ended of itself: %v; %s", c.name, c.err, c.lastWords())
		}
	}
	return nil
}

// await looks until ok.
func (p *postsRun) await(within time.Duration, what func() string, ok func() bool) error {
	for limit := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		if err := p.look(); err != nil || ok() {
			return err
		}
		if time.Now().After(limit) {
			return fmt.Errorf("after %v: %s", within, what())
		}
	}
}

// begin starts a node, for the first time or again.
func (p *postsRun) begin(i int) error {
	r := p.node("post", posters[i], service{KV: true}, nil)
	r.Who = posterOf(i)
	return p.start(r)
}

// startAll starts all.
func (p *postsRun) startAll() error {
	err := p.startNATS()
	for i := range posters {
		if err == nil {
			err = p.begin(i)
		}
	}
	return err
}

// whole waits until each receiver has handled what was sent after now.
func (p *postsRun) whole() error {
	since := time.Now().UnixNano()
	silent := func() (n int) {
		for i := range posters {
			for k := range receivers {
				if p.master.sentLast[line{posterOf(i), k}] < since {
					n++
				}
			}
		}
		return n
	}
	return p.await(toldWait, func() string { return fmt.Sprintf("%d receivers handle nothing that is new", silent()) }, func() bool { return silent() == 0 })
}

// kill kills nodes while they send and handle, and starts them again.
func (p *postsRun) kill(nodes []int) error {
	time.Sleep(200*time.Millisecond + time.Duration(p.r.Int64N(int64(200*time.Millisecond)))) // of load; no kill at the same moment of it each time
	for _, i := range nodes {
		_ = p.procs[posters[i]].cmd.Process.Kill()
	}
	killed := map[int]int64{}
	for _, i := range nodes {
		p.procs[posters[i]].kill()
		delete(p.procs, posters[i])
		killed[i] = time.Now().UnixNano()
	}
	for _, i := range nodes {
		if err := p.begin(i); err != nil {
			return err
		}
		p.master.kills[posterOf(i)] = append(p.master.kills[posterOf(i)], absence{killed[i], time.Now().UnixNano()})
	}
	return nil
}

// victims are who is killed, in turn.
var victims = [][]int{{0}, {0, 1}, {1}}

// play kills nodes n times.
func (p *postsRun) play(n int, patient bool) error {
	defer p.close()
	if err := p.startAll(); err != nil {
		return err
	}
	for k := range n {
		if err := p.whole(); err != nil {
			return err
		}
		if err := p.kill(victims[k%len(victims)]); err != nil {
			return fmt.Errorf("kill %d: %w", k, err)
		}
	}
	return errors.Join(p.whole(), p.finish(patient))
}

// finish has all come to rest, and decides. Patient is who also waits until NATS hands out again what the
// subscription with a name had in hand when its node was killed, which takes 10 s.
func (p *postsRun) finish(patient bool) error {
	for _, c := range p.procs {
		if _, err := io.WriteString(c.orders, restOrder); err != nil {
			return err
		}
	}
	time.Sleep(settle)
	transactions := func() error { return commits{p.role.Dir}.read(p.committed, p.master.take) }
	if err := transactions(); err != nil { // also those whose node was killed before it could write down that they are settled
		return err
	}
	left := func() (letters, archived, clerked int) {
		letters = len(p.master.open())
		for i, name := range posters {
			a, c := p.master.unread(life{posterOf(i), p.lives[name]})
			archived = max(archived, a)
			if patient {
				clerked = max(clerked, c)
			}
		}
		return letters, archived, clerked
	}
	within := toldWait
	if p.role.Cheat == dishonest {
		within = settle // what was left out never comes
	}
	errs := []error{p.await(within, func() string {
		letters, archived, clerked := left()
		return fmt.Sprintf("%d messages are not over, %d publications not read, %d by those of the name%s", letters, archived, clerked, p.master.describe(p.master.open()))
	}, func() bool {
		letters, archived, clerked := left()
		return letters <= 0 && archived <= 0 && clerked <= 0
	})}
	if p.role.Cheat == dishonest {
		errs = nil
	}
	for name, c := range p.procs {
		errs = append(errs, c.end())
		delete(p.procs, name)
	}
	errs = append(errs, p.look(), transactions())
	p.master.decide()
	return errors.Join(errs...)
}

// TestPosts kills senders and receivers of reliable messages, and both at once, which also publish on a
// durable topic and have subscribed to it.
func TestPosts(t *testing.T) {
	t.Parallel()
	defer enter()()
	p, err := newPostsRun(t.TempDir(), *seed, honest)
	if err != nil {
		t.Fatal(err)
	}
	began, n := time.Now(), *kills
	err = p.play(n, *patient)
	t.Logf("%d kills in %v: %+v", n, short(time.Since(began)), p.master.count)
	if err != nil {
		t.Error(err)
	}
	for _, line := range p.master.wrong {
		t.Error(line)
	}
	if c := p.master.count; c.handled < 50*n || c.archived < 50*n || c.clerked == 0 {
		t.Errorf("a stalled system is not a safe one: %+v", c)
	}
}

// TestPostsCheats breaks the rules of all that on purpose: it must be noticed.
func TestPostsCheats(t *testing.T) {
	t.Parallel()
	defer enter()()
	p, err := newPostsRun(t.TempDir(), *seed, dishonest)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if err := errors.Join(p.startAll(), p.whole()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(settle)
	if err := p.finish(false); err != nil {
		t.Fatal(err)
	}
	if c := p.master.count; c.twice == 0 || c.lost == 0 || c.wrong == 0 || c.disorder == 0 || c.gap == 0 {
		t.Errorf("not everything was noticed: %+v", c)
	}
}

// TestPostmasterWaits checks which messages the judge waits for. A transaction that was committed is over, also if its node
// was killed before it could say so.
func TestPostmasterWaits(t *testing.T) {
	op := opID(1, uint16(posterOf(0))<<8|paidThere, 1)
	begun, kept := record{sort: posting, op: op}, record{sort: posted, op: op, verdict: rpc.HasRun}
	for _, c := range []struct {
		name    string
		records []record
		open    int
	}{
		{"it may not be kept", []record{begun}, 0},
		{"kept", []record{begun, kept}, 1},
		{"settled", []record{begun, kept, {sort: settled, op: op, at: 1}}, 0},
		{"committed", []record{begun, kept, {sort: ran, op: op}}, 0},
		{"given up", []record{begun, kept, {sort: gaveUp, op: op, at: 1, verdict: rpc.Unknown}}, 0},
	} {
		p := newPostmaster()
		for _, r := range c.records {
			p.take(r)
		}
		if open := len(p.open()); open != c.open {
			t.Errorf("%s: waits for %d, want %d", c.name, open, c.open)
		}
	}
}

// TestPostmaster plants one violation at a time among records that are sound.
func TestPostmaster(t *testing.T) {
	ann, ben := life{posterOf(0), 1}, life{posterOf(1), 1}
	id := func(receiver int, n uint32) uint64 { return opID(1, uint16(ann.who)<<8|uint16(receiver), n) }
	send := func(op uint64) record { return record{sort: posting, op: op} }
	kept := func(op uint64) record { return record{sort: posted, op: op, verdict: rpc.HasRun} }
	refused := func(s sort, op uint64) record {
		return record{sort: s, op: op, verdict: rpc.NotRun, code: rpc.Overloaded}
	}
	unsure := func(op uint64) record {
		return record{sort: posted, op: op, verdict: rpc.Unknown, code: rpc.Unavailable}
	}
	runs := func(op uint64) record { return record{sort: delivered, op: op} }
	commit := func(op uint64) record { return record{sort: ran, op: op} }
	dead := func(op uint64) record { return record{sort: gaveUp, op: op, verdict: rpc.Unknown} }
	dies := func(l life) record { return record{who: l.who} } // of no sort
	print := func(op uint64) record { return record{sort: publishing, op: op} }
	stored := func(op uint64) record { return record{sort: published, op: op, verdict: rpc.HasRun} }
	read := func(op, at uint64) record { return record{sort: archived, who: ben.who, life: ben.n, op: op, aux: at} }
	named := func(op, at uint64) record { return record{sort: clerked, who: ben.who, life: ben.n, op: op, aux: at} }
	x, y, plain, plain2, paid := id(keptThere, 1), id(keptThere, 2), id(plainThere, 1), id(plainThere, 2), id(paidThere, 1)
	n1, n2, n3 := id(bulletinCaller, 1), id(bulletinCaller, 2), id(bulletinCaller, 3)
	type rs = []record
	for _, c := range []struct {
		name    string
		records rs
		want    postsCount
	}{
		{"two in order", rs{send(x), kept(x), send(y), kept(y), runs(x), runs(y)}, postsCount{}},
		{"one that its sender did not live to hear of", rs{send(x)}, postsCount{}},
		{"refused", rs{send(x), refused(posted, x)}, postsCount{}},
		{"unsure, and it comes late", rs{send(x), unsure(x), send(y), kept(y), runs(y), runs(x)}, postsCount{}},
		{"begun when its node was killed", rs{send(x), kept(x), runs(x), dies(ben), dead(x)}, postsCount{}},
		{"about to begin when its node was killed", rs{send(x), kept(x), dies(ben), dead(x)}, postsCount{}},
		{"sent while nobody was there", rs{dies(ben), send(plain), kept(plain), dies(ben), dead(plain)}, postsCount{}},
		{"two that may have come, without records", rs{send(plain), kept(plain), send(plain2), kept(plain2), dies(ben), dead(plain), dead(plain2)}, postsCount{}},
		{"committed", rs{send(paid), kept(paid), commit(paid)}, postsCount{}},

		{"handled twice", rs{send(x), kept(x), runs(x), dies(ben), runs(x)}, postsCount{twice: 1}},
		{"committed twice", rs{send(paid), kept(paid), commit(paid), commit(paid)}, postsCount{twice: 1}},
		{"handled, and nobody sent it", rs{runs(x)}, postsCount{wrong: 1}},
		{"refused, and handled", rs{send(x), refused(posted, x), runs(x)}, postsCount{wrong: 1}},
		{"kept, and forgotten", rs{send(plain), kept(plain), dies(ben)}, postsCount{lost: 1}},
		{"given up, and nobody was killed", rs{send(plain), kept(plain), dead(plain)}, postsCount{lost: 1}},
		{"given up, and the sender was killed", rs{send(plain), kept(plain), dies(ann), dead(plain)}, postsCount{lost: 1}},
		{"given up, and it was behind another one", rs{send(x), kept(x), send(y), kept(y), dies(ben), runs(x), dead(y)}, postsCount{lost: 1}},
		{"two given up, and there are records", rs{send(x), kept(x), send(y), kept(y), dies(ben), dead(x), dead(y)}, postsCount{lost: 1}},
		{"given up, and sent after the kill", rs{dies(ben), send(x), kept(x), dead(x)}, postsCount{lost: 1}},
		{"given up in spite of transactions", rs{send(paid), kept(paid), dies(ben), dead(paid)}, postsCount{lost: 1}},
		{"given up as not run", rs{send(plain), kept(plain), dies(ben), refused(gaveUp, plain)}, postsCount{wrong: 1}},
		{"out of order", rs{send(x), kept(x), send(y), kept(y), runs(y), runs(x)}, postsCount{disorder: 1}},

		{"publications", rs{print(n1), stored(n1), print(n2), read(n1, 7), read(n2, 8), named(n1, 7), named(n2, 8)}, postsCount{}},
		{"one that comes again after a kill", rs{print(n1), read(n1, 7), named(n1, 7), dies(ben), named(n1, 7)}, postsCount{}},
		{"one that comes again", rs{print(n1), read(n1, 7), named(n1, 7), named(n1, 7)}, postsCount{twice: 1}},
		{"one that is stored twice", rs{print(n1), read(n1, 7), named(n1, 7), named(n1, 8)}, postsCount{twice: 1}},
		{"one that is read twice", rs{print(n1), read(n1, 7), read(n1, 7), named(n1, 7)}, postsCount{twice: 1, gap: 1}},
		{"one that is lost", rs{print(n1), stored(n1)}, postsCount{lost: 1}},
		{"one that was refused", rs{print(n1), refused(published, n1), read(n1, 7), named(n1, 7)}, postsCount{wrong: 1}},
		{"one that there is not", rs{read(n1, 7), named(n1, 7)}, postsCount{wrong: 1}},
		{"one that is left out", rs{print(n1), print(n2), print(n3), read(n1, 7), read(n3, 9), named(n1, 7), named(n2, 8), named(n3, 9)}, postsCount{gap: 1}},
		{"one that the name leaves out", rs{print(n1), print(n2), print(n3), read(n1, 7), read(n2, 8), read(n3, 9), named(n1, 7), named(n3, 9)}, postsCount{gap: 1}},
		{"a name that begins too late", rs{print(n1), print(n2), read(n1, 7), read(n2, 8), named(n2, 8)}, postsCount{gap: 1}},
		{"a name that goes back", rs{print(n1), print(n2), read(n1, 7), read(n2, 8), named(n1, 7), named(n2, 8), named(n1, 7)}, postsCount{disorder: 1}},
		{"publications out of order", rs{print(n1), print(n2), read(n2, 7), read(n1, 8), named(n2, 7), named(n1, 8)}, postsCount{disorder: 1}},
	} {
		p := newPostmaster()
		for i, r := range c.records {
			r.at = int64(i + 1)
			if r.sort == 0 {
				p.kills[r.who] = append(p.kills[r.who], absence{r.at, r.at})
				continue
			}
			p.take(parseRecord(r.append(nil)))
		}
		p.decide()
		got := postsCount{twice: p.count.twice, lost: p.count.lost, wrong: p.count.wrong, disorder: p.count.disorder, gap: p.count.gap}
		if got != c.want || (c.want == postsCount{}) != (len(p.wrong) == 0) {
			t.Errorf("%s: %+v, %q", c.name, got, p.wrong)
		}
	}
}
