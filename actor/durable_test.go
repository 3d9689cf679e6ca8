package actor_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// disk is a store that outlives systems.
type disk struct {
	mu     sync.Mutex // guards what follows
	kept   []dedup.Change
	owner  string
	writes int
}

type diskLog struct {
	*disk
	epoch string
}

func (d *disk) Take(_ context.Context, _, epoch string, load func(dedup.Change)) (dedup.Log, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owner = epoch
	for _, c := range d.kept {
		load(c)
	}
	return diskLog{d, epoch}, nil
}

func (l diskLog) Append(_ context.Context, changes []dedup.Change) error {
	time.Sleep(time.Millisecond) // a disk takes its time: what comes meanwhile is written together
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.owner != l.epoch {
		return dedup.ErrFenced
	}
	l.writes++
	l.kept = append(l.kept, changes...)
	return nil
}

func (l diskLog) Rewrite(_ context.Context, changes iter.Seq[dedup.Change]) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = slices.Collect(changes)
	return nil
}

func (l diskLog) Close() error { return nil }

func (d *disk) written() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.writes
}

// unplug has nothing more of the present owner arrive.
func (d *disk) unplug() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owner = ""
}

// config has a system keep its records on d, those of the shop's workers too.
func (d *disk) config(c *actor.Config) {
	c.Store = d
	c.Kinds = append(c.Kinds, newShop().workers("").With(actor.Durable()))
}

// addresses is a registry that keeps a node's record until its next start.
type addresses struct{ *static.Registry }

func (addresses) Deregister(context.Context, string, string, []byte) error { return nil }

func (r addresses) Register(ctx context.Context, n registry.Node) error {
	old, err := r.Lookup(ctx, n.Name)
	if err == nil && old.Epoch == n.Epoch && len(old.Services) > 0 && len(n.Services) == 0 {
		return nil // it was killed
	}
	if err == nil && old.Epoch != n.Epoch {
		if err := r.Registry.Deregister(ctx, old.Name, old.Epoch, nil); err != nil {
			return err
		}
	}
	return r.Registry.Register(ctx, n)
}

// cluster is systems in a bubble that can be killed and started anew.
type cluster struct {
	t     *testing.T
	net   *memnet.Network
	nodes addresses
	roads []string
}

func clusters(t *testing.T, roads []string, run func(t *testing.T, c *cluster)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		run(t, &cluster{t, memnet.New(memnet.Config{Seed: 1}), addresses{static.New()}, roads})
	})
}

func onEachRoad(t *testing.T, run func(t *testing.T, c *cluster)) {
	t.Helper()
	for _, roads := range [][]string{{"direct"}, {"bus"}, {"direct", "bus"}} {
		t.Run(strings.Join(roads, "+"), func(t *testing.T) { clusters(t, roads, run) })
	}
}

// start starts a system. Those that were killed may say in the end what they like.
func (c *cluster) start(name string, change ...func(*actor.Config)) *actor.System {
	c.t.Helper()
	synctest.Wait()
	cfg := actor.Config{Name: name, Registry: c.nodes, Logger: quiet}
	for _, road := range c.roads {
		cfg.Transports = append(cfg.Transports, c.net.Transport(road, road == "direct"))
	}
	for _, fn := range change {
		fn(&cfg)
	}
	sys, err := actor.NewSystem(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = sys.Shutdown(c.t.Context()) })
	return sys
}

// kill ends a system as a killed process ends: nothing that it still wanted to say or
// to store arrives.
func (c *cluster) kill(sys *actor.System, store *disk) {
	if store != nil {
		store.unplug()
	}
	c.net.Partition("", sys.Name(), "")
	c.net.Reset("", sys.Name(), "")
	ctx, cancel := context.WithCancel(c.t.Context())
	cancel()
	_ = sys.Shutdown(ctx)
	c.net.Heal("", sys.Name(), "")
}

