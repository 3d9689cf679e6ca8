package natskv

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/placement/claimtest"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

func TestMain(m *testing.M) {
	// Most tests wait for NATS, so more of them run at the same time than there are
	// processors, unless -parallel is given.
	_ = flag.Set("test.parallel", strconv.Itoa(max(8, runtime.GOMAXPROCS(0))))
	goleak.VerifyTestMain(m)
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, js natsjs.JetStream, cfg Config) *Claims {
	t.Helper()
	cfg.Logger, cfg.StartWait = slog.New(slog.DiscardHandler), time.Minute
	c, err := Open(t.Context(), js, cfg)
	ok(t, err)
	return c
}

var alice = placement.Key{Kind: "bank.account", ID: "alice"}

func by(node string) placement.Claim {
	return placement.Claim{Node: node, Epoch: node + "-1", ID: placement.NewID()}
}

func create(t testing.TB, c *Claims, key placement.Key, claim placement.Claim) placement.Token {
	t.Helper()
	token, err := c.Create(t.Context(), key, claim)
	ok(t, err)
	return token
}

func holds(t testing.TB, c *Claims, key placement.Key, claim placement.Claim, token placement.Token) {
	t.Helper()
	held, err := c.Get(t.Context(), key)
	if ok(t, err); held != (placement.Held{Claim: claim, Token: token}) {
		t.Errorf("%v: got %+v, want %+v under %d", key, held, claim, token)
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	s := servers.Start(t, embedded.Config{StoreDir: t.TempDir()})
	clusters := 0
	claimtest.Run(t, claimtest.Config{Open: func(t *testing.T) func() placement.Claims {
		clusters++
		cfg := Config{Cluster: fmt.Sprint("c", clusters)}
		return func() placement.Claims { return open(t, servers.Connect(t, s), cfg) }
	}})
}

// The claims, and the order of their tokens, survive a restart of the server.
func TestRestart(t *testing.T) {
	t.Parallel()
	cfg := embedded.Config{StoreDir: t.TempDir()}
	s := servers.Start(t, cfg)
	cfg.Port = s.Port()
	c := open(t, servers.Connect(t, s), Config{})
	claim, bob := by("n"), placement.Key{Kind: "k", ID: "bob"}
	token := create(t, c, alice, claim)
	released := create(t, c, bob, by("n"))
	ok(t, c.Release(t.Context(), bob, released))
	s.Shutdown()
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Get(short, alice); !errors.Is(err, placement.ErrUnavailable) {
		t.Errorf("get while the server is away: %v", err)
	}
	if _, err := c.Create(short, bob, by("n")); !errors.Is(err, placement.ErrUnavailable) && !errors.Is(err, placement.ErrUnknown) {
		t.Errorf("create while the server is away: %v", err)
	}
	s = servers.Start(t, cfg)
	holds(t, c, alice, claim, token)
	holds(t, open(t, servers.Connect(t, s), Config{}), alice, claim, token)
	if again := create(t, c, bob, by("n")); again <= released {
		t.Errorf("token %d after %d", again, released)
	}
}

// Clusters of one server have nothing to do with one another, whatever their names: not their claims,
// nor the loss of them.
func TestTwoClusters(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	names := []string{"a", "b", "A", "a_claims", "KV_a", "a_claims_made", "-"}
	all, held := map[string]*Claims{}, map[string]placement.Held{}
	for _, name := range names {
		all[name] = open(t, js, Config{Cluster: name})
		claim := by("n")
		held[name] = placement.Held{Claim: claim, Token: create(t, all[name], alice, claim)}
	}
	ok(t, js.DeleteStream(t.Context(), "KV_a_claims"))
	if _, err := all["a"].Replace(t.Context(), alice, by("m"), held["a"].Token); !errors.Is(err, placement.ErrLost) {
		t.Errorf("got %v", err)
	}
	for _, name := range names[1:] {
		holds(t, all[name], alice, held[name].Claim, held[name].Token)
		ok(t, all[name].Check(t.Context()))
	}
}

// What Open does not accept.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	for _, cluster := range []string{"a.b", "é", strings.Repeat("x", maxCluster+1)} {
		if _, err := Open(t.Context(), js, Config{Cluster: cluster}); err == nil {
			t.Errorf("cluster %q: opened", cluster)
		}
	}
	_, err := js.CreateKeyValue(t.Context(), natsjs.KeyValueConfig{Bucket: "plain_claims"})
	ok(t, err)
	_, err = Open(t.Context(), js, Config{Cluster: "plain", Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "allows direct reads") {
		t.Errorf("a bucket that KeyValue has created: %v", err)
	}
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := Open(short, servers.Connect(t, servers.Start(t, embedded.Config{}), nats.CustomInboxPrefix("x")), Config{Cluster: "c"}); err != nil {
		t.Errorf("another inbox: %v", err)
	}
}

