//go:build unix

package procs

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	claims "github.com/tandem-go/tandem/placement/natskv"
	"github.com/tandem-go/tandem/rpc"
)

// hosts are the nodes that host virtual actors.
var hosts = []string{"dan", "eve", "fay"}

// hostOf is the i-th of them, as records name it.
func hostOf(i int) who { return who(i + 30) }

// nodeLease is that of a host in the registry.
var nodeLease = flag.Duration("procs.lease", 2*time.Second, "of hosts of virtual actors in the registry; 15 s is the default of registry/natskv")

// wellWait is within which all must be well after a fault.
const wellWait = 60 * time.Second

// hosting is what all hosts of virtual actors have in common. done ends what it has opened.
func (r role) hosting(log *slog.Logger) (cfg actor.Config, js jetstream.JetStream, done func(), err error) {
	cfg, closed, err := r.config(log)
	if err != nil {
		return cfg, nil, nil, err
	}
	nc, js, err := r.bus()
	if err != nil {
		closed()
		return cfg, nil, nil, err
	}
	done = func() { nc.Close(); closed() }
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	if cfg.Claims, err = claims.Open(ctx, js, claims.Config{Cluster: r.cluster(), Replicas: len(r.Bus), Logger: log}); err != nil {
		done()
		return cfg, nil, nil, err
	}
	cfg.RPC = rpc.Limits{Heartbeat: heartbeat, SessionLease: lease}
	return cfg, js, done, nil
}

// hostsRun has the processes of one run of virtual actors: a judge looks at what they have done.
type hostsRun struct {
	*town
	kind   string // of the hosts' roles
	take   func(record)
	struck func(of life, at int64, stopped bool) // that a host was killed or stopped
	woke   func(of life, at int64)               // that one that was stopped is about to go on
}

// newHostsRun makes a run with as many NATS nodes.
func newHostsRun(dir string, seed uint64, c cheat, kind string, nats int) (*hostsRun, error) {
	t, err := newTown(dir, seed)
	if err != nil {
		return nil, err
	}
	t.role.Cheat = c
	t.plan(nats)
	return &hostsRun{town: t, kind: kind, woke: func(life, int64) {}}, nil
}

// look reads what has come, and sees to it that nobody has died of himself.
func (h *hostsRun) look() error {
	for _, f := range h.files {
		if err := f.read(h.take); err != nil {
			return err
		}
	}
	for _, c := range h.procs {
		if c.died() {
			return fmt.Errorf("%s ended of itself: %v; %s", c.name, c.err, c.lastWords())
		}
	}
	return nil
}

// await looks until ok.
func (h *hostsRun) await(what string, ok func() bool) error {
	for limit := time.Now().Add(wellWait); ; time.Sleep(20 * time.Millisecond) {
		if err := h.look(); err != nil || ok() {
			return err
		}
		if time.Now().After(limit) {
			return fmt.Errorf("after %v: %s", wellWait, what)
		}
	}
}

// life is the present start of a host.
func (h *hostsRun) life(i int) life { return life{hostOf(i), h.lives[hosts[i]]} }

// host is the role of the next start of a host.
func (h *hostsRun) host(i int) role {
	r := h.node(h.kind, hosts[i], service{KV: true, Lease: *nodeLease}, nil)
	r.Who = hostOf(i)
	return r
}

// begin starts a host, for the first time or again.
func (h *hostsRun) begin(i int) error { return h.start(h.host(i)) }

// open starts NATS and the hosts.
func (h *hostsRun) open() error {
	if err := h.startNATS(); err != nil {
		return err
	}
	for i := range hosts {
		if err := h.begin(i); err != nil {
			return err
		}
	}
	return nil
}

// kill kills a host.
func (h *hostsRun) kill(i int) {
	h.struck(h.life(i), monotonic(), false)
	h.procs[hosts[i]].kill()
	delete(h.procs, hosts[i])
}

// freeze stops a host for longer than its lease, and lets it go on.
func (h *hostsRun) freeze(i int) error {
	return h.stopFor(i, func() error {
		time.Sleep(*nodeLease + time.Second + time.Duration(h.r.IntN(500))*time.Millisecond)
		return nil
	})
}

// stopFor stops a host, and lets it go on when meanwhile returns.
func (h *hostsRun) stopFor(i int, meanwhile func() error) error {
	h.struck(h.life(i), monotonic(), true)
	c := h.procs[hosts[i]]
	if err := c.stop(); err != nil {
		return err
	}
	err := meanwhile()
	h.woke(h.life(i), monotonic())
	return errors.Join(err, c.cont())
}

// replace ends a host in good order, and starts it again.
func (h *hostsRun) replace(i int) error {
	c := h.procs[hosts[i]]
	delete(h.procs, hosts[i])
	if err := c.end(); err != nil {
		return err
	}
	return h.begin(i)
}

// restartNATS kills a NATS node, and starts it again after a while.
func (h *hostsRun) restartNATS(n int, after time.Duration) error {
	h.nats[n].kill()
	time.Sleep(after)
	return h.nats[n].start()
}
