package actor_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
)

// books are an application's own records, in memory. A kill does not lose them.
type books struct {
	mu      sync.Mutex        // guards what follows
	records map[string][]byte // a nil value means void
	err     error             // returned by reads; nil if they work
}

func newBooks() *books { return &books{records: map[string][]byte{}} }

var errTaken = errors.New("the key is taken")

// commit adds a record, or returns errTaken if its id has a record or is void.
func (b *books) commit(id string, record []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, taken := b.records[id]; taken {
		return errTaken
	}
	b.records[id] = record
	return nil
}

// breaks makes all later reads fail with err. nil ends that.
func (b *books) breaks(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
}

func (b *books) Completed(_ context.Context, id string) ([]byte, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.records[id], b.records[id] != nil, b.err
}

func (b *books) Void(_ context.Context, id string) ([]byte, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, found := b.records[id]; !found && b.err == nil {
		b.records[id] = nil
	}
	return b.records[id], b.records[id] != nil, b.err
}

// clerk is an actor that commits a Job together with its completion. It waits after the
// commit if the job's name begins with "slow", and before the commit if the name begins with
// "undecided".
type clerk struct {
	*shop
	*books
	start string
}

func (k *clerk) Job(ctx *actor.Context, m Job) (string, error) {
	reply := m.Name + " by " + k.start
	if strings.HasPrefix(m.Name, "undecided") {
		if err := k.job(ctx, "slow "+m.Name); err != nil {
			return "", err
		}
	}
	id, record, err := actor.Completion(ctx, reply)
	if err == nil {
		err = k.commit(id, record)
	}
	if err == nil {
		err = k.job(ctx, m.Name)
	}
	return reply, err
}

// clerks starts system b with a clerk under the name "w".
func (c *cluster) clerks(start string, s *shop, b *books, change ...func(*actor.Config)) *actor.System {
	kind := actor.Define("test.clerk", func() *clerk { return &clerk{s, b, start} }, actor.Answer((*clerk).Job)).With(actor.Transactional(b))
	sys := c.start("b", append(change, func(cfg *actor.Config) { cfg.Kinds = []*actor.Kind{kind} })...)
	spawn(c.t, sys, "w", kind)
	return sys
}

// If the application commits its own records, no outcome is unknown after a restart: what was
// committed is replayed, and what was not committed is NotRun and can never be committed.
func TestTransactionalKind(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		s, r := newShop(), newBooks()
		a, b := c.start("a"), c.clerks("b1", s, r)
		want(t, ask(a, "warm up"), "warm up by b1")
		c.mute(b)
		done := ask(a, "done")
		time.Sleep(moment)
		slow := ask(a, "slow") // committed, and its handler runs on
		time.Sleep(moment)
		queued, anew := ask(a, "queued", once), ask(a, "anew")
		time.Sleep(moment)
		c.kill(b, nil)
		close(s.gate)
		c.clerks("b2", s, r)
		want(t, done, "done by b1")
		want(t, slow, "slow by b1")
		wantFailed(t, "queued", queued, rpc.Unavailable, rpc.NotRun)
		want(t, anew, "anew by b2")
		for name, n := range map[string]int{"done": 1, "slow": 1, "queued": 0, "anew": 1} {
			s.ran(t, name, n)
		}
	})
}

// A start that is only cut off, not dead, cannot commit what its successor has voided.
func TestVoidedWhileItRuns(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		s, r := newShop(), newBooks()
		a, b := c.start("a"), c.clerks("b1", s, r)
		want(t, ask(a, "warm up"), "warm up by b1")
		f, anew := ask(a, "undecided", once), ask(a, "another")
		time.Sleep(moment)
		c.net.Partition("", "b", "")
		c.clerks("b2", s, r)
		c.net.Reset("", "b", "")
		c.net.Heal("", "b", "")
		wantFailed(t, "voided", f, rpc.Unavailable, rpc.NotRun)
		time.Sleep(time.Second) // until the other one is voided as well
		close(s.gate)
		want(t, anew, "another by b2")
		time.Sleep(moment)
		s.ran(t, "slow undecided", 1)
		s.ran(t, "undecided", 0) // it had not committed
		s.ran(t, "another", 1)
		c.kill(b, nil)
	})
}

