package server

import (
	"slices"
	"strings"
	"time"

	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/internal/engine/account"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// Inbound is a message from a peer that is to be handled here: a request, or a one-way
// message (its Seq is 0, its Start always returns true, and its answering methods do nothing).
// It can also be several one-way messages, a row, whose bodies Next returns. The exported fields
// are read-only.
type Inbound struct {
	session *session

	Seq     uint64
	Target  string // the actor's name
	TypeID  uint64
	Meta    *wire.Meta // nil for most messages
	body    []byte     // TakeBody hands it out, once
	name    *name      // nil unless the request has a key, or begun is set
	Codec   uint8
	Schema  uint64 // of a compact message, whose TypeID this was on the wire; 0: it has names
	Receipt bool   // a request without a message, which is answered when its turn in the mailbox comes
	Confirm bool   // a one-way message whose sender wants to know that it was accepted: that is the outcome, not the handler's result
	row     row
	Once    transport.Once // the request's name beyond the session; zero: it has none
	behalf  *Origin        // of a request that was sent on behalf of another principal; nil: it is that of the session
	Number  uint64         // of a message in its sender's outbox, which is a one-way message whose outcome is that of its handler; 0: it is from no outbox
	sentFor time.Duration  // for how long a message of an outbox may have been on its way in earlier attempts; 0: there was none

	// The session's mu guards what follows.
	life
	cut      bool          // its body did not come, because there was no room for it
	deadline time.Duration // node clock; 0 for none
	link     *Link         // the first link on which a copy came
	more     *more         // the other links
	outcome  outcome
	weight   int // bytes counted for the message
	kept     int // bytes counted for the record and its outcome
	onCancel func()
	permit   Permit // nil: it holds none
}

// name identifies a request in the table of keys and in the store.
type name struct {
	id          ledger.ID
	fingerprint uint64 // see durableFingerprint
	outbox      string // of a message with a number: the outbox that it is from
}

// more is a list of further links on which a copy of a request came.
type more struct {
	link *Link
	next *more
}

var errExpired = rpc.Errorf(rpc.Expired, rpc.NotRun, "the deadline passed before its turn")

// fill copies from e, which came on c, what is to be kept.
func (in *Inbound) fill(c *Link, e *transport.Envelope) {
	in.Target = c.names.intern(c.server.seed, e.Target)
	in.Schema = 0
	asked := e.Verb == transport.VerbRequest // the flags of one-way messages have no meaning
	if in.Receipt = asked && e.Flags&transport.FlagReceipt != 0; in.Receipt {
		in.TypeID, in.Codec, in.body, in.Confirm, in.Number = 0, 0, nil, false, 0 // a receipt has no message, so what came with it is ignored
		in.Once, in.weight, in.cut = transport.Once{}, account.Record, false
	} else {
		in.TypeID, in.Codec, in.body = e.TypeID, e.Codec, wire.OwnBody(in.body, e)
		in.Confirm = asked && e.Flags&transport.FlagAcked != 0
		in.Number, in.sentFor, in.Once = 0, 0, transport.Once{}
		if asked && !in.Confirm {
			in.Once = e.Once
		}
		if asked && e.Key != "" && !in.Confirm {
			in.Number, in.sentFor = e.Number, e.Age
		}
		if asked && e.Behalf != "" && in.Number == 0 {
			in.behalf = in.session.origin.behalf(e.Behalf)
		}
		in.weight, in.cut = account.Record+len(e.Body), e.Cut
		if in.behalf != nil {
			in.weight += behalfSize + len(e.Behalf)
		}
	}
	if e.Sender != "" || !e.Trace.IsZero() || len(e.Headers) > 0 || len(e.Waiting) > 0 || e.Class != 0 {
		in.Meta = &wire.Meta{Sender: strings.Clone(e.Sender), Trace: e.Trace, Headers: transport.CloneHeaders(e.Headers), Class: e.Class}
		if len(e.Waiting) > 0 {
			in.Meta.Waiting = slices.Clone(e.Waiting)
		}
		in.weight += metaSize(in.Meta)
	}
}

// metaSize returns about how many bytes m takes.
func metaSize(m *wire.Meta) int {
	n := account.Record + len(m.Sender) + 8*len(m.Waiting)
	for _, h := range m.Headers {
		n += 32 + len(h.Key) + len(h.Value)
	}
	return n
}

// large reports whether the message counts as large: it is admitted only if it leaves room
// for others.
func (in *Inbound) large() bool { return in.weight > transport.LargeBody+account.Record }

// holdLocked counts the bytes of the request and those reserved for its outcome, and reports
// whether there is room for them. The session's lock is held.
func (in *Inbound) holdLocked() bool {
	s := in.session
	kept := account.Record + s.server.account.Reply
	if !s.hold(in.weight+kept, in.large()) {
		in.weight = 0
		return false
	}
	in.kept = kept
	return true
}

// holdRecord counts the record of a request that is refused because there is no room. Such
// records may take a little more than the limit. The session's lock is held.
func (in *Inbound) holdRecord() bool {
	in.weight, in.kept = 0, 0
	if !in.session.share.HoldRecord() {
		return false
	}
	in.kept = account.Record
	return true
}

// dropBody stops counting the bytes of a message that has its outcome, or is not handled
// here. The session's lock is held.
func (in *Inbound) dropBody() {
	in.session.free(in.weight)
	in.weight = 0
}

// Cut reports whether the message came without its body, because there was no room for it.
func (in *Inbound) Cut() bool { return in.cut }

// MetaSize returns about how many bytes the message's metadata takes.
func (in *Inbound) MetaSize() int {
	if in.Meta == nil {
		return 0
	}
	return metaSize(in.Meta)
}

// Drop frees what is counted for a one-way message that is not handled.
func (in *Inbound) Drop() {
	in.session.share.Free(in.weight)
	in.weight = 0
}

// Body returns the encoded message. Decoded says that it is not needed any more: then Storage
// returns memory into which the reply can be written, as an empty slice; nil if there is none.
func (in *Inbound) Body() []byte    { return in.body }
func (in *Inbound) Decoded()        { in.body = wire.FreeReceived(in.body) }
func (in *Inbound) Storage() []byte { return in.body[:0] }

// TakeBody returns the encoded message the first time that it is called, so that its memory
// is free once the message is decoded. The caller owns it.
func (in *Inbound) TakeBody() []byte {
	b := in.body
	in.body = nil
	return b
}

// TakeWeight returns how many bytes are counted for the message, and later 0. The caller has to
// free them, in the Memory of the origin's Bearer, once it keeps nothing of the message.
func (in *Inbound) TakeWeight() int {
	in.session.mu.Lock()
	defer in.session.mu.Unlock()
	n := in.weight
	in.weight = 0
	return n
}

// FreeAll frees the memory of one-way messages that have been decoded. Nobody else may refer
// to them any more.
func FreeAll(tells []*Inbound) {
	if len(tells) == 0 {
		return
	}
	share, sum := tells[0].session.share, 0
	for _, in := range tells {
		if s := in.session.share; s != share {
			share.Free(sum)
			share, sum = s, 0
		}
		sum += in.weight
	}
	share.Free(sum)
	tells[0].session.server.inbounds.putTells(tells)
}

// Free frees the memory of a request that has its outcome. Nobody but its session may refer
// to it any more.
func (in *Inbound) Free() {
	s := in.session
	s.mu.Lock()
	in.release(byHandler)
	s.reuseLocked(in)
	s.mu.Unlock()
}

// AsTell returns the message of a request with Confirm as a one-way message, which is handled
// after the request itself has been answered.
func (in *Inbound) AsTell() *Inbound {
	in.session.mu.Lock()
	weight, link := in.weight, in.link
	in.weight = 0
	in.session.mu.Unlock()
	return &Inbound{session: in.session, link: link, Target: in.Target, TypeID: in.TypeID, Codec: in.Codec, Schema: in.Schema, body: in.TakeBody(), Meta: in.Meta, behalf: in.behalf, weight: weight}
}

// Keyed reports whether the request has a key.
func (in *Inbound) Keyed() bool { return in.isKeyed() }

// RequestID returns an identifier of the request that never changes, for the application's own
// records. It is made from the request's key, or else from its session and number.
func (in *Inbound) RequestID() string {
	if in.isKeyed() {
		return ledger.ID{Grant: in.name.id.Grant, Seq: in.Number}.String()
	}
	return ledger.ID{Grant: in.session.grant, Seq: in.Seq}.String()
}

// Record returns a reply in the form that Replay takes and a ledger.Completions returns.
func Record(typeID uint64, codec uint8, body []byte) []byte {
	return outcome{typeID: typeID, codec: codec, body: body}.bytes()
}

// Replay ends a request that ran before with the outcome that was recorded then.
func (in *Inbound) Replay(record []byte) {
	in.session.server.counts.replayed.Add(1)
	in.finish(parseOutcome(record).again(), nil)
}

// attach adds the link of a further copy. The latest deadline of all copies counts.
// The session's lock is held.
func (in *Inbound) attach(c *Link, e *transport.Envelope) {
	in.attachLink(c)
	in.deadline = max(in.deadline, c.deadline(e))
}

// extend moves the request's deadline to that one, if it is later.
func (in *Inbound) extend(deadline time.Duration) {
	in.session.mu.Lock()
	defer in.session.mu.Unlock()
	if in.deadline > 0 && (deadline == 0 || deadline > in.deadline) {
		in.deadline = deadline
	}
}

func (in *Inbound) attachLink(c *Link) {
	if in.link == c {
		return
	}
	for m := in.more; m != nil; m = m.next {
		if m.link == c {
			return
		}
	}
	in.more = &more{c, in.more}
}

// Start is called right before the handler runs. If it returns false, the handler must not
// run, because the request was cancelled, its deadline has passed, or the node has said its
// last word on the session. If somebody still waits for the request, Start has ended it.
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
		in.Fail(errExpired)
	case late:
		in.Fail(wire.ErrLeft(s.server.host.Name))
	case !started && (begun || in.isKeyed()): // it was cancelled while it was in the mailbox
		in.Fail(rpc.Errorf(rpc.Canceled, rpc.NotRun, "the caller gave up before its turn"))
	}
	return started
}

