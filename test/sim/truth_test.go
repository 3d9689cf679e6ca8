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
	from   string // node
	to     string // receiver, an actor's address
	key    string // and the receiver; empty for none
	rivals bool   // other payloads are sent under the key
	twice  bool   // it may run more than once
	anew   bool   // it may lose its place: it is hedged, or made anew
	stream string // who sent it: operations of one stream are sent one after the other
	n      int    // its place in the stream

	begun, due, ended time.Duration // virtual time; due: when it must have ended
	over              bool
	err               error
	reply             Done
	crashed           bool // it was under way to a durable actor when that was lost
}

func (o *op) String() string {
	return fmt.Sprintf("%s %x (%s #%d) to %s, begun %v, due %v", o.kind, o.id, o.stream, o.n, o.to, o.begun, o.due)
}

// turn is one run of a handler.
type turn struct {
	no      int
	id      uint64
	on      string // receiver, and its node's epoch
	key     string // and the receiver
	durable bool
	twice   bool
	note    bool // one-way: it is done when it is accepted
	again   int  // runs of the operation before

	begun, ended time.Duration
	asked        time.Duration // of a note: when it was first sent
	over         bool
}

// before reports whether r was so long ago that its key may be forgotten.
func (r *turn) before(o *turn, life time.Duration) bool {
	return r.over && o.begun >= r.ended+life || r.note && o.begun >= r.asked+life
}

// place is an operation's place in its stream.
type place struct {
	kind   kind
	stream string
	n      int
}

// truth knows what ran. It is outside of all systems, and collects errors.
type truth struct {
	start   time.Time
	plan    plan
	keyLife time.Duration

	mu     sync.Mutex // guards what follows
	ran    map[uint64]int
	runs   []*turn
	keys   map[string][]*turn
	told   map[string]*turn   // by key, and if that is not durable by the server's epoch: whose reply somebody got
	logs   map[string][]place // by receiver and its node's epoch: in the order of their handlers
	ops    []*op
	wrong  []string
	script []string // the transcript; nil: none is kept
	silent bool
}

func newTruth(silent bool) *truth {
	return &truth{start: time.Now(), ran: map[uint64]int{}, keys: map[string][]*turn{}, told: map[string]*turn{}, logs: map[string][]place{}, silent: silent}
}

// now returns the virtual time since the run began.
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
func (w *truth) handled(r *turn, p place) *turn {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.runs = append(w.runs, r)
	r.no, r.begun, r.again = len(w.runs), w.now(), w.ran[r.id]
	w.ran[r.id]++
	w.noteLocked("  runs %x (%s #%d) on %s", r.id, p.stream, p.n, r.on)
	switch {
	case r.key != "":
		w.keyRunsLocked(r)
	case w.ran[r.id] > 1 && !r.twice:
		w.badLocked("operation %x ran %d times, now on %s", r.id, w.ran[r.id], r.on)
	}
	if p.stream != "" {
		w.logs[r.on] = append(w.logs[r.on], p)
	}
	return r
}

// keyRunsLocked checks that the request of a key runs once while its server remembers the key:
// as long as the server or its store lives, and for a while after the request is done.
func (w *truth) keyRunsLocked(r *turn) {
	for _, o := range w.keys[r.key] {
		if (r.durable || o.on == r.on) && !o.before(r, w.keyLife) {
			w.badLocked("key %s of a %s actor: %x ran on %s after %x had run on %s", r.key, map[bool]string{true: "durable", false: "volatile"}[r.durable], r.id, r.on, o.id, o.on)
		}
	}
	for _, o := range w.ops {
		if r.note && o.id == r.id {
			r.asked = o.begun
			break
		}
	}
	w.keys[r.key] = append(w.keys[r.key], r)
}

// handledUntil notes that a handler has ended.
func (w *truth) handledUntil(r *turn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.ended, r.over = w.now(), true
}