// A request under a key that an earlier start has committed is replayed without running. If
// it was not committed, its outcome is unknown: the key is free, so nobody can say that the
// request will never be committed.
func TestTransactionalKeys(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		s, r := newShop(), newBooks()
		a, b := c.start("a"), c.clerks("b1", s, r)
		want(t, ask(a, "x", rpc.Key("k")), "x by b1")
		c.mute(b)
		done := ask(a, "done", rpc.Key("k2"))
		time.Sleep(moment)
		unsure, anyway := ask(a, "undecided", rpc.Key("k3")), ask(a, "anyway", rpc.Key("k4"), rpc.Idempotent())
		time.Sleep(moment)
		c.kill(b, nil)
		close(s.gate)
		c.clerks("b2", s, r)
		want(t, done, "done by b1")
		wantFailed(t, "not committed", unsure, rpc.OutcomeUnknown, rpc.Unknown)
		want(t, anyway, "anyway by b2")
		other := c.start("c")
		want(t, ask(other, "x", rpc.Key("k")), "x by b1")
		want(t, ask(other, "done", rpc.Key("k2")), "done by b1")
		want(t, ask(other, "undecided", rpc.Key("k3")), "undecided by b2")
		for name, n := range map[string]int{"x": 1, "done": 1, "undecided": 1, "anyway": 1} {
			s.ran(t, name, n)
		}
	})
}

// While the application's records cannot be read, requests under a key do not run, and the
// outcome of earlier requests is unknown.
func TestRecordsCannotBeRead(t *testing.T) {
	clusters(t, []string{"bus"}, func(t *testing.T, c *cluster) {
		s, r := newShop(), newBooks()
		a, b := c.start("a"), c.clerks("b1", s, r)
		want(t, ask(a, "warm up"), "warm up by b1")
		r.breaks(errors.New("no connection"))
		wantFailed(t, "keyed", ask(a, "x", rpc.Key("k"), once), rpc.Unavailable, rpc.NotRun)
		s.ran(t, "x", 0)
		want(t, ask(a, "y"), "y by b1")
		c.mute(b)
		done := ask(a, "done")
		time.Sleep(moment)
		c.kill(b, nil)
		c.clerks("b2", s, r)
		wantFailed(t, "asked for", done, rpc.OutcomeUnknown, rpc.Unknown)
		r.breaks(nil)
		want(t, ask(a, "x", rpc.Key("k")), "x by b2")
		s.ran(t, "x", 1)
	})
}

// A kind may be both durable and transactional. Then the application's records say what its
// handlers did, and the store says what had not started.
func TestDurableAndTransactional(t *testing.T) {
	clusters(t, []string{"direct", "bus"}, func(t *testing.T, c *cluster) {
		s, r, d := newShop(), newBooks(), new(disk)
		begin := func(start string) *actor.System {
			kind := actor.Define("test.clerk", func() *clerk { return &clerk{s, r, start} }, actor.Answer((*clerk).Job)).
				With(actor.Transactional(r), actor.Durable())
			sys := c.start("b", d.config, func(cfg *actor.Config) { cfg.Kinds = []*actor.Kind{kind} })
			spawn(t, sys, "w", kind)
			return sys
		}
		a, b := c.start("a"), begin("b1")
		want(t, ask(a, "warm up"), "warm up by b1")
		c.mute(b)
		done := ask(a, "done")
		time.Sleep(moment)
		slow := ask(a, "slow")
		time.Sleep(moment)
		anew := ask(a, "anew")
		time.Sleep(moment)
		c.kill(b, d)
		close(s.gate)
		begin("b2")
		want(t, done, "done by b1")
		want(t, slow, "slow by b1")
		want(t, anew, "anew by b2")
		for name, n := range map[string]int{"done": 1, "slow": 1, "anew": 1} {
			s.ran(t, name, n)
		}
	})
}

// A request of the same node has a completion record too, although nobody will ask for it.
func TestCompletionOfALocalRequest(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		r := newBooks()
		kind := actor.Define("test.clerk", func() *clerk { return &clerk{newShop(), r, "b1"} }, actor.Answer((*clerk).Job)).With(actor.Transactional(r))
		b := newSystem(t, actor.Config{Name: "b", Kinds: []*actor.Kind{kind}})
		spawn(t, b, "w", kind)
		for range 2 {
			want(t, ask(b, "x"), "x by b1")
		}
		if len(r.records) != 2 {
			t.Errorf("%d records", len(r.records))
		}
		for range 2 {
			want(t, ask(b, "y", rpc.Key("k")), "y by b1")
		}
		if len(r.records) != 3 {
			t.Errorf("%d records", len(r.records))
		}
	})
}
