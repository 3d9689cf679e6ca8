// Who may answer an open, and who may dial: the registry says who a peer is.

package natsbus_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// answering is a raw peer and a node that dials it.
func answering(t *testing.T, cfg natsbus.Config) (*raw, *bus, *raw) {
	srv := startServer(t, embedded.Config{})
	a := startBus(t, connect(t, srv.URL()), "a", cfg)
	return newRaw(t, srv.URL(), "test", "x", "e"), a, newRaw(t, srv.URL(), "test", "mallory", "e")
}

// answer answers the open that r receives, as node x, with static as its own key.
func (r *raw) answer(a *bus, principal, link string, open []byte, w transport.Welcome) {
	r.t.Helper()
	payload := w.Append(slices.Concat([]byte{0}, r.fresh.PublicKey().Bytes(), r.static.PublicKey().Bytes()))
	welcome := slices.Concat([]byte{1, kindWelcome}, []byte(link), payload)
	r.agree(link, false, r.static, open[1:33], open[33:65], slices.Concat([]byte{1, kindOpen | fromDialler}, []byte(link), open), welcome, "anonymous "+principal)
	r.say(a.end, principal, kindWelcome, link, payload)
}

// heardOpen returns the id of the link that is opened next, and its open.
func (r *raw) heardOpen() (link string, open []byte) {
	r.t.Helper()
	kind, link, open := r.heard()
	if kind != kindOpen|fromDialler {
		r.t.Fatalf("heard kind %d, want an open", kind)
	}
	return link, open
}

var okay = transport.Welcome{Version: transport.Version, Node: "x", Epoch: "e"}

// Somebody who knows node, epoch and link can neither answer nor refuse instead of the peer.
func TestForgedWelcome(t *testing.T) {
	x, a, mallory := answering(t, natsbus.Config{})
	dialled := make(chan error, 1)
	go func() {
		_, err := a.dial(t, transport.Endpoint{Node: "x", Epoch: "e", Addr: x.address()})
		dialled <- err
	}()
	link, open := x.heardOpen()
	refused := okay
	refused.Status, refused.Reason = transport.StatusDenied, "go away"
	mallory.answer(a, "x", link, open, okay)
	mallory.answer(a, "x", link, open, refused)
	mallory.say(a.end, "x", kindRefuse, link, refused.Append(nil))
	bare := slices.Concat([]byte{0}, x.fresh.PublicKey().Bytes(), x.static.PublicKey().Bytes()) // the key is public
	delete(mallory.mine, link)
	mallory.say(a.end, "x", kindWelcome, link, okay.Append(slices.Clone(bare)))
	mallory.say(a.end, "x", kindWelcome, link, refused.Append(slices.Clone(bare)))
	mallory.say(a.end, "x", kindWelcome, link, []byte("junk"))
	untilStats(t, a, "forged welcomes", func(s natsbus.Stats) bool { return s.Forged == 4 && s.Malformed == 1 })
	x.answer(a, "x", link, open, okay)
	if err := <-dialled; err != nil {
		t.Fatal(err)
	}
	if kind, _, _ := x.heard(); kind != kindConfirm|fromDialler {
		t.Errorf("the peer hears kind %d, want a confirm", kind)
	}
	x.answer(a, "x", link, open, okay) // whose confirm was lost
	if kind, _, _ := x.heard(); kind != kindConfirm|fromDialler {
		t.Errorf("the peer hears kind %d, want the confirm again", kind)
	}
}

// A node with another key than the registry says is not dialled, and gets nothing.
func TestHostileAnswerer(t *testing.T) {
	t.Parallel()
	x, a, true_ := answering(t, natsbus.Config{OpenTimeout: time.Second})
	dialled := make(chan error, 1)
	go func() {
		_, err := a.dial(t, transport.Endpoint{Node: "x", Epoch: "e", Addr: true_.address()})
		dialled <- err
	}()
	link, open := x.heardOpen()
	x.answer(a, "x", link, open, okay)
	if err := <-dialled; !errors.Is(err, transport.ErrDenied) {
		t.Errorf("got %v, want ErrDenied", err)
	}
	if n := a.Stats().Links; n != 0 {
		t.Errorf("%d links are left", n)
	}
	for _, addr := range []string{"x25519:", "x25519:AAAA", "x25519:" + strings.Repeat("A", 44), "tcp:1", "x25519:?"} {
		if _, err := a.dial(t, transport.Endpoint{Node: "x", Epoch: "e", Addr: addr}); !errors.Is(err, transport.ErrNoPeer) {
			t.Errorf("address %q: %v, want ErrNoPeer", addr, err)
		}
	}
}

