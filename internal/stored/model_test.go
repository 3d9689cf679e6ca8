package stored_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/internal/stored"
	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/state/memory"
)

// The model: callers send copies of their requests to activations of one actor, one after another
// and several at a time, over a store that loses answers. The state of the actor is the list of the
// runs that have changed it, so it tells how often each request had its effect, and each answer
// carries the list that its handler has seen or left behind. TestModel judges:
//
//   - a request has its effect at most once, and exactly once if an answer says so;
//   - all answers to a request that tell of an effect, or that go to a key, are the same;
//   - every answer is true of one history: its list is the beginning of the list in the end, and has
//     everything that was known to any caller before the request was made;
//   - a run that was reported as NotRun has left no trace;
//   - every message of a run that is in the list has left, once for its name, in order, and no other;
//   - no record is larger than it may be.

// key is the actor of all tests.
var key = state.Key{Kind: "k", ID: "a"}

const firstToken = 10

// node is an activation and its shell.
type node struct {
	number int
	held   int // copies that the activation has to give back
	core   *stored.Activation[*copyOf]
	shell  string // the state as the shell has it
	lease  bool   // its node's lease is not over: only then answers leave that no commit proves
	dead   bool
	commit *stored.Commit // the one that has to be made, or was made
	result func()         // reports what became of it; nil: it was not made yet
	outbox []state.Message
}

// request is a request of a caller.
type request struct {
	id       int
	name     stored.Name
	what     string // "add", "odd", "fail", "big"
	floor    int    // so many runs were known to callers when it was made
	target   *node  // the last activation that it was sent to
	accepted string // the answer that the caller has taken
	effect   string // the answer of those that have to agree
	closed   bool   // it is not sent any more
	refused  bool   // there was no room for it, or it was withdrawn
}

func (r *request) key() bool { return !r.name.Expires.IsZero() }

// copyOf is one copy of a request that is on its way to an activation.
type copyOf struct {
	*request
	name stored.Name // with the mark of the time when it was sent
	to   *node
	run  string // of its handler; empty: it has not run
	held bool   // the activation has it
}

type world struct {
	t     *rapid.T
	store *memory.Store
	cfg   stored.Config
	now   time.Time

	nodes    []*node
	requests []*request
	copies   []*copyOf
	late     []func() // commits that are under way although their node knows nothing of them
	released bool     // the last node has given its claim back

	callers  []string // the current names of the callers
	counters []uint64
	clients  int
	keys     int
	runs     int
	known    int // length of the longest list that a caller has seen

	notRun  map[string]bool
	names   map[[2]uint64]string // of messages
	arrived map[string][]string  // messages by target
}

func newWorld(t *rapid.T) *world {
	w := &world{t: t, store: memory.New(memory.Config{}), now: time.Unix(1e9, 0), released: true,
		notRun: map[string]bool{}, names: map[[2]uint64]string{}, arrived: map[string][]string{}}
	w.cfg = stored.Config{TypeVersion: 1, MaxRecord: rapid.SampledFrom([]int{3000, 20000}).Draw(t, "max record"),
		Outcomes: rapid.IntRange(4, 60).Draw(t, "outcomes"), CallerOutcomes: rapid.IntRange(2, 20).Draw(t, "of a caller")}
	cfg, err := w.cfg.WithDefaults()
	if err != nil {
		t.Fatal(err)
	}
	w.cfg = cfg
	for range 3 {
		w.newCaller(len(w.callers))
	}
	w.activate()
	return w
}

func (w *world) newCaller(i int) {
	if i == len(w.callers) {
		w.callers, w.counters = append(w.callers, ""), append(w.counters, 0)
	}
	w.clients++
	w.callers[i], w.counters[i] = fmt.Sprintf("c%d", w.clients), 0
}

// activate begins a further activation. All before it have lost their lease by then.
func (w *world) activate() {
	for _, n := range w.nodes {
		n.lease = false
	}
	rec, rev, err := w.store.Load(context.Background(), key)
	if err != nil && !errors.Is(err, state.ErrNone) {
		w.t.Fatal(err)
	}
	n := &node{number: len(w.nodes), lease: true, shell: string(rec.State)}
	n.core, err = stored.New[*copyOf](&w.cfg, stored.Loaded{Key: key, Record: rec, Revision: rev, None: err != nil,
		Token: uint64(firstToken + n.number), Contested: !w.released, State: append([]byte{}, rec.State...)})
	if err != nil {
		w.t.Fatal(err)
	}
	n.outbox = n.core.Outbox()
	w.nodes, w.released = append(w.nodes, n), false
}

