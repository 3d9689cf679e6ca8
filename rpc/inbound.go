package rpc

import (
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/transport"
)

// Inbound is a message from a peer that is to be handled here: a request, or a tell
// (for which Seq is 0, Start is always true, and the answering methods do nothing).
// The exported fields are read-only.
type Inbound struct {
	session *session

	Seq     uint64
	Target  string // actor's name
	TypeID  uint64
	Meta    *Meta  // nil for most
	body    []byte // given out once
	name    *name  // nil unless keyed or begun
	Codec   uint8
	Receipt bool // no message: to be answered in its turn
	Acked   bool // the outcome is "accepted", not the handler's

	// guarded by session.mu
	settled  bool // outcome is its outcome
	acked    bool // its record is gone
	freed    bool // and whoever handled it has done with it
	canceled bool
	lapsed   bool          // Lapsed has said so
	begun    bool          // its record is in the store, or on its way there
	cut      bool          // its body did not come, for want of room
	deadline time.Duration // node clock; 0 for none
	road     *conn         // the first that asked
	more     *more         // the others
	outcome  outcome
	weight   int // bytes counted for the message
	kept     int // and for the record and its outcome
	onCancel func()
}

// Meta is what travels beside a message.
type Meta struct {
	Sender  string // actor's address, or empty
	Trace   transport.Trace
	Headers []transport.Header
	Waiting []uint64 // of a request: numbers of the waits that end with it; empty if the sender goes on
}

// name is what a keyed or begun request goes by in keys and in the store.
type name struct {
	id    dedup.ID
	print uint64 // its fingerprint there
}

// more is one more road that asked for an outcome.
type more struct {
	road *conn
	next *more
}

var errExpired = Errorf(Expired, NotRun, "the deadline passed before its turn")

// fill copies what is to be kept of e, which came on c.
func (in *Inbound) fill(c *conn, e *transport.Envelope) {
	in.Target = c.names.of(c.node.seed, e.Target)
	asked := e.Verb == transport.VerbRequest // flags of one-way messages mean nothing
	if in.Receipt = asked && e.Flags&transport.FlagReceipt != 0; in.Receipt {
		in.TypeID, in.Codec, in.body, in.Acked = 0, 0, nil, false // whatever came with it: it is judged as what it is, and no message
		in.weight, in.cut = recordSize, false
	} else {
		in.TypeID, in.Codec, in.body = e.TypeID, e.Codec, ownBody(in.body, e)
		in.Acked = asked && e.Flags&transport.FlagAcked != 0
		in.weight, in.cut = recordSize+len(e.Body), e.Cut
	}
	if e.Sender != "" || !e.Trace.IsZero() || len(e.Headers) > 0 || len(e.Waiting) > 0 {
		in.Meta = &Meta{strings.Clone(e.Sender), e.Trace, transport.CloneHeaders(e.Headers), nil}
		if len(e.Waiting) > 0 {
			in.Meta.Waiting = slices.Clone(e.Waiting)
		}
		in.weight += in.Meta.size()
	}
}

// size is how many bytes m takes, about.
func (m *Meta) size() int {
	n := recordSize + len(m.Sender) + 8*len(m.Waiting)
	for _, h := range m.Headers {
		n += 32 + len(h.Key) + len(h.Value)
	}
	return n
}

// large reports whether the message counts as one that leaves room for others.
func (in *Inbound) large() bool { return in.weight > transport.LargeBody+recordSize }

// holdLocked counts what the request takes and its outcome may take, or reports that
// there is no room for it. The session's lock is held.
func (in *Inbound) holdLocked() bool {
	s := in.session
	kept := recordSize + s.node.account.replies
	if !s.hold(in.weight+kept, in.large()) {
		in.weight = 0
		return false
	}
	in.kept = kept
	return true
}