// PutBack has a request wait for another turn, whose handler has had no effect. If it returns false,
// the caller has cancelled, and the request has ended. The message must have been decoded.
func (in *Inbound) PutBack() bool {
	s := in.session
	s.mu.Lock()
	again := s.table.PutBack(in.Seq)
	in.onCancel = nil
	s.mu.Unlock()
	if !again {
		in.Fail(rpc.Errorf(rpc.Canceled, rpc.NotRun, "the caller gave up before its turn"))
	}
	return again
}

// WillNotRun reports whether the request will not run when its turn comes. If so, Start will
// return false, even if a copy with a later deadline comes. Start still has to be called,
// because it ends a request for which somebody waits.
func (in *Inbound) WillNotRun() bool {
	if in.Seq == 0 {
		return false
	}
	s := in.session
	s.mu.Lock()
	defer s.mu.Unlock()
	state, _ := s.table.Lookup(in.Seq)
	if state == dedup.Queued && in.expiredLocked() {
		in.doom()
	}
	return in.stage == doomed || s.sealed || state != dedup.Queued
}

// expiredLocked reports whether the deadline has passed, or had passed when WillNotRun looked.
// The session's lock is held.
func (in *Inbound) expiredLocked() bool {
	return in.stage == doomed || in.deadline > 0 && in.session.server.host.Passed(in.deadline)
}

