package deadletter

import (
	"cmp"
	"container/list"
	"strconv"
	"strings"
)

// letter is a dead letter in a Store.
type letter[C any] struct {
	Kept    // without its State, which stage says
	seq     uint64
	owner   string // the principal that is answerable for its memory; empty: this node itself
	carried C

	stage stage
	asked string // in the stages unclear and sendingAgain: where it was to be sent, which may be a service
	epoch string // the start of SentTo's node which may have got it

	all, mine *list.Element // its places in Store.all and in owned.letters
}

// seen returns what users see of the letter.
func (l *letter[C]) seen() Kept {
	k := l.Kept
	k.State = l.stage.state()
	return k
}

// Store keeps dead letters, up to a number and a number of bytes. A letter for which there is no
// room pushes the oldest ones out; one of a principal of another node, which may have a quarter of
// all, pushes out that principal's own first. C is what a message carries that its user needs to
// send it again. A Store has no lock: its user has it, except for Largest, and the clock.
type Store[C any] struct {
	limits Limits // not negative; 0 keeps none
	prefix string // of ids, up to and with the hyphen

	last    uint64 // seq of the latest letter
	bytes   int
	dropped uint64 // letters that were pushed out, or too large
	all     list.List
	bySeq   map[uint64]*letter[C]
	owners  map[string]*owned[C]
}

// owned is what one principal of another node has in the store.
type owned[C any] struct {
	letters list.List
	bytes   int
}

// ownerShare is the part of a store that one principal may fill: one in so many.
const ownerShare = 4

// New returns an empty Store. Each of its letters has an id that begins with prefix, which no
// other Store of the node has.
func New[C any](l Limits, prefix string) *Store[C] {
	l.Letters, l.Bytes = max(0, cmp.Or(l.Letters, DefaultLetters)), max(0, cmp.Or(l.Bytes, DefaultBytes))
	if l.Letters == 0 {
		l.Bytes = 0
	}
	return &Store[C]{limits: l, prefix: prefix, bySeq: map[uint64]*letter[C]{}, owners: map[string]*owned[C]{}}
}

// Largest returns how many bytes a letter may take; 0: none is kept. It may be called concurrently
// with all other methods.
func (s *Store[C]) Largest() int { return s.limits.Bytes }

// Count returns how many letters are kept, their bytes, and how many were dropped because they
// were pushed out or too large.
func (s *Store[C]) Count() (letters, bytes int, dropped uint64) {
	return s.all.Len(), s.bytes, s.dropped
}

// Add keeps a letter, whose ID, State, SentTo and Until the Store sets, and returns its id; "" if
// it is too large ever to be kept. owner is the principal of another node that is answerable for
// its memory; empty: this node itself.
func (s *Store[C]) Add(owner string, k Kept, carried C) (id string) {
	if s.limits.Bytes == 0 {
		return ""
	}
	l := &letter[C]{Kept: k, owner: owner, carried: carried}
	own := l.owner != ""
	if l.Size > s.limits.Bytes || own && (l.Size > s.limits.Bytes/ownerShare || s.limits.Letters < ownerShare) {
		s.dropped++
		return ""
	}
	if own {
		for o := s.owners[l.owner]; o != nil && (o.letters.Len() >= s.limits.Letters/ownerShare || o.bytes+l.Size > s.limits.Bytes/ownerShare); o = s.owners[l.owner] {
			s.drop(o.letters.Front())
		}
	}
	for s.all.Len() >= s.limits.Letters || s.bytes+l.Size > s.limits.Bytes {
		s.drop(s.all.Front())
	}
	s.last++
	l.seq = s.last
	l.ID = s.prefix + strconv.FormatUint(l.seq, 10)
	s.bytes += l.Size
	l.all = s.all.PushBack(l)
	s.bySeq[l.seq] = l
	if own {
		o := s.owners[l.owner]
		if o == nil {
			o = new(owned[C])
			s.owners[l.owner] = o
		}
		o.bytes += l.Size
		l.mine = o.letters.PushBack(l)
	}
	return l.ID
}

// drop pushes a letter out. One that is being sent counts as dropped only if it does not arrive.
func (s *Store[C]) drop(e *list.Element) {
	l := e.Value.(*letter[C])
	s.remove(l)
	if !l.stage.isSent() {
		s.dropped++
	}
}

// remove removes a letter. It does nothing if it was removed before.
func (s *Store[C]) remove(l *letter[C]) {
	if s.bySeq[l.seq] != l {
		return
	}
	delete(s.bySeq, l.seq)
	s.all.Remove(l.all)
	s.bytes -= l.Size
	if o := s.owners[l.owner]; l.mine != nil {
		o.letters.Remove(l.mine)
		if o.bytes -= l.Size; o.letters.Len() == 0 {
			delete(s.owners, l.owner)
		}
	}
}

// seqOf returns the number in an id of this store.
func (s *Store[C]) seqOf(id string) (uint64, bool) {
	text, ok := strings.CutPrefix(id, s.prefix)
	seq, err := strconv.ParseUint(text, 10, 64)
	return seq, ok && err == nil && strconv.FormatUint(seq, 10) == text
}

// find returns the letter with an id, or nil.
func (s *Store[C]) find(id string) *letter[C] {
	seq, ok := s.seqOf(id)
	if !ok {
		return nil
	}
	return s.bySeq[seq]
}

// List returns the letters that a filter lets through, MaxPage at most. The next
// page is that of a filter with After set to the ID of the last one.
func (s *Store[C]) List(f Filter) (found []Kept) {
	limit := f.Limit
	switch {
	case limit <= 0:
		limit = DefaultPage
	case limit > MaxPage:
		limit = MaxPage
	}
	s.each(f, func(l *letter[C]) bool {
		found = append(found, l.seen())
		return len(found) < limit
	})
	return found
}

// Discard removes the letters that a filter lets through, up to its limit, and returns how many.
// A letter that is being sent stays.
func (s *Store[C]) Discard(f Filter) (n int) {
	s.each(f, func(l *letter[C]) bool {
		if !l.stage.isSent() {
			s.remove(l)
			n++
		}
		return f.Limit <= 0 || n < f.Limit
	})
	return n
}

// each calls do with the letters that a filter lets through, in its order, until do returns
// false. do may remove the letter.
func (s *Store[C]) each(f Filter, do func(*letter[C]) bool) {
	if f.ID != "" {
		if l := s.find(f.ID); l != nil && s.isAfter(l, f) && f.matches(&l.Letter) {
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
		l := e.Value.(*letter[C])
		e = step(e)
		if s.isAfter(l, f) && f.matches(&l.Letter) && !do(l) {
			return
		}
	}
}

// isAfter reports whether a letter comes after the one that f.After names, which need not be
// there any more.
func (s *Store[C]) isAfter(l *letter[C], f Filter) bool {
	if f.After == "" {
		return true
	}
	seq, ok := s.seqOf(f.After)
	if f.NewestFirst {
		return ok && l.seq < seq
	}
	return ok && l.seq > seq
}
