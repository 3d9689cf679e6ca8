package actor

import (
	"container/list"
	"strconv"
	"strings"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// letter is a dead letter that is kept. Its message, and where it is from, never change; the
// letterStore's user guards the rest.
type letter struct {
	DeadLetter
	seq   uint64
	owner string // the principal that is answerable for its memory; empty: this node itself
	size  int    // bytes that are counted for it
	what  letterMessage

	stage  letterStage
	asked  address // in the stage unclear: where it was to be sent, which may be a service
	at     address // the actor that may have got it
	epoch  string  // the start of that actor's node which may have got it
	expiry time.Time

	all, mine *list.Element // its places in letterStore.all and in letterOwner.letters
}

// letterStage says whether a letter is being sent again, and whether it may have arrived:
//
//	       take                    settled as ran
//	kept ────────► sending ─────────────────────────► gone
//	  ▲              │ │                                ▲
//	  │  not run     │ │ unknown                        │
//	  └──────────────┘ ▼                      ran       │
//	                unclear ◄──────────► sendingAgain ──┘
//	                   take / not run, unknown
//
// NotRun is only about the attempt that got it: a letter that is unclear stays so, because an
// earlier attempt may have been accepted.
type letterStage uint8

const (
	letterKept letterStage = iota
	letterSending
	letterUnclear
	letterSendingAgain
)

// take returns the next stage of a letter that somebody wants to send; false: somebody else
// is sending it.
func (s letterStage) take() (letterStage, bool) {
	switch s {
	case letterKept:
		return letterSending, true
	case letterUnclear:
		return letterSendingAgain, true
	}
	return s, false
}

// settle returns the next stage of a letter that was sent with that outcome; gone says that it
// has none, because its message is in a mailbox.
func (s letterStage) settle(ran rpc.Verdict) (next letterStage, gone bool) {
	switch {
	case ran == rpc.HasRun:
		return s, true
	case s == letterSending && ran == rpc.NotRun:
		return letterKept, false
	}
	return letterUnclear, false
}

// sending reports whether somebody is sending the letter.
func (s letterStage) sending() bool { return s == letterSending || s == letterSendingAgain }

// state is the stage as users see it.
func (s letterStage) state() LetterState {
	switch {
	case s.sending():
		return LetterSending
	case s == letterUnclear:
		return LetterUnclear
	}
	return LetterKept
}

// letterStore keeps dead letters, up to a number and a number of bytes. A letter for which there
// is no room pushes the oldest ones out; one of a principal of another node, which may have a
// quarter of all, pushes out that principal's own first. It is a pure structure: its user has the
// lock and the clock.
type letterStore struct {
	limits LetterLimits // not negative; 0 keeps none
	prefix string       // of ids, up to and with the hyphen

	last    uint64 // seq of the latest letter
	bytes   int
	dropped uint64 // letters that were pushed out, or too large
	all     list.List
	bySeq   map[uint64]*letter
	owners  map[string]*letterOwner
}

// letterOwner is what one principal of another node has in the store.
type letterOwner struct {
	letters list.List
	bytes   int
}

// ownerShare is the part of a store that one principal may fill: one in so many.
const ownerShare = 4

// add keeps a letter and gives it its id. It returns false if the letter is too large ever to be
// kept.
func (s *letterStore) add(l *letter) bool {
	if s.limits.Letters == 0 || s.limits.Bytes == 0 {
		return false
	}
	own := l.owner != ""
	if l.size > s.limits.Bytes || own && (l.size > s.limits.Bytes/ownerShare || s.limits.Letters < ownerShare) {
		s.dropped++
		return false
	}
	if own {
		for o := s.owners[l.owner]; o != nil && (o.letters.Len() >= s.limits.Letters/ownerShare || o.bytes+l.size > s.limits.Bytes/ownerShare); o = s.owners[l.owner] {
			s.drop(o.letters.Front())
		}
	}
	for s.all.Len() >= s.limits.Letters || s.bytes+l.size > s.limits.Bytes {
		s.drop(s.all.Front())
	}
	s.last++
	l.seq = s.last
	l.ID = s.prefix + strconv.FormatUint(l.seq, 10)
	s.bytes += l.size
	l.all = s.all.PushBack(l)
	if s.bySeq == nil {
		s.bySeq, s.owners = map[uint64]*letter{}, map[string]*letterOwner{}
	}
	s.bySeq[l.seq] = l
	if own {
		o := s.owners[l.owner]
		if o == nil {
			o = new(letterOwner)
			s.owners[l.owner] = o
		}
		o.bytes += l.size
		l.mine = o.letters.PushBack(l)
	}
	return true
}

// drop pushes a letter out. One that is being sent counts as dropped only if it does not arrive.
func (s *letterStore) drop(e *list.Element) {
	l := e.Value.(*letter)
	s.remove(l)
	if !l.stage.sending() {
		s.dropped++
	}
}

// remove removes a letter. It does nothing if it was removed before.
func (s *letterStore) remove(l *letter) {
	if s.bySeq[l.seq] != l {
		return
	}
	delete(s.bySeq, l.seq)
	s.all.Remove(l.all)
	s.bytes -= l.size
	if o := s.owners[l.owner]; l.mine != nil {
		o.letters.Remove(l.mine)
		if o.bytes -= l.size; o.letters.Len() == 0 {
			delete(s.owners, l.owner)
		}
	}
}

// seqOf returns the number in an id of this store.
func (s *letterStore) seqOf(id string) (uint64, bool) {
	text, ok := strings.CutPrefix(id, s.prefix)
	seq, err := strconv.ParseUint(text, 10, 64)
	return seq, ok && err == nil && strconv.FormatUint(seq, 10) == text
}

// find returns the letter with an id, or nil.
func (s *letterStore) find(id string) *letter {
	seq, ok := s.seqOf(id)
	if !ok {
		return nil
	}
	return s.bySeq[seq]
}

// list returns the letters that a filter lets through, up to its limit.
func (s *letterStore) list(f LetterFilter) (found []*letter) {
	limit := f.Limit
	switch {
	case limit <= 0:
		limit = DefaultLetterPage
	case limit > MaxLetterPage:
		limit = MaxLetterPage
	}
	s.each(f, func(l *letter) bool {
		found = append(found, l)
		return len(found) < limit
	})
	return found
}

// discard removes the letters that a filter lets through, up to its limit, and returns how many.
// A letter that is being sent stays.
func (s *letterStore) discard(f LetterFilter) (n int) {
	s.each(f, func(l *letter) bool {
		if !l.stage.sending() {
			s.remove(l)
			n++
		}
		return f.Limit <= 0 || n < f.Limit
	})
	return n
}

// each calls do with the letters that a filter lets through, in its order, until do returns
// false. do may remove the letter.
func (s *letterStore) each(f LetterFilter, do func(*letter) bool) {
	if f.ID != "" {
		if l := s.find(f.ID); l != nil && s.isAfter(l, f) && f.matches(l) {
			do(l)
		}
		return
	}
	e, step := s.all.Front(), (*list.Element).Next
	if f.NewestFirst {
		e, step = s.all.Back(), (*list.Element).Prev
	}
	if f.After != "" {
		if l := s.find(f.After); l != nil {
			e = step(l.all)
		}
	}
	for e != nil {
		l := e.Value.(*letter)
		e = step(e)
		if s.isAfter(l, f) && f.matches(l) && !do(l) {
			return
		}
	}
}

// isAfter reports whether a letter comes after the one that f.After names, which need not be
// there any more.
func (s *letterStore) isAfter(l *letter, f LetterFilter) bool {
	if f.After == "" {
		return true
	}
	seq, ok := s.seqOf(f.After)
	if f.NewestFirst {
		return ok && l.seq < seq
	}
	return ok && l.seq > seq
}

// matches reports whether a filter lets a letter through, whatever its After is.
func (f LetterFilter) matches(l *letter) bool {
	return (f.Actor == "" || f.Actor == l.To) && (f.Type == "" || f.Type == l.Type) && (f.Code == 0 || f.Code == rpc.CodeOf(l.Reason)) &&
		(f.Since.IsZero() || !l.Time.Before(f.Since)) && (f.Until.IsZero() || l.Time.Before(f.Until))
}

// letterAttempt is one attempt to send a letter again.
type letterAttempt struct {
	*letter
	asked  address   // where it is to be sent
	at     address   // the actor that gets it; zero while asked is a service of which none is chosen yet
	epoch  string    // the only start of that actor's node that may get it; empty: any
	expiry time.Time // until then the key of the attempt is certainly remembered
	again  bool      // an earlier attempt may have arrived
}

// take begins an attempt to send a letter to an address, or with the zero address to where it was
// addressed. It returns ErrLetterGone, ErrLetterBusy or ErrLetterUnclear in an *rpc.Error.
func (s *letterStore) take(now time.Time, keyLife time.Duration, id string, to address) (letterAttempt, *rpc.Error) {
	l := s.find(id)
	if l == nil {
		return letterAttempt{}, rpc.Errorf(rpc.NotFound, rpc.Unknown, "%w: %q", ErrLetterGone, id)
	}
	next, free := l.stage.take()
	if !free {
		return letterAttempt{}, rpc.Errorf(rpc.Unavailable, rpc.Unknown, "%w: %s", ErrLetterBusy, id)
	}
	a := letterAttempt{letter: l, asked: to, expiry: now.Add(keyLife)}
	if next == letterSendingAgain {
		if to == (address{}) {
			to = l.asked
		}
		switch {
		case to != l.asked && to != l.at:
			return letterAttempt{}, rpc.Errorf(rpc.Invalid, rpc.Unknown, "%w at %v, and can be sent again only there", ErrLetterUnclear, l.at)
		case !now.Before(l.expiry):
			return letterAttempt{}, rpc.Errorf(rpc.OutcomeUnknown, rpc.Unknown, "%w at %v, which may not remember it any more", ErrLetterUnclear, l.at)
		}
		a.asked, a.at, a.epoch, a.expiry, a.again = l.asked, l.at, l.epoch, l.expiry, true
	} else if to == (address{}) {
		a.asked, _ = parseAddress(l.To)
	}
	l.stage = next
	return a, nil
}

// settle ends an attempt. keyed says that a further attempt under the same key would be
// recognised, at the start of the node that may have got this one.
func (s *letterStore) settle(a letterAttempt, ran rpc.Verdict, keyed bool) {
	l := a.letter
	next, gone := l.stage.settle(ran)
	if gone {
		s.remove(l)
		return
	}
	if s.bySeq[l.seq] != l { // it was pushed out meanwhile
		s.dropped++
	}
	if l.stage = next; next == letterUnclear && !a.again {
		l.asked, l.at, l.epoch, l.expiry = a.asked, a.at, a.epoch, a.expiry
		if !keyed {
			l.expiry = time.Time{}
		}
	}
}
