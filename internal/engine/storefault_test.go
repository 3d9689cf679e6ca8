package engine

import (
	"context"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/rpc"
)

// lossy is a disk that can lose everything, and says so.
type lossy struct {
	disk
	lost bool // guarded by disk.mu
}

type lossyLog struct {
	ledger.Log
	of *lossy
}

func (s *lossy) lose() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept, s.lost = nil, true
}

func (s *lossy) isLost() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost {
		return fmt.Errorf("%w: the disk was swapped", ledger.ErrLost)
	}
	return nil
}

func (s *lossy) Take(ctx context.Context, node, epoch string, load func(ledger.Change)) (ledger.Log, error) {
	l, err := s.disk.Take(ctx, node, epoch, load)
	return lossyLog{l, s}, err
}

func (l lossyLog) Check(context.Context) error { return l.of.isLost() }

func (l lossyLog) Append(ctx context.Context, changes []ledger.Change) error {
	if err := l.of.isLost(); err != nil {
		return err
	}
	return l.Log.Append(ctx, changes)
}

func (l lossyLog) Rewrite(ctx context.Context, changes iter.Seq[ledger.Change]) error {
	err := l.Log.Rewrite(ctx, changes)
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	l.of.lost = false
	return err
}

// If a store loses its records while it is in use, the node finds out within seconds, whether
// it writes or not. It reports this once and writes the records again, so no promise is broken.
func TestStoreLosesItsRecords(t *testing.T) {
	for _, idle := range []bool{true, false} {
		withRig(t, func(t *testing.T, r *rig) {
			d := new(lossy)
			store := func(c *Config) { c.Store, c.Kinds = d, []string{"test"} }
			a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, store)
			b.durably(same)
			keyed := func() (string, error) {
				req := withKey("b", "x", "k", patience)
				req.Retry = &rpc.Retry{}
				f, _ := a.send(req)
				return f.Await(t.Context())
			}
			if got, err := keyed(); got != "got x" || err != nil {
				t.Fatalf("%q, %v", got, err)
			}
			d.lose()
			if idle {
				time.Sleep(6 * time.Second)
			} else {
				req := request("b", "y", patience)
				req.Retry = &rpc.Retry{}
				f, _ := a.send(req)
				if got, err := f.Await(t.Context()); got != "got y" || err != nil || b.ran("y") != 1 {
					t.Errorf("while it was lost: %q, %v, ran %d times", got, err, b.ran("y"))
				}
			}
			until(t, "the end of it", func() bool { return b.saw(rpc.StoreWorks) > 0 })
			if b.saw(rpc.StoreFailing) != 1 || b.saw(rpc.StoreWorks) != 1 || d.isLost() != nil {
				t.Errorf("%d events of a failing store, %d of one that works", b.saw(rpc.StoreFailing), b.saw(rpc.StoreWorks))
			}
			d.unplug()
			b.crash(false)
			b2 := r.start("b", "b2", bus, store)
			b2.durably(same)
			if got, err := keyed(); got != "got x" || err != nil || b2.ran("x") != 0 {
				t.Errorf("after a restart: %q, %v, ran %d times", got, err, b2.ran("x"))
			}
		})
	}
}
