package client

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

const (
	openRetry  = 500 * time.Millisecond // an open whose answer takes longer may have been lost; one that was refused waits as long
	fenceRetry = 500 * time.Millisecond // a fence whose answer takes longer may have been lost
	maxPast    = 8                      // how many earlier starts of a peer are remembered, because the registry may still name them
)

// connected adds a new link, which either node may have dialled.
func (p *peer) connected(c *Link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(p.conns, c)
	p.seeLeaving()
	if p.win.count > 0 || p.epoch != "" || len(p.dialers) > 0 {
		p.open(c)
	}
}

// open asks for this node's session on c, if the policy and the state of c allow it. While a new
// session is being opened on one link, other links wait to join it. p.mu is held.
func (p *peer) open(c *Link) {
	if c.refused() {
		if due := c.askedAt + openRetry; p.client.host.Now() < due {
			p.arm(due)
			return
		}
		c.asked, c.denied = false, nil
	}
	if p.grant == (transport.Grant{}) && c.ID.Epoch == p.leavingOf {
		return
	}
	if c.asked || p.closed || !allows(p.client.cfg.Policy, c.Direct) && !p.own {
		return
	}
	if p.grant != (transport.Grant{}) && c.ID.Epoch != p.epoch {
		if slices.ContainsFunc(p.conns, func(o *Link) bool { return o.ID.Epoch == p.epoch }) {
			return
		}
		p.lose("node "+p.name+" was restarted", true)
	}
	if p.grant != (transport.Grant{}) && c.Principal != p.principal {
		c.asked, c.grant = true, p.grant
		c.denied = rpc.Errorf(rpc.Denied, rpc.Unknown, "the peer is principal %q there, and was %q where the session was opened", c.Principal, p.principal)
		p.reportDenied(c)
		p.stranded()
		return
	}
	if p.grant == (transport.Grant{}) {
		if o := p.opening; o != nil {
			if c.ID.Epoch == o.ID.Epoch || slices.Index(p.conns, c) < slices.Index(p.conns, o) {
				return
			}
			o.asked = false // c is later and leads to another start of the node, so o is of no use any more
		}
		p.opening = c
	}
	c.asked, c.grant = true, p.grant
	p.ask(c)
}

// refused reports whether the server had no room for this node's session, which it may have
// later. p.mu is held.
func (c *Link) refused() bool { return c.denied != nil && c.denied.Code == rpc.Overloaded }

// ask sends an open on c under a new number, which the answer repeats. So both ends agree that
// messages on a direct link belong to the session of the last open. p.mu is held.
func (p *peer) ask(c *Link) {
	p.opens = p.client.opens.Add(1)
	c.askedAs = p.opens
	p.askAgain(c)
}

// askAgain sends the open of c under its present number, so that the answer to an earlier copy
// counts even if it takes longer than openRetry. p.mu is held.
func (p *peer) askAgain(c *Link) {
	c.askedAt = p.client.host.Now()
	if !c.Direct { // a bus may lose it
		p.arm(c.askedAt + openRetry)
	}
	c.Post(&transport.Envelope{Verb: transport.VerbOpen, Seq: c.askedAs, Grant: c.grant})
}

// opened handles the server's answer to an open.
func (p *peer) opened(c *Link, e *transport.Envelope) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !c.asked || e.Seq != c.askedAs {
		return // it answers an earlier open, whose session nobody uses
	}
	switch code := rpc.Code(e.Code); {
	case code == rpc.SessionLost && c.grant == p.grant && c.grant != (transport.Grant{}):
		p.lose("the server does not know the session any more", false)
		p.open(c)
	case code != 0 && !c.ready:
		if p.opening == c {
			p.opening = nil
		}
		c.denied = c.ErrorOf(e)
		p.arm(p.client.host.Now() + openRetry) // if the server had no room, it is asked again
		p.reportDenied(c)
		if !p.stranded() {
			p.failWaiting()
		}
	case code == 0 && p.opening == c:
		p.newSession(e.Grant)
		p.opening, p.epoch, p.principal = nil, c.ID.Epoch, c.Principal
		p.started()
		p.seeLeaving()
		p.durable, p.kinds = e.Flags&transport.FlagDurable != 0, strings.Clone(e.Message)
		p.limit = min(p.client.cfg.Window, int(min(max(e.Mark.Below, 1), rpc.DefaultWindow)))
		c.grant = e.Grant
		p.join(c)
		for _, o := range p.conns {
			p.open(o)
		}
		p.choose()
		p.queryUnresolved(p.client.host.Now())
	case code == 0 && e.Grant == p.grant && c.grant == p.grant:
		p.join(c)
		p.choose()
	}
}