// crashed notes that a node is lost, for the requests that are outstanding at its durable
// actors.
func (w *truth) crashed(node string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.ops {
		actor, at, _ := strings.Cut(o.to, "@")
		if !o.over && at == node && o.from != node && (o.kind == call || o.kind == ask) && w.plan.durable(actor, node) {
			o.crashed = true
		}
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
func (w *truth) end(o *op, reply Done, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o.ended, o.over, o.reply, o.err = w.now(), true, reply, err
	w.noteLocked("  end of %x: %v", o.id, outcome(o))
	w.verdictLocked(o, "when it ended")
	if answers := o.kind == call || o.kind == ask; answers && err == nil {
		w.replyLocked(o)
	}
	reused := rpc.CodeOf(err) == rpc.IDReused // then the verdict is on the request that has the key
	if err != nil && rpc.Ran(err) == rpc.HasRun && w.ran[o.id] == 0 && !(reused && len(w.keys[o.key]) > 0) {
		w.badLocked("%v did not run, and its caller was told that it had: %v", o, err)
	}
	if reused && !o.rivals {
		w.badLocked("%v was refused for another request that there is not: %v", o, err)
	}
	if reused && rpc.Ran(err) == rpc.NotRun {
		w.badLocked("%v was refused for another request, and its caller was told that nothing ran: %v", o, err)
	}
	if o.ended > o.due+slack {
		w.badLocked("%v ended at %v", o, o.ended)
	}
}

// replyLocked checks that a reply belongs to the operation or, if it has a key, to the one run
// that the key has had.
func (w *truth) replyLocked(o *op) {
	switch {
	case o.reply.ID != o.id && o.key != "":
		w.badLocked("%v was answered under its key with the reply of %x", o, o.reply.ID)
	case o.reply.ID != o.id:
		w.badLocked("%v got the reply of %x", o, o.reply.ID)
	case w.ran[o.id] == 0:
		w.badLocked("%v was answered before it ran", o)
	case o.reply.Run < 1 || o.reply.Run > len(w.runs) || w.runs[o.reply.Run-1].id != o.id:
		w.badLocked("%v got the reply of a run that it has not had: %d", o, o.reply.Run)
	case o.key != "":
		r := w.runs[o.reply.Run-1]
		memory := r.key
		if !r.durable {
			memory += " on " + r.on
		}
		if first := w.told[memory]; first == nil || first.before(r, w.keyLife) {
			w.told[memory] = r
		} else if first != r {
			w.badLocked("%v got the reply of run %d under its key, and another one that of run %d", o, r.no, first.no)
		}
	}
}

// slack is how late an operation may end at its caller, in virtual time.
const slack = 50 * time.Millisecond

func outcome(o *op) string {
	if o.err == nil {
		return "ok"
	}
	return fmt.Sprintf("%v, %v", o.err, rpc.Ran(o.err))
}

// verdictLocked checks what must be true forever once an operation has ended.
func (w *truth) verdictLocked(o *op, when string) {
	if o.err != nil && rpc.Ran(o.err) == rpc.NotRun && w.ran[o.id] != 0 && o.key == "" {
		w.badLocked("%v ran (%s), and its caller was told that it never would: %v", o, when, o.err)
	}
}

// judge checks all operations when everything is over. inOrder says that the run had no fault
// that loses a single message or lets one overtake another: then the operations of every stream
// were handled in order, if mixed is set also requests among one-way messages. One-way messages
// are always in order among themselves.
func (w *truth) judge(inOrder, mixed bool, mayDrop func(*op) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	perhaps := map[uint64]bool{} // by id under a key: somebody was told that it ran, or that nobody knows
	for _, o := range w.ops {
		perhaps[o.id] = perhaps[o.id] || o.err == nil || rpc.Ran(o.err) != rpc.NotRun
	}
	for _, o := range w.ops {
		if !o.over {
			w.badLocked("%v never ended", o)
			continue
		}
		w.verdictLocked(o, "in the end")
		if o.key != "" && !perhaps[o.id] && w.ran[o.id] != 0 {
			w.badLocked("%v ran, and all who sent it under its key were told that it never would: %v", o, o.err)
		}
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
			if !inOrder || p.kind == tell && !mixed {
				continue
			}
			if p.n < last[p.stream] {
				w.badLocked("%s %s #%d ran after #%d on %s", p.kind, p.stream, p.n, last[p.stream], receiver)
			}
			last[p.stream] = max(p.n, last[p.stream])
		}
	}
}

// tally counts what happened in a run.
type tally struct {
	ops, ok, notRun, hasRun, unknown, ran int

	keyed, reused int
	lost          crashes // under way to durable actors whose stores do not fail, when those were lost
}

// crashes counts the requests that were outstanding when servers were lost, by how they ended.
type crashes struct{ known, notRun, started, unstarted, gaveUp int }

func (w *truth) tally() (t tally) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t.ran = len(w.ran)
	for _, o := range w.ops {
		t.ops++
		verdict := rpc.Ran(o.err)
		switch {
		case o.err == nil:
			t.ok++
		case verdict == rpc.NotRun:
			t.notRun++
		case verdict == rpc.HasRun:
			t.hasRun++
		default:
			t.unknown++
		}
		if o.key != "" {
			t.keyed++
		}
		if rpc.CodeOf(o.err) == rpc.IDReused {
			t.reused++
		}
		if !o.crashed || !w.plan.sound() {
			continue
		}
		switch code := rpc.CodeOf(o.err); {
		case o.err == nil || verdict == rpc.HasRun:
			t.lost.known++
		case verdict == rpc.NotRun:
			t.lost.notRun++
		case code == rpc.Expired || code == rpc.Canceled:
			t.lost.gaveUp++
		case w.ran[o.id] > 0:
			t.lost.started++
		default:
			t.lost.unstarted++
		}
	}
	return t
}

// print is what is compared of two runs: what every caller was told, and when, in the order in
// which the operations began.
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
