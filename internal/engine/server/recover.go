package server

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// This file answers clients that ask what became of a request which they had sent to an
// earlier start of the node. The answer comes from the store's records, or from the
// application's own records of what it committed. Such a request never runs here.

// Durability describes what a later start of the node can find out about requests to an actor.
type Durability struct {
	Known   bool   // whether the actor exists here is final: it does, or it never will
	Kind    string // the actor's kind, one of Config.Kinds if records are kept
	Stored  bool   // what an outbox has sent is known by the actor itself, for ever
	Durable bool   // each request is recorded in the store before its handler is called
	// Completions, if not nil, are the application's own records of what it committed.
	Completions ledger.Completions
}

const (
	maxQuestions    = 64               // concurrent questions to an application's own records; beyond that, clients ask again
	questionTimeout = 10 * time.Second // the time limit of one such question
	spawnTime       = 10 * time.Second // for this long after the start, an actor may not have been spawned yet
)

// recovers reports whether it makes sense to ask a later start of this node about requests.
func (srv *Server) recovers() bool { return srv.journal != nil || len(srv.cfg.Kinds) > 0 }

// kinds returns what a client gets when it opens a session, and sends to the next start when
// it asks there: the kinds of actors of which this start keeps records, and how long it keeps
// keys. If an actor was of another kind then, or if a key may have expired, it proves nothing
// that there is no record.
func (srv *Server) kinds() string {
	return strings.Join(append(slices.Clip(srv.cfg.Kinds), keyLifeMark+srv.cfg.KeyLife.String()), "\n")
}

// keyLifeMark begins the part of kinds that is not a kind but the life of keys.
const keyLifeMark = "\x00"

// remembers reports whether the key of a request to an earlier start would still be known if
// that start had begun to run the request.
func (srv *Server) remembers(e *transport.Envelope) bool {
	_, text, found := strings.Cut(e.Message, keyLifeMark)
	life, err := time.ParseDuration(text)
	if !found || err != nil || e.Age == 0 || srv.journal == nil {
		return false
	}
	// The question itself may have been on its way for as long as this start has run.
	return e.Age < min(life, srv.cfg.KeyLife)-time.Since(srv.journal.Taken())
}