func (w *world) last() *node { return w.nodes[len(w.nodes)-1] }

// pickNode returns an activation, if possible one that lives.
func (w *world) pickNode() *node {
	var alive []*node
	for _, n := range w.nodes {
		if !n.dead {
			alive = append(alive, n)
		}
	}
	if len(alive) == 0 {
		return w.last()
	}
	return oneOf(w, "node", alive)
}

// pick returns a number below n. What rapid draws is mostly small, and this is not.
func (w *world) pick(what string, n int) int {
	return int(uint32(rapid.IntRange(0, 1<<12-1).Draw(w.t, what))*2654435761>>12) % n
}

// oneIn is true once in n times.
func (w *world) oneIn(n int, what string) bool { return w.pick(what, n) == n-1 }

func oneOf[T any](w *world, what string, all []T) T { return all[w.pick(what, len(all))] }

// actions are what may happen, with weights.
func (w *world) actions() (all []func()) {
	restless := oneOf(w, "restless", []int{3, 3, 12}) // how often the actor moves
	for _, a := range []struct {
		weight int
		do     func()
	}{
		{16, w.deliver}, {8, w.next}, {10, w.storeCommit}, {10, w.report}, {8, w.makeRequest}, {4, w.makeKey}, {3, w.resend}, {4, w.read},
		{2, w.lateCommit}, {4, w.send}, {1, func() { w.pickNode().core.Flush() }},
		{1, w.crash}, {restless, w.takeOver}, {2, w.overtaken}, {1, w.release}, {1, w.end}, {1, w.forget}, {1, w.time}, {1, w.giveUp},
	} {
		all = append(all, slices.Repeat([]func(){a.do}, a.weight)...)
	}
	return all
}

func (w *world) makeRequest() {
	i := w.pick("caller", len(w.callers))
	w.counters[i] += uint64(1 + w.pick("step", 2))
	w.add(stored.Name{Caller: w.callers[i], Counter: w.counters[i]})
}

func (w *world) makeKey() {
	w.keys++
	w.add(stored.Name{Caller: fmt.Sprintf("key %d", w.keys), Expires: w.now.Add(time.Duration(1+w.pick("seconds", 20)) * time.Second)})
}

func (w *world) add(n stored.Name) {
	what := oneOf(w, "what", []string{"add", "add", "odd", "odd", "fail", "big"})
	n.Print = uint64(len(w.requests))
	r := &request{id: len(w.requests), name: n, what: what, floor: w.known}
	w.requests = append(w.requests, r)
	w.copy(r, w.last())
}

// copy sends a copy of a request to an activation.
func (w *world) copy(r *request, to *node) {
	n := r.name
	if !r.key() {
		n.Below = n.Counter
		for _, o := range w.requests { // the lowest that is not over
			if o.name.Caller == n.Caller && o.accepted == "" && !o.closed {
				n.Below = min(n.Below, o.name.Counter)
			}
		}
	}
	r.target = to
	w.copies = append(w.copies, &copyOf{request: r, name: n, to: to})
}

// open returns the requests that have no answer yet.
func (w *world) open() (open []*request) {
	for _, r := range w.requests {
		if r.accepted == "" && !r.closed && r.what != "read" {
			open = append(open, r)
		}
	}
	return open
}

func (w *world) resend() {
	open := w.open()
	for _, r := range w.requests { // another process uses the same key
		if r.key() && !r.closed && r.accepted != "" {
			open = append(open, r)
		}
	}
	if len(open) > 0 {
		w.copy(oneOf(w, "request", open), w.pickNode()) // its caller may not know the last one
	}
}

func (w *world) giveUp() {
	if open := w.open(); len(open) > 0 && w.oneIn(4, "give up") {
		oneOf(w, "request", open).closed = true
	}
}

func (w *world) deliver() {
	if len(w.copies) == 0 {
		return
	}
	i := w.pick("copy", len(w.copies))
	c := w.copies[i]
	if w.oneIn(2, "gone") {
		w.copies = slices.Delete(w.copies, i, i+1)
	}
	w.handle(w.arrive(c))
}

