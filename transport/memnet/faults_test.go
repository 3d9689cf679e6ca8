package memnet_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// log is a Receiver that records what happens; read returns that.
type log struct {
	link transport.Link

	mu        sync.Mutex // guards what follows
	seqs      []uint64
	at        []time.Time
	disturbed int
	closed    error
}

func (l *log) Receive(e *transport.Envelope) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seqs = append(l.seqs, e.Seq)
	l.at = append(l.at, time.Now())
}

func (l *log) Drained() {}

func (l *log) Flush() {}

func (l *log) Disturbed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.disturbed++
}

func (l *log) Closed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = err
}

// read waits until all goroutines are blocked, and returns what was recorded.
func (l *log) read() (seqs []uint64, at []time.Time, disturbed int, closed error) {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seqs, l.at, l.disturbed, l.closed
}

func (l *log) whyClosed() error {
	_, _, _, closed := l.read()
	return closed
}

// site is a started system on one road.
type site struct {
	transport.Transport
	end   transport.Endpoint
	links []*log // of the links that peers opened
}

func start(t *testing.T, n *memnet.Network, direct bool, node, epoch string) *site {
	t.Helper()
	s := &site{Transport: n.Transport("road", direct)}
	local := transport.Local{Cluster: "test", Node: node, Epoch: epoch, Logger: slog.New(slog.DiscardHandler)}
	addr, err := s.Start(t.Context(), local, func(l transport.Link) transport.Receiver {
		in := &log{link: l}
		s.links = append(s.links, in)
		return in
	})
	if err != nil {
		t.Fatal(err)
	}
	s.end = transport.Endpoint{Node: node, Epoch: epoch, Addr: addr}
	t.Cleanup(func() { s.Close() })
	return s
}

func (s *site) dial(t *testing.T, to transport.Endpoint) (*log, error) {
	t.Helper()
	in := &log{}
	l, err := s.Dial(t.Context(), to, func(transport.Link) transport.Receiver { return in })
	in.link = l
	synctest.Wait()
	return in, err
}

func (l *log) tell(t *testing.T, seqs ...uint64) {
	t.Helper()
	for _, s := range seqs {
		if _, err := l.link.Send(&transport.Envelope{Verb: transport.VerbTell, Seq: s}); err != nil {
			t.Errorf("tell %d: %v", s, err)
		}
	}
	synctest.Wait()
}

func (l *log) want(t *testing.T, what string, seqs ...uint64) {
	t.Helper()
	if got, _, _, _ := l.read(); !slices.Equal(got, seqs) {
		t.Errorf("%s: received %v, want %v", what, got, seqs)
	}
}

// world runs a test with a link from "a" to "b" in a bubble.
func world(t *testing.T, direct bool, run func(t *testing.T, n *memnet.Network, a, b *site, from, to *log)) {
	t.Helper()
	bubble.Test(t, func(t *testing.T) {
		n := memnet.New(memnet.Config{Seed: 42})
		a, b := start(t, n, direct, "a", "1"), start(t, n, direct, "b", "1")
		from, err := a.dial(t, b.end)
		if err != nil {
			t.Fatal(err)
		}
		run(t, n, a, b, from, b.links[0])
	})
}

func numbers(n int) (seqs []uint64) {
	for i := range n {
		seqs = append(seqs, uint64(i))
	}
	return seqs
}

func TestPartitionDirectHoldsBack(t *testing.T) {
	world(t, true, func(t *testing.T, n *memnet.Network, a, b *site, from, to *log) {
		from.tell(t, 1)
		n.PartitionOneWay("road", "a", "b")
		from.tell(t, 2, 3)
		to.tell(t, 9)
		to.want(t, "cut", 1)
		from.want(t, "other way", 9)
		if err := a.dialTimesOut(t, b.end); !errors.Is(err, transport.ErrNoPeer) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial across a cut: %v", err)
		}
		n.Heal("road", "a", "b")
		to.want(t, "healed", 1, 2, 3)

		n.Partition("", "b", "")
		from.link.Close(errors.New("gave up"))
		if from.whyClosed() == nil || to.whyClosed() != nil {
			t.Errorf("closed behind a partition: near %v, far %v", from.whyClosed(), to.whyClosed())
		}
		n.Heal("", "b", "")
		if to.whyClosed() == nil {
			t.Error("the far end never heard of the close")
		}
	})
}

