package natskv

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/placement/claimtest"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

func TestMain(m *testing.M) {
	// Most tests wait for NATS, so more of them run at the same time than there are
	// processors, unless -parallel is given.
	_ = flag.Set("test.parallel", strconv.Itoa(max(8, runtime.GOMAXPROCS(0))))
	goleak.VerifyTestMain(m)
}

func start(t testing.TB, cfg embedded.Config) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(cfg)
	ok(t, err)
	t.Cleanup(s.Shutdown)
	return s
}

func connect(t testing.TB, s *embedded.Server, opts ...nats.Option) natsjs.JetStream {
	t.Helper()
	opts = append([]nats.Option{nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})}, opts...) // the default one prints
	nc, err := s.Connect(opts...)
	ok(t, err)
	t.Cleanup(nc.Close)
	js, err := natsjs.New(nc)
	ok(t, err)
	return js
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
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
	s := start(t, embedded.Config{StoreDir: t.TempDir()})
	clusters := 0
	claimtest.Run(t, claimtest.Config{Open: func(t *testing.T) func() placement.Claims {
		clusters++
		cfg := Config{Cluster: fmt.Sprint("c", clusters)}
		return func() placement.Claims { return open(t, connect(t, s), cfg) }
	}})
}

// The claims, and the order of their tokens, survive a restart of the server.
func TestRestart(t *testing.T) {
	t.Parallel()
	cfg := embedded.Config{StoreDir: t.TempDir()}
	s := start(t, cfg)
	cfg.Port = s.Port()
	c := open(t, connect(t, s), Config{})
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
	s = start(t, cfg)
	holds(t, c, alice, claim, token)
	holds(t, open(t, connect(t, s), Config{}), alice, claim, token)
	if again := create(t, c, bob, by("n")); again <= released {
		t.Errorf("token %d after %d", again, released)
	}
}

// Two clusters of one server have nothing to do with one another.
func TestTwoClusters(t *testing.T) {
	t.Parallel()
	js := connect(t, start(t, embedded.Config{}))
	a, b := open(t, js, Config{Cluster: "a"}), open(t, js, Config{Cluster: "b"})
	first, second := by("n"), by("n")
	ta, tb := create(t, a, alice, first), create(t, b, alice, second)
	holds(t, a, alice, first, ta)
	holds(t, b, alice, second, tb)
	ok(t, js.DeleteStream(t.Context(), "KV_a_claims"))
	if _, err := a.Replace(t.Context(), alice, by("m"), ta); !errors.Is(err, placement.ErrLost) {
		t.Errorf("got %v", err)
	}
	holds(t, b, alice, second, tb)
}

// What Open does not accept.
func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	js := connect(t, start(t, embedded.Config{}))
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
	if _, err := Open(short, connect(t, start(t, embedded.Config{}), nats.CustomInboxPrefix("x")), Config{Cluster: "c"}); err != nil {
		t.Errorf("another inbox: %v", err)
	}
}

// The bucket can be read with the tools for buckets.
func TestIsBucket(t *testing.T) {
	t.Parallel()
	js := connect(t, start(t, embedded.Config{}))
	c := open(t, js, Config{})
	claim := by("n")
	token := create(t, c, alice, claim)
	gone := create(t, c, placement.Key{Kind: "k", ID: "gone"}, claim)
	ok(t, c.Release(t.Context(), placement.Key{Kind: "k", ID: "gone"}, gone))
	kv, err := js.KeyValue(t.Context(), "tandem_claims")
	ok(t, err)
	e, err := kv.Get(t.Context(), c.home.birth+".bank=2eaccount.alice")
	ok(t, err)
	if want := fmt.Sprintf(`{"v":1,"node":"n","epoch":"n-1","id":"%s"}`, claim.ID); string(e.Value()) != want || e.Revision() != uint64(token) {
		t.Errorf("got %s at %d, want %s at %d", e.Value(), e.Revision(), want, token)
	}
	if _, err := kv.Get(t.Context(), c.home.birth+".k.gone"); !errors.Is(err, natsjs.ErrKeyNotFound) {
		t.Errorf("a released claim: %v", err)
	}
}