// mute holds back what b says from now on, so that a kill loses it.
func (c *cluster) mute(b *actor.System) { c.net.Hold("", b.Name(), "") }

// Job is answered with its name and that of the start which did it. Until the shop's
// gate opens, one whose name begins with "slow" waits.
type Job struct {
	actor.Returns[string]
	Name string
}

// Errand is a one-way job.
type Errand struct{ Name string }

// shop is what the workers of all starts share: it counts.
type shop struct {
	mu       sync.Mutex // guards what follows
	runs     map[string]int
	canceled map[string]bool
	gate     chan struct{}
}

func newShop() *shop {
	return &shop{runs: map[string]int{}, canceled: map[string]bool{}, gate: make(chan struct{})}
}

func (s *shop) job(ctx context.Context, name string) error {
	s.mu.Lock()
	s.runs[name]++
	s.mu.Unlock()
	if !strings.HasPrefix(name, "slow") {
		return nil
	}
	select {
	case <-s.gate:
		return nil
	case <-ctx.Done():
		s.mu.Lock()
		s.canceled[name] = true
		s.mu.Unlock()
		return ctx.Err()
	}
}

// ran fails the test unless a job ran that many times.
func (s *shop) ran(t *testing.T, name string, want int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := s.runs[name]; got != want {
		t.Errorf("%q ran %d times, want %d", name, got, want)
	}
}

func (s *shop) wasCanceled(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.canceled[name]
}

// workers is the kind of a start's workers.
func (s *shop) workers(start string) *actor.Kind {
	return actor.Define("test.worker", func() *shop { return s },
		actor.Answer(func(s *shop, ctx *actor.Context, m Job) (string, error) {
			return m.Name + " by " + start, s.job(ctx, m.Name)
		}),
		actor.Handle(func(s *shop, ctx *actor.Context, m Errand) error { return s.job(ctx, m.Name) }))
}

var once = rpc.WithRetry(rpc.Retry{Attempts: 1})

func ask(sys *actor.System, name string, opts ...rpc.Option) *rpc.Future[string] {
	return actor.Ask(context.Background(), sys.Ref("w@b"), Job{Name: name}, opts...)
}

func want(t *testing.T, f *rpc.Future[string], answer string) {
	t.Helper()
	if got, err := f.Await(t.Context()); got != answer || err != nil {
		t.Errorf("%q, %v; want %q", got, err, answer)
	}
}

func wantFailed(t *testing.T, what string, f *rpc.Future[string], code rpc.Code, ran rpc.Verdict) {
	t.Helper()
	_, err := f.Await(t.Context())
	wantErr(t, what, err, code, ran)
}

const moment = 100 * time.Millisecond // for what is under way to arrive

// A request that a restart of its node finds done is replayed, one that had started is
// OutcomeUnknown, and one that had not is NotRun, and by default made anew.
func TestDurableKind(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		s, d := newShop(), new(disk)
		a, b := c.start("a"), c.start("b", d.config)
		spawn(t, b, "w", s.workers("b1").With(actor.Durable()))
		want(t, ask(a, "warm up"), "warm up by b1")
		c.mute(b)
		done := ask(a, "done")
		time.Sleep(moment)
		slow := ask(a, "slow")
		time.Sleep(moment)
		queued, anew := ask(a, "queued", once), ask(a, "anew")
		time.Sleep(moment)
		c.kill(b, d)
		close(s.gate)
		spawn(t, c.start("b", d.config), "w", s.workers("b2").With(actor.Durable()))
		want(t, done, "done by b1")
		wantFailed(t, "started", slow, rpc.OutcomeUnknown, rpc.Unknown)
		wantFailed(t, "queued", queued, rpc.Unavailable, rpc.NotRun)
		want(t, anew, "anew by b2")
		for name, n := range map[string]int{"done": 1, "slow": 1, "queued": 0, "anew": 1} {
			s.ran(t, name, n)
		}
	})
}