// holdRecord counts the record of a request that is refused for want of room. There is a
// little for those beyond the limit. The session's lock is held.
func (in *Inbound) holdRecord() bool {
	in.weight, in.kept = 0, 0
	if !in.session.share.take(recordSize, -in.session.node.account.limit/16) {
		return false
	}
	in.kept = recordSize
	return true
}

// dropBody ends the counting of the message, which has its outcome, or is not handled.
// The session's lock is held.
func (in *Inbound) dropBody() {
	in.session.free(in.weight)
	in.weight = 0
}

// Drop says that a one-way message is not handled.
func (in *Inbound) Drop() {
	in.session.share.free(in.weight)
	in.weight = 0
}

// ownBody returns e's body in memory of the caller's own: into's, if that is large enough.
func ownBody(into []byte, e *transport.Envelope) []byte {
	if e.Owned {
		return e.Body
	}
	return append(into[:0], e.Body...)
}

// names spares an allocation for each message to an actor that had one lately.
type names struct {
	last string
	some [16]string
}

func (n *names) of(seed maphash.Seed, s string) string {
	if n.last == s {
		return n.last
	}
	slot := &n.some[maphash.String(seed, s)%uint64(len(n.some))]
	if *slot != s {
		*slot = strings.Clone(s)
	}
	n.last = *slot
	return n.last
}

// From is the node that sent the message; empty if its peer is not the node that it says it
// is. Own reports whether that is this node itself. Principal is who the sender proved to be.
func (in *Inbound) From() string {
	if in.session.foreign {
		return ""
	}
	return in.session.id.Node
}
func (in *Inbound) Own() bool         { return in.session.own }
func (in *Inbound) Principal() string { return in.session.principal }

// Body is the encoded message, for whoever decodes it. Storage is the same memory, empty,
// for the reply to a message that has been decoded; nil if it is too large to be kept.
func (in *Inbound) Body() []byte { return in.body }
func (in *Inbound) Storage() []byte {
	if cap(in.body) > maxReserve {
		return nil
	}
	return in.body[:0]
}

// TakeBody returns the encoded message, once: its memory is not kept for longer than
// it takes to decode it. It belongs to whoever handles the message.
func (in *Inbound) TakeBody() []byte {
	b := in.body
	in.body = nil
	return b
}

// TakeWeight returns how many bytes are counted for the message, once: whoever takes it frees
// them, in the Memory of its Principal, when nothing of the message is kept any more.
func (in *Inbound) TakeWeight() int {
	in.session.mu.Lock()
	defer in.session.mu.Unlock()
	n := in.weight
	in.weight = 0
	return n
}

// FreeAll gives the memory of one-way messages back that have been decoded. Whoever calls
// it knows that nobody else has them.
func FreeAll(told []*Inbound) {
	if len(told) == 0 {
		return
	}
	of, sum := told[0].session.share, 0
	for _, in := range told {
		if s := in.session.share; s != of {
			of.free(sum)
			of, sum = s, 0
		}
		sum += in.weight
	}
	of.free(sum)
	told[0].session.node.inbounds.putTold(told)
}

// Free gives the memory of a request back that has its outcome. Whoever calls it knows
// that nobody else has it.
func (in *Inbound) Free() {
	s := in.session
	s.mu.Lock()
	in.freed = true
	s.reuseLocked(in)
	s.mu.Unlock()
}

// AsTell returns the message of an Acked request, to be handled as a tell after the
// request itself has been answered.
func (in *Inbound) AsTell() *Inbound {
	in.session.mu.Lock()
	weight := in.weight
	in.weight = 0
	in.session.mu.Unlock()
	return &Inbound{session: in.session, Target: in.Target, TypeID: in.TypeID, Codec: in.Codec, body: in.TakeBody(), Meta: in.Meta, weight: weight}
}

// Keyed reports whether the caller has given the request a name of its own.
func (in *Inbound) Keyed() bool { return in.isKeyed() }