// The mark of a release has a life of its own, and a claim has none.
func TestMarksExpire(t *testing.T) {
	t.Parallel()
	c := open(t, connect(t, start(t, embedded.Config{})), Config{})
	for range 2 {
		raw, err := c.home.stream.GetLastMsgForSubject(t.Context(), subject(c.home.prefix, alice))
		if err == nil && raw.Header.Get(natsjs.MsgTTLHeader) != ReleasedFor.String() {
			t.Errorf("the mark: %v", raw.Header)
		}
		token := create(t, c, alice, by("n"))
		raw, err = c.home.stream.GetLastMsgForSubject(t.Context(), subject(c.home.prefix, alice))
		if ok(t, err); len(raw.Header.Get(natsjs.MsgTTLHeader)) != 0 {
			t.Errorf("the claim: %v", raw.Header)
		}
		ok(t, c.Release(t.Context(), alice, token))
	}
}

// A mark may go at any time: it is simulated by a mark that lives for a second.
func TestMarkIsGone(t *testing.T) {
	t.Parallel()
	js := connect(t, start(t, embedded.Config{}))
	c, ctx := open(t, js, Config{}), within(t, 60*time.Second)
	first := create(t, c, alice, by("n"))
	_, err := js.PublishMsg(ctx, &nats.Msg{Subject: subject(c.home.prefix, alice), Header: nats.Header{operation: {deleted}}}, natsjs.WithMsgTTL(time.Second), natsjs.WithExpectLastSequencePerSubject(uint64(first)))
	ok(t, err)
	for { // until the server has removed it
		_, err := c.home.stream.GetLastMsgForSubject(ctx, subject(c.home.prefix, alice))
		if errors.Is(err, natsjs.ErrMsgNotFound) {
			break
		}
		ok(t, err)
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
	js := connect(t, start(t, embedded.Config{}))
	c, ctx := open(t, js, Config{}), t.Context()
	for i, text := range []string{"", "{", `{"v":2,"node":"n","epoch":"e","id":"i"}`, `{"v":1,"node":"a.b","epoch":"e","id":"i"}`, `{"v":1}`, `{"v":1,"node":"n","epoch":"e","id":"i"}` + strings.Repeat(" ", maxForm)} {
		key := placement.Key{Kind: "k", ID: fmt.Sprint(i)}
		ack, err := js.Publish(ctx, subject(c.home.prefix, key), []byte(text))
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

// Different keys have different subjects, of which no token is empty or means anything to NATS.
func TestSubject(t *testing.T) {
	seen := map[string]placement.Key{}
	text := rapid.OneOf(rapid.StringN(1, 8, 16), rapid.StringMatching(`[a=.*>2e /-]{1,6}`))
	rapid.Check(t, func(t *rapid.T) {
		k := placement.Key{Kind: text.Draw(t, "kind"), ID: text.Draw(t, "id")}
		s := subject("p", k)
		if other, ok := seen[s]; ok && other != k {
			t.Fatalf("%q and %q have the subject %s", other, k, s)
		}
		seen[s] = k
		if tokens := strings.Split(s, "."); len(tokens) != 3 || tokens[1] == "" || tokens[2] == "" || strings.ContainsAny(s, "*> \t\r\n") || tokens[1] == markKind {
			t.Fatalf("%q has the subject %q", k, s)
		}
	})
	long := placement.Key{Kind: strings.Repeat("*", placement.MaxKey), ID: strings.Repeat("*", placement.MaxKey)}
	if n := len(subject("$KV."+strings.Repeat("c", maxCluster)+"_claims.0123456789abcdef", long)); n > 2048 {
		t.Errorf("a subject of %d bytes", n)
	}
}

// faulty is a JetStream that loses publishes, or their answers.
type faulty struct {
	natsjs.JetStream
	mu   sync.Mutex
	next []string // the faults of the next publishes: "lost", or "answer lost"
}

var errFault = errors.New("test: no answer")

func (f *faulty) plan(faults ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = faults
}

func (f *faulty) PublishMsg(ctx context.Context, m *nats.Msg, opts ...natsjs.PublishOpt) (*natsjs.PubAck, error) {
	f.mu.Lock()
	what := ""
	if len(f.next) > 0 {
		what, f.next = f.next[0], f.next[1:]
	}
	f.mu.Unlock()
	if what == "lost" {
		return nil, errFault
	}
	copied := &nats.Msg{Subject: m.Subject, Data: m.Data, Header: nats.Header{}}
	for k, v := range m.Header {
		copied.Header[k] = v
	}
	ack, err := f.JetStream.PublishMsg(ctx, copied, opts...)
	if what == "answer lost" {
		return nil, errFault
	}
	return ack, err
}

// With lost messages and answers, a write finds out by itself what became of it.
func TestFaultsAreHidden(t *testing.T) {
	t.Parallel()
	f := &faulty{JetStream: connect(t, start(t, embedded.Config{}))}
	c := open(t, f, Config{})
	for i, faults := range [][]string{{"lost"}, {"answer lost"}, {"lost", "answer lost"}, {"answer lost", "lost"}, {"answer lost", "answer lost"}} {
		key, first, second := placement.Key{Kind: "k", ID: fmt.Sprint(i)}, by("n"), by("m")
		for range 2 { // the second time, a mark is there
			f.plan(faults...)
			token := create(t, c, key, first)
			holds(t, c, key, first, token)
			f.plan(faults...)
			next, err := c.Replace(t.Context(), key, second, token)
			ok(t, err)
			holds(t, c, key, second, next)
			f.plan(faults...)
			ok(t, c.Release(t.Context(), key, next))
			holds(t, c, key, placement.Claim{}, 0)
		}
	}
}

// The ctx of a write ends while its fate is unknown. It says so, and the same write finds out.
func TestUnknown(t *testing.T) {
	t.Parallel()
	f := &faulty{JetStream: connect(t, start(t, embedded.Config{}))}
	c := open(t, f, Config{})
	always := func(what string) []string { return strings.Split(strings.Repeat(what+";", 1000), ";") }
	for _, what := range []string{"lost", "answer lost"} {
		key, claim := placement.Key{Kind: "k", ID: what}, by("n")
		short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		f.plan(always("lost")...)
		if what == "answer lost" {
			f.plan(append([]string{what}, always("lost")...)...)
		}
		_, err := c.Create(short, key, claim)
		if cancel(); !errors.Is(err, placement.ErrUnknown) || errors.Is(err, placement.ErrUnavailable) || placement.After(err) != placement.ReadAgain {
			t.Errorf("%s: %v", what, err)
		}
		f.plan()
		holds(t, c, key, claim, create(t, c, key, claim))
	}
}

// losses are ways in which an operator can lose claims.
var losses = map[string]func(ctx context.Context, js natsjs.JetStream) error{
	"deleted":                func(ctx context.Context, js natsjs.JetStream) error { return js.DeleteStream(ctx, "KV_tandem_claims") },
	"recreated":              anew(func(cfg *natsjs.StreamConfig) {}),
	"recreated by KeyValue":  func(ctx context.Context, js natsjs.JetStream) error { return recreated(ctx, js) },
	"made forgetful":         changed(func(cfg *natsjs.StreamConfig) { cfg.MaxAge = time.Hour }),
	"made to answer direct":  changed(func(cfg *natsjs.StreamConfig) { cfg.AllowDirect = true }),
	"purged, as if restored": anew(func(cfg *natsjs.StreamConfig) { cfg.DenyPurge = false }),
}

func anew(change func(*natsjs.StreamConfig)) func(context.Context, natsjs.JetStream) error {
	return func(ctx context.Context, js natsjs.JetStream) error {
		s, err := js.Stream(ctx, "KV_tandem_claims")
		if err == nil {
			err = js.DeleteStream(ctx, "KV_tandem_claims")
		}
		if err == nil {
			cfg := s.CachedInfo().Config
			change(&cfg)
			_, err = js.CreateStream(ctx, cfg)
		}
		return err
	}
}

func changed(change func(*natsjs.StreamConfig)) func(context.Context, natsjs.JetStream) error {
	return func(ctx context.Context, js natsjs.JetStream) error {
		s, err := js.Stream(ctx, "KV_tandem_claims")
		if err == nil {
			cfg := s.CachedInfo().Config
			change(&cfg)
			_, err = js.UpdateStream(ctx, cfg)
		}
		return err
	}
}

func recreated(ctx context.Context, js natsjs.JetStream) error {
	if err := js.DeleteKeyValue(ctx, "tandem_claims"); err != nil {
		return err
	}
	_, err := js.CreateKeyValue(ctx, natsjs.KeyValueConfig{Bucket: "tandem_claims"})
	return err
}

// The loss of claims is noticed, at once or after the time in which a former leader could be wrong.
// No Get says that there is no claim. The store never works again, and neither does one that is
// opened later, until an operator says so.
func TestLost(t *testing.T) {
	t.Parallel()
	for name, lose := range losses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			js := connect(t, start(t, embedded.Config{}))
			ctx := within(t, 60*time.Second)
			c := open(t, js, Config{})
			token := create(t, c, alice, by("n"))
			if err := c.Check(ctx); err != nil {
				t.Fatalf("nothing is lost: %v", err)
			}
			ok(t, lose(ctx, js))
			bob := placement.Key{Kind: "k", ID: "bob"}
			short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			_, err := c.Get(short, bob)
			if cancel(); !errors.Is(err, placement.ErrUnavailable) {
				t.Errorf("a suspicion: %v", err)
			}
			if _, err = c.Get(ctx, bob); !errors.Is(err, placement.ErrLost) {
				t.Errorf("get: %v", err)
			}
			for range 2 {
				_, err1 := c.Create(ctx, bob, by("n"))
				_, err2 := c.Replace(ctx, alice, by("n"), token)
				_, err3 := c.Get(ctx, alice)
				_, err4 := Open(ctx, js, Config{Logger: slog.New(slog.DiscardHandler)})
				for i, err := range []error{err1, err2, err3, c.Release(ctx, alice, token), c.Check(ctx), err4} {
					if !errors.Is(err, placement.ErrLost) || placement.After(err) != placement.Fail {
						t.Errorf("call %d: %v", i, err)
					}
				}
			}
			_ = js.DeleteStream(ctx, "KV_tandem_claims")
			ok(t, js.DeleteStream(ctx, "tandem_claims_made"))
			holds(t, open(t, js, Config{}), alice, placement.Claim{}, 0)
		})
	}
}

