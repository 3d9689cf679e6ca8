package rpc

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/transport"
)

// This file is the server's answer to clients that ask what became of a request they
// sent to an earlier start of the node: from what the store kept, or from what the
// application committed itself. Such a request never runs here.

// Durability says what a later start can find out about requests to an actor.
type Durability struct {
	Known   bool   // the actor lives here, or never will
	Kind    string // its kind, one of Config.Kinds if records are kept
	Durable bool   // every request is in the store before its handler is called
	// Completions, if not nil, are the application's own records of what it committed.
	Completions dedup.Completions
}

const (
	maxSettles    = 64               // questions to an application's own records at once; who finds no place asks again
	settleTimeout = 10 * time.Second // bounds one of them
	startPatience = 10 * time.Second // an actor may not have been spawned yet by then
)

// recovers reports whether clients of a later start should ask it at all.
func (n *Node) recovers() bool { return n.journal != nil || len(n.cfg.Kinds) > 0 }

// kinds is what a client is told when it opens a session, and tells the next start: of
// which kinds this one keeps records, and for how long the keys of what is done. Of an
// actor that was of another kind then, the want of a record proves nothing; nor does it for a
// key that may have been forgotten.
func (n *Node) kinds() string {
	return strings.Join(append(slices.Clip(n.cfg.Kinds), keyLifeMark+n.cfg.KeyLife.String()), "\n")
}

// keyLifeMark begins the part of kinds that is no kind.
const keyLifeMark = "\x00"

// remembers reports whether a key that a request had, which came to an earlier start, would
// still be known if that start had begun to run it.
func (n *Node) remembers(e *transport.Envelope) bool {
	_, text, found := strings.Cut(e.Message, keyLifeMark)
	life, err := time.ParseDuration(text)
	if !found || err != nil || e.Age == 0 || n.journal == nil {
		return false
	}
	// The question itself may have been on its way for as long as this start has been there.
	return e.Age < min(life, n.cfg.KeyLife)-time.Since(n.journal.taken)
}

// recover answers a request of an earlier session, to a client that has opened a new one.
// It does not block.
func (n *Node) recover(c *conn, e *transport.Envelope) {
	if !c.opened() { // nobody asks before that, and what a stranger asks must cost nothing
		c.refuse(e.Seq, Errorf(SessionLost, Unknown, "no session is open on this link"))
		return
	}
	principal := c.principal
	id := dedup.ID{Grant: e.Grant, Seq: e.Seq}
	if e.Key != "" {
		id = dedup.ID{Grant: keyID(principal, e.Target, e.Key)}
	}
	if n.cfg.Check != nil {
		a := Arrival{&Origin{Principal: principal, Node: c.id.Node, Local: c.isLoop()}, c.addr, strings.Clone(e.Target), e.TypeID, e.Flags&transport.FlagAcked != 0}
		if err := n.cfg.Check(a); err != nil {
			c.refuse(e.Seq, Errorf(Denied, Unknown, "%s", err.Message)) // what it asks about may have run
			n.denied(a, err)
			return
		}
	}
	d := n.cfg.Handler.Durability(e.Target)
	kept := slices.Contains(strings.Split(e.Message, "\n"), d.Kind) && d.Kind != ""
	var page dedup.Page
	found, ours := false, false
	if j := n.journal; j != nil {
		owner, known, was, any := j.recall(e.Grant, id)
		if known && owner != ownerName(c.id, principal) {
			n.stats.joinsDenied.Add(1)
			c.refuse(e.Seq, Errorf(Denied, Unknown, "the session belonged to another principal or node"))
			return
		}
		ours = known
		page, found = was, any
	}
	n.stats.recovered.Add(1)
	switch {
	case n.session(e.Grant) != nil: // it is no earlier one
		c.refuse(e.Seq, Errorf(SessionLost, Unknown, "the session is not open on this link"))
	case found && page.Fingerprint != printOf(id.Grant, e.Target, e.TypeID, e.Codec, e.Body):
		c.refuse(e.Seq, Errorf(IDReused, Unknown, "another request was recorded under this name"))
	case found && page.Done:
		n.stats.replayed.Add(1)
		parseOutcome(page.Outcome).send(c, e.Seq)
	case !d.Known && n.recovers() && n.now() < startPatience: // it is asked again
	case d.Completions != nil && e.Flags&(transport.FlagAcked|transport.FlagReceipt) == 0: // of tells they say nothing
		n.askApplication(c, e.Seq, id, d.Completions, kept)
	case found:
		c.refuse(e.Seq, Errorf(OutcomeUnknown, Unknown, "its handler had started when the node was lost"))
	case d.Durable && kept && ours && (e.Key == "" || n.remembers(e)) && e.Flags&(transport.FlagAcked|transport.FlagReceipt) == 0:
		c.refuse(e.Seq, Errorf(Unavailable, NotRun, "its handler had not started when the node was lost"))
	default:
		c.refuse(e.Seq, Errorf(OutcomeUnknown, Unknown, "the node was started anew, and keeps no record of such requests"))
	}
}

// session returns a live session, or nil.
func (n *Node) session(g transport.Grant) *session {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sessions[g]
}

// askApplication finds out from the application's own records what became of a request.
func (n *Node) askApplication(c *conn, seq uint64, id dedup.ID, completions dedup.Completions, kept bool) {
	if _, asked := n.asked.LoadOrStore(id, true); asked {
		return
	}
	voids := id.Seq != 0 && kept // a later request may have the key again; what kept no records may have run
	room := !voids || c.share.void(n.now())
	if room {
		select {
		case n.settles <- struct{}{}:
		default:
			room = false
		}
	}
	if !room {
		n.asked.Delete(id)
		return // it is asked again
	}
	n.owned.Go(func() {
		defer func() {
			n.asked.Delete(id)
			<-n.settles
		}()
		ctx, cancel := context.WithTimeout(n.ctx, settleTimeout)
		defer cancel()
		record, committed, err := []byte(nil), false, error(nil)
		if !voids {
			record, committed, err = completions.Completed(ctx, id.String())
		} else {
			record, committed, err = completions.Void(ctx, id.String())
		}
		switch {
		case err != nil:
			n.cfg.Logger.Error("the application's records could not be asked", "id", id.String(), "err", err)
			c.refuse(seq, Errorf(OutcomeUnknown, Unknown, "the application's records could not be asked: %v", err))
		case committed:
			n.stats.replayed.Add(1)
			parseOutcome(record).send(c, seq)
		case !voids:
			c.refuse(seq, Errorf(OutcomeUnknown, Unknown, "nothing was committed of it until now"))
		default:
			c.refuse(seq, Errorf(Unavailable, NotRun, "nothing of it was committed when the node was lost, and nothing ever will be"))
		}
	})
}
