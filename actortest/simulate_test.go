package actortest_test

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/actortest"
	"github.com/tandem-go/tandem/rpc"
)

// Put adds an amount to a vault.
type Put struct {
	actor.Returns[int]
	Amount int
}

// vault is an actor that keeps its state on disk.
type vault struct {
	disk *actortest.Disk
	sum  int
}

func (v *vault) put(_ *actor.Context, m Put) (int, error) {
	if err := v.disk.Write("sum", []byte(strconv.Itoa(v.sum+m.Amount))); err != nil {
		return 0, err
	}
	v.sum += m.Amount
	return v.sum, nil
}

func onDisk(d *actortest.Disk) int {
	n, _ := strconv.Atoi(string(d.Read("sum")))
	return n
}

// vaultKind makes vaults that know what is on disk.
func vaultKind(d *actortest.Disk) *actor.Kind {
	return actor.Define("test.vault", func() *vault { return &vault{d, onDisk(d)} }, actor.Answer((*vault).put))
}

// books are what callers were told.
type books struct{ sure, perhaps atomic.Int64 }

// enter notes the outcome of one Put.
func (b *books) enter(amount int, err error) {
	switch {
	case err == nil:
		b.sure.Add(int64(amount))
		b.perhaps.Add(int64(amount))
	case rpc.Ran(err) != rpc.NotRun:
		b.perhaps.Add(int64(amount))
	}
}

// put calls a vault or a cashier.
func (b *books) put(c *actortest.Caller, to string) {
	amount := 1 + c.Rand().IntN(9)
	_, err := actortest.Call(c, to, Put{Amount: amount})
	b.enter(amount, err)
}

// balance checks that what is in the vault is what callers were told.
func (b *books) balance(in int) error {
	if sure, perhaps := int(b.sure.Load()), int(b.perhaps.Load()); in < sure || in > perhaps {
		return fmt.Errorf("there is %d in the vault; %d were surely put there, and no more than %d", in, sure, perhaps)
	}
	return nil
}

// A sound actor passes all seeds.
func TestSimulateSoundActor(t *testing.T) {
	seeds := 50
	actortest.Simulate(t, seeds, func(w *actortest.World) {
		var b books
		w.Cluster(actortest.ClusterConfig{Setup: func(n *actortest.Node) error {
			_, err := n.Spawn("vault", vaultKind(n.Disk()))
			return err
		}})
		w.Callers(3, func(c *actortest.Caller) { b.put(c, "vault@n0") })
		w.Callers(1, func(c *actortest.Caller) {
			for range 1 + c.Rand().IntN(5) {
				amount := 1 + c.Rand().IntN(9)
				actortest.Ask(c, "vault@n0", Put{Amount: amount}).Then(func(_ int, err error) { b.enter(amount, err) })
			}
		})
		w.Invariant("nothing is lost", func() error { return b.balance(onDisk(w.Node(0).Disk())) })
	})
}
