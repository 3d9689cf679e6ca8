//go:build !race

// What is planted here is for the simulator to find, not for the race detector.

package actortest_test

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/actortest"
	"github.com/tandem-go/tandem/rpc"
)

var replays = flag.Int("actortest.replays", 2, "how often a seed that has found a planted mistake is run again, each time in a process of its own")

var starts = flag.Int("actortest.starts", 0, "how often to look for each planted mistake from another first seed on, to find how many seeds that takes")

// asPlanted is set in a process that is to run with the mistakes.
const asPlanted = "TANDEM_ACTORTEST_PLANTED"

// Peek asks a vault for what it has, and Set replaces that.
type (
	Peek struct{ actor.Returns[int] }
	Set  struct {
		actor.Returns[bool]
		Sum int
	}
)

func (v *vault) peek(*actor.Context, Peek) (int, error) { return v.sum, nil }
func (v *vault) set(_ *actor.Context, m Set) (bool, error) {
	err := v.disk.Write("sum", []byte(strconv.Itoa(m.Sum)))
	if err == nil {
		v.sum = m.Sum
	}
	return err == nil, err
}

// openVaultKind makes vaults for those who read and write from outside.
func openVaultKind(d *actortest.Disk) *actor.Kind {
	return actor.Define("test.openvault", func() *vault { return &vault{d, onDisk(d)} }, actor.Answer((*vault).peek), actor.Answer((*vault).set))
}

// cashier puts amounts into a vault by two messages.
type cashier struct{}

func (cashier) put(ctx *actor.Context, m Put) (int, error) {
	vault := ctx.System().Ref("vault@n0")
	sum, err := actor.Call(ctx, vault, Peek{})
	if err != nil {
		return 0, err
	}
	time.Sleep(100 * time.Millisecond) // for example to ask somebody else
	_, err = actor.Call(ctx, vault, Set{Sum: sum + m.Amount})
	return sum + m.Amount, err
}

var cashierKind = actor.Define("test.cashier", func() cashier { return cashier{} }, actor.Answer(cashier.put))

// Consent asks whether something may be put into a vault.
type Consent struct{ actor.Returns[bool] }

// hasty is a vault that asks before it puts something in, and meanwhile handles other messages.
type hasty struct {
	disk *actortest.Disk
	sum  int
}

// booked is what a hasty vault sends itself.
type booked struct {
	sum   int
	err   error
	later *actor.Deferred[int]
}

func (v *hasty) put(ctx *actor.Context, m Put) (int, error) {
	later, sum := actor.Defer[int](ctx), v.sum+m.Amount
	asked := actor.Ask(ctx.Detached(), ctx.System().Ref("boss@n1"), Consent{})
	actor.Pipe(ctx, asked, func(_ bool, err error) booked { return booked{sum, err, later} })
	return 0, nil
}

func (v *hasty) book(_ *actor.Context, m booked) error {
	if m.err == nil {
		m.err = v.disk.Write("sum", []byte(strconv.Itoa(m.sum)))
	}
	if m.err != nil {
		return m.later.Fail(m.err)
	}
	v.sum = m.sum
	return m.later.Answer(m.sum)
}

var bossKind = actor.Define("test.boss", func() struct{} { return struct{}{} },
	actor.Answer(func(struct{}, *actor.Context, Consent) (bool, error) { return true, nil }))