// RequestID names the request for good, for records of the application's own: by the
// caller's key, else by its session and number.
func (in *Inbound) RequestID() string {
	if in.isKeyed() {
		return in.name.id.String()
	}
	return dedup.ID{Grant: in.session.grant, Seq: in.Seq}.String()
}

// Record is the outcome of a request, as Replay and a dedup.Completions have it.
func Record(typeID uint64, codec uint8, body []byte) []byte {
	return outcome{typeID: typeID, codec: codec, body: body}.bytes()
}

// Replay ends a request that ran before with what was recorded then.
func (in *Inbound) Replay(record []byte) {
	in.session.node.stats.replayed.Add(1)
	in.settle(parseOutcome(record))
}

// attach adds the road of a further copy; the latest deadline among copies counts.
// The session's lock is held.
func (in *Inbound) attach(c *conn, e *transport.Envelope) {
	in.attachRoad(c)
	in.deadline = max(in.deadline, c.ends(e))
}

// extend gives the request until deadline, if that is later than its own.
func (in *Inbound) extend(deadline time.Duration) {
	in.session.mu.Lock()
	defer in.session.mu.Unlock()
	if in.deadline > 0 && (deadline == 0 || deadline > in.deadline) {
		in.deadline = deadline
	}
}

func (in *Inbound) attachRoad(c *conn) {
	if in.road == c {
		return
	}
	for m := in.more; m != nil; m = m.next {
		if m.road == c {
			return
		}
	}
	in.more = &more{c, in.more}
}

// Start says that the handler is about to run. False means it must not: the request
// was cancelled or given up, or its deadline has passed, or the node's last word on its
// session was said (and it was refused for that).
func (in *Inbound) Start() bool {
	if in.Seq == 0 {
		return true
	}
	s := in.session
	s.mu.Lock()
	expired := in.expiredLocked()
	late := s.sealed && !expired
	started := !expired && !late && s.table.Start(in.Seq)
	if !started {
		in.dropBody()
	}
	begun := in.begun
	s.mu.Unlock()
	switch {
	case expired:
		in.Refuse(errExpired)
	case late:
		in.Refuse(errLeft(s.node.cfg.Name))
	case !started && (begun || in.isKeyed()): // given up in the mailbox
		in.Refuse(Errorf(Canceled, NotRun, "the caller gave up before its turn"))
	}
	return started
}

// Lapsed reports whether the request will not run, whenever its turn comes: Start is false
// from then on, and has to be called, for it says so to whoever waits. A copy that comes
// later, with a later deadline, changes nothing.
func (in *Inbound) Lapsed() bool {
	if in.Seq == 0 {
		return false
	}
	s := in.session
	s.mu.Lock()
	defer s.mu.Unlock()
	state, _ := s.table.Lookup(in.Seq)
	in.lapsed = state == dedup.Queued && in.expiredLocked()
	return in.lapsed || s.sealed || state != dedup.Queued
}

// expiredLocked reports whether the deadline has passed, or had when Lapsed said so. The
// session's lock is held.
func (in *Inbound) expiredLocked() bool {
	return in.lapsed || in.deadline > 0 && in.session.node.passed(in.deadline)
}

// Deadline returns when the request ends for its caller, and whether it does.
func (in *Inbound) Deadline() (time.Time, bool) {
	in.session.mu.Lock()
	defer in.session.mu.Unlock()
	if in.deadline == 0 {
		return time.Time{}, false
	}
	return in.session.node.start.Add(in.deadline), true
}

// OnCancel arranges that fn is called if the caller cancels while the handler runs;
// at once if it has already. fn must not block. A nil fn takes the wish back.
func (in *Inbound) OnCancel(fn func()) {
	in.session.mu.Lock()
	canceled := in.canceled
	in.onCancel = fn
	in.session.mu.Unlock()
	if canceled && fn != nil {
		fn()
	}
}

func (in *Inbound) cancelLocked() func() {
	in.canceled = true
	return in.onCancel
}

