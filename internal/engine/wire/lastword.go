package wire

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// LastWord is what a node that leaves says about one session, once no request of the session can
// run any more: which requests have run, and which may have run. All other outstanding requests
// never ran and never will. It has no lock; it must not be changed concurrently.
//
// Its encoding is the version and then the two lists. A list is the number of its spans, and for
// each span how many numbers lie between it and the span before, and its length minus one. All
// are unsigned LEB128, like the varints of Protocol Buffers.
type LastWord struct {
	Ran        []interval // requests whose handlers ran, at least in part
	MayHaveRun []interval // requests that may have run
}

// interval is a span of consecutive numbers.
type interval struct{ first, last uint64 }

const (
	wordVersion = 1
	maxSpans    = 1 << 14   // spans of one list; no session has so many requests
	MaxWords    = 256 << 10 // bytes of all last words that a node leaves in the registry
	MaxWord     = 64 << 10  // bytes of a last word that is sent on a link
)

var errWord = errors.New("rpc: a last word that makes no sense")

// SpansOf returns the spans that seqs form. It sorts seqs.
func SpansOf(seqs []uint64) (spans []interval) {
	slices.Sort(seqs)
	for _, s := range seqs {
		if n := len(spans); n > 0 && s <= spans[n-1].last+1 {
			spans[n-1].last = s
		} else {
			spans = append(spans, interval{s, s})
		}
	}
	return spans
}

// Judge returns what the last word says about a request of the session that has no outcome yet.
func (w *LastWord) Judge(seq uint64) rpc.Verdict {
	switch {
	case within(w.MayHaveRun, seq):
		return rpc.Unknown
	case within(w.Ran, seq):
		return rpc.HasRun
	}
	return rpc.NotRun
}

// within reports whether a span contains seq.
func within(spans []interval, seq uint64) bool {
	_, found := slices.BinarySearchFunc(spans, seq, func(s interval, seq uint64) int {
		switch {
		case s.last < seq:
			return -1
		case s.first > seq:
			return 1
		}
		return 0
	})
	return found
}

// Append appends the encoding of w to b.
func (w *LastWord) Append(b []byte) []byte {
	b = append(b, wordVersion)
	for _, spans := range [][]interval{w.Ran, w.MayHaveRun} {
		b = binary.AppendUvarint(b, uint64(len(spans)))
		next := uint64(0)
		for _, s := range spans {
			b = binary.AppendUvarint(b, s.first-next)
			b = binary.AppendUvarint(b, s.last-s.first)
			next = s.last + 1
		}
	}
	return b
}

// ParseWord is the inverse of Append. It returns an error if b is not exactly one encoding.
func ParseWord(b []byte) (*LastWord, error) {
	if len(b) == 0 || b[0] != wordVersion {
		return nil, errWord
	}
	b = b[1:]
	w := new(LastWord)
	for _, spans := range []*[]interval{&w.Ran, &w.MayHaveRun} {
		n, ok := uvarint(&b)
		if !ok || n > maxSpans || n > uint64(len(b))/2 {
			return nil, errWord
		}
		next := uint64(0)
		for range n {
			gap, ok := uvarint(&b)
			more, fine := uvarint(&b)
			s := interval{next + gap, next + gap + more}
			if !ok || !fine || s.first < next || s.last < s.first || s.last+1 == 0 {
				return nil, errWord
			}
			*spans = append(*spans, s)
			next = s.last + 1
		}
	}
	if len(b) > 0 {
		return nil, errWord
	}
	return w, nil
}

// uvarint reads a varint from the start of b and removes it.
func uvarint(b *[]byte) (uint64, bool) {
	v, n := binary.Uvarint(*b)
	if n <= 0 {
		return 0, false
	}
	*b = (*b)[n:]
	return v, true
}

// SessionWord is the last word of one session, encoded.
type SessionWord struct {
	Grant transport.Grant
	Word  []byte
}

// AppendWords appends the last words that a node leaves in the registry for clients without a
// link: as many as fit into most bytes, short ones first. It sorts all. About a session that does
// not fit nothing will be known.
func AppendWords(b []byte, all []SessionWord, most int) []byte {
	slices.SortFunc(all, func(x, y SessionWord) int { return len(x.Word) - len(y.Word) })
	b = append(b, wordVersion)
	for _, s := range all {
		head := binary.AppendUvarint(slices.Clone(s.Grant[:]), uint64(len(s.Word)))
		if len(b)+len(head)+len(s.Word) > most {
			break
		}
		b = append(append(b, head...), s.Word...)
	}
	return b
}

// WordIn finds the last word of a session in what AppendWords made. It returns nil if there is none.
func WordIn(b []byte, g transport.Grant) *LastWord {
	if len(b) == 0 || b[0] != wordVersion {
		return nil
	}
	for b = b[1:]; len(b) > len(g); {
		found := [16]byte(b) == g
		b = b[len(g):]
		n, ok := uvarint(&b)
		if !ok || n > uint64(len(b)) {
			return nil
		}
		if found {
			w, _ := ParseWord(b[:n])
			return w
		}
		b = b[n:]
	}
	return nil
}

// ErrLeft is the error of a request that had not run when its node left.
func ErrLeft(node string) *rpc.Error {
	return rpc.Errorf(rpc.Leaving, rpc.NotRun, "node %s left before the request's turn", node)
}

// ErrLastWord is the error of a request that ran (v is rpc.HasRun) or may have run at a node that
// has left. why is its text if it may have run.
func ErrLastWord(node string, v rpc.Verdict, why string) *rpc.Error {
	if v == rpc.HasRun {
		return rpc.Errorf(rpc.ReplyDropped, rpc.HasRun, "it ran, and its reply did not come before node %s left", node)
	}
	return rpc.Errorf(rpc.OutcomeUnknown, rpc.Unknown, "%s", why)
}