// Requests to an actor that is not Durable are not recorded, whatever else is.
func TestUndurableActorBesideDurableOnes(t *testing.T) {
	clusters(t, []string{"bus"}, func(t *testing.T, c *cluster) {
		s, d := newShop(), new(disk)
		a, b := c.start("a"), c.start("b", d.config)
		spawn(t, b, "w", s.workers("b1"))
		want(t, ask(a, "warm up"), "warm up by b1")
		c.mute(b)
		done := ask(a, "done")
		time.Sleep(moment)
		c.kill(b, d)
		spawn(t, c.start("b", d.config), "w", s.workers("b2"))
		wantFailed(t, "not recorded", done, rpc.OutcomeUnknown, rpc.Unknown)
		s.ran(t, "done", 1)
	})
}

// Requests that wait for one actor share writes.
func TestDurableBatches(t *testing.T) {
	clusters(t, []string{"direct"}, func(t *testing.T, c *cluster) {
		s, d := newShop(), new(disk)
		a, b := c.start("a"), c.start("b", d.config)
		spawn(t, b, "w", s.workers("b1").With(actor.Durable()))
		slow := ask(a, "slow")
		time.Sleep(moment)
		before := d.written()
		var all []*rpc.Future[string]
		for range 200 {
			all = append(all, ask(a, "queued"))
		}
		time.Sleep(moment)
		close(s.gate)
		want(t, slow, "slow by b1")
		for _, f := range all {
			want(t, f, "queued by b1")
		}
		if n := d.written() - before; n > 20 {
			t.Errorf("200 requests took %d writes", n)
		}
		s.ran(t, "queued", 200)
	})
}

// What a kind needs of its system is asked for at Spawn; With changes no kind but the
// one that it returns.
func TestKindWith(t *testing.T) {
	plain := newShop().workers("a1")
	durable, transactional := plain.With(actor.Durable()), plain.With(actor.Transactional(newBooks()))
	if durable == plain || durable.Name() != plain.Name() {
		t.Errorf("%p, %s", durable, durable.Name())
	}
	for _, kinds := range [][]*actor.Kind{nil, {plain}, {durable}, {transactional}} {
		for _, store := range []dedup.Store{nil, new(disk)} {
			sys := newSystem(t, actor.Config{Kinds: kinds, Store: store})
			spawn(t, sys, "plain", plain)
			listed := len(kinds) > 0 && kinds[0] != plain
			_, err := sys.Spawn("durable", durable)
			switch {
			case store == nil:
				wantText(t, err, "Config.Store")
			case !listed:
				wantText(t, err, "Config.Kinds")
			case err != nil:
				t.Error(err)
			}
			if _, err = sys.Spawn("transactional", transactional); !listed {
				wantText(t, err, "Config.Kinds")
			} else if err != nil {
				t.Error(err)
			}
		}
	}
}

func wantText(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("%v; want an error about %s", err, text)
	}
}

// A kind's policy of retries goes before the system's, and after the request's own.
func TestRetriesOfAKind(t *testing.T) {
	world(t, []string{"bus"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		to, unplug := refusing(t, a, b)
		defer unplug()
		careful := PuppetKind.With(actor.Retries(rpc.Retry{Attempts: 2}))
		for _, c := range []struct {
			kind *actor.Kind
			opts []rpc.Option
			want uint64
		}{
			{PuppetKind, nil, rpc.DefaultAttempts - 1},
			{careful, nil, 1},
			{careful, []rpc.Option{rpc.WithRetry(rpc.Retry{Attempts: 3})}, 2},
			{PuppetKind.With(actor.Retries(rpc.Retry{Attempts: 1})), nil, 0},
		} {
			before := a.Stats().RPC.Retries
			_, err := actor.Call(t.Context(), spawn(t, a, "", c.kind), run(func(ctx *actor.Context) (string, error) {
				_, err := actor.Call(ctx, to, Count{}, c.opts...)
				wantErr(t, "refused each time", err, rpc.Overloaded, rpc.NotRun)
				return "", nil
			}))
			if got := a.Stats().RPC.Retries - before; got != c.want || err != nil {
				t.Errorf("%d retries, want %d; %v", got, c.want, err)
			}
		}
	})
}

