package actor

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/internal/longcopy"
	"github.com/tandem-go/tandem/rpc"
)

// LetterLimits says how many dead letters a system keeps with their messages. The oldest ones go
// first; Stats counts them. The letters of one principal of another node take at most a quarter of
// each.
type LetterLimits struct {
	Letters int // default 1,024; negative: none is kept
	Bytes   int // of all that are kept, see KeptLetter.Size; default 4 MiB; negative: none is kept
}

// Defaults and limits of dead letters.
const (
	DefaultLetters     = 1024
	DefaultLetterBytes = 4 << 20
	DefaultLetterPage  = 100   // how many KeptLetters returns if the filter says nothing
	MaxLetterPage      = 1_000 // how many it returns at most
)

// fill sets defaults, and 0 for negative numbers.
func (l *LetterLimits) fill() {
	l.Letters, l.Bytes = max(0, cmp.Or(l.Letters, DefaultLetters)), max(0, cmp.Or(l.Bytes, DefaultLetterBytes))
}

// KeptLetter is a dead letter with its message, which the system keeps until it is sent again
// (ResendLetter), discarded (DiscardLetters), or pushed out by later ones. Its ID is unique in the
// node, also across restarts of it. The message must not be changed.
type KeptLetter struct {
	DeadLetter
	Size    int // bytes that count for it: 512, its texts and its message. Of a Go value it is an estimate
	State   LetterState
	SentTo  string    // if State is LetterUnclear: the address at which it may have arrived
	Until   time.Time // if State is LetterUnclear: until when it can be sent again there
	Message any       // the message of this node's own program and actors, as the actor would have got it; nil if it came from another node
	Encoded *EncodedMessage
}

// EncodedMessage is a message of another node as it came, perhaps of a type that this node does
// not know.
type EncodedMessage struct {
	TypeID uint64
	Codec  uint8 // its id, as codec.IDMsgpack
	Body   []byte
}

// LetterState says what became of a kept letter so far.
type LetterState string

// The states of a kept letter.
const (
	LetterKept    LetterState = "kept"    // it reached nobody
	LetterSending LetterState = "sending" // a ResendLetter is sending it
	LetterUnclear LetterState = "unclear" // nobody can tell whether it has arrived where a ResendLetter has sent it
)

// String describes the letter, without its message, so that this does not get into a log.
func (k KeptLetter) String() string {
	return fmt.Sprintf("dead letter %s of %v, %s, to %s from %q: %s, %d bytes, because of %v", k.ID, k.Time, k.State, k.To, k.From, k.Type, k.Size, k.Reason)
}

// LogValue implements slog.LogValuer. It leaves the message out, as String does.
func (k KeptLetter) LogValue() slog.Value { return slog.StringValue(k.String()) }

// The errors of ResendLetter that are about the letter. Each is the cause of an *rpc.Error whose
// verdict is Unknown, because another attempt may have been accepted.
var (
	// ErrLetterGone: no letter has this id. There never was one, or it has arrived meanwhile, or
	// it was discarded or pushed out.
	ErrLetterGone = errors.New("actor: no such dead letter is kept")
	// ErrLetterBusy: another ResendLetter is sending it.
	ErrLetterBusy = errors.New("actor: the dead letter is being sent")
	// ErrLetterUnclear: it may have arrived at another address, or at an earlier start of the
	// node, or so long ago that its receiver would not recognise it. It would run twice.
	ErrLetterUnclear = errors.New("actor: the dead letter may have arrived")
)

// LetterFilter chooses among the kept letters. Its zero value lets all of them through, and each
// field that is set lets fewer through.
type LetterFilter struct {
	ID    string    // this one only
	Actor string    // address of the receiver, as in DeadLetter.To, or only its name if it is of this node
	Type  string    // as in DeadLetter.Type
	Code  rpc.Code  // of Reason
	Since time.Time // not before
	Until time.Time // before

	NewestFirst bool   // the order; default oldest first
	After       string // only those that follow the letter of this ID in that order, whether it is still there or not
	Limit       int    // how many at most; 0 is DefaultLetterPage for KeptLetters, and all for DiscardLetters
}