// arrive is a copy that has arrived: at the activation that it was sent to, or at one that the same node
// has later. The latter never happens to a request whose caller has taken the answer that nothing was
// changed: it has sent the request nowhere else since, and a node knows its copies by their session.
func (w *world) arrive(c *copyOf) *copyOf {
	a := &copyOf{request: c.request, name: c.name, to: c.to}
	if to := w.pickNode(); to.number > c.to.number && (c.key() || !strings.HasPrefix(c.accepted, "no")) {
		a.to = to
	}
	return a
}

// handle has an activation handle a copy.
func (w *world) handle(c *copyOf) {
	n := c.to
	if n.dead {
		return
	}
	ad := n.core.Admit(c.name, c, w.now)
	switch ad.Decision {
	case stored.Replay:
		w.answer(n, c, ad.Outcome, c.key())
	case stored.Join:
		w.hold(c)
	case stored.Stale:
		if c.accepted == "" && !c.closed {
			w.t.Fatalf("request %d is stale, and its caller still waits", c.id)
		}
	case stored.Reused, stored.Invalid:
		w.t.Fatalf("request %d: %v", c.id, ad.Decision)
	}
	c.refused = ad.Decision == stored.Full
	if ad.Decision != stored.Run {
		return
	}
	var copies []*copyOf
	if w.oneIn(4, "copy meanwhile") {
		copies = append(copies, &copyOf{request: c.request, name: c.name, to: n})
		if d := n.core.Admit(c.name, copies[0], w.now).Decision; d != stored.Join {
			w.t.Fatalf("a copy of request %d, which runs: %v", c.id, d)
		}
	}
	if w.oneIn(16, "withdraw") {
		if joined := n.core.Withdraw(ad.Request); !slices.Equal(joined, copies) {
			w.t.Fatalf("%d copies have joined, want %d", len(joined), len(copies))
		}
		c.refused = true
		return
	}
	res, shell := w.run(c, n)
	fate, joined := n.core.Handled(c, ad.Request, res)
	if !slices.Equal(joined, copies) && fate != stored.Waits {
		w.t.Fatalf("%d copies have joined, want %d", len(joined), len(copies))
	}
	switch fate {
	case stored.Leaves:
		for _, c := range append(copies, c) {
			w.answer(n, c, encoded(c.name, res.Outcome), false)
		}
	case stored.Waits:
		n.shell = shell
		for _, c := range append(copies, c) {
			w.hold(c)
		}
	default:
		if c.what == "big" != (fate == stored.TooLarge) && fate != stored.TooLarge && fate != stored.Crowded {
			w.t.Fatalf("a request to %s: %v", c.what, fate)
		}
		c.refused = true
		w.provedNotRun(c)
		w.sameState(n)
	}
}

// hold notes that an activation has a copy, which it has to give back once.
func (w *world) hold(c *copyOf) {
	c.held = true
	c.to.held++
}

func (w *world) giveBack(c *copyOf) {
	if !c.held {
		w.t.Fatalf("a copy of request %d has come back twice", c.id)
	}
	c.held = false
	c.to.held--
}

// run runs a handler.
func (w *world) run(c *copyOf, n *node) (res stored.Result, shell string) {
	w.runs++
	c.run = fmt.Sprintf("%d.%d;", c.id, w.runs)
	odd := strings.Count(n.shell, ";")%2 == 1
	shell = n.shell
	switch {
	case c.what == "big":
		shell += c.run
		res.State = []byte(shell + strings.Repeat("!", w.cfg.MaxRecord-len(shell))) // there is no room for anything else
		return res, shell
	case c.what == "fail", c.what == "odd" && odd:
		res.Outcome.Message = "no"
	default:
		shell += c.run
		res.State = []byte(shell)
		for i := range c.id % 3 {
			res.Outbox = append(res.Outbox, state.Message{Verb: state.Tell, To: fmt.Sprint("t", i%2), Body: fmt.Appendf(nil, "%s%d", c.run, i)})
		}
	}
	if res.State == nil && w.runs%2 == 0 { // a shell may also hand over what is as it was
		res.State = append([]byte{}, n.shell...)
	}
	res.Outcome.Body = []byte(shell)
	return res, shell
}

// encoded is an outcome as an activation stores it.
func encoded(n stored.Name, o stored.Outcome) []byte { return stored.AppendOutcome(nil, n.Print, &o) }

