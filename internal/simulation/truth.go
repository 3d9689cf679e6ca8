package simulation

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// Kind is the sort of an operation.
type Kind string

// The kinds of operations: requests whose caller waits at once or later, one-way messages, and
// those whose sender is told that they are in the mailbox.
const (
	Call  Kind = "call"
	Ask   Kind = "ask"
	Tell  Kind = "tell"
	Acked Kind = "acked tell"
)

// Op is one operation, and what its caller was told.
type Op struct {
	ID     uint64
	Kind   Kind
	From   string // node
	To     string // receiver, an actor's address
	Key    string // and the receiver; empty for none
	Rivals bool   // other payloads are sent under the key
	Twice  bool   // it may run more than once
	Anew   bool   // it may lose its place: it is hedged, or made anew
	Stream string // who sent it: operations of one stream are sent one after the other
	N      int    // its place in the stream

	Begun, Due, Ended time.Duration // virtual time; due: when it must have ended
	Over              bool
	Err               error
	Reply             *Reply // nil: there is none, or it does not say whose it is
	Crashed           bool   // it was under way to a durable actor when that was lost
}

func (o *Op) String() string {
	return fmt.Sprintf("%s %x (%s #%d) to %s, begun %v, due %v", o.Kind, o.ID, o.Stream, o.N, o.To, o.Begun, o.Due)
}

// Reply says which run of which operation it is the result of.
type Reply struct {
	ID  uint64
	Run int // Turn.No
}

// Turn is one run of a handler.
type Turn struct {
	No      int // Handled sets it: no two have the same
	ID      uint64
	On      string // receiver, and its node's epoch
	Key     string // and the receiver
	Durable bool
	Twice   bool
	Note    bool // one-way: it is done when it is accepted
	Again   int  // runs of the operation before

	Begun, Ended time.Duration
	Asked        time.Duration // of a note: when it was first sent
	Over         bool
}

// before reports whether r was so long ago that its key may be forgotten.
func (r *Turn) before(o *Turn, life time.Duration) bool {
	return r.Over && o.Begun >= r.Ended+life || r.Note && o.Begun >= r.Asked+life
}

// Place is an operation's place in its stream.
type Place struct {
	Kind   Kind
	Stream string
	N      int
}

// Truth knows what ran. It is outside of all systems, and collects errors. Its methods may be
// called concurrently; its exported fields are set before the run.
type Truth struct {
	Start   time.Time
	KeyLife time.Duration                 // how long a key is good after its request is done
	Durable func(actor, node string) bool // whether an actor keeps records; nil: none does

	mu     sync.Mutex // guards what follows
	ran    map[uint64]int
	runs   []*Turn
	keys   map[string][]*Turn
	told   map[string]*Turn   // by key, and if that is not durable by the server's epoch: whose reply somebody got
	logs   map[string][]Place // by receiver and its node's epoch: in the order of their handlers
	ops    []*Op
	wrong  []string
	script []string // the transcript; nil: none is kept
	silent bool
}

// NewTruth returns the truth of a run that begins now. A silent one keeps no transcript.
func NewTruth(silent bool) *Truth {
	return &Truth{Start: time.Now(), ran: map[uint64]int{}, keys: map[string][]*Turn{}, told: map[string]*Turn{}, logs: map[string][]Place{}, silent: silent}
}

// Now returns the virtual time since the run began.
func (w *Truth) Now() time.Duration { return time.Since(w.Start) }

