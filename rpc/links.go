package rpc

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/tandem-go/tandem/transport"
)

const (
	openRetry  = 500 * time.Millisecond
	fenceRetry = 500 * time.Millisecond // a fence that takes longer may have been lost
	maxPast    = 8                      // earlier starts of a peer to remember, for a registry that lags behind
)

// connected takes in a new link, whoever dialled it.
func (p *peer) connected(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(p.conns, c)
	p.seeLeaving()
	if p.win.count > 0 || p.epoch != "" || len(p.dialers) > 0 {
		p.open(c)
	}
}

// open asks for this node's session on c. While a new session is being opened
// somewhere, other links wait to join it. p.mu is held.
func (p *peer) open(c *conn) {
	if c.refused() {
		if due := c.askedAt + openRetry; p.node.now() < due {
			p.arm(due)
			return
		}
		c.asked, c.denied = false, nil
	}
	if p.grant == (transport.Grant{}) && c.id.Epoch == p.leavingOf {
		return
	}
	if c.asked || p.closed || !p.node.cfg.Roads.takes(c.direct) && p.name != p.node.cfg.Name {
		return
	}
	if p.grant != (transport.Grant{}) && c.id.Epoch != p.epoch {
		if slices.ContainsFunc(p.conns, func(o *conn) bool { return o.id.Epoch == p.epoch }) {
			return
		}
		p.lose("node "+p.name+" was started anew", true)
	}
	if p.grant != (transport.Grant{}) && c.principal != p.principal {
		c.asked, c.grant = true, p.grant
		c.denied = Errorf(Denied, Unknown, "the peer is principal %q there, and was %q where the session was opened", c.principal, p.principal)
		p.sayDenied(c)
		p.stranded()
		return
	}
	if p.grant == (transport.Grant{}) {
		if o := p.opening; o != nil {
			if c.id.Epoch == o.id.Epoch || slices.Index(p.conns, c) < slices.Index(p.conns, o) {
				return
			}
			o.asked = false // a later link, to another start of the node: o leads nowhere any more
		}
		p.opening = c
	}
	c.asked, c.grant = true, p.grant
	p.ask(c)
}

// refused reports whether a server had no room for this node's session: it may have it
// later. p.mu is held.
func (c *conn) refused() bool { return c.denied != nil && c.denied.Code == Overloaded }

// ask sends the open. Each has a number that its answer repeats, so that both ends
// agree which session a direct link implies: the one of the last open. p.mu is held.
func (p *peer) ask(c *conn) {
	p.opens = p.node.opens.Add(1)
	c.askedAs = p.opens
	p.askAgain(c)
}

// askAgain sends the open under the number that it has: on a road slower than
// openRetry the answer to the first copy must count. p.mu is held.
func (p *peer) askAgain(c *conn) {
	c.askedAt = p.node.now()
	if !c.direct { // which may lose it
		p.arm(c.askedAt + openRetry)
	}
	c.send(&transport.Envelope{Verb: transport.VerbOpen, Seq: c.askedAs, Grant: c.grant})
}

// opened takes the server's answer to an open.
func (p *peer) opened(c *conn, e *transport.Envelope) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !c.asked || e.Seq != c.askedAs {
		return // the answer to an open that was repeated: a session that nobody uses
	}
	switch code := Code(e.Code); {
	case code == SessionLost && c.grant == p.grant && c.grant != (transport.Grant{}):
		p.lose("the server does not know the session any more", false)
		p.open(c)
	case code != 0 && !c.ready:
		if p.opening == c {
			p.opening = nil
		}
		c.denied = c.errorOf(e)
		p.arm(p.node.now() + openRetry) // if it was for want of room
		p.sayDenied(c)
		if !p.stranded() {
			p.hopeless()
		}
	case code == 0 && p.opening == c:
		p.opening, p.grant, p.epoch, p.principal = nil, e.Grant, c.id.Epoch, c.principal
		p.seeLeaving()
		p.durable, p.kinds = e.Flags&transport.FlagDurable != 0, strings.Clone(e.Message)
		p.limit = min(p.node.cfg.Window, int(min(max(e.Mark.Below, 1), DefaultWindow)))
		c.grant = e.Grant
		p.join(c)
		for _, o := range p.conns {
			p.open(o)
		}
		p.choose()
		p.askDoubts(p.node.now())
	case code == 0 && e.Grant == p.grant && c.grant == p.grant:
		p.join(c)
		p.choose()
	}
}