// answer is a reply that leaves an activation, if its shell lets it. proved says that a commit has
// shown that the activation had its claim still.
func (w *world) answer(n *node, c *copyOf, body []byte, proved bool) {
	if !n.lease && !proved {
		return
	}
	o, print, err := stored.Parse(body)
	if err != nil || print != c.name.Print {
		w.t.Fatalf("the answer to request %d: fingerprint %d, %v", c.id, print, err)
	}
	r := c.request
	text := o.Message + "/" + string(o.Body)
	if seen := bytes.Count(o.Body, []byte(";")); seen < r.floor {
		w.t.Fatalf("request %d was answered %q by activation %d: %d runs were known before it was made", r.id, text, n.number, r.floor)
	}
	if o.Message == "" || r.key() {
		if r.effect == "" {
			r.effect = text
		}
		if r.effect != text || r.accepted != "" && r.accepted != text {
			w.t.Fatalf("request %d was answered %q by activation %d, and %q, %q before", r.id, text, n.number, r.effect, r.accepted)
		}
	} else if r.target != n { // the caller has sent it elsewhere since
		return
	}
	if r.accepted == "" && !r.closed {
		r.accepted = text
		w.known = max(w.known, bytes.Count(o.Body, []byte(";")))
	}
}

// read is a request whose handler only reads.
func (w *world) read() {
	n := w.last()
	if n.dead {
		return
	}
	r := &request{id: len(w.requests), what: "read", floor: w.known, target: n}
	r.name.Print = uint64(r.id)
	w.requests = append(w.requests, r)
	c := &copyOf{request: r, name: r.name, to: n, run: n.shell}
	switch fate, _ := n.core.Handled(c, nil, stored.Result{}); fate {
	case stored.Leaves:
		w.answerRead(n, c)
	case stored.Waits:
		w.hold(c)
	default:
		w.t.Fatalf("a read: %v", fate)
	}
}

func (w *world) answerRead(n *node, c *copyOf) {
	w.answer(n, c, encoded(c.name, stored.Outcome{Message: "read", Body: []byte(c.run)}), false)
}

// provedNotRun is a reply that says that a run has left no trace. It is sent again, or not.
func (w *world) provedNotRun(c *copyOf) {
	if c.closed = c.closed || c.what == "read" || c.what == "big"; c.what == "read" {
		return
	}
	if c.run != "" {
		w.notRun[c.run] = true
	}
}

// sameState has the shell take the state from the activation, which must be what it was.
func (w *world) sameState(n *node) {
	if _, data := n.core.State(); string(data) != n.shell {
		w.t.Fatalf("after a refusal the state is %q, want %q", data, n.shell)
	}
}

func (w *world) next() {
	n := w.pickNode()
	if n.dead {
		return
	}
	c, ok := n.core.Next(w.now)
	if !ok {
		return
	}
	if n.commit != nil {
		w.t.Fatalf("activation %d makes a second commit at once", n.number)
	}
	s := state.Stored{Key: key, Record: c.Record}
	if size := s.Size(); size > w.cfg.MaxRecord || !c.Again && size != n.core.Size() {
		w.t.Fatalf("a record of %d bytes, limit %d, counted as %d", size, w.cfg.MaxRecord, n.core.Size())
	}
	if c.Record.Token != uint64(firstToken+n.number) || c.Again == (c.Record.ID == state.ID{}) {
		w.t.Fatalf("token %d of activation %d, again %t, ID %v", c.Record.Token, n.number, c.Again, c.Record.ID)
	}
	if !c.Again {
		c.Record.ID = state.NewID() // as the store would draw it
	}
	c.Record = c.Record.Clone()
	n.commit = &c
}

// storeCommit is what becomes of a commit: it is stored or not, and its maker hears of that or not.
func (w *world) storeCommit() { w.storeCommitOf(w.pickNode()) }

func (w *world) storeCommitOf(n *node) {
	if n.dead || n.commit == nil || n.result != nil {
		return
	}
	c := n.commit
	commit := func() (state.Revision, error) {
		return w.store.Commit(context.Background(), key, c.Record, c.After)
	}
	unknown := &state.Error{Op: "commit", Key: key, Kind: state.ErrUnknown, ID: c.Record.ID}
	fate := oneOf(w, "fate", []string{"ok", "ok", "ok", "ok", "unknown", "lost", "lost", "full"})
	switch {
	case fate == "unknown":
		commit()
		n.result = func() { w.failed(n, unknown) }
	case fate == "lost":
		w.late = append(w.late, func() { commit() })
		n.result = func() { w.failed(n, unknown) }
	case fate == "full" && !c.Again: // what was made once may still be stored
		n.result = func() { w.failed(n, &state.Error{Op: "commit", Key: key, Kind: state.ErrFull, ID: c.Record.ID}) }
	default:
		rev, err := commit()
		n.result = func() {
			if err != nil {
				w.failed(n, err)
				return
			}
			w.committed(n, rev)
		}
	}
}