// reportDenied reports that the peer refuses this node's session on the road of c, as an event
// and in the log. It does so once until the session has been open on that road again. p.mu is
// held.
func (p *peer) reportDenied(c *Link) {
	road := c.Road()
	if p.deniedOn[road] {
		return
	}
	if p.deniedOn == nil {
		p.deniedOn = map[string]bool{}
	}
	p.deniedOn[road] = true
	p.client.host.Event(rpc.Event{Type: rpc.JoinDenied, Peer: p.name, Road: road, Err: c.denied})
	what := "a peer refuses this node's session on a road"
	switch {
	case c.Principal != p.principal && c.grant != (transport.Grant{}):
		what = "a peer is one principal on one road and another on a second, so a session with it cannot be used on both: Config.Principals has to give both one name"
	case c.denied.Code == rpc.Denied && c.grant != (transport.Grant{}):
		what += ", where it knows this node by another principal than on the road that the session was opened on: the peer's Config.Principals has to give both one name"
	}
	p.client.host.Logger.Warn(what, "peer", p.name, "road", road, "err", c.denied)
}

// stranded replaces a session that can be opened on none of the remaining links and on no other
// road either. This happens when this node or the peer has another principal on these links than
// when the session was opened. It reports whether it has replaced the session. p.mu is held.
func (p *peer) stranded() bool {
	if p.grant == (transport.Grant{}) || len(p.conns) == 0 {
		return false
	}
	for _, c := range p.conns {
		if c.denied == nil || c.denied.Code != rpc.Denied || c.grant != p.grant {
			return false
		}
	}
	for road, d := range p.dialers {
		if d.running && d.failed == 0 && !p.linkedOn(road) {
			return false // an attempt on that road is still running
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
	return slices.ContainsFunc(p.conns, func(c *Link) bool { return c.Road() == road })
}

// join marks the session as open on c. p.mu is held.
func (p *peer) join(c *Link) {
	c.ready = true
	delete(p.deniedOn, c.Road())
	c.answeredAt.Store(int64(p.client.host.Now()))
	if d := p.dialers[c.Road()]; d != nil {
		d.fruitless = 0
	}
}

// lose ends the session. A call that may have been sent ends with OutcomeUnknown at once, unless
// the server was restarted and its records or its last word can tell the outcome. A call that was
// certainly never sent moves to the next session. The numbers of the next session continue those
// of this one, so that no late answer is taken for the answer to another call. p.mu is held.
func (p *peer) lose(why string, restarted bool) { p.loseTo(nil, why, restarted) }

// loseTo is lose with the server's last word on the session. If w is nil and the server was
// restarted, the last word is looked up in the registry. p.mu is held.
func (p *peer) loseTo(w *wire.LastWord, why string, restarted bool) {
	old, grant, epoch := p.win, p.grant, p.epoch
	if p.past = append(p.past, p.epoch); len(p.past) > maxPast {
		p.past = p.past[1:]
	}
	p.newSession(transport.Grant{})
	p.win, p.epoch, p.opening = newWindow(old.next), "", nil
	p.next, p.tells, p.lastTellOn, p.cutOff, p.unsent = nil, 0, nil, 0, 0
	p.use(nil)
	p.kept.bytes = [2]int{}
	for _, d := range p.unresolved {
		p.kept.add(len(d.call.req.Body))
	}
	p.seeLeaving()
	p.recancel = nil
	p.wakeTells()
	for _, c := range p.conns {
		c.asked, c.ready, c.grant, c.denied = false, false, transport.Grant{}, nil
		c.older, c.cancels = nil, nil
	}
	look := restarted && w == nil && p.client.cfg.LastWord != nil
	inquire := false
	for _, c := range old.drain() {
		v := c.verdict()
		if v != rpc.NotRun && w != nil {
			v = w.Judge(c.seq)
		}
		switch {
		case v == rpc.NotRun:
			p.moveOn(c)
		case restarted && (p.durable || look) && !c.req.Receipt: // a receipt has no use after a restart, because the mailboxes are empty
			p.keepUnresolved(c, grant, look)
			inquire = inquire || look
		default:
			p.passRoom()
			c.failLeft(v, why)
		}
	}
	if inquire {
		p.seekLastWord(epoch, grant, why)
	}
	p.client.counts.sessionsLost.Add(1)
	p.client.host.Event(rpc.Event{Type: rpc.SessionGone, Peer: p.name, Err: errors.New(why)})
}

// disconnected removes a closed link. Calls that were sent on it are sent again on another link
// at once, under the same numbers.
func (p *peer) disconnected(c *Link, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = slices.DeleteFunc(p.conns, func(o *Link) bool { return o == c })
	if len(p.conns) == 0 {
		p.attemptsAtLoss = p.attempts
	}
	p.seeLeaving()
	for call := range p.win.all() {
		if call.on == c {
			call.unusual(trail.LinkLost, c.Road(), nil)
			call.lost()
			p.unsent++
			if call.verdict() == rpc.NotRun {
				p.waitForLink(call, p.client.host.Now())
			}
		}
	}
	c.ready = false
	if p.lastTellOn == c {
		p.lastTellOn, p.cutOff = nil, p.tells
	}
	p.lostCancels(c)
	p.wakeTells() // waiting tells have links opened if none is left
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
	if p.win.count+len(p.unresolved)+len(p.recancel) > 0 || len(p.conns) > 0 && p.grant != (transport.Grant{}) {
		p.dialRoads()
	}
}

// choose picks the link to send on. Before it changes from a live link to a better one, it sends
// a ping (a fence) on the old link and holds back new messages until the answer proves that
// everything sent on it has arrived. So the change neither loses nor reorders messages. p.mu is
// held.
func (p *peer) choose() {
	links := make([]candidate, len(p.conns))
	for i, c := range p.conns {
		links[i] = candidate{ready: c.ready && c.grant == p.grant, direct: c.Direct}
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
	case best.Direct && !p.current.Direct:
		p.fences++
		p.next, p.fence = best, Fence|p.fences
		p.putFence()
	}
}

// putFence sends the ping of a fence. It is called again if a bus may have lost the ping. New
// messages wait until the ping is answered or the old link closes. p.mu is held.
func (p *peer) putFence() {
	p.fencedAt = p.client.host.Now()
	p.arm(p.fencedAt + fenceRetry)
	p.current.Post(&transport.Envelope{Verb: transport.VerbPing, Seq: p.fence, Fence: true})
}

// Fence is a bit that distinguishes the numbers of fences from those of heartbeats.
const Fence = 1 << 63

// change makes best the current link, and sends what has waited for one. p.mu is held.
func (p *peer) change(best *Link) {
	p.next = nil
	p.use(best)
	p.patience = 0
	p.client.counts.roadChanges.Add(1)
	if p.down {
		p.down = false
		p.client.host.Event(rpc.Event{Type: rpc.PeerUp, Peer: p.name, Road: best.Road()})
	}
	p.client.host.Event(rpc.Event{Type: rpc.RoadChanged, Peer: p.name, Road: best.Road()})
	p.flush()
	p.cancelAgain()
	p.queryUnresolved(p.client.host.Now())
}

// repeatLost sends again what a bus may have lost: opens, and the ping of a fence. It also repeats
// an open that was refused for lack of room, and ends the wait for a direct link. p.mu is held.
func (p *peer) repeatLost(now time.Duration) {
	for _, c := range p.conns {
		if c.refused() && (p.win.count+len(p.unresolved)+len(p.recancel) > 0 || p.tellers > 0) {
			p.open(c)
			continue
		}
		if !c.asked || c.ready || c.denied != nil || c.Direct {
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

// fenced handles the answer to a fence.
func (p *peer) fenced(c *Link, stamp uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != nil && p.current == c && p.fence == stamp {
		p.change(p.next)
	}
}

// drained continues to send after the send queue of c was full.
func (p *peer) drained(c *Link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c == p.current {
		p.flush()
	}
}

// resync sends the calls that are outstanding on c again, because copies may have been lost.
func (p *peer) resync(c *Link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.asked && !c.ready && c.denied == nil {
		p.askAgain(c) // a server that was still starting did not answer the first time
	}
	if c != p.current {
		return
	}
	now := p.client.host.Now()
	for call := range p.win.all() {
		switch {
		case call.on != c:
		case len(call.req.Body) > transport.LargeBody: // the link itself repeats lost chunks, so a probe comes before all of it is sent again
			_, _ = c.Send(&transport.Envelope{Verb: transport.VerbProbe, Seq: call.seq, Grant: p.grant})
		default:
			_ = p.send(call, now) // there is no error, because it was sent before
		}
	}
	p.lostCancels(c)
	p.cancelAgain()
	if p.next != nil {
		p.putFence()
	}
}