// Note adds a line to the transcript.
func (w *Truth) Note(format string, args ...any) {
	if w.silent {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noteLocked(format, args...)
}

func (w *Truth) noteLocked(format string, args ...any) {
	if !w.silent {
		w.script = append(w.script, fmt.Sprintf("%12v  %s", w.Now(), fmt.Sprintf(format, args...)))
	}
}

// Bad reports a violation.
func (w *Truth) Bad(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.badLocked(format, args...)
}

func (w *Truth) badLocked(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	w.wrong = append(w.wrong, text)
	w.noteLocked("WRONG: %s", text)
}

// Handled counts that the handler of an operation began.
func (w *Truth) Handled(r *Turn, p Place) *Turn {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.runs = append(w.runs, r)
	r.No, r.Begun, r.Again = len(w.runs), w.Now(), w.ran[r.ID]
	w.ran[r.ID]++
	w.noteLocked("  runs %x (%s #%d) on %s", r.ID, p.Stream, p.N, r.On)
	switch {
	case r.Key != "":
		w.keyRunsLocked(r)
	case w.ran[r.ID] > 1 && !r.Twice:
		w.badLocked("operation %x ran %d times, now on %s", r.ID, w.ran[r.ID], r.On)
	}
	if p.Stream != "" {
		w.logs[r.On] = append(w.logs[r.On], p)
	}
	return r
}

// keyRunsLocked checks that the request of a key runs once while its server remembers the key:
// as long as the server or its store lives, and for a while after the request is done.
func (w *Truth) keyRunsLocked(r *Turn) {
	for _, o := range w.keys[r.Key] {
		if (r.Durable || o.On == r.On) && !o.before(r, w.KeyLife) {
			w.badLocked("key %s of a %s actor: %x ran on %s after %x had run on %s", r.Key, map[bool]string{true: "durable", false: "volatile"}[r.Durable], r.ID, r.On, o.ID, o.On)
		}
	}
	for _, o := range w.ops {
		if r.Note && o.ID == r.ID {
			r.Asked = o.Begun
			break
		}
	}
	w.keys[r.Key] = append(w.keys[r.Key], r)
}

// HandledUntil notes that a handler has ended.
func (w *Truth) HandledUntil(r *Turn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.Ended, r.Over = w.Now(), true
}

// Crashed notes that a node is lost, for the requests that are outstanding at its durable
// actors.
func (w *Truth) Crashed(node string) {
	if w.Durable == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.ops {
		actor, at, _ := strings.Cut(o.To, "@")
		if !o.Over && at == node && o.From != node && (o.Kind == Call || o.Kind == Ask) && w.Durable(actor, node) {
			o.Crashed = true
		}
	}
}

// Begin registers an operation that is about to be sent.
func (w *Truth) Begin(o *Op) {
	o.Begun = w.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ops = append(w.ops, o)
	w.noteLocked("%s %x (%s #%d) to %s, due %v", o.Kind, o.ID, o.Stream, o.N, o.To, o.Due)
}

// End registers what the caller of an operation was told, and checks what must be
// true at that moment.
func (w *Truth) End(o *Op, reply *Reply, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	o.Ended, o.Over, o.Reply, o.Err = w.Now(), true, reply, err
	w.noteLocked("  end of %x: %v", o.ID, outcome(o))
	w.verdictLocked(o, "when it ended")
	if answers := o.Kind == Call || o.Kind == Ask; answers && err == nil && reply != nil {
		w.replyLocked(o)
	}
	reused := rpc.CodeOf(err) == rpc.IDReused // then the verdict is on the request that has the key
	if err != nil && rpc.Ran(err) == rpc.HasRun && w.ran[o.ID] == 0 && !(reused && len(w.keys[o.Key]) > 0) {
		w.badLocked("%v did not run, and its caller was told that it had: %v", o, err)
	}
	if reused && !o.Rivals {
		w.badLocked("%v was refused for another request that there is not: %v", o, err)
	}
	if reused && rpc.Ran(err) == rpc.NotRun {
		w.badLocked("%v was refused for another request, and its caller was told that nothing ran: %v", o, err)
	}
	if o.Ended > o.Due+Slack {
		w.badLocked("%v ended at %v", o, o.Ended)
	}
}

// replyLocked checks that a reply belongs to the operation or, if it has a key, to the one run
// that the key has had.
func (w *Truth) replyLocked(o *Op) {
	switch {
	case o.Reply.ID != o.ID && o.Key != "":
		w.badLocked("%v was answered under its key with the reply of %x", o, o.Reply.ID)
	case o.Reply.ID != o.ID:
		w.badLocked("%v got the reply of %x", o, o.Reply.ID)
	case w.ran[o.ID] == 0:
		w.badLocked("%v was answered before it ran", o)
	case o.Reply.Run < 1 || o.Reply.Run > len(w.runs) || w.runs[o.Reply.Run-1].ID != o.ID:
		w.badLocked("%v got the reply of a run that it has not had: %d", o, o.Reply.Run)
	case o.Key != "":
		r := w.runs[o.Reply.Run-1]
		memory := r.Key
		if !r.Durable {
			memory += " on " + r.On
		}
		if first := w.told[memory]; first == nil || first.before(r, w.KeyLife) {
			w.told[memory] = r
		} else if first != r {
			w.badLocked("%v got the reply of run %d under its key, and another one that of run %d", o, r.No, first.No)
		}
	}
}

// Slack is how late an operation may end at its caller, in virtual time.
const Slack = 50 * time.Millisecond

func outcome(o *Op) string {
	if o.Err == nil {
		return "ok"
	}
	return fmt.Sprintf("%v, %v", o.Err, rpc.Ran(o.Err))
}

// verdictLocked checks what must be true forever once an operation has ended.
func (w *Truth) verdictLocked(o *Op, when string) {
	if o.Err != nil && rpc.Ran(o.Err) == rpc.NotRun && w.ran[o.ID] != 0 && o.Key == "" {
		w.badLocked("%v ran (%s), and its caller was told that it never would: %v", o, when, o.Err)
	}
}

// Judge checks all operations when everything is over. inOrder says that the run had no fault
// that loses a single message or lets one overtake another: then the operations of every stream
// were handled in order, if mixed is set also requests among one-way messages. One-way messages
// are always in order among themselves.
func (w *Truth) Judge(inOrder, mixed bool, mayDrop func(*Op) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	perhaps := map[uint64]bool{} // by id under a key: somebody was told that it ran, or that nobody knows
	for _, o := range w.ops {
		perhaps[o.ID] = perhaps[o.ID] || o.Err == nil || rpc.Ran(o.Err) != rpc.NotRun
	}
	for _, o := range w.ops {
		if !o.Over {
			w.badLocked("%v never ended", o)
			continue
		}
		w.verdictLocked(o, "in the end")
		if o.Key != "" && !perhaps[o.ID] && w.ran[o.ID] != 0 {
			w.badLocked("%v ran, and all who sent it under its key were told that it never would: %v", o, o.Err)
		}
		if o.Kind == Acked && o.Err == nil && w.ran[o.ID] == 0 && !mayDrop(o) {
			w.badLocked("%v was said to be in the mailbox, and never ran", o)
		}
	}
	for _, receiver := range slices.Sorted(maps.Keys(w.logs)) {
		lastTell, last := map[string]int{}, map[string]int{}
		for _, p := range w.logs[receiver] {
			if p.Kind == Tell {
				if p.N < lastTell[p.Stream] {
					w.badLocked("one-way message %s #%d ran after #%d on %s", p.Stream, p.N, lastTell[p.Stream], receiver)
				}
				lastTell[p.Stream] = max(p.N, lastTell[p.Stream])
			}
			if !inOrder || p.Kind == Tell && !mixed {
				continue
			}
			if p.N < last[p.Stream] {
				w.badLocked("%s %s #%d ran after #%d on %s", p.Kind, p.Stream, p.N, last[p.Stream], receiver)
			}
			last[p.Stream] = max(p.N, last[p.Stream])
		}
	}
}

// Print is what is compared of two runs: what every caller was told, and when, in the order in
// which the operations began.
func (w *Truth) Print() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var lines []string
	for _, o := range w.ops {
		lines = append(lines, fmt.Sprintf("%x %v %v %v %v %d", o.ID, o.Begun, o.Ended, rpc.CodeOf(o.Err), rpc.Ran(o.Err), w.ran[o.ID]))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// Ops calls fn with each operation, and how often it ran, in the order in which they began.
func (w *Truth) Ops(fn func(o *Op, ran int)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.ops {
		fn(o, w.ran[o.ID])
	}
}

// Ran returns how many operations ran.
func (w *Truth) Ran() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.ran)
}

// Wrong returns what is wrong until now.
func (w *Truth) Wrong() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.wrong)
}

// Script returns the transcript until now.
func (w *Truth) Script() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.script)
}

// Silent reports whether no transcript is kept.
func (w *Truth) Silent() bool { return w.silent }
