package transporttest

import (
	"context"
	"errors"
	"testing"

	"github.com/tandem-go/tandem/transport"
)

func testIdentify(t *testing.T, cfg Config) {
	a, b := newPair(t, cfg)
	from, to := link(t, a, b)
	for _, c := range []struct {
		at   string
		have transport.Peer
		want transport.Local
	}{{"dialler", from.Peer(), b.local}, {"acceptor", to.Peer(), a.local}} {
		if c.have.Node != c.want.Node || c.have.Epoch != c.want.Epoch || c.have.Principal == "" {
			t.Errorf("%s sees %+v, want node %q in epoch %q with a principal", c.at, c.have, c.want.Node, c.want.Epoch)
		}
	}
	if a.Road() == "" || from.Road() != a.Road() || to.Road() != b.Road() || a.Road() != b.Road() {
		t.Errorf("roads: transports %q and %q, links %q and %q", a.Road(), b.Road(), from.Road(), to.Road())
	}
}

func testAnyEpoch(t *testing.T, cfg Config) {
	a, b := newPair(t, cfg)
	any := b.end
	any.Epoch = ""
	s, err := a.tryDial(t, any)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Peer().Epoch; got != b.local.Epoch {
		t.Errorf("peer's epoch is %q, want %q", got, b.local.Epoch)
	}
}

// On a bus the subjects name node and epoch, so nobody answers. On a direct road another node
// does.

func testWrongNode(t *testing.T, cfg Config) {
	a, b := newPair(t, cfg)
	wrong := b.end
	wrong.Node = "c"
	a.refused(t, wrong, notThere(a, transport.ErrIdentity)...)
}

func testWrongEpoch(t *testing.T, cfg Config) {
	a, b := newPair(t, cfg)
	wrong := b.end
	wrong.Epoch = "epoch-before"
	a.refused(t, wrong, notThere(a, transport.ErrIdentity)...)
}

func testWrongCluster(t *testing.T, cfg Config) {
	mk := cfg.Network(t)
	a := start(t, mk(), newCluster(), "a", "epoch-a")
	b := start(t, mk(), newCluster(), "b", "epoch-b")
	a.refused(t, b.end, notThere(a, transport.ErrCluster)...)
}

func notThere(n *node, direct error) []error {
	if n.Direct() {
		return []error{direct}
	}
	return []error{direct, transport.ErrNoPeer}
}

func testWrongVersion(t *testing.T, cfg Config) {
	if cfg.Greet == nil {
		t.Skip("this road cannot send a greeting of another version")
	}
	a, b := newPair(t, cfg)
	h := transport.Greet(a.local, b.end)
	h.MinVersion, h.MaxVersion = transport.Version+1, transport.Version+2
	w := cfg.Greet(t, b.end, h)
	if err := w.Err(); !errors.Is(err, transport.ErrVersion) {
		t.Errorf("answer to a greeting of versions %d to %d: %v, want ErrVersion", h.MinVersion, h.MaxVersion, err)
	}
	select {
	case <-b.accepted:
		t.Error("link accepted although no version is shared")
	default:
	}
}

func testNobodyThere(t *testing.T, cfg Config) {
	a, b := newPair(t, cfg)
	if err := b.Transport.Close(); err != nil {
		t.Fatal(err)
	}
	a.refused(t, b.end, transport.ErrNoPeer)
}

func testDialCancelled(t *testing.T, cfg Config) {
	a, b := newPair(t, cfg)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := a.Dial(ctx, b.end, func(l transport.Link) transport.Receiver {
		t.Error("open called")
		return newInbox(t, l)
	})
	if err == nil {
		t.Error("dial with a cancelled context succeeded")
	}
}
