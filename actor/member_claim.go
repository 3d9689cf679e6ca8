package actor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/transport"
)

// contest decides what a starting node does while another epoch holds its name. It has no
// clock and does no I/O.
type contest struct {
	own     *registry.Proof
	holder  string    // the epoch that holds the name, as last seen
	renewed time.Time // when the holder had last written its record, as first seen
}

// move is a decision of a contest.
type move uint8

const (
	await    move = iota + 1 // wait until the holder's lease has expired
	takeOver                 // the holder is dead
	yield                    // the holder is alive: give up
)

// seen is what a starting node finds out about the holder.
type seen struct {
	process registry.Process // the process that has the holder's process id
	usurped bool             // another node answers at the holder's address
}

// met notes that the name is taken. first reports whether this holder has not been seen before.
func (c *contest) met(t *registry.TakenError) (first bool) {
	if c.holder == t.Holder.Epoch {
		return false
	}
	c.holder, c.renewed = t.Holder.Epoch, t.Renewed
	return true
}

// next decides. An address proves something only on the same machine, because on another one
// it may belong to another host. A holder that renews its lease is alive. Without leases
// waiting is of no use.
func (c *contest) next(t *registry.TakenError, lease time.Duration, s seen) move {
	p := t.Holder.Proof
	switch {
	case p.Dead(c.own, s.process), s.usurped && p != nil && c.own != nil && p.Boot != "" && p.Boot == c.own.Boot:
		return takeOver
	case lease == 0, t.Renewed.After(c.renewed):
		return yield
	}
	return await
}

const (
	firstClaim = 100 * time.Millisecond // pause between two attempts to claim the name, doubled each time
	lastClaim  = time.Second            // the longest such pause
	probeTime  = time.Second            // how long the holder's address may take to answer
)

// claim registers this node's record. It takes over the name of a dead process as soon as its
// death can be shown, otherwise when its lease has expired. It waits for a registry that cannot
// be reached, but not beyond the end of ctx.
func (m *members) claim(ctx context.Context, record registry.Node) error {
	reg, log := m.sys.cfg.Registry, m.sys.log
	c, waits := contest{own: record.Proof}, ""
	for pause := firstClaim; ; pause = min(2*pause, lastClaim) {
		sent := m.now()
		err := reg.Register(ctx, record)
		m.answered(sent, err)
		var taken *registry.TakenError
		state := ""
		switch {
		case err == nil:
			if waits != "" {
				log.Info("this node's name is registered now")
			}
			return nil
		case errors.As(err, &taken):
			first := c.met(taken)
			what := c.next(taken, reg.Lease(), m.look(ctx, c.own, taken.Holder, first))
			if what == takeOver {
				log.Warn("this node's name is taken over from a process that is dead", "epoch", taken.Holder.Epoch)
				if err = reg.Evict(ctx, record.Name, taken.Holder.Epoch); err == nil {
					pause = firstClaim
					continue
				}
			}
			if what == yield {
				return fmt.Errorf("actor: registering node %s: a live process holds the name: %w", record.Name, err)
			}
			state = "this node's name is still held by epoch " + taken.Holder.Epoch + ", which does not answer for itself; waiting for its lease to run out"
		case errors.Is(err, registry.ErrUnavailable) && !errors.Is(err, registry.ErrClosed):
			state = "the registry is away; waiting for it"
		default:
			return fmt.Errorf("actor: registering node %s: %w", record.Name, err)
		}
		if state != waits && ctx.Err() == nil {
			waits = state
			log.Warn(state, "lease", reg.Lease(), "err", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("actor: registering node %s: gave up after Config.StartWait (%v; a lease is %v): %w", record.Name, m.sys.cfg.StartWait, reg.Lease(), err)
		case <-time.After(pause):
		}
	}
}

// look finds out what it can about the holder of this node's name. It dials the holder's
// address the first time only.
func (m *members) look(ctx context.Context, own *registry.Proof, holder registry.Node, first bool) (s seen) {
	if p := holder.Proof; p.Same(own) {
		s.process = registry.Look(p.PID)
	} else if first {
		s.usurped = m.usurped(ctx, holder)
	}
	return s
}

// usurped reports whether another node answers at one of holder's addresses. Loopback addresses
// prove nothing, because each container has its own.
func (m *members) usurped(ctx context.Context, holder registry.Node) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	for _, t := range m.sys.cfg.Transports {
		addr := holder.Addrs[t.Road()]
		if !t.Direct() || !global(addr) {
			continue
		}
		l, err := t.Dial(ctx, transport.Endpoint{Node: holder.Name, Epoch: holder.Epoch, Addr: addr}, func(transport.Link) transport.Receiver { return probe{} })
		if err == nil {
			l.Close(errProbed)
			return false
		}
		if errors.Is(err, transport.ErrIdentity) {
			return true
		}
	}
	return false
}

// global reports whether an address means the same for every process of a machine.
func global(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil || host == "" || host == "localhost" {
		return false
	}
	ip := net.ParseIP(host)
	return ip == nil || !ip.IsLoopback() && !ip.IsUnspecified()
}

var errProbed = errors.New("actor: the link only asked who is there")

// probe is the receiver of a link that only asks who is there.
type probe struct{}

func (probe) Receive(*transport.Envelope) {}
func (probe) Flush()                      {}
func (probe) Drained()                    {}
func (probe) Disturbed()                  {}
func (probe) Closed(error)                {}
