package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

const (
	dialTimeout = 5 * time.Second       // bounds one attempt to open a link
	minRedial   = 20 * time.Millisecond // least time between the starts of two attempts
)

// dialer is the state of opening links on one road to a peer. Its goroutine runs while a link is
// needed and none is open. peer.mu guards its fields.
type dialer struct {
	running   bool
	kick      chan struct{} // a token in it ends the pause before the next attempt
	attempt   uint64        // number of the latest attempt; it counts the attempts on all roads
	failed    uint64        // the same number if that attempt failed, else 0
	err       error         // the error of that attempt
	begun     time.Duration // node clock when that attempt began
	fruitless int           // attempts since the last one that led to an open session
	epoch     string        // the start of the peer that the attempt is for; empty: the registry has not said yet, or it has only addresses
	anew      func()        // ends what the attempt is at, so that it begins anew
}

// dialRoads starts opening a link on every road that the policy allows and that has none. On a
// road that has a link it asks for the session. p.mu is held.
func (p *peer) dialRoads() {
	if p.closed {
		return
	}
	cl := p.client
	first := len(p.conns) == 0 && p.patience == 0
	for _, t := range cl.cfg.Roads.To(p.name) {
		if !allows(cl.cfg.Policy, t.Direct()) && !p.own {
			continue
		}
		if t.Direct() && cl.cfg.Policy == rpc.Adaptive && !p.earned && !p.own && p.hasBus() {
			continue
		}
		road := t.Road()
		if i := slices.IndexFunc(p.conns, func(c *Link) bool { return c.Road() == road }); i >= 0 {
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
		if t.Direct() && first && cl.cfg.Policy == rpc.DirectFirst {
			p.patience = cl.host.Now() + directPatience
			p.arm(p.patience)
		}
		cl.host.Go(func() { p.dial(t, d) })
	}
	if len(p.dialers) == 0 {
		p.failWaiting()
	}
}

// hasBus reports whether a bus leads to the peer.
func (p *peer) hasBus() bool {
	return slices.ContainsFunc(p.client.cfg.Roads.To(p.name), func(t transport.Transport) bool { return !t.Direct() })
}

// beat counts the traffic since the last heartbeat, and under rpc.Adaptive opens and closes direct
// links accordingly. It reports whether the peer is idle and may be forgotten: see forgetPeer.
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

// judgeTraffic is beat for a peer that is not idle. p.mu is held.
func (p *peer) judgeTraffic(served bool) {
	earned, idle := p.traffic.beat(served)
	switch {
	case p.client.cfg.Policy != rpc.Adaptive:
	case earned && !p.earned:
		p.earned = true
		p.dialRoads()
	case idle && p.earned && p.win.count == 0 && slices.ContainsFunc(p.conns, func(c *Link) bool { return !c.Direct && c.ready }):
		p.earned = false
		for _, c := range p.conns {
			if c.Direct {
				c.Close(errIdle)
			}
		}
	}
}

var errIdle = errors.New("rpc: the direct link was idle")

// dial opens a link on one road, and tries again while a link is needed. It backs off after
// attempts that fail, and after links that close before a session is open on them.
func (p *peer) dial(t transport.Transport, d *dialer) {
	for {
		p.mu.Lock()
		rest, futile := time.Duration(0), d.fruitless
		if d.attempt > 0 {
			rest = d.begun + minRedial - p.client.host.Now()
		}
		p.mu.Unlock()
		if rest > 0 && !p.pause(rest, nil) || futile > 0 && !p.pause(p.client.host.Jitter(futile), d.kick) {
			return
		}
		p.mu.Lock()
		p.attempts++
		d.attempt, d.begun = p.attempts, p.client.host.Now()
		d.fruitless++
		p.mu.Unlock()
		if err := p.dialOnce(t, d); !p.dialed(t, d, err) {
			return
		}
	}
}

// pause waits for d, or until kick has a token. It returns false if the node is closing.
func (p *peer) pause(d time.Duration, kick <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-kick:
	case <-p.client.host.Context().Done():
		return false
	}
	return true
}

// dialOnce makes one attempt to open a link. It begins anew when the start of the peer that it is for has left.
func (p *peer) dialOnce(t transport.Transport, d *dialer) error {
	ctx, cancel := context.WithTimeout(p.client.host.Context(), dialTimeout)
	defer cancel()
	for {
		try, anew := context.WithCancel(ctx)
		p.mu.Lock()
		d.epoch, d.anew = "", anew
		p.mu.Unlock()
		err := p.dialNow(try, t, d)
		left := try.Err() != nil && ctx.Err() == nil
		anew()
		if err == nil || !left {
			return err
		}
	}
}

