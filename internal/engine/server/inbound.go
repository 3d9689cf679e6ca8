package server

import (
	"slices"
	"strings"
	"time"

	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/internal/engine/account"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/internal/trail"
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
	noted
	cut      bool          // its body did not come, because there was no room for it
	deadline time.Duration // node clock; 0 for none
	link     *Link         // the first link on which a copy came
	more     *more         // the other links
	outcome  outcome
	weight   int // bytes counted for the message
	kept     int // bytes counted for the record and its outcome
	onCancel func()
	permit   Permit // nil: it holds none

	recorded bool // see Recorded; whoever answers the request uses it
}

// name identifies a request in the table of keys and in the store.
type name struct {
	id          ledger.ID
	fingerprint uint64        // see durableFingerprint
	outbox      string        // of a message with a number: the outbox that it is from
	behind      rpc.RequestID // the one that runs under the same name, for whose outcome it waits; zero: it waits for none
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
			in.behalf = in.session.behalf(e.Behalf)
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
	in.finish(parseOutcome(record).again(), nil, false)
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
	if started {
		in.note(trail.Started, nil, nil)
	}
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
	in.note(trail.PutBack, nil, nil)
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
