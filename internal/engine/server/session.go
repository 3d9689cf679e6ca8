package server

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/internal/engine/account"
	"github.com/tandem-go/tandem/internal/engine/host"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// session is the server's side of a session: the grant of one client system, and the
// records of its requests. It follows the rules of RIFL (SOSP'15): a record is kept until
// its client acks it, and a request runs only if it is certainly new.
type session struct {
	server    *Server
	grant     transport.Grant
	number    uint64         // stands for the grant in the names of requests
	id        transport.Peer // the client, as it named itself
	principal string
	origin    *Origin
	foreign   bool           // the client has not proved to be the node that it names
	own       bool           // the client is this node itself
	share     *account.Share // its principal's share of the account of memory
	ended     atomic.Bool    // the session was ended, for example because its lease ran out; set under mu

	client     *client
	openNumber uint64 // number of the client's open that created the session
	mismatched bool   // the log has said that the client has another principal on another transport; guarded by Server.mu
	_          host.LinePad

	mu           sync.Mutex // guards what follows
	table        *dedup.Table[*Inbound]
	readIn       time.Duration // when the request came at whose end the clock was last read
	readAt       time.Duration // what the clock showed then
	notedAt      time.Duration // node clock when notes on a request were last begun for no other reason than the time
	lastTell     uint64        // number of the latest one-way message
	touched      time.Duration // node clock when the sweeper last found that there had been traffic
	active       bool          // there was traffic since the sweeper looked
	worked       bool          // requests or one-way messages came since takeWorked was last called
	links        []*Link       // the open links on which the session was opened
	sealed       bool          // the last word was said: no request starts any more
	freeInbounds freeList      // for the memory of requests
	behalves     *origins      // those of messages that were sent on behalf of others; nil: none was
	served       uint64        // number of requests that were admitted
	spare        int           // bytes that are reserved in the account for later messages
	listed       int           // how many numbers the lists of acked requests may hold with the memory that is counted for them
}

// logMismatch logs, once for each session, that c was denied the session because its peer is
// that other principal. It logs only if the peer names itself as the session's client, which
// an unknown peer may do too. Server.mu is held.
func (s *session) logMismatch(c *Link, principal string) {
	if s.mismatched || s.principal == principal || s.id.Node != c.ID.Node || s.id.Epoch != c.ID.Epoch {
		return
	}
	s.mismatched = true
	s.server.host.Logger.Warn("a node is one principal on one road and another on a second, so its session cannot be used on both: Config.Principals has to give both one name",
		"node", c.ID.Node, "session", s.principal, "road", c.Road(), "principal", principal)
}

// client is what all sessions of one start of a client node share.
type client struct {
	name     string // its key in Server.clients
	sessions int    // guarded by Server.mu

	// receiveLock is held while a message is received, from the check of its number until it
	// is in its mailbox, so that messages keep their order across links. It is taken before a
	// session's lock.
	receiveLock sync.Mutex
	lastTeller  uint64 // the latest session that received a one-way message, as the number of its open; guarded by receiveLock
}

// newSession returns a session of the client at the other end of link c.
func newSession(srv *Server, g transport.Grant, c *Link, opened uint64, cl *client) *session {
	// The table is twice as large as the client's window, because a record stays here between its answer and the ack.
	return &session{server: srv, grant: g, number: wire.SessionID(g, ""), id: c.ID, principal: c.Principal, origin: &Origin{Principal: c.Principal, Node: c.ID.Node, Local: c.Loop()},
		foreign: c.Foreign, own: c.Loop(), openNumber: opened, client: cl,
		share: srv.account.Share(c.Principal), listed: uncountedSeqs, notedAt: -trail.Pause, table: dedup.New[*Inbound](2 * srv.cfg.Window), touched: srv.host.Now()}
}