// Deadline returns the time after which nobody waits for the request, and whether there is one.
func (in *Inbound) Deadline() (time.Time, bool) {
	in.session.mu.Lock()
	defer in.session.mu.Unlock()
	if in.deadline == 0 {
		return time.Time{}, false
	}
	return in.session.server.host.At(in.deadline), true
}

// OnCancel arranges that fn is called when the caller cancels while the handler runs. If it
// has cancelled already, fn is called at once. fn must not block. A nil fn removes the
// earlier one.
func (in *Inbound) OnCancel(fn func()) {
	in.session.mu.Lock()
	canceled := in.stage == canceled
	in.onCancel = fn
	in.session.mu.Unlock()
	if canceled && fn != nil {
		fn()
	}
}

func (in *Inbound) cancelLocked() func() {
	in.cancel()
	return in.onCancel
}

// Fail ends a request with an error. The verdict of err has to be true: after NotRun the request
// may be retried elsewhere.
func (in *Inbound) Fail(err *rpc.Error) { in.decide(outcome{err: err}, nil) }

// Reply ends a request with its result. The body must not change afterwards.
func (in *Inbound) Reply(typeID uint64, codec uint8, body []byte) {
	if limit := in.session.server.cfg.MaxBody; len(body) > limit {
		in.Fail(rpc.Errorf(rpc.ReplyDropped, rpc.HasRun, "reply of %d bytes, limit %d", len(body), limit))
		return
	}
	in.decide(outcome{typeID: typeID, codec: codec, body: body}, in.pack(typeID, codec, body))
}