// One key at one actor is one execution and one answer, whoever asks, and when.
func TestKeyIsOneExecution(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		s := newShop()
		a, b, other := c.start("a"), c.start("b"), c.start("c")
		spawn(t, b, "w", s.workers("b1"))
		spawn(t, b, "v", s.workers("v1"))
		first, second := ask(a, "slow", rpc.Key("k")), ask(other, "slow", rpc.Key("k"))
		third := ask(a, "slow", rpc.Key("k"))
		time.Sleep(moment)
		close(s.gate)
		for _, f := range []*rpc.Future[string]{first, second, third, ask(other, "slow", rpc.Key("k")), ask(a, "slow", rpc.Key("k"))} {
			want(t, f, "slow by b1")
		}
		s.ran(t, "slow", 1)
		wantFailed(t, "another message", ask(other, "other", rpc.Key("k")), rpc.IDReused, rpc.HasRun)
		s.ran(t, "other", 0)
		want(t, ask(a, "slow", rpc.Key("k2")), "slow by b1")
		want(t, ask(a, "slow"), "slow by b1")
		want(t, actor.Ask(t.Context(), a.Ref("v@b"), Job{Name: "slow"}, rpc.Key("k")), "slow by v1")
		s.ran(t, "slow", 4)
	})
}

// A key outlives its client, and if the kind is durable its server.
func TestKeyAcrossRestarts(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		s, d := newShop(), new(disk)
		a, b := c.start("a"), c.start("b", d.config)
		spawn(t, b, "w", s.workers("b1").With(actor.Durable()))
		want(t, ask(a, "x", rpc.Key("k")), "x by b1")
		c.kill(a, nil)
		a = c.start("a")
		want(t, ask(a, "x", rpc.Key("k")), "x by b1")

		c.mute(b)
		y := ask(a, "y", rpc.Key("k2"))
		time.Sleep(moment)
		slow := ask(a, "slow", rpc.Key("k3"))
		time.Sleep(moment)
		c.kill(b, d)
		close(s.gate)
		spawn(t, c.start("b", d.config), "w", s.workers("b2").With(actor.Durable()))
		want(t, y, "y by b1")
		wantFailed(t, "started", slow, rpc.OutcomeUnknown, rpc.Unknown)
		other := c.start("c")
		want(t, ask(other, "x", rpc.Key("k")), "x by b1")
		want(t, ask(other, "y", rpc.Key("k2")), "y by b1")
		wantFailed(t, "another message", ask(other, "z", rpc.Key("k2")), rpc.IDReused, rpc.HasRun)
		wantFailed(t, "started before", ask(other, "slow", rpc.Key("k3")), rpc.OutcomeUnknown, rpc.Unknown)
		for name, n := range map[string]int{"x": 1, "y": 1, "z": 0, "slow": 1} {
			s.ran(t, name, n)
		}
	})
}

// An attempt that was refused leaves the key free.
func TestKeyAfterRefusal(t *testing.T) {
	clusters(t, []string{"bus"}, func(t *testing.T, c *cluster) {
		s, d := newShop(), new(disk)
		a, b := c.start("a"), c.start("b", d.config)
		wantFailed(t, "nobody is there", ask(a, "x", rpc.Key("k")), rpc.NotFound, rpc.NotRun)
		spawn(t, b, "w", s.workers("b1").With(actor.Durable()), small(1, mailbox.Refuse))
		want(t, ask(a, "x", rpc.Key("k")), "x by b1")

		slow := ask(a, "slow")
		time.Sleep(moment)
		queued := ask(a, "queued")
		time.Sleep(moment)
		wantFailed(t, "the mailbox is full", ask(a, "y", rpc.Key("k2"), once), rpc.Overloaded, rpc.NotRun)
		close(s.gate)
		want(t, slow, "slow by b1")
		want(t, queued, "queued by b1")
		want(t, ask(a, "z", rpc.Key("k2")), "z by b1") // not even its message is bound
		s.ran(t, "y", 0)
		for range 2 { // a refusal in the mailbox, by the actor itself
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			_, err := actor.Call(ctx, a.Ref("w@b"), Count{}, rpc.Key("k3"))
			cancel()
			wantErr(t, "no such message", err, rpc.Unhandled, rpc.NotRun)
		}
		want(t, ask(a, "x", rpc.Key("k3")), "x by b1")
	})
}

