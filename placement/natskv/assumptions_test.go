package natskv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// These tests check what the documentation of the package says that it assumes of JetStream.

// expect publishes a message that expects a sequence number, without any of this package's care.
func expect(ctx context.Context, js natsjs.JetStream, subject string, last uint64, opts ...natsjs.PublishOpt) (uint64, error) {
	ack, err := js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: []byte("x")}, append(opts, natsjs.WithExpectLastSequencePerSubject(last))...)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// Of many messages that expect the same sequence number one is stored, and the others are refused by
// a proof.
func TestExpectedSequence(t *testing.T) {
	t.Parallel()
	js, ctx := servers.Connect(t, servers.Start(t, embedded.Config{})), servers.Within(t, 60*time.Second)
	subject, last := open(t, js, Config{}).home.Subject("k", "a"), uint64(0)
	for round := range 50 {
		var mu sync.Mutex
		var stored []uint64
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				seq, err := expect(ctx, js, subject, last)
				mu.Lock()
				defer mu.Unlock()
				if found := jserror.Of(err); err == nil {
					stored = append(stored, seq)
				} else if found.Proof != jserror.NotDone {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		all.Wait()
		if len(stored) != 1 || stored[0] <= last {
			t.Fatalf("round %d: after %d, %d were stored", round, last, stored)
		}
		for _, wrong := range []uint64{0, last, stored[0] - 1, stored[0] + 1} {
			if _, err := expect(ctx, js, subject, wrong); jserror.Of(err).Cause != jserror.Conflict {
				t.Fatalf("round %d: %d after %d: %v", round, wrong, stored[0], err)
			}
		}
		last = stored[0]
	}
}

// gone waits until the server has removed the message under a subject whose life is over.
func gone(t *testing.T, ctx context.Context, c *Claims, subject string) {
	t.Helper()
	for {
		m, err := c.home.Last(ctx, subject)
		if ok(t, err); m == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// The last messages of a stream expire. Then its server is stopped, or killed, and started again:
// their numbers are not given again.
func TestNoSequenceTwice(t *testing.T) {
	t.Parallel()
	for _, kill := range []bool{false, true} {
		t.Run(fmt.Sprint("killed=", kill), func(t *testing.T) {
			t.Parallel()
			cfg := embedded.Config{StoreDir: t.TempDir()}
			s, ctx := servers.Start(t, cfg), servers.Within(t, 60*time.Second)
			js := servers.Connect(t, s)
			c := open(t, js, Config{})
			create(t, c, placement.Key{Kind: "k", ID: "before"}, by("n"))
			var last uint64
			for i := range 5 {
				var err error
				subject := c.home.Subject("k", fmt.Sprint(i))
				last, err = expect(ctx, js, subject, 0, natsjs.WithMsgTTL(time.Second))
				ok(t, err)
				if i == 4 {
					gone(t, ctx, c, subject)
				}
			}
			if kill { // what it would find after a kill
				now := t.TempDir()
				ok(t, os.CopyFS(now, os.DirFS(cfg.StoreDir)))
				cfg.StoreDir = now
			}
			s.Shutdown()
			next := open(t, servers.Connect(t, servers.Start(t, cfg)), Config{})
			if token := create(t, next, alice, by("n")); uint64(token) <= last {
				t.Errorf("token %d after %d", token, last)
			}
		})
	}
}

// A claim replaces a mark whose life is nearly over. The end of that life does not touch the claim,
// also if the server was restarted meanwhile.
func TestMarkIsReplaced(t *testing.T) {
	t.Parallel()
	cfg := embedded.Config{StoreDir: t.TempDir()}
	s, ctx := servers.Start(t, cfg), servers.Within(t, 60*time.Second)
	cfg.Port = s.Port()
	js := servers.Connect(t, s)
	c := open(t, js, Config{})
	claims, tokens := map[placement.Key]placement.Claim{}, map[placement.Key]placement.Token{}
	for i := range 10 {
		key := placement.Key{Kind: "k", ID: fmt.Sprint(i)}
		_, err := js.PublishMsg(ctx, &nats.Msg{Subject: c.home.Subject(key.Kind, key.ID), Header: nats.Header{operation: {deleted}, released: {"1"}}}, natsjs.WithMsgTTL(time.Second))
		ok(t, err)
		claims[key] = by("n")
		tokens[key] = create(t, c, key, claims[key])
		if i == 4 {
			s.Shutdown()
			s = servers.Start(t, cfg)
			js = servers.Connect(t, s)
		}
	}
	canary := c.home.Subject("k", "canary") // its life ends after all of those
	if _, err := expect(ctx, js, canary, 0, natsjs.WithMsgTTL(2*time.Second)); err != nil {
		t.Fatal(err)
	}
	gone(t, ctx, c, canary)
	for key, claim := range claims {
		holds(t, c, key, claim, tokens[key])
	}
}

// An operator cannot purge the bucket or delete messages of it, or allow that. A claim that was
// deleted with the tools for buckets is not free.
func TestOperator(t *testing.T) {
	t.Parallel()
	js, ctx := servers.Connect(t, servers.Start(t, embedded.Config{})), servers.Within(t, 60*time.Second)
	c := open(t, js, Config{})
	claim := by("n")
	token := create(t, c, alice, claim)
	stream, err := js.Stream(ctx, "KV_tandem_claims")
	ok(t, err)
	kv, err := js.KeyValue(ctx, "tandem_claims")
	ok(t, err)
	key := c.home.Birth() + ".bank=2eaccount.alice"
	cfg := stream.CachedInfo().Config
	cfg.DenyPurge = false
	_, purge := js.UpdateStream(ctx, cfg)
	cfg.DenyPurge, cfg.DenyDelete = true, false
	_, del := js.UpdateStream(ctx, cfg)
	for what, err := range map[string]error{
		"purge": stream.Purge(ctx), "delete": stream.DeleteMsg(ctx, uint64(token)), "erase": stream.SecureDeleteMsg(ctx, uint64(token)),
		"purge of a key": kv.Purge(ctx, key), "purge of marks": kv.PurgeDeletes(ctx, natsjs.DeleteMarkersOlderThan(-1)),
		"allow purges": purge, "allow deletes": del,
	} {
		if err == nil && what != "purge of marks" { // there are none
			t.Errorf("%s: no error", what)
		}
	}
	holds(t, c, alice, claim, token)
	ok(t, kv.Delete(ctx, key))
	_, err1 := c.Get(ctx, alice)
	_, err2 := c.Create(ctx, alice, by("m"))
	_, err3 := c.Replace(ctx, alice, by("m"), token)
	for _, err := range []error{err1, err2, err3} {
		if !errors.Is(err, placement.ErrFormat) || placement.After(err) != placement.Fail {
			t.Errorf("a claim that was deleted by hand: %v", err)
		}
	}
	ok(t, c.Release(ctx, alice, token)) // it is not the holder's any more, and stays as it is
	if _, err := c.Get(ctx, alice); !errors.Is(err, placement.ErrFormat) {
		t.Errorf("after its release: %v", err)
	}
	_, err = js.PublishMsg(ctx, &nats.Msg{Subject: c.home.Subject(alice.Kind, alice.ID), Header: nats.Header{"KV-Operation": {"DEL"}, "Tandem-Released": {"1"}}})
	ok(t, err)
	if next := create(t, c, alice, by("m")); next <= token {
		t.Errorf("token %d after %d", next, token)
	}
}

// NATS comes back with an empty disk, and with what it had before the last claims.
func TestEmptyDisk(t *testing.T) {
	t.Parallel()
	s := servers.Start(t, embedded.Config{StoreDir: t.TempDir()})
	port := s.Port()
	c := open(t, servers.Connect(t, s), Config{})
	create(t, c, alice, by("n"))
	s.Shutdown()
	servers.Start(t, embedded.Config{StoreDir: t.TempDir(), Port: port})
	if _, err := c.Get(servers.Within(t, 60*time.Second), alice); !errors.Is(err, placement.ErrLost) {
		t.Errorf("got %v", err)
	}
}

// The answer to a write is lost, or the write itself, and the leader with it: it steps down, or its
// server is stopped. The write finds out what became of it, and all clients agree.
func TestAnswerIsLostWithLeader(t *testing.T) {
	t.Parallel()
	three := servers.Three(t)
	ctx := servers.Within(t, 110*time.Second)
	f := &servers.Faulty{JetStream: servers.Connect(t, three.Servers[0])}
	c := open(t, f, Config{Replicas: 3})
	root := servers.Connect(t, three.Servers[1])
	other := open(t, root, Config{Replicas: 3})
	const stream = "KV_tandem_claims"
	away := func(stop bool) func() {
		return func() {
			if !stop {
				ok(t, servers.StepDown(ctx, root, stream))
				return
			}
			i := three.Leader(ctx, stream)
			three.Stop(i)
			three.Again(ctx, i, stream)
		}
	}
	for i, fault := range []servers.Fault{servers.Lost, servers.AckLost, servers.LateAgain} {
		key, first, second := placement.Key{Kind: "k", ID: fmt.Sprint(i)}, by("n"), by("m")
		f.Plan(fault)
		f.After(away(false))
		token, err := c.Create(ctx, key, first)
		ok(t, err)
		holds(t, other, key, first, token)
		f.Plan(fault)
		f.After(away(fault != servers.LateAgain)) // a restart takes long
		next, err := c.Replace(ctx, key, second, token)
		ok(t, err)
		holds(t, other, key, second, next)
		f.Plan(fault)
		f.After(away(false))
		ok(t, c.Release(ctx, key, next))
		holds(t, other, key, placement.Claim{}, 0)
	}
}

// With three replicas, one server is away, and then comes back without its files: claims are made
// meanwhile, and all are there.
func TestOneServerLost(t *testing.T) {
	t.Parallel()
	three := servers.Three(t)
	ctx := servers.Within(t, 110*time.Second)
	c := open(t, servers.Connect(t, three.Servers[0]), Config{Replicas: 3})
	claims, tokens := map[placement.Key]placement.Claim{}, map[placement.Key]placement.Token{}
	some := func(when string) {
		for i := range 20 {
			key := placement.Key{Kind: when, ID: fmt.Sprint(i)}
			claims[key] = by("n")
			var err error
			tokens[key], err = c.Create(ctx, key, claims[key])
			ok(t, err)
		}
	}
	some("before")
	lost := three.Leader(ctx, "KV_tandem_claims")
	three.Stop(lost)
	some("without it")
	three.Wipe(lost)
	three.Again(ctx, lost, "KV_tandem_claims")
	some("after")
	for i := range three.Servers {
		if i != lost {
			three.Stop(i) // the other ones' files are not needed: one of them is enough for a majority
			break
		}
	}
	for key, claim := range claims {
		holds(t, c, key, claim, tokens[key])
	}
	ok(t, c.Check(ctx))
}
