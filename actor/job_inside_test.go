package actor

import (
	"strings"
	"testing"

	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// A job that was cancelled before its turn never starts, however long the cancel takes.
func TestCancelledNeverStarts(t *testing.T) {
	for name, j := range map[string]*job{
		"cancelled":          {report: jobReport{State: rpc.JobAccepted}, canceled: true},
		"its end is written": {report: jobReport{State: rpc.JobAccepted}, ending: true},
	} {
		if j.Start() {
			t.Errorf("%s: it started", name)
		}
	}
}

// Bytes that were reserved for results are released, whatever a handler answers and however
// often.
func TestResultBytes(t *testing.T) {
	var table jobTable
	table.init(&System{cfg: Config{Tokens: 10}})
	j := &job{id: "a", principal: "p"}
	if err := table.add(j); err != nil {
		t.Fatal(err)
	}
	table.keep(j, 100)
	table.keep(j, 50)
	if table.total != 50 || table.bytes["p"] != 50 {
		t.Errorf("%d bytes in all, %d of p: a result of 50 is kept", table.total, table.bytes["p"])
	}
	table.remove(j)
	table.keep(j, 100) // too late
	if table.total != 0 || len(table.bytes) != 0 || len(table.mine) != 0 || len(table.all) != 0 {
		t.Errorf("%d bytes in all, %v, %v: nothing is kept", table.total, table.bytes, table.mine)
	}
}

// The system's own actors accept no jobs. A job runs in the name of the node that has it, so
// it could otherwise do what its sender may not do.
func TestSystemActorsTakeNoJobs(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		net, reg := memnet.New(memnet.Config{Seed: 1}), static.New()
		start := func(name string) *System {
			sys, err := NewSystem(Config{Name: name, Registry: reg, Transports: []transport.Transport{net.Transport("bus", false)},
				Principals: func(road string, p transport.Peer) string { return road + p.Principal }})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = sys.Shutdown(t.Context()) })
			return sys
		}
		a, b := start("a"), start("b")
		_, err := b.Spawn("x", Define("test.bare", func() int { return 0 },
			Answer(func(_ int, ctx *Context, _ whoAmI) (string, error) { return ctx.Principal(), nil })))
		if err != nil {
			t.Fatal(err)
		}
		for _, sys := range []*System{a, b} {
			tok, err := Submit(t.Context(), sys.Ref("x@b"), whoAmI{})
			if err != nil {
				t.Fatal(err)
			}
			who, err := Call(t.Context(), sys.Ref("x@b"), whoAmI{})
			if err != nil {
				t.Fatal(err)
			}
			if as, err := tok.Await(t.Context()); as != who || err != nil {
				t.Errorf("a job of %s is run in the name of %q, %v", who, as, err)
			}
			jobs, err := sys.jobServer("b")
			if err != nil {
				t.Fatal(err)
			}
			_, id, _ := strings.Cut(tok.String(), tokenSep)
			if _, err := Submit(t.Context(), jobs, pollJob{ID: id}); rpc.CodeOf(err) != rpc.NotFound || rpc.Ran(err) != rpc.NotRun {
				t.Errorf("a job for the job server: %v", err)
			}
		}
	})
}

type whoAmI struct{ Returns[string] }