// request handles a copy of a request: the table decides whether it runs, waits for the
// outcome of an earlier copy, gets the recorded outcome, or is refused.
func (s *session) request(c *Link, e *transport.Envelope) {
	srv := s.server
	fp := srv.fingerprint(e)
	s.client.receiveLock.Lock()
	defer s.client.receiveLock.Unlock()
	s.mu.Lock()
	if s.ended.Load() {
		s.mu.Unlock()
		err := rpc.Errorf(rpc.SessionLost, rpc.Unknown, "the session's lease ran out")
		srv.noteCopy(c, s.number, e, trail.Refused, err)
		c.refuse(e.Seq, err)
		return
	}
	s.active, s.worked = true, true
	if e.Mark.Below > 0 {
		s.ackLocked(e.Mark)
	}
	if e.After > s.lastTell { // one-way messages up to that number are dropped if they still come
		srv.counts.tellsMissed.Add(e.After - s.lastTell)
		s.lastTell = e.After
	}
	if s.sealed {
		if state, _ := s.table.Lookup(e.Seq); state == dedup.Unseen {
			s.mu.Unlock()
			srv.counts.refused.Add(1)
			err := wire.ErrLeft(srv.host.Name)
			srv.noteCopy(c, s.number, e, trail.Refused, err)
			c.refuse(e.Seq, err) // every later copy is refused as well
			return
		}
	}
	decision, rec := s.table.Admit(e.Seq, fp)
	switch decision {
	case dedup.Run:
		in := s.freeInbounds.get(&srv.inbounds)
		in.session, in.Seq, in.link, in.deadline = s, e.Seq, c, c.deadline(e)
		in.fill(c, e)
		*rec = in
		room := !e.Cut && in.holdLocked()
		if !room && !in.holdRecord() {
			_, _, _ = s.table.GiveUp(e.Seq)
			s.mu.Unlock()
			err := s.share.Full(s.id.Node)
			srv.noteCopy(c, s.number, e, trail.Refused, err)
			c.refuse(e.Seq, err)
			return
		}
		if srv.cfg.Trail != nil {
			in.arrived(c, e)
		}
		s.served++
		s.mu.Unlock()
		switch {
		case len(e.Body) > srv.cfg.MaxBody:
			in.Fail(rpc.Errorf(rpc.TooLarge, rpc.NotRun, "body of %d bytes, limit %d", len(e.Body), srv.cfg.MaxBody))
		case !room:
			in.Meta, in.body = nil, nil
			in.Fail(s.share.Full(s.id.Node))
		case e.Key != "":
			s.keyed(in, e)
		default:
			srv.cfg.Handler.HandleRequest(in)
		}
	case dedup.Attached:
		(*rec).unusual(trail.Copied, c, nil)
		(*rec).attach(c, e)
		s.mu.Unlock()
		srv.counts.attached.Add(1)
	case dedup.Replay:
		s.replayLocked(c, e.Seq, *rec)
	default:
		if _, rec := s.table.Lookup(e.Seq); decision == dedup.Reused && (e.Cut || (*rec).cut) { // one of the two bodies did not come, so they cannot be compared
			if (*rec).finished() {
				s.replayLocked(c, e.Seq, *rec)
				return
			}
			(*rec).unusual(trail.Copied, c, nil)
			(*rec).attach(c, e)
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		srv.counts.refused.Add(1)
		err := refusal(decision)
		srv.noteCopy(c, s.number, e, trail.Refused, err)
		c.refuse(e.Seq, err)
	}
}

// replayLocked answers a copy of a request with its recorded outcome, if its client may
// still get it. It is called with s.mu held, and unlocks it.
func (s *session) replayLocked(c *Link, seq uint64, in *Inbound) {
	a, err := in.mayReplay(c)
	if err == nil {
		in.replayLocked(c)
	}
	if err != nil {
		in.unusual(trail.Refused, c, err)
	}
	s.mu.Unlock()
	if err != nil {
		c.refuse(seq, err)
		s.server.denied(a, err)
	}
}

// keyed runs a request that has a key, unless another attempt with the same key runs or
// has run.
func (s *session) keyed(in *Inbound, e *transport.Envelope) {
	if check := s.server.cfg.Check; check != nil {
		a := in.Arrival()
		if in.Number > 0 {
			a.Outbox = strings.Clone(e.Key)
		}
		if err := check(a); err != nil {
			in.Fail(err)
			s.server.denied(a, err)
			return
		}
	}
	admit, named := s.server.keys.admit, new(name)
	if in.Number > 0 {
		admit = s.server.keys.admitNumbered
		named.id.Grant, named.fingerprint = markID(s.principal, in.Target, e.Key), in.Number
		named.outbox = strings.Clone(e.Key)
	} else {
		id := keyID(in.Principal(), in.Target, e.Key)
		named.id.Grant, named.fingerprint = id, durableFingerprint(id, in.Target, in.TypeID, in.Codec, in.body)
	}
	s.mu.Lock() // a cancel of the request may come at the same time
	in.name = named
	s.mu.Unlock()
	switch o, run := admit(in); {
	case o != nil:
		in.finish(*o, nil, false)
	case run:
		s.server.cfg.Handler.HandleRequest(in)
	default:
		s.mu.Lock()
		in.noteWait()
		in.dropBody()                                                 // the outcome will come from another attempt, so the body is not needed
		if state, _ := s.table.Lookup(in.Seq); state == dedup.Acked { // it was cancelled before it was in the list of those that wait
			s.server.keys.removeWaiting(in)
		}
		s.mu.Unlock()
	}
}

// refusal is the error for a copy for which the table has no record.
func refusal(v dedup.Decision) *rpc.Error {
	switch v {
	case dedup.Stale:
		return rpc.Errorf(rpc.Stale, rpc.Unknown, "the client had given this request up, or has its answer")
	case dedup.Reused:
		return rpc.Errorf(rpc.IDReused, rpc.Unknown, "another request has this number")
	case dedup.Full:
		return rpc.Errorf(rpc.Overloaded, rpc.Unknown, "too many outstanding requests in the session") // this is not recorded, so a later copy may find room
	}
	return rpc.Errorf(rpc.Internal, rpc.Unknown, "dedup verdict %v", v)
}

// receiveTells gives one-way messages to the handler. They are count, and have consecutive
// numbers, from first on. It drops those that come after a later one, whether that came in this
// session or in a later session of the same client. So the order holds when the client changes
// the transport, and duplicates are dropped.
func (s *session) receiveTells(first uint64, count int, tells []*Inbound) {
	srv := s.server
	s.client.receiveLock.Lock()
	defer s.client.receiveLock.Unlock()
	late := 0
	s.mu.Lock()
	s.active, s.worked = true, true
	switch {
	case s.openNumber < s.client.lastTeller:
		late = count
	case first <= s.lastTell:
		late = int(min(s.lastTell-first+1, uint64(count)))
	default:
		srv.counts.tellsMissed.Add(first - s.lastTell - 1)
	}
	if late < count {
		s.lastTell, s.client.lastTeller = first+uint64(count)-1, s.openNumber
	}
	if late > 0 {
		tells = Unpack(tells) // such a run is rare
		srv.counts.tellsDropped.Add(uint64(late))
		srv.inbounds.putTells(tells[:late])
		tells = tells[late:]
	}
	tells, lost := s.holdTells(tells)
	s.mu.Unlock()
	if len(tells) > 0 {
		srv.counts.tellsServed.Add(uint64(countTells(tells)))
		srv.cfg.Handler.HandleTells(tells)
	}
	if len(lost) > 0 {
		srv.counts.tellsRefused.Add(uint64(len(lost)))
		for _, in := range lost {
			in.weight = 0
		}
		srv.cfg.Handler.LoseTells(lost, s.share.Full(s.id.Node))
	}
}

// holdTells counts the bytes of one-way messages. It returns those for which there is room, and
// the rest, which is not counted, and in which there are no rows. s.mu is held.
func (s *session) holdTells(tells []*Inbound) (held, lost []*Inbound) {
	if len(tells) == 0 || tells[0].cut { // such a message comes alone: see Link.receiveTells
		return nil, tells
	}
	small := 0
	for _, in := range tells {
		if in.large() {
			small = -1
			break
		}
		small += in.weight
	}
	if small >= 0 && s.hold(small, false) {
		return tells, nil
	}
	tells = Unpack(tells)
	for i, in := range tells {
		if !s.hold(in.weight, in.large()) {
			return tells[:i], tells[i:]
		}
	}
	return tells, nil
}

// ack handles an ack frame, whose body is the whole set of exceptions.
func (s *session) ack(e *transport.Envelope) {
	s.mu.Lock()
	s.active = true
	if e.Cut || len(e.Body) > 8*s.table.Window() { // its exceptions did not come, or are more than a valid mark can have
		s.server.counts.badMarks.Add(1)
	} else {
		scratch := seqs.Get().(*[]uint64)
		*scratch = transport.AppendSeqs((*scratch)[:0], e.Body)
		s.ackLocked(transport.Mark{Below: e.Mark.Below, Except: *scratch})
		seqs.Put(scratch)
	}
	s.mu.Unlock()
	s.server.poke()
}

// heartbeat renews the lease, and applies the mark that came with the heartbeat.
func (s *session) heartbeat(m transport.Mark) {
	s.mu.Lock()
	s.active = true
	if m.Below > 0 {
		s.ackLocked(m)
	}
	s.mu.Unlock()
	s.server.poke()
}

// seqs are slices that are reused for the exceptions of ack frames.
var seqs = sync.Pool{New: func() any { return new([]uint64) }}

// uncountedSeqs is how many acked numbers a session may list before their memory is counted.
const uncountedSeqs = 64

// list counts the memory of n numbers in the lists of acked requests, and reports whether
// there is room for them. s.mu is held.
func (s *session) list(n int) bool {
	if n <= s.listed {
		return true
	}
	n = max(n, min(2*s.listed, s.table.Window())) // so that this happens seldom
	if !s.hold(8*(n-s.listed), false) {
		return false
	}
	s.listed = n
	return true
}

// ackLocked frees the records that a mark covers. It frees nothing if the mark is invalid, or
// if there is no room for its exceptions. s.mu is held.
func (s *session) ackLocked(m transport.Mark) {
	if !s.list(s.table.Listed() + len(m.Except)) {
		s.server.counts.badMarks.Add(1)
		return
	}
	err := s.table.Ack(dedup.Mark{Below: m.Below, Except: m.Except}, func(in *Inbound) {
		s.releaseLocked(in)
	})
	if err != nil {
		s.server.counts.badMarks.Add(1)
	}
}

// releaseLocked frees what a record held that was removed from the table. s.mu is held.
func (s *session) releaseLocked(in *Inbound) {
	s.free(in.kept)
	in.kept = 0
	in.releasePermit(false)
	in.note(trail.Acked, nil, nil)
	if !in.finished() && in.isKeyed() {
		s.server.keys.removeWaiting(in)
	}
	if in.begun && in.finished() && !in.isKeyed() { // one without an outcome is still in a mailbox, and Start ends it
		s.server.journal.Freed(in.name.id)
	}
	in.release(byRecord)
	s.reuseLocked(in)
}

// reuseLocked makes the memory of a request free for another one, once neither its record nor
// its handler needs it. A request with a name is not reused, because the table of keys may
// refer to it too. s.mu is held.
func (s *session) reuseLocked(in *Inbound) {
	if in.unused() && in.name == nil {
		in.body = in.outcome.body
		s.freeInbounds.put(&s.server.inbounds, in)
	}
}

// cancel removes a request that has not started, and informs the handler of one that has.
func (s *session) cancel(seq uint64) {
	s.mu.Lock()
	s.active = true
	if !s.list(s.table.Listed() + 1) { // as if too many were listed
		s.server.counts.badMarks.Add(1)
		s.mu.Unlock()
		return
	}
	state, rec, err := s.table.GiveUp(seq)
	if err != nil { // too many are listed: a later ack mark will say the same
		s.server.counts.badMarks.Add(1)
		if state != dedup.Running {
			s.mu.Unlock()
			return
		}
	}
	var in *Inbound
	if rec != nil {
		in = *rec
	}
	if in != nil && state != dedup.Finished {
		in.unusual(trail.Canceled, nil, nil)
	}
	var fn func()
	running := state == dedup.Running || state == dedup.Orphaned // a mark on another transport may have overtaken the cancel
	switch {
	case in == nil:
	case running && in.Number > 0: // only its handler ends it
	case running && in.isKeyed() && s.server.keys.shared(in): // other attempts wait for its outcome
	case running:
		fn = in.cancelLocked()
	case state == dedup.Queued, state == dedup.Finished:
		s.releaseLocked(in)
	}
	s.mu.Unlock()
	if fn != nil {
		fn()
	}
}

// probe answers what became of a request. One that has an outcome gets that as the answer.
func (s *session) probe(c *Link, seq uint64) {
	s.mu.Lock()
	s.active = true
	state, rec := s.table.Lookup(seq)
	switch {
	case rec == nil:
	case state == dedup.Queued, state == dedup.Running:
		(*rec).unusual(trail.Questioned, c, nil)
		(*rec).attachLink(c)
	case state == dedup.Finished:
		s.replayLocked(c, seq, *rec)
		return
	case state == dedup.Orphaned:
		state = dedup.Acked // which is all that concerns its client
	}
	s.mu.Unlock()
	c.Send(&transport.Envelope{Verb: transport.VerbStatus, Seq: seq, Code: uint16(state)})
}

// records returns how many records have not been acked, and whether a link is open on which
// an ack can still come.
func (s *session) records() (n int, linked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table.Outstanding(), len(s.links) > 0
}

// count adds the session's numbers to a snapshot.
func (s *session) count(to *rpc.Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to.Served += s.served
	to.Records += s.table.Outstanding()
	to.HeldBytes -= int64(s.spare) // reserved for later messages, so not held yet
}