// cluster starts three servers that know one another.
func cluster(t testing.TB) (servers []*embedded.Server) {
	t.Helper()
	ports, routes := make([]int, 3), make([]string, 3)
	held := make([]net.Listener, 3) // all at the same time, or the system may give a port twice
	for i := range held {
		var err error
		held[i], err = net.Listen("tcp", "127.0.0.1:0")
		ok(t, err)
		ports[i] = held[i].Addr().(*net.TCPAddr).Port
		routes[i] = fmt.Sprintf("nats://127.0.0.1:%d", ports[i])
	}
	for _, l := range held {
		l.Close()
	}
	for i, port := range ports {
		servers = append(servers, start(t, embedded.Config{Name: fmt.Sprintf("n%d", i), StoreDir: t.TempDir(), Cluster: &embedded.ClusterConfig{Name: "c", Port: port, Routes: routes}}))
	}
	return servers
}

// On three servers: the suite; a Get through each server shows what was acknowledged just before
// through another one, and no read is one that any replica may answer; and claims are made, each
// once, while the bucket's leader steps down.
func TestReplicated(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("starts a cluster of three")
	}
	servers := cluster(t)
	t.Run("suite", func(t *testing.T) {
		clusters, clients := 0, 0
		claimtest.Run(t, claimtest.Config{Open: func(t *testing.T) func() placement.Claims {
			clusters++
			cfg := Config{Cluster: fmt.Sprint("c", clusters), Replicas: 3}
			return func() placement.Claims {
				clients++
				return open(t, connect(t, servers[clients%3]), cfg)
			}
		}})
	})
	var all []*Claims
	for _, s := range servers {
		all = append(all, open(t, connect(t, s), Config{Replicas: 3}))
	}
	js := connect(t, servers[0])
	t.Run("reads", func(t *testing.T) {
		direct, err := js.Conn().SubscribeSync("$JS.API.DIRECT.>")
		ok(t, err)
		last := map[placement.Key]placement.Token{}
		for i := range 60 {
			key, claim := placement.Key{Kind: "k", ID: fmt.Sprint(i % 7)}, by("n")
			var err error
			if last[key] == 0 {
				last[key], err = all[i%3].Create(t.Context(), key, claim)
			} else {
				last[key], err = all[i%3].Replace(t.Context(), key, claim, last[key])
			}
			ok(t, err)
			for _, c := range all {
				holds(t, c, key, claim, last[key])
			}
		}
		if n, _, err := direct.Pending(); n > 0 || err != nil {
			t.Errorf("%d reads may have been answered by a replica, %v", n, err)
		}
	})
	t.Run("step down", func(t *testing.T) { stepDown(t, js, all) })
}