// dialTimesOut dials an endpoint that cannot answer, and checks how long that takes.
func (s *site) dialTimesOut(t *testing.T, to transport.Endpoint) error {
	t.Helper()
	began := time.Now()
	_, err := s.dial(t, to)
	if took := time.Since(began); took != 5*time.Second {
		t.Errorf("gave up after %v", took)
	}
	return err
}

func TestPartitionBusLoses(t *testing.T) {
	world(t, false, func(t *testing.T, n *memnet.Network, a, b *site, from, to *log) {
		n.Partition("road", "a", "b")
		from.tell(t, 1, 2)
		a.dialTimesOut(t, b.end)
		n.Heal("road", "a", "b")
		from.tell(t, 3)
		to.want(t, "healed", 3)
		if at := mustSend(t, from, 4); !from.link.Handed(at) {
			t.Error("what was sent is not handed")
		}

		n.Partition("road", "a", "b")
		to.link.Close(errors.New("gone"))
		from.tell(t, 5)
		if from.whyClosed() != nil {
			t.Errorf("closed across a partition: %v", from.whyClosed())
		}
		n.Heal("road", "a", "b")
		from.tell(t, 6)
		if !errors.Is(from.whyClosed(), transport.ErrNoPeer) {
			t.Errorf("send to a peer that is gone: closed with %v, want ErrNoPeer", from.whyClosed())
		}
	})
}

func mustSend(t *testing.T, l *log, seq uint64) uint64 {
	t.Helper()
	at, err := l.link.Send(&transport.Envelope{Verb: transport.VerbTell, Seq: seq})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	return at
}

func TestDelayKeepsOrder(t *testing.T) {
	for _, direct := range []bool{true, false} {
		world(t, direct, func(t *testing.T, n *memnet.Network, _, _ *site, from, to *log) {
			n.SetFaults("road", "a", "b", memnet.Faults{MinDelay: 10 * time.Millisecond, MaxDelay: 50 * time.Millisecond})
			began := time.Now()
			from.tell(t, numbers(100)...)
			to.want(t, "at once")
			time.Sleep(50 * time.Millisecond)
			to.want(t, "after the longest delay", numbers(100)...)
			_, at, _, _ := to.read()
			if first := at[0].Sub(began); first < 10*time.Millisecond {
				t.Errorf("first arrived after %v", first)
			}
		})
	}
}

// chance returns which of 1000 tells arrive over a bus with all faults.
func chance(t *testing.T, seed uint64) (got []uint64) {
	bubble.Test(t, func(t *testing.T) {
		n := memnet.New(memnet.Config{Seed: seed})
		a, b := start(t, n, false, "a", "1"), start(t, n, false, "b", "1")
		from, err := a.dial(t, b.end)
		if err != nil {
			t.Fatal(err)
		}
		n.SetFaults("", "", "", memnet.Faults{MaxDelay: time.Millisecond, Drop: 0.1, Duplicate: 0.1, Reorder: 0.1})
		from.tell(t, numbers(1000)...)
		time.Sleep(time.Second)
		got, _, _, _ = b.links[0].read()
	})
	return got
}

func TestBusFaultsReplayFromTheirSeed(t *testing.T) {
	got := chance(t, 7)
	seen := make(map[uint64]int)
	doubled, early := 0, 0
	for i, s := range got {
		if seen[s]++; seen[s] == 2 {
			doubled++
		}
		if i > 0 && s < got[i-1] {
			early++
		}
	}
	if lost := 1000 - len(seen); lost < 50 || lost > 150 || doubled < 30 || doubled > 150 || early < 20 {
		t.Errorf("of 1000: %d lost, %d doubled, %d overtaken; want about 100 of each", lost, doubled, early)
	}
	if !slices.Equal(got, chance(t, 7)) {
		t.Error("the same seed gave other faults")
	}
	if slices.Equal(got, chance(t, 8)) {
		t.Error("another seed gave the same faults")
	}
}