// dialNow opens a link, to the start of the peer that the registry knows now.
func (p *peer) dialNow(ctx context.Context, t transport.Transport, d *dialer) error {
	if p.own {
		_, err := t.Dial(ctx, transport.Endpoint{}, func(l transport.Link) transport.Receiver {
			r, _ := p.client.cfg.Roads.Adopt(l, "")
			return r
		})
		return err
	}
	place, err := p.client.cfg.Resolve(ctx, p.name)
	if err != nil {
		return err
	}
	p.mu.Lock()
	d.epoch = place.Epoch
	if place.Epoch != "" && p.grant != (transport.Grant{}) && place.Epoch != p.epoch && !slices.Contains(p.past, place.Epoch) {
		p.lose("node "+p.name+" was restarted", true)
	}
	p.mu.Unlock()
	addr, ok := place.Addrs[t.Road()]
	if t.Direct() && (!ok || addr == "") {
		return fmt.Errorf("rpc: node %s has no address on road %s: %w", p.name, t.Road(), transport.ErrNoPeer)
	}
	var wrong *rpc.Error
	l, err := t.Dial(ctx, transport.Endpoint{Node: p.name, Epoch: place.Epoch, Addr: addr}, func(l transport.Link) (r transport.Receiver) {
		r, wrong = p.client.cfg.Roads.Adopt(l, place.Principal)
		return r
	})
	if err == nil && wrong != nil {
		l.Close(wrong)
		return wrong
	}
	return err
}

// dialed handles the result of an attempt, and reports whether to make another one.
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
		if len(p.conns) == 0 && (rpc.CodeOf(err) == rpc.NotFound || errors.Is(err, ErrAway)) && p.grant != (transport.Grant{}) {
			p.lose("node "+p.name+" has left", true) // if it keeps records, its next start can still tell the outcomes
		}
		if p.client.cfg.Policy == rpc.Adaptive && !p.earned {
			p.earned = true // the bus cannot be used
			p.dialRoads()
		}
		if !p.stranded() {
			p.failWaiting()
		}
	}
	if p.client.host.Now()-p.cancelLost > p.client.cfg.SessionLease {
		p.recancel = nil // the server has dropped the session by now
	}
	again := !p.closed && (p.win.count+len(p.unresolved)+len(p.recancel) > 0 || p.tellers > 0 || len(p.conns) > 0) && p.client.host.Context().Err() == nil &&
		!p.linkedOn(t.Road())
	d.running = again
	return again
}

// dead reports whether the peer's process is known to have ended: since the last link to it was
// lost, attempts on all its roads, at least two, have found that nothing listens there. One road
// alone proves nothing: a proxy may be down, or the peer's connection to its NATS server. p.mu
// is held.
func (p *peer) dead() bool {
	if len(p.conns) > 0 || p.grant == (transport.Grant{}) || len(p.dialers) < 2 {
		return false
	}
	for _, d := range p.dialers {
		if d.failed <= p.attemptsAtLoss || !errors.Is(d.err, transport.ErrAbsent) {
			return false
		}
	}
	return true
}

// failWaiting ends the calls that were never sent, if no link can be used and an attempt that
// began after the call has failed on each road. It ends the session, too, if the peer is dead.
// p.mu is held.
func (p *peer) failWaiting() {
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
	if p.dead() { // no outcome of an outstanding call can come any more
		p.lose("nobody answers at "+p.name+" any more, on any road", true)
	}
	code := rpc.Unavailable
	for _, err := range errs {
		switch {
		case errors.Is(err, transport.ErrDenied), rpc.CodeOf(err) == rpc.Denied:
			code = rpc.Denied
		case rpc.CodeOf(err) == rpc.NotFound && code == rpc.Unavailable:
			code = rpc.NotFound
		}
	}
	if len(errs) == 0 {
		errs = append(errs, errors.New("no road leads to other nodes"))
	}
	p.downSince = since
	p.downErr = rpc.Errorf(code, rpc.NotRun, "no road to %s: %w", p.name, reasons(errs))
	for c := range p.win.all() {
		if c.verdict() == rpc.NotRun && c.since <= since {
			p.remove(c)
			c.fail(p.downErr)
		}
	}
	p.wakeTells()
	if !p.down {
		p.down = true
		p.client.host.Event(rpc.Event{Type: rpc.PeerDown, Peer: p.name, Err: p.downErr})
	}
}

// withoutVerdicts removes the verdicts from the text of an error, and makes one line of it.
var withoutVerdicts = strings.NewReplacer(" ["+rpc.Unknown.String()+"]", "", " ["+rpc.NotRun.String()+"]", "", " ["+rpc.HasRun.String()+"]", "", "\n", "; ")

// reasons joins several errors into one line. Each text appears once and without its verdict,
// because the error that wraps them has a verdict of its own.
type reasons []error

func (r reasons) Error() string {
	var texts []string
	for _, err := range r {
		text := err.Error()
		if e, ok := err.(*rpc.Error); ok && e.Message != "" {
			text = e.Message
		}
		if text = withoutVerdicts.Replace(text); !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, "; ")
}

func (r reasons) Unwrap() []error { return r }