// Refuse ends a request that did not run. err's verdict must be NotRun.
func (in *Inbound) Refuse(err *Error) { in.decide(outcome{err: err}) }

// Fail ends a request whose handler ran, or may have run, and failed.
func (in *Inbound) Fail(err *Error) { in.decide(outcome{err: err}) }

// Reply ends a request with its result. The body must not change afterwards.
func (in *Inbound) Reply(typeID uint64, codec uint8, body []byte) {
	if limit := in.session.node.cfg.MaxBody; len(body) > limit {
		in.Fail(Errorf(ReplyDropped, HasRun, "reply of %d bytes, limit %d", len(body), limit))
		return
	}
	in.decide(outcome{typeID: typeID, codec: codec, body: body})
}

// decide gives the request its outcome: durably first, if its beginning was recorded
// so.
func (in *Inbound) decide(o outcome) {
	if in.Seq == 0 {
		return
	}
	n := in.session.node
	if n.journal == nil {
		in.settle(o)
		return
	}
	in.session.mu.Lock()
	begun := in.begun
	in.session.mu.Unlock()
	switch {
	case !begun:
		in.settle(o)
	case o.refused():
		n.journal.freed(in.name.id)
		in.settle(o)
	default:
		keep, sent := o, o
		if len(o.body) > min(n.cfg.Keep, dedup.MaxBatch/2) { // which must fit into one write
			keep = replyDropped()
		}
		// If it cannot be written, a later start will say OutcomeUnknown; this one knows.
		n.journal.post(dedup.Change{Op: dedup.Done, ID: in.name.id, Outcome: keep.bytes()}, func(error) { in.settle(sent) })
	}
}

func replyDropped() outcome {
	return outcome{err: Errorf(ReplyDropped, HasRun, "the reply was sent once, and was too large to keep")}
}

// settle records the outcome and sends it on every road that asked.
func (in *Inbound) settle(o outcome) {
	s := in.session
	n := s.node
	o = o.short()
	s.mu.Lock()
	_, ok := s.table.Decide(in.Seq)
	if !ok { // given up meanwhile: nobody waits for it
		in.dropBody()
		if !in.settled {
			s.free(in.kept)
			in.kept = 0
			if in.begun && !in.isKeyed() {
				n.journal.freed(in.name.id)
			}
		}
		s.mu.Unlock()
		n.poke()
	} else {
		in.Meta, in.body = nil, nil
		in.outcome, in.settled, in.onCancel = o, true, nil
		road, more := in.road, in.more
		in.road, in.more = nil, nil
		if !in.keep(o.size()) {
			in.outcome = o.least()
		}
		s.mu.Unlock()
		o.send(road, in.Seq)
		for ; more != nil; more = more.next {
			o.send(more.road, in.Seq)
		}
	}
	if in.isKeyed() {
		n.keys.settle(in, o)
	}
}

// keep turns what is counted for the request, its body included, into what its record
// needs with an outcome of size, or reports that there is no room for that. The session's
// lock is held.
func (in *Inbound) keep(size int) bool {
	s := in.session
	had := in.kept + in.weight
	in.weight = 0
	want := size + recordSize
	fits := size <= s.node.cfg.Keep && (want <= had || s.hold(want-had, false))
	if !fits {
		want = recordSize
	}
	if want < had {
		s.free(had - want)
	}
	in.kept = want
	return fits
}

// replayLocked sends the recorded outcome on one more road that asked, unless it waits to be
// sent there already. It is called by the link's reader. The session's lock is held since the record was found: an ack makes its memory another one's.
func (in *Inbound) replayLocked(c *conn) {
	in.session.node.stats.replayed.Add(1)
	id := replay{in.session.grant, in.Seq}
	if !in.settled || c.replays.waits(c.link, id) {
		return
	}
	if at, sent := in.outcome.send(c, in.Seq); sent {
		c.replays.said(id, at)
	}
}
