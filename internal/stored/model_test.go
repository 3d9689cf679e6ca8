package stored_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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