// The bucket can be read with the tools for buckets.
func TestIsBucket(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	c := open(t, js, Config{})
	claim := by("n")
	token := create(t, c, alice, claim)
	gone := create(t, c, placement.Key{Kind: "k", ID: "gone"}, claim)
	ok(t, c.Release(t.Context(), placement.Key{Kind: "k", ID: "gone"}, gone))
	kv, err := js.KeyValue(t.Context(), "tandem_claims")
	ok(t, err)
	e, err := kv.Get(t.Context(), c.home.Birth()+".bank=2eaccount.alice")
	ok(t, err)
	if want := fmt.Sprintf(`{"v":1,"node":"n","epoch":"n-1","id":"%s"}`, claim.ID); string(e.Value()) != want || e.Revision() != uint64(token) {
		t.Errorf("got %s at %d, want %s at %d", e.Value(), e.Revision(), want, token)
	}
	if _, err := kv.Get(t.Context(), c.home.Birth()+".k.gone"); !errors.Is(err, natsjs.ErrKeyNotFound) {
		t.Errorf("a released claim: %v", err)
	}
}

// The mark of a release has a life of its own, and a claim has none.
func TestMarksExpire(t *testing.T) {
	t.Parallel()
	c := open(t, servers.Connect(t, servers.Start(t, embedded.Config{})), Config{})
	for range 2 {
		raw, err := c.home.Last(t.Context(), c.home.Subject(alice.Kind, alice.ID))
		if ok(t, err); raw != nil && raw.Header.Get(natsjs.MsgTTLHeader) != ReleasedFor.String() {
			t.Errorf("the mark: %v", raw.Header)
		}
		token := create(t, c, alice, by("n"))
		raw, err = c.home.Last(t.Context(), c.home.Subject(alice.Kind, alice.ID))
		if ok(t, err); len(raw.Header.Get(natsjs.MsgTTLHeader)) != 0 {
			t.Errorf("the claim: %v", raw.Header)
		}
		ok(t, c.Release(t.Context(), alice, token))
	}
}

// A mark may go at any time: it is simulated by a mark that lives for a second.
func TestMarkIsGone(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	c, ctx := open(t, js, Config{}), servers.Within(t, 60*time.Second)
	first := create(t, c, alice, by("n"))
	_, err := js.PublishMsg(ctx, &nats.Msg{Subject: c.home.Subject(alice.Kind, alice.ID), Header: nats.Header{operation: {deleted}, released: {"1"}}}, natsjs.WithMsgTTL(time.Second), natsjs.WithExpectLastSequencePerSubject(uint64(first)))
	ok(t, err)
	for { // until the server has removed it
		m, err := c.home.Last(ctx, c.home.Subject(alice.Kind, alice.ID))
		if ok(t, err); m == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	holds(t, c, alice, placement.Claim{}, 0)
	if _, err := c.Replace(ctx, alice, by("m"), first); !errors.Is(err, placement.ErrConflict) {
		t.Errorf("got %v", err)
	}
	if token := create(t, c, alice, by("m")); token <= first {
		t.Errorf("token %d after %d", token, first)
	}
}

// What cannot be decoded is an error of that key alone, and is not written over.
func TestFormat(t *testing.T) {
	t.Parallel()
	js := servers.Connect(t, servers.Start(t, embedded.Config{}))
	c, ctx := open(t, js, Config{}), t.Context()
	for i, text := range []string{"", "{", `{"v":2,"node":"n","epoch":"e","id":"i"}`, `{"v":1,"node":"a.b","epoch":"e","id":"i"}`, `{"v":1}`, `{"v":1,"node":"n","epoch":"e","id":"i"}` + strings.Repeat(" ", maxForm)} {
		key := placement.Key{Kind: "k", ID: fmt.Sprint(i)}
		ack, err := js.Publish(ctx, c.home.Subject(key.Kind, key.ID), []byte(text))
		ok(t, err)
		_, err = c.Get(ctx, key)
		_, err2 := c.Create(ctx, key, by("n"))
		_, err3 := c.Replace(ctx, key, by("n"), placement.Token(ack.Sequence-1))
		for _, err := range []error{err, err2, err3} {
			if !errors.Is(err, placement.ErrFormat) {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
	create(t, c, alice, by("n"))
}