// A refusal that anybody may have sent counts once no better answer has come.
func TestRefusedForWantOfRoom(t *testing.T) {
	x, a, _ := answering(t, natsbus.Config{OpenTimeout: 500 * time.Millisecond})
	dialled := make(chan error, 1)
	go func() {
		_, err := a.dial(t, transport.Endpoint{Node: "x", Epoch: "e", Addr: x.address()})
		dialled <- err
	}()
	link, _ := x.heardOpen()
	full := okay
	full.Status, full.Reason = transport.StatusBusy, "full"
	x.say(a.end, "x", kindRefuse, link, full.Append(nil))
	if err := <-dialled; !errors.Is(err, transport.ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
}

// The registry says who a peer is.
func TestWhoDials(t *testing.T) {
	r := func(addr string, err error) func(bool) (string, error) {
		return func(bool) (string, error) { return addr, err }
	}
	away := errors.New("away")
	for name, c := range map[string]struct {
		lookup func(anew bool) (string, error) // "own" stands for the peer's own key
		want   string
		dial   error
	}{
		"the key of the record":  {r("own", nil), "nats:alice", nil},
		"another key":            {r(natsbus.Address(x25519(t).PublicKey()), nil), "", transport.ErrDenied},
		"a record without a key": {r("", nil), "nats:alice", nil},
		"no record":              {r("", transport.ErrNoPeer), transport.Anonymous, nil},
		"a record not cached yet": {func(anew bool) (string, error) {
			return map[bool]string{true: "own"}[anew], map[bool]error{false: transport.ErrNoPeer}[anew]
		}, "nats:alice", nil},
		"a registry that was away": {func(anew bool) (string, error) {
			return map[bool]string{true: "own"}[anew], map[bool]error{false: away}[anew]
		}, "nats:alice", nil},
	} {
		t.Run(name, func(t *testing.T) {
			srv := startServer(t, embedded.Config{})
			a := startBus(t, connect(t, srv.URL()), "a", natsbus.Config{Principal: "alice"})
			b := startKnowing(t, connect(t, srv.URL()), func(_ context.Context, node, epoch string, anew bool) (string, error) {
				if node == "alice" && epoch == "" {
					return "", transport.ErrNoPeer
				}
				if node != "a" || epoch != "e-a" {
					t.Errorf("asked for %s in epoch %s", node, epoch)
				}
				addr, err := c.lookup(anew)
				if addr == "own" {
					addr = a.end.Addr
				}
				return addr, err
			})
			_, err := a.dial(t, b.end)
			if !errors.Is(err, c.dial) {
				t.Fatalf("dial: %v, want %v", err, c.dial)
			}
			if c.dial != nil {
				if len(b.accepted) > 0 || b.Stats().Refused != 1 {
					t.Errorf("%d links accepted, %+v", len(b.accepted), b.Stats())
				}
				return
			}
			if got := (<-b.accepted).Peer().Principal; got != c.want {
				t.Errorf("the principal is %q, want %q", got, c.want)
			}
		})
	}
}

// A user that can make JetStream publish under any subject cannot pretend to be another node,
// neither when it dials nor when it answers.
func TestANodesNameAsPrincipal(t *testing.T) {
	addrs := map[string]string{}
	lookup := func(_ context.Context, node, _ string, _ bool) (string, error) {
		if addr, ok := addrs[node]; ok {
			return addr, nil
		}
		return "", transport.ErrNoPeer
	}
	srv := startServer(t, embedded.Config{})
	shop := startBusWith(t, connect(t, srv.URL()), "shop", natsbus.Config{Principal: "shop"}, lookup)
	bank := startBus(t, connect(t, srv.URL()), "bank", natsbus.Config{Principal: "bank"})
	thief := startBus(t, connect(t, srv.URL()), "thief", natsbus.Config{Principal: "bank"})
	honest := startBus(t, connect(t, srv.URL()), "till-1", natsbus.Config{Principal: "till"})
	for _, b := range []*bus{shop, bank, thief, honest} {
		addrs[b.local.Node] = b.end.Addr
	}
	for _, pair := range [][2]*bus{{thief, shop}, {shop, thief}} {
		if _, err := pair[0].dial(t, pair[1].end); !errors.Is(err, transport.ErrDenied) {
			t.Errorf("%s to %s: %v, want ErrDenied", pair[0].local.Node, pair[1].local.Node, err)
		}
	}
	for _, b := range []*bus{bank, honest} {
		link(t, b, shop)
		link(t, shop, b)
	}
}

// A link ends before it is accepted if the registry, when it is asked again, refuses the peer,
// although the cache did not.
func TestRefusedAfterAll(t *testing.T) {
	for name, later := range map[string]struct {
		addr string
		err  error
	}{"another key": {natsbus.Address(x25519(t).PublicKey()), nil}, "no answer": {"", errors.New("away")}} {
		t.Run(name, func(t *testing.T) {
			srv := startServer(t, embedded.Config{})
			a := startBus(t, connect(t, srv.URL()), "a", natsbus.Config{Principal: "alice"})
			b := startKnowing(t, connect(t, srv.URL()), func(_ context.Context, _, _ string, anew bool) (string, error) {
				if !anew {
					return "", transport.ErrNoPeer
				}
				return later.addr, later.err
			})
			from, err := a.dial(t, b.end)
			if err != nil {
				t.Fatal(err)
			}
			if err := from.untilClosed(); !errors.Is(err, transport.ErrClosed) {
				t.Errorf("the link ends with %v", err)
			}
			if len(b.accepted) > 0 || b.Stats().Refused != 1 {
				t.Errorf("%d links accepted, %+v", len(b.accepted), b.Stats())
			}
		})
	}
}
