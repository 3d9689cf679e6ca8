package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// kind is the sort of an operation.
type kind string

const (
	call  kind = "call"
	ask   kind = "ask"
	tell  kind = "tell"
	acked kind = "acked tell"
)

// op is one operation, and what its caller was told.
type op struct {
	id     uint64
	kind   kind
	to     string // receiver, an actor's address
	stream string // who sent it: operations of one stream are sent one after the other
	n      int    // its place in the stream

	begun, due, ended time.Duration // virtual time; due: when it must have ended
	over              bool
	err               error
	reply             uint64 // id that the reply names
}

func (o *op) String() string {
	return fmt.Sprintf("%s %x (%s #%d) to %s, begun %v, due %v", o.kind, o.id, o.stream, o.n, o.to, o.begun, o.due)
}

// place is an operation's place in its stream.
type place struct {
	kind   kind
	stream string
	n      int
}

// truth knows what ran. It lives outside of all systems, and collects what is wrong.
type truth struct {
	start time.Time

	mu     sync.Mutex // guards what follows
	ran    map[uint64]int
	logs   map[string][]place // by receiver and its node's epoch: in the order of their handlers
	ops    []*op
	wrong  []string
	script []string // the transcript; nil: none is kept
	silent bool
}

func newTruth(silent bool) *truth {
	return &truth{start: time.Now(), ran: map[uint64]int{}, logs: map[string][]place{}, silent: silent}
}

// now is virtual time since the run began.
func (w *truth) now() time.Duration { return time.Since(w.start) }

// note adds a line to the transcript.
func (w *truth) note(format string, args ...any) {
	if w.silent {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteLocked(format, args...)
}

func (w *truth) noteLocked(format string, args ...any) {
	if !w.silent {
		w.script = append(w.script, fmt.Sprintf("%12v  %s", w.now(), fmt.Sprintf(format, args...)))
	}
}

// bad reports a violation.
func (w *truth) bad(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.badLocked(format, args...)
}

func (w *truth) badLocked(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.wrong = append(w.wrong, text)
	w.noteLocked("WRONG: %s", text)
}

// handled counts that the handler of an operation began.
func (w *truth) handled(receiver string, id uint64, p place) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ran[id]++
	w.noteLocked("  runs %x (%s #%d) on %s", id, p.stream, p.n, receiver)
	if w.ran[id] > 1 {
		w.badLocked("operation %x ran %d times, now on %s", id, w.ran[id], receiver)
	}
	if p.stream != "" {
		w.logs[receiver] = append(w.logs[receiver], p)
	}
}

// begin registers an operation that is about to be sent.
func (w *truth) begin(o *op) {
	o.begun = w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ops = append(w.ops, o)
	w.noteLocked("%s %x (%s #%d) to %s, due %v", o.kind, o.id, o.stream, o.n, o.to, o.due)
}

// end registers what the caller of an operation was told, and checks what must be
// true at that moment.
func (w *truth) end(o *op, reply uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o.ended, o.over, o.reply, o.err = w.now(), true, reply, err
	w.noteLocked("  end of %x: %v", o.id, outcome(o))
	w.verdictLocked(o, "when it ended")
	if answers := o.kind == call || o.kind == ask; answers && err == nil {
		if reply != o.id {
			w.badLocked("%v got the reply of %x", o, reply)
		}
		if w.ran[o.id] == 0 {
			w.badLocked("%v was answered before it ran", o)
		}
	}
	if err != nil && rpc.Ran(err) == rpc.HasRun && w.ran[o.id] == 0 {
		w.badLocked("%v did not run, and its caller was told that it had: %v", o, err)
	}
	if o.ended > o.due+slack {
		w.badLocked("%v ended at %v", o, o.ended)
	}
}

// slack is what an operation may be late at its caller, in virtual time.
const slack = 50 * time.Millisecond

func outcome(o *op) string {
	if o.err == nil {
		return "ok"
	}
	return fmt.Sprintf("%v, %v", o.err, rpc.Ran(o.err))
}

// verdictLocked checks what must hold from an operation's end for ever.
func (w *truth) verdictLocked(o *op, when string) {
	if o.err != nil && rpc.Ran(o.err) == rpc.NotRun && w.ran[o.id] != 0 {
		w.badLocked("%v ran (%s), and its caller was told that it never would: %v", o, when, o.err)
	}
}

// judge checks all operations once everything is over. inOrder says that the run had
// no fault that loses or overtakes a single message: then every stream's operations
// were handled in order; one-way messages always are.
func (w *truth) judge(inOrder bool, mayDrop func(*op) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.ops {
		if !o.over {
			w.badLocked("%v never ended", o)
			continue
		}
		w.verdictLocked(o, "in the end")
		if o.kind == acked && o.err == nil && w.ran[o.id] == 0 && !mayDrop(o) {
			w.badLocked("%v was said to be in the mailbox, and never ran", o)
		}
	}
	for _, receiver := range slices.Sorted(maps.Keys(w.logs)) {
		lastTell, last := map[string]int{}, map[string]int{}
		for _, p := range w.logs[receiver] {
			if p.kind == tell {
				if p.n < lastTell[p.stream] {
					w.badLocked("one-way message %s #%d ran after #%d on %s", p.stream, p.n, lastTell[p.stream], receiver)
				}
				lastTell[p.stream] = max(p.n, lastTell[p.stream])
			}
			if inOrder && p.n < last[p.stream] {
				w.badLocked("%s %s #%d ran after #%d on %s", p.kind, p.stream, p.n, last[p.stream], receiver)
			}
			last[p.stream] = max(p.n, last[p.stream])
		}
	}
}

// tally is what a run amounted to.
type tally struct {
	ops, ok, notRun, hasRun, unknown, ran int
}

func (w *truth) tally() (t tally) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t.ran = len(w.ran)
	for _, o := range w.ops {
		t.ops++
		switch {
		case o.err == nil:
			t.ok++
		case rpc.Ran(o.err) == rpc.NotRun:
			t.notRun++
		case rpc.Ran(o.err) == rpc.HasRun:
			t.hasRun++
		default:
			t.unknown++
		}
	}
	return t
}

// print stands for a run in comparisons: what every caller was told, and when, in the
// order in which they began.
func (w *truth) print() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var lines []string
	for _, o := range w.ops {
		lines = append(lines, fmt.Sprintf("%x %v %v %v %v %d", o.id, o.begun, o.ended, rpc.CodeOf(o.err), rpc.Ran(o.err), w.ran[o.id]))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
