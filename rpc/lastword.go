package rpc

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/tandem-go/tandem/transport"
)

// lastWord is what a node that leaves says of one session, once nothing of it can run any
// more: which of its requests have run, and of which nobody can tell. All others that
// are outstanding never ran and never will. It is a pure structure.
//
// Its encoding is the version, and then for each of the two lists how many spans it has,
// and for each span the numbers between it and the one before, and its own but one: all
// unsigned LEB128, as varints of Protocol Buffers are.
type lastWord struct {
	ran   []interval // their handlers ran, at least in part
	doubt []interval // they may have run
}

// interval is numbers in a row.
type interval struct{ first, last uint64 }

const (
	wordVersion = 1
	maxSpans    = 1 << 14             // of a list: no session has as many requests
	maxWords    = 256 << 10           // bytes of all that a node leaves behind
	maxWord     = transport.LargeBody // bytes of one that goes out on a link
)

var errWord = errors.New("rpc: a last word that makes no sense")

// spansOf makes spans of numbers, which it sorts.
func spansOf(seqs []uint64) (spans []interval) {
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

// judge says what is known of a request of the session that has no outcome yet.
func (w *lastWord) judge(seq uint64) Verdict {
	switch {
	case within(w.doubt, seq):
		return Unknown
	case within(w.ran, seq):
		return HasRun
	}
	return NotRun
}

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

// append appends the encoding.
func (w *lastWord) append(b []byte) []byte {
	b = append(b, wordVersion)
	for _, spans := range [][]interval{w.ran, w.doubt} {
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

// parseWord is the inverse of append.
func parseWord(b []byte) (*lastWord, error) {
	if len(b) == 0 || b[0] != wordVersion {
		return nil, errWord
	}
	b = b[1:]
	w := new(lastWord)
	for _, spans := range []*[]interval{&w.ran, &w.doubt} {
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

func uvarint(b *[]byte) (uint64, bool) {
	v, n := binary.Uvarint(*b)
	if n <= 0 {
		return 0, false
	}
	*b = (*b)[n:]
	return v, true
}

// said is the last word of one session, encoded.
type said struct {
	grant transport.Grant
	word  []byte
}

// appendWords appends what a node leaves behind for clients that no link leads to: as
// much as fits into most bytes, short words first. Of a session that is not among it nobody
// knows anything.
func appendWords(b []byte, all []said, most int) []byte {
	slices.SortFunc(all, func(x, y said) int { return len(x.word) - len(y.word) })
	b = append(b, wordVersion)
	for _, s := range all {
		head := binary.AppendUvarint(slices.Clone(s.grant[:]), uint64(len(s.word)))
		if len(b)+len(head)+len(s.word) > most {
			break
		}
		b = append(append(b, head...), s.word...)
	}
	return b
}

// wordIn finds the word of a session in what a node has left behind; nil: there is none.
func wordIn(b []byte, g transport.Grant) *lastWord {
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
			w, _ := parseWord(b[:n])
			return w
		}
		b = b[n:]
	}
	return nil
}

// errLeft is what a request gets that had not run at a node when that left.
func errLeft(node string) *Error {
	return Errorf(Leaving, NotRun, "node %s left before the request's turn", node)
}

// errLastWord is what a request gets that ran, or may have run, at a node that has left.
func errLastWord(node string, v Verdict, why string) *Error {
	if v == HasRun {
		return Errorf(ReplyDropped, HasRun, "it ran, and its reply did not come before node %s left", node)
	}
	return Errorf(OutcomeUnknown, Unknown, "%s", why)
}