func TestHoldDeliversLate(t *testing.T) {
	world(t, false, func(t *testing.T, n *memnet.Network, _, _ *site, from, to *log) {
		n.Hold("road", "a", "b")
		from.tell(t, 1, 2)
		from.link.Close(errors.New("gave up"))
		time.Sleep(time.Hour)
		to.want(t, "held")
		n.Release("road", "a", "b")
		to.want(t, "released, long after the sender gave up", 1, 2)
		if to.whyClosed() == nil {
			t.Error("the close was held for ever")
		}
	})
}

func TestResetAndKill(t *testing.T) {
	for _, direct := range []bool{true, false} {
		world(t, direct, func(t *testing.T, n *memnet.Network, _, _ *site, from, to *log) {
			if ends := n.Reset("road", "b", "a"); ends != 2 {
				t.Errorf("reset closed %d ends", ends)
			}
			if from.whyClosed() == nil || to.whyClosed() == nil {
				t.Errorf("after a reset: near %v, far %v", from.whyClosed(), to.whyClosed())
			}
		})
	}
	world(t, true, func(t *testing.T, n *memnet.Network, _, _ *site, from, to *log) {
		n.SetFaults("road", "a", "b", memnet.Faults{Kill: 1})
		to.tell(t, 1)
		from.want(t, "other way", 1)
		from.tell(t, 2)
		to.want(t, "killed")
		if from.whyClosed() == nil || to.whyClosed() == nil {
			t.Errorf("after a kill: near %v, far %v", from.whyClosed(), to.whyClosed())
		}
	})
}

func TestNoResponders(t *testing.T) {
	world(t, false, func(t *testing.T, n *memnet.Network, a, b *site, from, to *log) {
		n.SetFaults("road", "a", "b", memnet.Faults{NoResponders: true})
		if _, err := a.dial(t, b.end); !errors.Is(err, transport.ErrNoPeer) {
			t.Errorf("dial: %v, want ErrNoPeer", err)
		}
		from.tell(t, 1)
		to.want(t, "no responders")
		if !errors.Is(from.whyClosed(), transport.ErrNoPeer) {
			t.Errorf("closed with %v, want ErrNoPeer", from.whyClosed())
		}
	})
}

func TestDisturb(t *testing.T) {
	world(t, false, func(t *testing.T, n *memnet.Network, _, _ *site, from, to *log) {
		n.Disturb("road", "b")
		_, _, near, _ := from.read()
		_, _, far, _ := to.read()
		if near != 0 || far != 1 {
			t.Errorf("disturbed: near %d, far %d", near, far)
		}
	})
}

func TestTwoSubscribersUnderOneName(t *testing.T) {
	world(t, false, func(t *testing.T, n *memnet.Network, a, first *site, _, _ *log) {
		second := start(t, n, false, "b", "2")
		for _, s := range []*site{first, second} {
			if l, err := a.dial(t, s.end); err != nil || l.link.Peer().Epoch != s.end.Epoch {
				t.Errorf("dial of epoch %s: %v", s.end.Epoch, err)
			}
		}
		reached := make(map[string]int)
		for range 32 {
			l, err := a.dial(t, transport.Endpoint{Node: "b"})
			if err != nil {
				t.Fatal(err)
			}
			reached[l.link.Peer().Epoch]++
		}
		if reached["1"] == 0 || reached["2"] == 0 {
			t.Errorf("without an epoch, the two were reached %v times", reached)
		}
		first.Close()
		if _, err := a.dial(t, first.end); !errors.Is(err, transport.ErrNoPeer) {
			t.Errorf("dial of an epoch that is over: %v, want ErrNoPeer", err)
		}
	})
}

func TestSpecificRuleOutranksEarlierWildcard(t *testing.T) {
	world(t, true, func(t *testing.T, n *memnet.Network, _, _ *site, from, to *log) {
		n.SetFaults("", "", "", memnet.Faults{MinDelay: time.Hour})
		n.SetFaults("road", "a", "b", memnet.Faults{})
		from.tell(t, 1)
		to.want(t, "specific rule", 1)
		n.SetFaults("", "", "", memnet.Faults{MinDelay: time.Hour})
		from.tell(t, 2)
		to.want(t, "a later wildcard covers it", 1)
	})
}