// KeptLetters lists kept letters, MaxLetterPage at most. The next page is that of a filter with
// After set to the ID of the last one.
func (s *System) KeptLetters(f LetterFilter) []KeptLetter {
	k := &s.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	found := k.store.list(f.at(s.cfg.Name))
	page := make([]KeptLetter, len(found))
	for i, l := range found {
		page[i] = KeptLetter{DeadLetter: l.DeadLetter, Size: l.size, State: l.stage.state(), Message: l.what.value, Encoded: l.what.encoded}
		if l.stage == letterUnclear {
			page[i].SentTo, page[i].Until = l.at.String(), l.expiry
		}
	}
	return page
}

// DiscardLetters removes the kept letters that f lets through, and returns how many. A letter
// that is being sent stays.
func (s *System) DiscardLetters(f LetterFilter) int {
	k := &s.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.store.discard(f.at(s.cfg.Name))
}

// at returns the filter with an address instead of the name of an actor on node.
func (f LetterFilter) at(node string) LetterFilter {
	if f.Actor != "" && !strings.Contains(f.Actor, "@") {
		f.Actor += "@" + node
	}
	return f
}

// keptLetters is a letterStore with a lock.
type keptLetters struct {
	mu    sync.Mutex // guards store, except for its limits
	store letterStore
}

// letterMessage is the message of a dead letter: a Go value, or what came from another node.
type letterMessage struct {
	value   any
	meta    *meta           // what a value carries; nil for nothing
	encoded *EncodedMessage // nil for a value
	came    *letterCame     // nil for a value
}

// letterCame is what a message from another node carries beside its body.
type letterCame struct {
	from    server.Arrival
	foreign bool       // its node has not proved its name
	meta    *wire.Meta // nil for nothing
}

// letterBase is what a letter takes in memory beside its texts and its message.
const letterBase = 512

// keep keeps the message in it, which is that of d, and gives d its id. body is the message if it
// came from another node. owner is the principal
// that is answerable for the memory of a message of which it is not known; empty: this node.
func (k *keptLetters) keep(d *DeadLetter, it item, body []byte, owner string) {
	limits := k.store.limits
	if limits.Letters == 0 || limits.Bytes == 0 {
		return
	}
	l := &letter{DeadLetter: *d, owner: owner, size: letterBase + len(d.To) + len(d.From) + len(d.Type) + len(d.Reason.Error())}
	in, encoded := it.msg.(*server.Inbound)
	switch {
	case !encoded:
		l.what = letterMessage{value: plainValue(it.msg), meta: it.meta.lasting()}
		l.size += sizeOf(l.what.value, limits.Bytes)
		if m := l.what.meta; m != nil {
			if m.arrival != nil {
				l.owner = m.arrival.Origin.Principal
			}
			l.size += sizeOf(m.headers, limits.Bytes)
		}
	case in.Cut():
		return // there was no room for its body
	default:
		l.what.came = &letterCame{from: in.Arrival(), foreign: in.From() == "", meta: in.Meta}
		if o := l.what.came.from.Origin; !o.Local {
			l.owner = o.Principal
		}
		l.size += len(body) + in.MetaSize()
		if l.size <= limits.Bytes {
			l.what.encoded = &EncodedMessage{in.TypeID, in.Codec, longcopy.Clone(body)}
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.store.add(l) {
		d.ID = l.ID
	}
}

// lasting returns what is kept of m with a message that nobody waits for; nil for nothing.
func (m *meta) lasting() *meta {
	if m == nil || m.sender.IsZero() && m.trace.IsZero() && len(m.headers) == 0 && m.arrival == nil {
		return nil
	}
	return &meta{sender: m.sender, trace: m.trace, headers: m.headers, arrival: m.arrival}
}
