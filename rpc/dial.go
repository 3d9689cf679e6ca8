package rpc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tandem-go/tandem/transport"
)

const (
	dialTimeout = 5 * time.Second       // bounds one attempt to open a link
	minRedial   = 20 * time.Millisecond // between two attempts, however much they are wanted
)

// dialer is the state of opening links on one road to a peer. Its goroutine runs
// while there is need for a link and none is open.
type dialer struct {
	running bool
	kick    chan struct{} // a token: try at once
	attempt uint64        // number of the attempt under way, in the order of their beginnings on all roads
	failed  uint64        // number of the latest attempt, if it failed; else 0
	err     error         // its error
	begun   time.Duration // node clock of the latest attempt
	futile  int           // attempts since one led to an open session
}

// demand sees to it that links are opened on every road that the policy takes.
// p.mu is held.
func (p *peer) demand() {
	if p.closed {
		return
	}
	n := p.node
	first := len(p.conns) == 0 && p.patience == 0
	for _, t := range n.roadsTo(p.name) {
		if !n.cfg.Roads.takes(t.Direct()) && t != n.self {
			continue
		}
		if t.Direct() && n.cfg.Roads == Adaptive && !p.earned && t != n.self && n.hasBus() {
			continue
		}
		road := t.Road()
		if i := slices.IndexFunc(p.conns, func(c *conn) bool { return c.link.Road() == road }); i >= 0 {
			p.open(p.conns[i])
			continue
		}
		d := p.dialers[road]
		if d == nil {
			d = &dialer{kick: make(chan struct{}, 1)}
			p.dialers[road] = d
		}
		if d.running {
			select {
			case d.kick <- struct{}{}:
			default:
			}
			continue
		}
		d.running = true
		if t.Direct() && first && n.cfg.Roads == DirectFirst {
			p.patience = n.now() + directPatience
			p.arm(p.patience)
		}
		n.owned.Go(func() { p.dial(t, d) })
	}
	if len(p.dialers) == 0 {
		p.hopeless()
	}
}

func (n *Node) hasBus() bool {
	return slices.ContainsFunc(n.cfg.Transports, func(t transport.Transport) bool { return !t.Direct() })
}

// beat takes note of the traffic of a heartbeat's time, and under Adaptive opens and
// closes direct links accordingly. It reports whether the peer may be forgotten: see
// forgetPeer.
func (p *peer) beat(served bool) (idle bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.idle() {
		return true
	}
	p.idleSince = 0
	p.judgeTraffic(served)
	return false
}

// judgeTraffic is beat of a peer that there is something with. p.mu is held.
func (p *peer) judgeTraffic(served bool) {
	earned, idle := p.traffic.beat(served)
	switch {
	case p.node.cfg.Roads != Adaptive:
	case earned && !p.earned:
		p.earned = true
		p.demand()
	case idle && p.earned && p.win.count == 0 && slices.ContainsFunc(p.conns, func(c *conn) bool { return !c.direct && c.ready }):
		p.earned = false
		for _, c := range p.conns {
			if c.direct {
				c.link.Close(errIdle)
			}
		}
	}
}

var errIdle = errors.New("rpc: the direct link was idle")

// roadsTo are the transports that lead to a node.
func (n *Node) roadsTo(name string) []transport.Transport {
	if name == n.cfg.Name {
		return []transport.Transport{n.self}
	}
	return n.cfg.Transports
}

// dial opens a link on one road, trying again while there is need. It backs off from
// attempts that fail, and from links that die before they are of use.
func (p *peer) dial(t transport.Transport, d *dialer) {
	for {
		p.mu.Lock()
		rest, futile := time.Duration(0), d.futile
		if d.attempt > 0 {
			rest = d.begun + minRedial - p.node.now()
		}
		p.mu.Unlock()
		if rest > 0 && !p.pause(rest, nil) || futile > 0 && !p.pause(p.node.jitter(futile), d.kick) {
			return
		}
		p.mu.Lock()
		p.attempts++
		d.attempt, d.begun = p.attempts, p.node.now()
		d.futile++
		p.mu.Unlock()
		if err := p.dialOnce(t); !p.dialed(t, d, err) {
			return
		}
	}
}

// pause waits for d, or less if kick holds a token. It reports false if the node is
// closing.
func (p *peer) pause(d time.Duration, kick <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-kick:
	case <-p.node.ctx.Done():
		return false
	}
	return true
}