// The caller of the attempt that was to run gives up while it is queued: the next one
// takes its place.
func TestKeyOwnerGivesUpInTheMailbox(t *testing.T) {
	for _, durable := range []bool{false, true} {
		onEachRoad(t, func(t *testing.T, c *cluster) {
			s, d := newShop(), new(disk)
			a, b, other := c.start("a"), c.start("b", d.config), c.start("c")
			kind := s.workers("b1")
			if durable {
				kind = kind.With(actor.Durable())
			}
			spawn(t, b, "w", kind)
			slow := ask(a, "slow")
			time.Sleep(moment)
			ctx, cancel := context.WithCancel(t.Context())
			owner := actor.Ask(ctx, a.Ref("w@b"), Job{Name: "x"}, rpc.Key("k"))
			time.Sleep(moment)
			waiting, resigned := ask(other, "x", rpc.Key("k")), ask(other, "x", rpc.Key("k"), once)
			time.Sleep(moment)
			cancel()
			_, err := owner.Await(t.Context())
			wantErr(t, "the owner", err, rpc.Canceled, rpc.Unknown)
			time.Sleep(moment)
			close(s.gate)
			want(t, slow, "slow by b1")
			want(t, waiting, "x by b1")
			wantFailed(t, "without a retry", resigned, rpc.Unavailable, rpc.NotRun)
			s.ran(t, "x", 1)
			if other.Stats().RPC.Retries != 1 {
				t.Errorf("%d retries", other.Stats().RPC.Retries)
			}
		})
	}
}

// It gives up while the handler runs: the handler's context ends if nobody else wants
// the outcome.
func TestKeyOwnerGivesUpWhileItRuns(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		s := newShop()
		a, b, other := c.start("a"), c.start("b"), c.start("c")
		spawn(t, b, "w", s.workers("b1"))
		for _, shared := range []bool{true, false} {
			name := fmt.Sprint("slow ", shared)
			ctx, cancel := context.WithCancel(t.Context())
			owner := actor.Ask(ctx, a.Ref("w@b"), Job{Name: name}, rpc.Key(name))
			time.Sleep(moment)
			var waiting *rpc.Future[string]
			if shared {
				waiting = ask(other, name, rpc.Key(name))
				time.Sleep(moment)
			}
			cancel()
			_, err := owner.Await(t.Context())
			wantErr(t, "the owner", err, rpc.Canceled, rpc.Unknown)
			time.Sleep(moment)
			if s.wasCanceled(name) == shared {
				t.Errorf("others wait: %v, the handler's context has ended: %v", shared, s.wasCanceled(name))
			}
			if shared {
				close(s.gate)
				want(t, waiting, name+" by b1")
				want(t, ask(a, name, rpc.Key(name)), name+" by b1")
				s.gate = make(chan struct{})
			}
			s.ran(t, name, 1)
		}
	})
}