// decide gives the request its outcome. If the store has recorded that the request began,
// the outcome is written there first. packed is its body in compressed form, or nil.
func (in *Inbound) decide(o outcome, packed *transport.Packed) {
	if in.Seq == 0 {
		return
	}
	srv := in.session.server
	if srv.journal == nil {
		in.finish(o, packed)
		return
	}
	in.session.mu.Lock()
	begun := in.begun
	in.session.mu.Unlock()
	switch {
	case !begun:
		in.finish(o, packed)
	case o.refused() && in.Number > 0:
		srv.journal.Unnumbered(in.name.id, in.Number)
		in.finish(o, nil)
	case o.refused():
		srv.journal.Freed(in.name.id)
		in.finish(o, nil)
	case in.Number > 0:
		srv.journal.Post(ledger.Change{Op: ledger.Done, ID: in.name.id, Fingerprint: in.Number}, func(error) { in.finish(o, packed) })
	default:
		keep, sent := o, o
		if len(o.body) > min(srv.cfg.Keep, ledger.MaxBatch/2) { // an outcome must fit into one write
			keep = replyDropped()
		}
		// If it cannot be written, a later start will answer OutcomeUnknown, but this one knows the outcome.
		srv.journal.Post(ledger.Change{Op: ledger.Done, ID: in.name.id, Outcome: keep.bytes()}, func(error) { in.finish(sent, packed) })
	}
}

func replyDropped() outcome {
	return outcome{err: rpc.Errorf(rpc.ReplyDropped, rpc.HasRun, "the reply was sent once, and was too large to keep")}
}

// finish records the outcome and sends it on every link on which a copy came: in its compressed form,
// if packed is not nil, on those whose peer inflates it. That form is not kept.
func (in *Inbound) finish(o outcome, packed *transport.Packed) {
	s := in.session
	srv := s.server
	o = o.short()
	if in.Number > 0 {
		in.settle(o)
	}
	s.mu.Lock()
	in.releasePermit(!o.refused())
	_, ok := s.table.Finish(in.Seq)
	if !ok { // it was cancelled meanwhile, so nobody waits for the outcome
		in.dropBody()
		if !in.finished() {
			s.free(in.kept)
			in.kept = 0
			if in.begun && !in.isKeyed() {
				srv.journal.Freed(in.name.id)
			}
		}
		s.mu.Unlock()
		srv.poke()
		if in.isKeyed() && in.Number == 0 {
			srv.keys.finish(in, o)
		}
		return
	}
	in.Meta, in.body = nil, nil
	in.life.finish()
	in.outcome, in.onCancel = o, nil
	link, more := in.link, in.more
	in.link, in.more = nil, nil
	if !in.keep(o.size()) {
		in.outcome = o.minimal()
	}
	s.mu.Unlock()
	if in.isKeyed() && in.Number == 0 { // first, so that who has the outcome and uses the key again is told that it is a recorded one
		srv.keys.finish(in, o)
	}
	o.send(link, in.Seq, packed)
	for ; more != nil; more = more.next {
		o.send(more.link, in.Seq, packed)
	}
}

// keep replaces the bytes that are counted for the request and its body with those of its
// record and an outcome of that size, and reports whether there is room for the outcome. If
// not, only the record is counted. The session's lock is held.
func (in *Inbound) keep(size int) bool {
	s := in.session
	had := in.kept + in.weight
	in.weight = 0
	want := size + account.Record
	fits := size <= s.server.cfg.Keep && (want <= had || s.hold(want-had, false))
	if !fits {
		want = account.Record
	}
	if want < had {
		s.free(had - want)
	}
	in.kept = want
	return fits
}

// replayLocked sends the recorded outcome on a link on which a copy came, unless it is in the
// link's queue already. It is called by the link's reader. The session's lock has been held
// since the record was found, because after an ack another request may use its memory.
func (in *Inbound) replayLocked(c *Link) {
	in.session.server.counts.replayed.Add(1)
	id := replay{in.session.grant, in.Seq}
	if !in.finished() || c.replays.waits(c.Link.Link, id) {
		return
	}
	if at, sent := in.outcome.again().send(c, in.Seq, nil); sent {
		c.replays.sent(id, at)
	}
}