func (p *peer) dialOnce(t transport.Transport) error {
	ctx, cancel := context.WithTimeout(p.node.ctx, dialTimeout)
	defer cancel()
	if t == p.node.self {
		_, err := t.Dial(ctx, transport.Endpoint{}, p.node.accept)
		return err
	}
	place, err := p.node.cfg.Resolve(ctx, p.name)
	if err != nil {
		return err
	}
	p.mu.Lock()
	if place.Epoch != "" && p.grant != (transport.Grant{}) && place.Epoch != p.epoch && !slices.Contains(p.past, place.Epoch) {
		p.lose("node "+p.name+" was started anew", true)
	}
	p.mu.Unlock()
	addr, ok := place.Addrs[t.Road()]
	if t.Direct() && (!ok || addr == "") {
		return fmt.Errorf("rpc: node %s has no address on road %s: %w", p.name, t.Road(), transport.ErrNoPeer)
	}
	var wrong *Error
	l, err := t.Dial(ctx, transport.Endpoint{Node: p.name, Epoch: place.Epoch, Addr: addr}, func(l transport.Link) transport.Receiver {
		var c *conn
		if c, wrong = p.node.meet(l, place.Principal); wrong != nil {
			return wrongLink{}
		}
		return p.node.adopt(c)
	})
	if err == nil && wrong != nil {
		l.Close(wrong)
		return wrong
	}
	return err
}

// dialed takes in the result of an attempt and reports whether to make another.
func (p *peer) dialed(t transport.Transport, d *dialer, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.failed, d.err = 0, err; err != nil {
		d.failed = d.attempt
	}
	if t.Direct() && err != nil {
		p.patience = 0
		p.choose()
	}
	if err != nil {
		if len(p.conns) == 0 && (CodeOf(err) == NotFound || errors.Is(err, ErrAway)) && p.grant != (transport.Grant{}) {
			p.lose("node "+p.name+" has left", true) // if it kept records, it may come back in time
		}
		if p.node.cfg.Roads == Adaptive && !p.earned {
			p.earned = true // the bus leads nowhere
			p.demand()
		}
		if !p.stranded() {
			p.hopeless()
		}
	}
	if p.node.now()-p.cancelLost > p.node.cfg.SessionLease {
		p.recancel = nil // for as long a server would wait for us
	}
	again := !p.closed && (p.win.count+len(p.doubts)+len(p.recancel) > 0 || p.tellers > 0 || len(p.conns) > 0) && p.node.ctx.Err() == nil &&
		!p.linkedOn(t.Road())
	d.running = again
	return again
}

// dead reports whether the peer's process is known to have ended: since the last link to it
// was lost, each of two roads has said that nothing listens there. One alone may be down by
// itself: a proxy, or the peer's connection to its NATS server. p.mu is held.
func (p *peer) dead() bool {
	if len(p.conns) > 0 || p.grant == (transport.Grant{}) || len(p.dialers) < 2 {
		return false
	}
	for _, d := range p.dialers {
		if d.failed <= p.deserted || !errors.Is(d.err, transport.ErrAbsent) {
			return false
		}
	}
	return true
}

// hopeless ends what never left, if no link can be used and an attempt on each road
// that began later has failed. p.mu is held.
func (p *peer) hopeless() {
	var errs []error
	since := uint64(math.MaxUint64)
	for _, c := range p.conns {
		if c.denied == nil {
			return
		}
		errs = append(errs, c.denied)
	}
	for _, road := range slices.Sorted(maps.Keys(p.dialers)) {
		d := p.dialers[road]
		if d.failed == 0 {
			return
		}
		errs, since = append(errs, d.err), min(since, d.failed)
	}
	if p.dead() { // what is under way there has no outcome to wait for
		p.lose("nobody answers at "+p.name+" any more, on any road", true)
	}
	code := Unavailable
	for _, err := range errs {
		switch {
		case errors.Is(err, transport.ErrDenied), CodeOf(err) == Denied:
			code = Denied
		case CodeOf(err) == NotFound && code == Unavailable:
			code = NotFound
		}
	}
	if len(errs) == 0 {
		errs = append(errs, errors.New("no road leads to other nodes"))
	}
	p.downSince = since
	p.downErr = Errorf(code, NotRun, "no road to %s: %w", p.name, reasons(errs))
	for c := range p.win.all() {
		if c.verdict() == NotRun && c.since <= since {
			p.remove(c)
			c.fail(p.downErr)
		}
	}
	p.wakeTells()
	if !p.down {
		p.down = true
		p.node.event(Event{Type: PeerDown, Peer: p.name, Err: p.downErr})
	}
}

// reasons are several errors in one line, each text once and without verdicts: the
// verdict is that of the error which they are reasons for.
type reasons []error

func (r reasons) Error() string {
	var texts []string
	for _, err := range r {
		text := err.Error()
		if e, ok := err.(*Error); ok && e.Message != "" {
			text = e.Message
		}
		text = without(text, Unknown, NotRun, HasRun)
		if text = strings.ReplaceAll(text, "\n", "; "); !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, "; ")
}

func (r reasons) Unwrap() []error { return r }