// Callers of the same system share a key with each other, and with others unless the
// roads give them different names.
func TestKeyOfLocalCallers(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		for _, one := range []bool{false, true} {
			s := newShop()
			a := c.start("a")
			b := c.start("b", func(cfg *actor.Config) {
				if !one {
					cfg.Principals = func(road string, _ transport.Peer) string { return road }
				}
			})
			spawn(t, b, "w", s.workers("b1"))
			first, second := ask(b, "slow", rpc.Key("k")), ask(b, "slow", rpc.Key("k"))
			far := ask(a, "slow", rpc.Key("k"))
			time.Sleep(moment)
			close(s.gate)
			for _, f := range []*rpc.Future[string]{first, second, far, ask(b, "slow", rpc.Key("k"))} {
				want(t, f, "slow by b1")
			}
			runs := 2
			if one {
				runs = 1
			}
			s.ran(t, "slow", runs)
			c.kill(a, nil)
			c.kill(b, nil)
		}
	})
	bubble.Test(t, func(t *testing.T) { // a system that is alone
		s := newShop()
		b := newSystem(t, actor.Config{Name: "b"})
		spawn(t, b, "w", s.workers("b1"))
		for range 3 {
			want(t, ask(b, "x", rpc.Key("k")), "x by b1")
		}
		s.ran(t, "x", 1)
		wantFailed(t, "another message", ask(b, "y", rpc.Key("k")), rpc.IDReused, rpc.HasRun)
		if got, err := actor.Call(t.Context(), b.Ref("w@b"), Job{Name: "x"}, rpc.Key("k")); got != "x by b1" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		_, err := actor.Call(t.Context(), b.Ref("nobody@b"), Job{Name: "x"}, rpc.Key("k"))
		wantErr(t, "nobody", err, rpc.NotFound, rpc.NotRun)
	})
}

// A key is 1 to 255 bytes, at one actor; a one-way message has one only if it is acked.
func TestInvalidKeys(t *testing.T) {
	clusters(t, []string{"bus"}, func(t *testing.T, c *cluster) {
		s := newShop()
		a, b := c.start("a"), c.start("b")
		w := spawn(t, b, "w", s.workers("b1"), actor.Expose("workers"))
		time.Sleep(moment)
		for _, sys := range []*actor.System{a, b} {
			for what, opt := range map[string]rpc.Option{"no bytes": rpc.Key(""), "too many bytes": rpc.Key(strings.Repeat("k", 256))} {
				wantFailed(t, what, ask(sys, "x", opt), rpc.Invalid, rpc.NotRun)
				wantErr(t, what, actor.Tell(t.Context(), sys.Ref("w@b"), Errand{"x"}, opt, rpc.Acked()), rpc.Invalid, rpc.NotRun)
			}
			_, err := actor.Call(t.Context(), sys.Service("workers"), Job{Name: "x"}, rpc.Key("k"))
			wantErr(t, "at a service", err, rpc.Invalid, rpc.NotRun)
			wantErr(t, "one-way", actor.Tell(t.Context(), sys.Ref("w@b"), Errand{"x"}, rpc.Key("k")), rpc.Invalid, rpc.NotRun)
			want(t, ask(sys, "y", rpc.Key(strings.Repeat("k", 255))), "y by b1")
		}
		s.ran(t, "x", 0)
		for range 3 {
			if err := actor.Tell(t.Context(), a.Ref("w@b"), Errand{"x"}, rpc.Key("k"), rpc.Acked()); err != nil {
				t.Error(err)
			}
		}
		if _, err := actor.Call(t.Context(), w, Job{Name: "z"}); err != nil { // what was told has been handled
			t.Error(err)
		}
		s.ran(t, "x", 1)
	})
	clusters(t, []string{"bus"}, func(t *testing.T, c *cluster) {
		a, b := c.start("a"), c.start("b", new(disk).config)
		spawn(t, b, "w", newShop().workers("b1").With(actor.Durable()))
		err := actor.Tell(t.Context(), a.Ref("w@b"), Errand{"x"}, rpc.Key("k"), rpc.Acked())
		wantErr(t, "not recorded", err, rpc.Invalid, rpc.NotRun)
	})
}