// planted are mistakes of those who write actors, each in otherwise sound actors. The figures are
// the seed that finds it, from 1, and in how many of 100 runs of that seed in fresh processes it
// is found again (-actortest.replays 100); and how many seeds it takes from 20 other first seeds on
// (-actortest.starts 20; Go 1.26, two cores, with other work beside it).
var planted = []struct {
	name     string
	says     string // in the failure
	describe func(w *actortest.World, b *books)
}{
	// The state is on disk, and a new incarnation begins without it: found by seed 2, again in
	// 100 of 100; 1 seed at most in half of 20 starts, 4 in the worst one.
	{"state is not restored", "in the vault", func(w *actortest.World, b *books) {
		w.Cluster(actortest.ClusterConfig{Setup: func(n *actortest.Node) error {
			d := n.Disk()
			_, err := n.Spawn("vault", actor.Define("test.vault", func() *vault { return &vault{d, 0} }, actor.Answer((*vault).put)))
			return err
		}})
		w.Callers(4, func(c *actortest.Caller) { b.put(c, "vault@n0") })
	}},

	// The cashier is one actor, so its reads and writes do not interleave; until its node is
	// replaced while it still runs: found by seed 10, again in 100 of 100; 7 seeds
	// at most in half of 20 starts, 33 in the worst one.
	{"a read and a write are two messages", "in the vault", func(w *actortest.World, b *books) {
		w.Cluster(actortest.ClusterConfig{Setup: func(n *actortest.Node) error {
			if _, err := n.Spawn("cashier", cashierKind); err != nil {
				return err
			}
			_, err := n.Spawn("vault", openVaultKind(n.Disk()))
			return err
		}})
		w.Callers(4, func(c *actortest.Caller) { b.put(c, "cashier@n1") })
	}},

	// The sum is read before another actor was asked, and written after that. Another message that is
	// handled meanwhile is overwritten: found by seed 1, again in 100 of 100; 1 seed at most in half of
	// 20 starts, 3 in the worst one.
	{"a sum is read before a question and written after it", "in the vault", func(w *actortest.World, b *books) {
		w.Cluster(actortest.ClusterConfig{Setup: func(n *actortest.Node) error {
			d := n.Disk()
			kind := actor.Define("test.hasty", func() *hasty { return &hasty{d, onDisk(d)} }, actor.Answer((*hasty).put), actor.Handle((*hasty).book))
			_, err := n.Spawn("vault", kind)
			_, err2 := n.Spawn("boss", bossKind)
			return errors.Join(err, err2)
		}})
		w.Callers(4, func(c *actortest.Caller) { b.put(c, "vault@n0") })
	}},

	// A caller that does not know whether its call ran makes it again as another one: found by
	// seed 1, again in 100 of 100; 4 seeds at most in half of 20 starts, 18 in the worst one.
	{"unknown is tried again", "in the vault", func(w *actortest.World, b *books) {
		w.Cluster(actortest.ClusterConfig{Setup: func(n *actortest.Node) error {
			_, err := n.Spawn("vault", vaultKind(n.Disk()))
			return err
		}})
		w.Callers(4, func(c *actortest.Caller) {
			amount := 1 + c.Rand().IntN(9)
			_, err := actortest.Call(c, "vault@n0", Put{Amount: amount})
			if err != nil && rpc.Ran(err) != rpc.HasRun {
				_, err = actortest.Call(c, "vault@n0", Put{Amount: amount})
			}
			b.enter(amount, err)
		})
	}},
}

const (
	mostSeeds   = 300 // are enough to find each of the planted mistakes
	mostReplays = 20  // are enough to find it again, also if it depends on the order of what happens at one moment
)

// TestPlanted shows that the simulator finds lost updates, and that the seed that has found one
// finds it again in another process.
func TestPlanted(t *testing.T) {
	for _, p := range planted {
		t.Run(p.name, func(t *testing.T) {
			if os.Getenv(asPlanted) != "" {
				actortest.Simulate(t, mostSeeds, func(w *actortest.World) {
					var b books
					p.describe(w, &b)
					w.Invariant("nothing is lost", func() error { return b.balance(onDisk(w.Node(0).Disk())) })
				})
				return
			}
			found := fresh(t, p.says)
			if found == "" {
				t.Fatalf("not found by %d seeds", mostSeeds)
			}
			again, runs := 0, 0
			for runs < *replays || again == 0 && runs < mostReplays {
				if runs++; fresh(t, p.says, actortest.SeedVariable+"="+found) == found {
					again++
				}
			}
			t.Logf("found by seed %s, and again in %d of %d runs of that seed", found, again, runs)
			var seeds []int
			for i := range *starts {
				n := 1
				for first := 1000 * (i + 1); n < mostSeeds && fresh(t, p.says, actortest.SeedVariable+"="+strconv.Itoa(first+n)) == ""; {
					n++
				}
				seeds = append(seeds, n)
			}
			if slices.Sort(seeds); len(seeds) > 0 {
				t.Logf("of %d starts, one took %d seeds, half of them %d at most, and one %d", len(seeds), seeds[0], seeds[(len(seeds)-1)/2], seeds[len(seeds)-1])
			}
			if again == 0 {
				t.Errorf("seed %s has found it, and has not in %d runs after that", found, runs)
			}
		})
	}
}

// fresh runs this test in another process, and returns the seed that fails as it should; empty
// for none.
func fresh(t *testing.T, says string, env ...string) string {
	t.Helper()
	out, err := inProcess(t, env...)
	if err == nil {
		return ""
	}
	m := regexp.MustCompile(`actortest: seed (\d+)`).FindStringSubmatch(out)
	if m == nil || !strings.Contains(out, says) || !strings.Contains(out, "again: "+actortest.SeedVariable+"="+m[1]+" go test -run '^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$'") {
		t.Fatalf("another failure than that:\n%s", out)
	}
	return m[1]
}

// inProcess runs this test in another process, and returns what that prints.
func inProcess(t *testing.T, env ...string) (string, error) {
	t.Helper()
	run := exec.Command(os.Args[0], "-test.run", "^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v")
	run.Env = append(append(os.Environ(), asPlanted+"=1"), env...)
	out, err := run.CombinedOutput()
	return string(out), err
}