// recover answers a client, which has opened a new session, about a request of an earlier
// one. It sends nothing if the answer is not known yet: the client asks again. It does not
// block.
func (srv *Server) recover(c *Link, e *transport.Envelope) {
	if !c.hasSession() { // no client asks before that, and a question of an unknown peer must cost nothing
		c.refuse(e.Seq, rpc.Errorf(rpc.SessionLost, rpc.Unknown, "no session is open on this link"))
		return
	}
	principal := c.Principal
	origin := (&Origin{Principal: principal, Node: c.ID.Node, Local: c.Loop()}).behalf(e.Behalf)
	id := ledger.ID{Grant: e.Grant, Seq: e.Seq}
	if e.Key != "" {
		id = ledger.ID{Grant: keyID(origin.Principal, e.Target, e.Key)}
	}
	if e.Number > 0 {
		id = ledger.ID{Grant: markID(principal, e.Target, e.Key)}
	}
	if srv.cfg.Check != nil {
		a := Arrival{origin, c.Addr, strings.Clone(e.Target), e.TypeID, e.Flags&transport.FlagAcked != 0 || e.Number > 0, ""}
		if e.Number > 0 {
			a.Outbox = strings.Clone(e.Key)
		}
		if err := srv.cfg.Check(a); err != nil {
			c.refuse(e.Seq, rpc.Errorf(rpc.Denied, rpc.Unknown, "%s", err.Message)) // Unknown, because the request that it asks about may have run
			srv.denied(a, err)
			return
		}
	}
	d := srv.cfg.Handler.Durability(e.Target)
	kept := slices.Contains(strings.Split(e.Message, "\n"), d.Kind) && d.Kind != ""
	var page ledger.Page
	var owner string
	found, ours := false, false
	if j := srv.journal; j != nil {
		owner, ours, page, found = j.Recall(e.Grant, id)
		if ours && owner != ownerName(c.ID, principal) {
			srv.counts.joinsDenied.Add(1)
			c.refuse(e.Seq, rpc.Errorf(rpc.Denied, rpc.Unknown, "the session belonged to another principal or node"))
			return
		}
	}
	print := durableFingerprint(id.Grant, e.Target, e.TypeID, e.Codec, e.Body)
	if e.Number > 0 {
		page, found = pageOf(page, found, e.Number)
		id.Seq, page.Fingerprint = e.Number, print // the number stands for the content
	}
	srv.counts.recovered.Add(1)
	srv.noteCopy(c, wire.SessionID(e.Grant, ""), e, trail.Recalled, nil)
	switch {
	case srv.session(e.Grant) != nil: // the session is not an earlier one
		c.refuse(e.Seq, rpc.Errorf(rpc.SessionLost, rpc.Unknown, "the session is not open on this link"))
	case found && page.Fingerprint != print:
		c.refuse(e.Seq, rpc.Errorf(rpc.IDReused, rpc.Unknown, "another request was recorded under this name"))
	case found && page.Done:
		srv.counts.replayed.Add(1)
		parseOutcome(page.Outcome).again().send(c, e.Seq, nil, false)
	case !d.Known && srv.recovers() && srv.host.Now() < spawnTime: // no answer: the client asks again
	case d.Completions != nil && e.Flags&(transport.FlagAcked|transport.FlagReceipt) == 0: // completions say nothing about one-way messages
		srv.askApplication(c, e.Seq, id, d.Completions, kept && e.Key == "")
	case found:
		c.refuse(e.Seq, rpc.Errorf(rpc.OutcomeUnknown, rpc.Unknown, "its handler had started when the node was lost"))
	case d.Durable && kept && ours && (e.Key == "" || srv.remembers(e)) && e.Flags&(transport.FlagAcked|transport.FlagReceipt) == 0:
		c.refuse(e.Seq, rpc.Errorf(rpc.Unavailable, rpc.NotRun, "its handler had not started when the node was lost"))
	default:
		c.refuse(e.Seq, rpc.Errorf(rpc.OutcomeUnknown, rpc.Unknown, "the node was restarted, and keeps no record of such requests"))
	}
}

// session returns the session with that grant, or nil.
func (srv *Server) session(g transport.Grant) *session {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.sessions[g]
}

// askApplication asks the application's own records, in a goroutine, what became of a request,
// and sends the answer. It asks nothing if the same question is being asked already, or if
// too many are: the client asks again.
func (srv *Server) askApplication(c *Link, seq uint64, id ledger.ID, completions ledger.Completions, kept bool) {
	if _, asked := srv.questioned.LoadOrStore(id, true); asked {
		return
	}
	voids := id.Seq != 0 && kept // not with a key, because a later request may use it again, and not if no records were kept, because the request may have run
	room := !voids || c.share.AllowVoid(srv.host.Now())
	if room {
		select {
		case srv.questions <- struct{}{}:
		default:
			room = false
		}
	}
	if !room {
		srv.questioned.Delete(id)
		return // the client asks again
	}
	srv.host.Go(func() {
		defer func() {
			srv.questioned.Delete(id)
			<-srv.questions
		}()
		ctx, cancel := context.WithTimeout(srv.host.Context(), questionTimeout)
		defer cancel()
		record, committed, err := []byte(nil), false, error(nil)
		if !voids {
			record, committed, err = completions.Completed(ctx, id.String())
		} else {
			record, committed, err = completions.Void(ctx, id.String())
		}
		switch {
		case err != nil:
			srv.host.Logger.Error("the application's records could not be asked", "id", id.String(), "err", err)
			c.refuse(seq, rpc.Errorf(rpc.OutcomeUnknown, rpc.Unknown, "the application's records could not be asked: %v", err))
		case committed:
			srv.counts.replayed.Add(1)
			parseOutcome(record).again().send(c, seq, nil, false)
		case !voids:
			c.refuse(seq, rpc.Errorf(rpc.OutcomeUnknown, rpc.Unknown, "nothing was committed of it until now"))
		default:
			c.refuse(seq, rpc.Errorf(rpc.Unavailable, rpc.NotRun, "nothing of it was committed when the node was lost, and nothing ever will be"))
		}
	})
}