// A key is forgotten in the end, also by the store.
func TestKeyLife(t *testing.T) {
	clusters(t, []string{"direct"}, func(t *testing.T, c *cluster) {
		s, d := newShop(), new(disk)
		short := func(cfg *actor.Config) { cfg.Tune = func(r *rpc.Config) { r.KeyLife = time.Hour } }
		a, b := c.start("a"), c.start("b", d.config, short)
		spawn(t, b, "w", s.workers("b1"))
		spawn(t, b, "d", s.workers("b1").With(actor.Durable()))
		for i, wait := range []time.Duration{0, 59 * time.Minute, 5 * time.Minute} {
			time.Sleep(wait)
			for _, addr := range []string{"w@b", "d@b"} {
				want(t, actor.Ask(t.Context(), a.Ref(addr), Job{Name: addr}, rpc.Key("k")), addr+" by b1")
				s.ran(t, addr, 1+i/2)
			}
		}
	})
}

// books are an application's records, in memory: those that a kill does not lose.
type books struct {
	mu      sync.Mutex        // guards what follows
	records map[string][]byte // nil: void
	err     error             // of reads
}

func newBooks() *books { return &books{records: map[string][]byte{}} }

var errTaken = errors.New("the key is taken")

func (b *books) commit(id string, record []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, taken := b.records[id]; taken {
		return errTaken
	}
	b.records[id] = record
	return nil
}

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

// clerk commits a Job with its completion, and then waits if its name begins with
// "slow"; one whose name begins with "undecided" waits before.
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

// clerks makes a system with one.
func (c *cluster) clerks(start string, s *shop, b *books, change ...func(*actor.Config)) *actor.System {
	kind := actor.Define("test.clerk", func() *clerk { return &clerk{s, b, start} }, actor.Answer((*clerk).Job)).With(actor.Transactional(b))
	sys := c.start("b", append(change, func(cfg *actor.Config) { cfg.Kinds = []*actor.Kind{kind} })...)
	spawn(c.t, sys, "w", kind)
	return sys
}

// Where the application commits its own records there is no doubt after a restart: what
// was committed is replayed, and what was not is NotRun and stays so.
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

// A start that is not dead, only cut off, cannot commit any more what its successor has
// voided.
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
		time.Sleep(time.Second) // the other one is voided as well
		close(s.gate)
		want(t, anew, "another by b2")
		time.Sleep(moment)
		s.ran(t, "slow undecided", 1)
		s.ran(t, "undecided", 0) // it had not committed
		s.ran(t, "another", 1)
		c.kill(b, nil)
	})
}

// A keyed request that an earlier start has committed is replayed without running;
// nobody can say that one which was not committed never will be, for its key is free.
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

// While the application's records cannot be read, keyed requests do not run, and what
// became of earlier ones is unknown.
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

// A kind may be both: then what its handler did is known from the application, and what
// had not begun from the store.
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

// A request of the same node has a completion record too, which nobody will ask for.
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

// The deadline of the attempt that runs passes while another waits for its outcome.
func TestKeyHasTheLatestDeadline(t *testing.T) {
	onEachRoad(t, func(t *testing.T, c *cluster) {
		s := newShop()
		a, b, other := c.start("a"), c.start("b"), c.start("c")
		spawn(t, b, "w", s.workers("b1"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		owner := actor.Ask(ctx, a.Ref("w@b"), Job{Name: "slow"}, rpc.Key("k"))
		time.Sleep(moment)
		waiting := ask(other, "slow", rpc.Key("k"))
		_, err := owner.Await(t.Context())
		wantErr(t, "the owner", err, rpc.Expired, rpc.Unknown)
		time.Sleep(2 * time.Second)
		if s.wasCanceled("slow") {
			t.Error("the handler's context ended though another attempt waits until later")
		}
		time.Sleep(10 * actor.DefaultTimeout)
		if !s.wasCanceled("slow") {
			t.Error("the handler's context outlived the latest deadline")
		}
		if _, err := waiting.Await(t.Context()); err == nil {
			t.Error("an answer from nowhere")
		}
	})
}