// sayDenied makes one event and one line of the log of a road's refusals, until it has
// let this node in again. p.mu is held.
func (p *peer) sayDenied(c *conn) {
	road := c.link.Road()
	if p.deniedOn[road] {
		return
	}
	if p.deniedOn == nil {
		p.deniedOn = map[string]bool{}
	}
	p.deniedOn[road] = true
	p.node.event(Event{Type: JoinDenied, Peer: p.name, Road: road, Err: c.denied})
	what := "a peer refuses this node's session on a road"
	switch {
	case c.principal != p.principal && c.grant != (transport.Grant{}):
		what = "a peer is one principal on one road and another on a second, so a session with it cannot be used on both: Config.Principals has to give both one name"
	case c.denied.Code == Denied && c.grant != (transport.Grant{}):
		what += ", where it knows this node by another principal than on the road that the session was opened on: the peer's Config.Principals has to give both one name"
	}
	p.node.cfg.Logger.Warn(what, "peer", p.name, "road", road, "err", c.denied)
}

// stranded opens a new session if none of the links that are left may have the one that
// there is, because this node or the peer is another principal on their roads, or has become
// one, and no road leads to the peer otherwise. It reports whether that was so. p.mu is held.
func (p *peer) stranded() bool {
	if p.grant == (transport.Grant{}) || len(p.conns) == 0 {
		return false
	}
	for _, c := range p.conns {
		if c.denied == nil || c.denied.Code != Denied || c.grant != p.grant {
			return false
		}
	}
	for road, d := range p.dialers {
		if d.running && d.failed == 0 && !p.linkedOn(road) {
			return false // it is being tried
		}
	}
	p.lose("no link is left on a road where both nodes are the principals that had opened the session", false)
	for _, c := range p.conns {
		p.open(c)
	}
	return true
}

// linkedOn reports whether there is a link on that road. p.mu is held.
func (p *peer) linkedOn(road string) bool {
	return slices.ContainsFunc(p.conns, func(c *conn) bool { return c.link.Road() == road })
}

// join notes that the session is open on c. p.mu is held.
func (p *peer) join(c *conn) {
	c.ready = true
	delete(p.deniedOn, c.link.Road())
	c.answeredAt.Store(int64(p.node.now()))
	if d := p.dialers[c.link.Road()]; d != nil {
		d.futile = 0
	}
}

// lose gives up the session: what may have left is OutcomeUnknown at once, unless the
// server was started anew and kept records that can be asked; what provably never left
// goes over into the next one. Its numbers go on where those of the
// old one ended, so that no late answer is taken for another request's. p.mu is held.
func (p *peer) lose(why string, restarted bool) { p.loseTo(nil, why, restarted) }

// loseTo is lose with the server's last word on the session, if it is known; else it is
// looked for, if the server is no more. p.mu is held.
func (p *peer) loseTo(w *lastWord, why string, restarted bool) {
	old, grant, epoch := p.win, p.grant, p.epoch
	if p.past = append(p.past, p.epoch); len(p.past) > maxPast {
		p.past = p.past[1:]
	}
	p.win, p.grant, p.epoch, p.opening = newWindow(old.next), transport.Grant{}, "", nil
	p.next, p.tells, p.toldOn, p.cutOff, p.unsent = nil, 0, nil, 0, 0
	p.use(nil)
	p.kept.bytes = [2]int{}
	for _, d := range p.doubts {
		p.kept.add(len(d.call.req.Body))
	}
	p.seeLeaving()
	p.recancel = nil
	p.wakeTells()
	for _, c := range p.conns {
		c.asked, c.ready, c.grant, c.denied = false, false, transport.Grant{}, nil
		c.older, c.cancels = nil, nil
	}
	look := restarted && w == nil && p.node.cfg.LastWord != nil
	inquire := false
	for _, c := range old.drain() {
		v := c.verdict()
		if v != NotRun && w != nil {
			v = w.judge(c.seq)
		}
		switch {
		case v == NotRun:
			p.moveOn(c)
		case restarted && (p.durable || look) && !c.req.Receipt: // nothing stands in a mailbox any more
			p.wonder(c, grant, look)
			inquire = inquire || look
		default:
			p.passRoom()
			c.fail(errLastWord(p.name, v, why))
		}
	}
	if inquire {
		p.inquire(epoch, grant, why)
	}
	p.node.stats.sessionsLost.Add(1)
	p.node.event(Event{Type: SessionGone, Peer: p.name, Err: errors.New(why)})
}

