package rpc

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/transport"
)

// session is the server's side: what one client system was granted, and the records
// of its requests. Its rules are those of RIFL (SOSP'15): a record is kept until its
// client acks it, and what cannot be known to be new is never run.
type session struct {
	node      *Node
	grant     transport.Grant
	id        transport.Peer // the client, as it says
	principal string
	origin    *Origin
	foreign   bool        // the client is not the node that it says it is
	own       bool        // it is this node itself
	share     *share      // of the account of memory
	ended     atomic.Bool // its lease ran out; set under mu

	client     *client
	opened     uint64 // number of the open that made it, among its client's
	mismatched bool   // that its client is another principal on another road was logged; guarded by Node.mu
	_          linePad

	mu       sync.Mutex // guards what follows
	table    *dedup.Table[*Inbound]
	lastTell uint64
	touched  time.Duration // node clock of the last traffic, as the sweeper saw it
	active   bool          // traffic since the sweeper looked
	worked   bool          // requests or one-way messages among it
	on       []*conn       // open links that it was opened on
	sealed   bool          // nothing that has not started runs any more: the last word was said
	stock    stock         // for requests
	served   uint64        // requests taken on
	spare    int           // bytes of the account that are set aside for messages to come
	listed   int           // numbers that the lists of what was acked may have, as far as their memory is counted
}

// deny notes that c, whose peer is that principal, does not get the session: in the log
// once for each session, if it may be its client, for a stranger may say so too. Node.mu is held.
func (s *session) deny(c *conn, principal string) {
	if s.mismatched || s.principal == principal || s.id.Node != c.id.Node || s.id.Epoch != c.id.Epoch {
		return
	}
	s.mismatched = true
	s.node.cfg.Logger.Warn("a node is one principal on one road and another on a second, so its session cannot be used on both: Config.Principals has to give both one name",
		"node", c.id.Node, "session", s.principal, "road", c.link.Road(), "principal", principal)
}

// client is what the sessions of one start of a client share.
type client struct {
	name     string // in Node.clients
	sessions int    // guarded by Node.mu

	// intake is held while a message is taken in, from its number to its mailbox, so
	// that all links keep one order. It is taken before a session's lock.
	intake sync.Mutex
	newest uint64 // the latest session to have taken in a one-way message, by its open; guarded by intake
}

// newSession makes a session of the client behind c.
func newSession(n *Node, g transport.Grant, c *conn, opened uint64, of *client) *session {
	// Twice the client's window: between an answer and its ack a record is still here.
	return &session{node: n, grant: g, id: c.id, principal: c.principal, origin: &Origin{Principal: c.principal, Node: c.id.Node, Local: c.isLoop()},
		foreign: c.foreign, own: c.isLoop(), opened: opened, client: of,
		share: n.account.of(c.principal), listed: freeList, table: dedup.New[*Inbound](2 * n.cfg.Window), touched: n.now()}
}