// stepDown has workers take keys from one another while the leader of the bucket steps down.
func stepDown(t *testing.T, js natsjs.JetStream, all []*Claims) {
	ctx := within(t, 90*time.Second)
	const workers, keys = 12, 4
	progress, stop := make(chan struct{}, workers), make(chan struct{})
	var mu sync.Mutex
	replaced := map[string]string{} // a claim that was replaced → by which
	var running sync.WaitGroup
	for w := range workers {
		running.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				key, claim := placement.Key{Kind: "step", ID: fmt.Sprint(i % keys)}, by(fmt.Sprint("n", w))
				held, err := all[w%3].Get(ctx, key)
				var token placement.Token
				switch {
				case err != nil:
				case held.Token == 0:
					token, err = all[w%3].Create(ctx, key, claim)
				default:
					token, err = all[w%3].Replace(ctx, key, claim, held.Token)
				}
				if errors.Is(err, placement.ErrConflict) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				what := fmt.Sprint(key, held.Token)
				if other := replaced[what]; other != "" || token <= held.Token {
					t.Errorf("%s was replaced by %s, and by %s under %d", what, other, claim.ID, token)
				}
				replaced[what] = claim.ID
				mu.Unlock()
				select {
				case progress <- struct{}{}:
				default:
				}
			}
		})
	}
	wait := func() {
		for range 4 * workers {
			select {
			case <-progress:
			case <-ctx.Done():
				t.Error("no progress")
				return
			}
		}
	}
	for range 4 {
		wait()
		for ctx.Err() == nil {
			m, err := js.Conn().RequestWithContext(ctx, "$JS.API.STREAM.LEADER.STEPDOWN.KV_tandem_claims", nil)
			ok(t, err)
			var said struct{ Error *natsjs.APIError }
			if ok(t, json.Unmarshal(m.Data, &said)); said.Error == nil {
				break
			}
		}
	}
	wait()
	close(stop)
	running.Wait()
	t.Logf("%d claims were made", len(replaced))
}