// disconnected takes a closed link out. What it carried goes out again on another
// link at once, under the same numbers.
func (p *peer) disconnected(c *conn, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = slices.DeleteFunc(p.conns, func(o *conn) bool { return o == c })
	if len(p.conns) == 0 {
		p.deserted = p.attempts
	}
	p.seeLeaving()
	for call := range p.win.all() {
		if call.on == c {
			call.handed = call.handed || c.link.Handed(call.at)
			call.on = nil
			p.unsent++
			if call.verdict() == NotRun {
				p.waitForLink(call, p.node.now())
			}
		}
	}
	c.ready = false
	if p.toldOn == c {
		p.toldOn, p.cutOff = nil, p.tells
	}
	p.lostCancels(c)
	p.wakeTells() // they ask for a road where none is left
	if p.next == c {
		p.next = nil
	}
	if p.opening == c {
		p.opening = nil
		for _, o := range p.conns {
			p.open(o)
		}
	}
	if p.current == c {
		p.next = nil
		p.use(nil)
		p.choose()
	} else {
		p.flush()
	}
	if p.win.count+len(p.doubts)+len(p.recancel) > 0 || len(p.conns) > 0 && p.grant != (transport.Grant{}) {
		p.demand()
	}
}

// choose picks the link to send on. To leave a link that lives, it first sends a
// ping on it and holds back what is new until the answer proves that everything
// sent there has arrived: so a change to a better road reorders and loses nothing.
// p.mu is held.
func (p *peer) choose() {
	links := make([]candidate, len(p.conns))
	for i, c := range p.conns {
		links[i] = candidate{ready: c.ready && c.grant == p.grant, direct: c.direct}
	}
	i := choose(links, p.patience != 0)
	if i < 0 {
		return
	}
	best := p.conns[i]
	switch {
	case best == p.current || best == p.next:
	case p.current == nil:
		p.change(best)
	case best.direct && !p.current.direct:
		p.fences++
		p.next, p.fence = best, fenceBit|p.fences
		p.putFence()
	}
}

// putFence sends the ping of a fence, again if need be: a bus may lose it. What is new
// waits until it is answered, or the old link dies. p.mu is held.
func (p *peer) putFence() {
	p.fencedAt = p.node.now()
	p.arm(p.fencedAt + fenceRetry)
	p.current.send(&transport.Envelope{Verb: transport.VerbPing, Seq: p.fence, Fence: true})
}

// fenceBit sets the stamps of fences apart from those of heartbeats.
const fenceBit = 1 << 63

// change makes best the current link. p.mu is held.
func (p *peer) change(best *conn) {
	p.next = nil
	p.use(best)
	p.patience = 0
	p.node.stats.roadChanges.Add(1)
	if p.down {
		p.down = false
		p.node.event(Event{Type: PeerUp, Peer: p.name, Road: best.link.Road()})
	}
	p.node.event(Event{Type: RoadChanged, Peer: p.name, Road: best.link.Road()})
	p.flush()
	p.cancelAgain()
	p.askDoubts(p.node.now())
}

// overdue does again what a bus may have lost: opens, and the ping of a fence.
// p.mu is held.
func (p *peer) overdue(now time.Duration) {
	for _, c := range p.conns {
		if c.refused() && (p.win.count+len(p.doubts)+len(p.recancel) > 0 || p.tellers > 0) {
			p.open(c)
			continue
		}
		if !c.asked || c.ready || c.denied != nil || c.direct {
			continue
		}
		if now-c.askedAt >= openRetry {
			p.askAgain(c)
		} else {
			p.arm(c.askedAt + openRetry)
		}
	}
	if p.next != nil {
		if now-p.fencedAt >= fenceRetry {
			p.putFence()
		} else {
			p.arm(p.fencedAt + fenceRetry)
		}
	}
	if p.patience != 0 {
		if now >= p.patience {
			p.patience = 0
			p.choose()
		} else {
			p.arm(p.patience)
		}
	}
}

// fenced takes the answer to a fence.
func (p *peer) fenced(c *conn, stamp uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != nil && p.current == c && p.fence == stamp {
		p.change(p.next)
	}
}

// drained goes on with what a full send queue held up.
func (p *peer) drained(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c == p.current {
		p.flush()
	}
}

// resync sends what is outstanding on c again: copies may have been lost.
func (p *peer) resync(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.asked && !c.ready && c.denied == nil {
		p.askAgain(c) // a server that has just started did not answer before
	}
	if c != p.current {
		return
	}
	now := p.node.now()
	for call := range p.win.all() {
		switch {
		case call.on != c:
		case len(call.req.Body) > transport.LargeBody: // its link saw to it; ask, before all of it is sent again
			_, _ = c.link.Send(&transport.Envelope{Verb: transport.VerbProbe, Seq: call.seq, Grant: p.grant})
		default:
			_ = p.send(call, now) // it was sent before, so it does not end here
		}
	}
	p.lostCancels(c)
	p.cancelAgain()
	if p.next != nil {
		p.putFence()
	}
}