func (w *world) report() {
	if n := w.pickNode(); n.result != nil {
		w.reportTo(n)
	}
}

func (w *world) reportTo(n *node) {
	result := n.result
	n.commit, n.result = nil, nil
	if !n.dead {
		result()
	}
}

func (w *world) committed(n *node, rev state.Revision) {
	d := n.core.Committed(rev)
	for _, r := range d.Replies {
		w.giveBack(r.Handle)
		if r.Handle.what == "read" {
			w.answerRead(n, r.Handle)
			continue
		}
		o, _, _ := stored.Parse(r.Outcome)
		w.answer(n, r.Handle, r.Outcome, o.Message == "" || r.Handle.key()) // the outcome is in the commit, too
	}
	n.outbox = append(n.outbox, d.Send...)
}

func (w *world) failed(n *node, err error) {
	f := n.core.Failed(err)
	w.failure(n, f)
	switch f.Consequence {
	case stored.GoBack:
		_, data := n.core.State()
		n.shell = string(data)
	case stored.GiveUp:
		n.dead = true
	}
}

// failure takes what has failed out of an activation's hands.
func (w *world) failure(n *node, f stored.Failure[*copyOf]) {
	for _, c := range f.NotRun {
		w.giveBack(c)
		w.provedNotRun(c)
	}
	for _, c := range f.Unknown {
		w.giveBack(c)
	}
	if f.Consequence != stored.Again && n.held > 0 {
		w.t.Fatalf("%v, and the activation has %d copies still", f.Consequence, n.held)
	}
}

func (w *world) lateCommit() {
	if len(w.late) == 0 {
		return
	}
	i := w.pick("late", len(w.late))
	w.late[i]()
	if w.oneIn(2, "gone") {
		w.late = slices.Delete(w.late, i, i+1)
	}
}

// send sends the first message of an outbox.
func (w *world) send() {
	if n := w.pickNode(); !n.dead && len(n.outbox) > 0 {
		w.sendFrom(n, !w.oneIn(4, "answered"))
	}
}

func (w *world) sendFrom(n *node, answered bool) {
	m := n.outbox[0]
	name, content := [2]uint64{m.Since, uint64(m.Index)}, m.To+" "+string(m.Body)
	if was, ok := w.names[name]; !ok {
		w.names[name] = content
		w.arrived[m.To] = append(w.arrived[m.To], string(m.Body))
	} else if was != content {
		w.t.Fatalf("%v names %q and %q", name, was, content)
	}
	if answered {
		n.outbox = n.outbox[1:]
		if !n.core.Sent(m.Since, m.Index) {
			w.t.Fatalf("the activation does not know the message %v", name)
		}
	}
}

func (w *world) crash() {
	if n := w.pickNode(); w.oneIn(3, "crash") {
		w.kill(n)
	}
}

func (w *world) kill(n *node) {
	if c := n.commit; c != nil && n.result == nil && !n.dead {
		w.late = append(w.late, func() { w.store.Commit(context.Background(), key, c.Record, c.After) })
	}
	n.dead = true
}

func (w *world) takeOver() {
	if w.last().dead || w.oneIn(4, "take over") {
		w.activate()
	}
}

// overtaken has a commit come to the store when the successor has read what was there before.
func (w *world) overtaken() {
	if n := w.last(); !n.dead && n.commit != nil && n.result == nil {
		w.activate()
		w.storeCommitOf(n)
		w.reportTo(n)
		w.read()
	}
}

func (w *world) release() {
	if n := w.last(); !n.dead && n.lease && n.core.Quiet() {
		n.dead, w.released = true, true
	}
}

func (w *world) end() {
	if n := w.pickNode(); !n.dead && w.oneIn(4, "end") {
		w.kill(n)
		w.failure(n, n.core.End())
	}
}

// forget ends a caller. Nobody hands over copies of its requests any more.
func (w *world) forget() {
	if !w.oneIn(5, "forget") {
		return
	}
	i := w.pick("caller", len(w.callers))
	name := w.callers[i]
	w.newCaller(i)
	w.close(func(r *request) bool { return r.name.Caller == name })
	for _, n := range w.nodes {
		n.core.Forget(name)
	}
}