// request decides what a copy of a request gets (the table of DESIGN §6).
func (s *session) request(c *conn, e *transport.Envelope) {
	n := s.node
	fp := n.fingerprint(e)
	s.client.intake.Lock()
	defer s.client.intake.Unlock()
	s.mu.Lock()
	if s.ended.Load() {
		s.mu.Unlock()
		c.refuse(e.Seq, Errorf(SessionLost, Unknown, "the session's lease ran out"))
		return
	}
	s.active, s.worked = true, true
	if e.Mark.Below > 0 {
		s.ackLocked(e.Mark)
	}
	if e.After > s.lastTell { // those between come too late, if they come
		n.stats.tellsMissed.Add(e.After - s.lastTell)
		s.lastTell = e.After
	}
	if s.sealed {
		if state, _ := s.table.Lookup(e.Seq); state == dedup.Unseen {
			s.mu.Unlock()
			n.stats.refused.Add(1)
			c.refuse(e.Seq, errLeft(n.cfg.Name)) // as every copy is from here on
			return
		}
	}
	verdict, rec := s.table.Admit(e.Seq, fp)
	switch verdict {
	case dedup.Run:
		in := s.stock.get(&n.inbounds)
		in.session, in.Seq, in.road, in.deadline = s, e.Seq, c, c.ends(e)
		in.fill(c, e)
		*rec = in
		room := !e.Cut && in.holdLocked()
		if !room && !in.holdRecord() {
			_, _, _ = s.table.GiveUp(e.Seq)
			s.mu.Unlock()
			c.refuse(e.Seq, n.full(s.share, s.id.Node))
			return
		}
		s.served++
		s.mu.Unlock()
		switch {
		case len(e.Body) > n.cfg.MaxBody:
			in.Refuse(Errorf(TooLarge, NotRun, "body of %d bytes, limit %d", len(e.Body), n.cfg.MaxBody))
		case !room:
			in.Meta, in.body = nil, nil
			in.Refuse(n.full(s.share, s.id.Node))
		case e.Key != "":
			s.keyed(in, e.Key)
		default:
			n.cfg.Handler.HandleRequest(in)
		}
	case dedup.Attached:
		(*rec).attach(c, e)
		s.mu.Unlock()
		n.stats.attached.Add(1)
	case dedup.Replay:
		s.replayLocked(c, e.Seq, *rec)
	default:
		if _, rec := s.table.Lookup(e.Seq); verdict == dedup.Reused && (e.Cut || (*rec).cut) { // of one of them the body is not known
			if (*rec).settled {
				s.replayLocked(c, e.Seq, *rec)
				return
			}
			(*rec).attach(c, e)
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		n.stats.refused.Add(1)
		c.refuse(e.Seq, refusal(verdict))
	}
}

// replayLocked answers a copy of a request with its recorded outcome, if its client may
// still get it. It gives the session's lock up.
func (s *session) replayLocked(c *conn, seq uint64, in *Inbound) {
	a, err := in.mayReplay(c)
	if err == nil {
		in.replayLocked(c)
	}
	s.mu.Unlock()
	if err != nil {
		c.refuse(seq, err)
		s.node.denied(a, err)
	}
}

// keyed has a request run that its caller has named, unless another one has done so
// under the same name.
func (s *session) keyed(in *Inbound, key string) {
	if check := s.node.cfg.Check; check != nil {
		a := in.Arrival()
		if err := check(a); err != nil {
			in.Refuse(err)
			s.node.denied(a, err)
			return
		}
	}
	id := keyID(s.principal, in.Target, key)
	as := &name{dedup.ID{Grant: id}, printOf(id, in.Target, in.TypeID, in.Codec, in.body)}
	s.mu.Lock() // the request may be cancelled already
	in.name = as
	s.mu.Unlock()
	switch o, run := s.node.keys.admit(in); {
	case o != nil:
		in.settle(*o)
	case run:
		s.node.cfg.Handler.HandleRequest(in)
	default:
		s.mu.Lock()
		in.dropBody()                                                 // it is not kept
		if state, _ := s.table.Lookup(in.Seq); state == dedup.Acked { // given up before it waited
			s.node.keys.leave(in)
		}
		s.mu.Unlock()
	}
}

// refusal is what a copy gets that the table has no record for.
func refusal(v dedup.Verdict) *Error {
	switch v {
	case dedup.Stale:
		return Errorf(Stale, Unknown, "the client had given this request up, or has its answer")
	case dedup.Reused:
		return Errorf(IDReused, Unknown, "another request has this number")
	case dedup.Full:
		return Errorf(Overloaded, Unknown, "too many outstanding requests in the session") // not recorded: another copy may find room
	}
	return Errorf(Internal, Unknown, "dedup verdict %v", v)
}

// tells passes one-way messages on, whose numbers go on from first, save those after
// which a later one has already come, in this session or a later one of its client: so
// order holds across a change of road, and a duplicate is dropped.
func (s *session) tells(first uint64, told []*Inbound) {
	n := s.node
	s.client.intake.Lock()
	defer s.client.intake.Unlock()
	late := 0
	s.mu.Lock()
	s.active, s.worked = true, true
	switch {
	case s.opened < s.client.newest:
		late = len(told)
	case first <= s.lastTell:
		late = int(min(s.lastTell-first+1, uint64(len(told))))
	default:
		n.stats.tellsMissed.Add(first - s.lastTell - 1)
	}
	if late < len(told) {
		s.lastTell, s.client.newest = first+uint64(len(told))-1, s.opened
	}
	fit := late
	if late < len(told) {
		fit += s.holdTells(told[late:])
	}
	s.mu.Unlock()
	n.stats.tellsDropped.Add(uint64(late))
	if late > 0 {
		n.inbounds.putTold(told[:late])
	}
	if late < fit {
		n.stats.tellsServed.Add(uint64(fit - late))
		n.cfg.Handler.HandleTells(told[late:fit])
	}
	if fit < len(told) {
		n.stats.tellsRefused.Add(uint64(len(told) - fit))
		for _, in := range told[fit:] {
			in.weight = 0
		}
		n.cfg.Handler.LoseTells(told[fit:], n.full(s.share, s.id.Node))
	}
}

// holdTells counts what one-way messages take, and returns of how many of them: for the
// rest there is no room. s.mu is held.
func (s *session) holdTells(told []*Inbound) int {
	if told[0].cut { // alone: see conn.told
		return 0
	}
	small, first := 0, 0 // bytes of small ones that are still to be counted, which begin at first
	for i, in := range told {
		if !in.large() {
			small += in.weight
			continue
		}
		if !s.hold(small, false) {
			return s.holdEach(told, first, i)
		}
		if small, first = 0, i+1; !s.hold(in.weight, true) {
			return i
		}
	}
	if small > 0 && !s.hold(small, false) {
		return s.holdEach(told, first, len(told))
	}
	return len(told)
}

// holdEach is holdTells of small ones, of which not all have room. s.mu is held.
func (s *session) holdEach(told []*Inbound, first, end int) int {
	for i := first; i < end; i++ {
		if !s.hold(told[i].weight, false) {
			return i
		}
	}
	return end
}

// ack takes in an ack frame, whose body is the whole set of exceptions.
func (s *session) ack(e *transport.Envelope) {
	s.mu.Lock()
	s.active = true
	if len(e.Body) > 8*s.table.Window() { // no mark that makes sense has as many
		s.node.stats.badMarks.Add(1)
	} else {
		scratch := seqs.Get().(*[]uint64)
		*scratch = transport.AppendSeqs((*scratch)[:0], e.Body)
		s.ackLocked(transport.Mark{Below: e.Mark.Below, Except: *scratch})
		seqs.Put(scratch)
	}
	s.mu.Unlock()
	s.node.poke()
}

// heartbeat renews the lease, and takes in the mark that came with it.
func (s *session) heartbeat(m transport.Mark) {
	s.mu.Lock()
	s.active = true
	if m.Below > 0 {
		s.ackLocked(m)
	}
	s.mu.Unlock()
	s.node.poke()
}

// seqs spares memory for the exceptions of ack frames.
var seqs = sync.Pool{New: func() any { return new([]uint64) }}

// freeList is how many numbers a session may list without their being counted.
const freeList = 64

// list counts the memory of n numbers in the lists of what was acked, or reports that there
// is no room for them. s.mu is held.
func (s *session) list(n int) bool {
	if n <= s.listed {
		return true
	}
	n = max(n, min(2*s.listed, s.table.Window())) // seldom
	if !s.hold(8*(n-s.listed), false) {
		return false
	}
	s.listed = n
	return true
}

// ackLocked frees what a mark covers. A mark that makes no sense frees nothing, nor one of
// which there is no room for the exceptions.
func (s *session) ackLocked(m transport.Mark) {
	if !s.list(s.table.Listed() + len(m.Except)) {
		s.node.stats.badMarks.Add(1)
		return
	}
	err := s.table.Ack(dedup.Mark{Below: m.Below, Except: m.Except}, func(in *Inbound) {
		s.releaseLocked(in)
	})
	if err != nil {
		s.node.stats.badMarks.Add(1)
	}
}

// releaseLocked frees what a record has held that was taken out.
func (s *session) releaseLocked(in *Inbound) {
	s.free(in.kept)
	in.kept = 0
	if !in.settled && in.isKeyed() {
		s.node.keys.leave(in)
	}
	if in.begun && in.settled && !in.isKeyed() { // one without an outcome is still in a mailbox: see Start
		s.node.journal.freed(in.name.id)
	}
	in.acked = true
	s.reuseLocked(in)
}

// reuseLocked has the memory of a request serve another one when neither its record nor
// its handler needs it. One that has a name may be known under that, too. s.mu is held.
func (s *session) reuseLocked(in *Inbound) {
	if in.acked && in.freed && in.settled && in.name == nil {
		in.body = in.outcome.body
		s.stock.put(&s.node.inbounds, in)
	}
}

// cancel takes a request out if it has not started, and tells its handler if it has.
func (s *session) cancel(seq uint64) {
	s.mu.Lock()
	s.active = true
	if !s.list(s.table.Listed() + 1) { // as for one too many
		s.node.stats.badMarks.Add(1)
		s.mu.Unlock()
		return
	}
	state, rec, err := s.table.GiveUp(seq)
	if err != nil { // too many: the ack marks will say it again
		s.node.stats.badMarks.Add(1)
		if state != dedup.Running {
			s.mu.Unlock()
			return
		}
	}
	var in *Inbound
	if rec != nil {
		in = *rec
	}
	var fn func()
	running := state == dedup.Running || state == dedup.Acked // a mark on another road may have overtaken the cancel
	switch {
	case in == nil:
	case running && in.isKeyed() && s.node.keys.shared(in): // others want it
	case running:
		fn = in.cancelLocked()
	case state == dedup.Queued, state == dedup.Decided:
		s.releaseLocked(in)
	}
	s.mu.Unlock()
	if fn != nil {
		fn()
	}
}

// probe answers what became of a request: a decided one is answered again.
func (s *session) probe(c *conn, seq uint64) {
	s.mu.Lock()
	s.active = true
	state, rec := s.table.Lookup(seq)
	switch {
	case rec == nil:
	case state == dedup.Queued, state == dedup.Running:
		(*rec).attachRoad(c)
	case state == dedup.Decided:
		s.replayLocked(c, seq, *rec)
		return
	}
	s.mu.Unlock()
	c.link.Send(&transport.Envelope{Verb: transport.VerbStatus, Seq: seq, Code: uint16(state)})
}

// records counts what has not been acked, and says whether an ack can still come.
func (s *session) records() (n int, linked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table.Outstanding(), len(s.on) > 0
}

// count adds what s has counted.
func (s *session) count(to *Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to.Served += s.served
	to.Records += s.table.Outstanding()
	to.HeldBytes -= int64(s.spare) // set aside for messages to come
}