// close ends requests whose copies are not handed over any more.
func (w *world) close(which func(*request) bool) {
	for _, r := range w.requests {
		if which(r) {
			r.closed = true
		}
	}
	w.copies = slices.DeleteFunc(w.copies, func(c *copyOf) bool { return which(c.request) })
}

func (w *world) time() {
	w.now = w.now.Add(time.Duration(1+w.pick("seconds", 5)) * time.Second)
	for _, r := range w.requests { // late copies of it may still come
		r.closed = r.closed || r.key() && !w.now.Before(r.name.Expires)
	}
}

// finish ends what is under way, has every request answered, and judges.
func (w *world) finish() {
	for _, f := range w.late {
		if w.oneIn(2, "late in the end") {
			f()
		}
	}
	for _, n := range w.nodes {
		w.kill(n)
	}
	w.activate()
	n := w.last()
	settle := func() {
		for i := 0; !n.dead && i < 10; i++ {
			n.core.Flush()
			if c, ok := n.core.Next(w.now); ok {
				rev, err := w.store.Commit(context.Background(), key, c.Record, c.After)
				if err != nil {
					w.t.Fatalf("the last activation: %v", err)
				}
				w.committed(n, rev)
			}
			for len(n.outbox) > 0 {
				w.sendFrom(n, true)
			}
		}
		if n.core.Flush(); !n.core.Quiet() || n.held > 0 {
			w.t.Fatalf("the last activation is not quiet: it has %d copies", n.held)
		}
	}
	settle()
	for _, r := range w.open() {
		if r.what == "read" || r.what == "big" {
			continue
		}
		for range 5 { // it may have no room before others are acked, and may be withdrawn
			if r.accepted == "" {
				w.copy(r, n)
				w.handle(w.copies[len(w.copies)-1])
				settle()
			}
		}
		if r.accepted == "" && !r.refused {
			w.t.Fatalf("request %d has no answer, and nothing is in its way", r.id)
		}
	}
	for _, r := range w.requests { // another process uses the same key
		if r.key() && !r.closed {
			w.copy(r, n)
		}
	}
	for _, c := range w.copies {
		w.handle(w.arrive(c))
	}
	settle()
	w.judge()
}

func (w *world) judge() {
	rec, _, err := w.store.Load(context.Background(), key)
	if err != nil && !errors.Is(err, state.ErrNone) {
		w.t.Fatal(err)
	}
	list, sent := string(rec.State), map[string][]string{}
	effects := map[int]int{}
	for run := range strings.SplitSeq(strings.TrimSuffix(list, ";"), ";") {
		if run == "" {
			continue
		}
		if w.notRun[run+";"] {
			w.t.Errorf("run %s was reported as NotRun, and is in %q", run, list)
		}
		text, _, _ := strings.Cut(run, ".")
		id, _ := strconv.Atoi(text)
		effects[id]++
		for i := range id % 3 {
			to := fmt.Sprint("t", i%2)
			sent[to] = append(sent[to], fmt.Sprintf("%s;%d", run, i))
		}
	}
	for _, r := range w.requests {
		for _, text := range []string{r.accepted, r.effect} {
			message, seen, ok := strings.Cut(text, "/")
			switch want := ok && message == "" || r.effect != "" && strings.HasPrefix(r.effect, "/"); {
			case effects[r.id] > 1, text != "" && (effects[r.id] == 1) != want:
				w.t.Errorf("request %d was answered %q and has its effect %d times in %q", r.id, text, effects[r.id], list)
			case !strings.HasPrefix(list, seen):
				w.t.Errorf("request %d was answered %q, and in the end there is %q", r.id, text, list)
			}
		}
	}
	for _, to := range []string{"t0", "t1"} {
		if !slices.Equal(w.arrived[to], sent[to]) {
			w.t.Errorf("%s has got %q, want %q", to, w.arrived[to], sent[to])
		}
	}
}

func TestModel(t *testing.T) {
	if testing.Short() { // mutations, of which nobody reads the smallest run that shows them
		flag.Set("rapid.shrinktime", "0s")
	}
	for range 30 { // with seeds of its own each time
		rapid.Check(t, func(t *rapid.T) {
			w := newWorld(t)
			actions := w.actions()
			for range 20 + w.pick("steps", 180) {
				oneOf(w, "action", actions)()
				if err := w.last().core.Accounts(); err != nil {
					t.Fatal(err)
				}
			}
			w.finish()
		})
	}
}
