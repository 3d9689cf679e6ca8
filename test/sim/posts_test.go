package sim

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/deadletter"
	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
)

// Mail is a reliable message. Its ID is the ground truth.
type Mail struct {
	ID   uint64
	Work time.Duration // that its handler takes
	Fail bool          // the handler panics afterwards
}

// postboxes is the receivers of reliable messages on every node, with their mailboxes.
var postboxes = []struct {
	name string
	box  mailbox.Config
}{
	{"post", mailbox.Config{}},
	{"slot", mailbox.Config{Capacity: 1, Policy: mailbox.Refuse}},
	{"chute", mailbox.Config{Capacity: 1, Policy: mailbox.DropOldest}},
}

// postbox is one of them.
type postbox struct{ w *world }

func (b postbox) mail(ctx *actor.Context, m Mail) error {
	b.w.posts.handles(b.w, m.ID, address(ctx))
	work(ctx, m.Work, false)
	if m.Fail {
		panic("a panic was asked for")
	}
	return nil
}

func (w *world) postKind() *actor.Kind {
	return actor.Define("sim.post", func() postbox { return postbox{w} }, actor.Handle(postbox.mail)).With(lively())
}

// spawnPosts starts the receivers of a node, and writes down what its outbox gives up.
func (w *world) spawnPosts(sys *actor.System) error {
	if !w.plan.Lives.Posts {
		return nil
	}
	for _, b := range postboxes {
		if _, err := sys.Spawn(b.name, w.postKind(), actor.Mailbox(b.box)); err != nil {
			return err
		}
	}
	letters, events := sys.DeadLetters(context.Background()), sys.Events(context.Background(), actor.MessageGivenUp)
	w.posts.watching.Go(func() {
		for l := range letters {
			w.posts.dead(w, sys, l)
		}
	})
	w.posts.watching.Go(func() {
		for e := range events {
			w.posts.givesUp(sys, int(e.Lost)+1)
		}
	})
	return nil
}

// mailing is what became of a reliable message.
type mailing struct {
	id      uint64 // of one caller, later ones have larger ones
	from    *simulation.Life
	to      string
	limited bool // it was to be given up after some time
	told    bool
	err     error // that its sender got
	ran     int
	letters int // dead ones
	verdict rpc.Verdict
	code    rpc.Code
}

// mailLine is what one caller sends to one actor, while a start of its node lives.
type mailLine struct {
	from   *simulation.Life
	caller uint64
	to     string
}

func (m *mailing) line() mailLine { return mailLine{m.from, m.id >> 32, m.to} }

// postsTruth knows what became of reliable messages.
type postsTruth struct {
	watching sync.WaitGroup // those who read what systems give up

	mu     sync.Mutex // guards what follows
	all    map[uint64]*mailing
	events map[*actor.System]int // of messages that were given up
	latest map[mailLine]uint64   // that was handled
	held   *mailing              // of a cheat
}

// mail sends a reliable message, or several, or has a receiver stopped for a while.
func (c *caller) mail() {
	if draw.Chance(c.r, 0.05) {
		c.closePost(draw.Pick(c.r, "post", "slot"), draw.Span(c.r, 0, 3*time.Second))
		return
	}
	to := draw.Pick(c.r, "post", "slot", "chute") + "@" + c.anyNode().Name
	for range draw.Pick(c.r, 1, 1, 3, 12) {
		c.mailTo(to)
	}
}

func (c *caller) mailTo(to string) {
	m := Mail{ID: c.id(), Work: draw.Pick(c.r, 0, 0, draw.Span(c.r, 0, 50*time.Millisecond), draw.Span(c.r, 0, time.Second)), Fail: draw.Chance(c.r, 0.03)}
	var opts []rpc.Option
	limited := draw.Chance(c.r, 0.15)
	if limited {
		opts = append(opts, actor.KeepFor(draw.Span(c.r, time.Millisecond, 10*time.Second)))
	}
	t, at := &c.w.posts, to
	if c.w.cheats("a letter waits for ever") && m.ID%8 == 3 {
		at = "nobody@" + nodeOf(to)
	}
	t.mu.Lock()
	if t.all == nil {
		t.all, t.events, t.latest = map[uint64]*mailing{}, map[*actor.System]int{}, map[mailLine]uint64{}
	}
	t.all[m.ID] = &mailing{id: m.ID, from: c.life, to: to, limited: limited}
	t.mu.Unlock()
	err := actor.TellReliably(context.Background(), c.life.Sys.Ref(at), m, opts...)
	if c.w.cheats("a letter is called refused") && m.ID%8 == 3 {
		err = rpc.Errorf(rpc.Overloaded, rpc.NotRun, "a lie")
	}
	c.w.truth.Note("mail %x to %s: %v", m.ID, to, err)
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.all[m.ID]
	p.told, p.err = true, err
	switch {
	case c.w.cheats("a letter is called given up") && m.ID%8 == 3:
		p.letters, p.verdict, p.code = 1, rpc.NotRun, rpc.Unavailable
	case c.w.cheats("a letter is given up without cause"):
		p.letters, p.verdict, p.code, p.limited = 1, rpc.Unknown, rpc.OutcomeUnknown, false
	}
}

// closePost stops a receiver of the caller's node, and starts it again after a while.
func (c *caller) closePost(name string, away time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := c.life.Sys.Stop(ctx, c.life.Sys.Ref(name))
	c.w.truth.Note("%s@%s is stopped for %v: %v", name, c.home.Name, away, err)
	time.Sleep(away)
	for _, b := range postboxes {
		if b.name == name {
			_, err := c.life.Sys.Spawn(name, c.w.postKind(), actor.Mailbox(b.box)) // it may not have ended, or the node has
			c.w.truth.Note("%s@%s is there again: %v", name, c.home.Name, err)
		}
	}
}

// handles notes that a handler begins.
func (t *postsTruth) handles(w *world, id uint64, on string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case w.cheats("a letter is forgotten") && id%8 == 3:
		return
	case w.cheats("a letter is handled twice") && id%8 == 3:
		t.runs(w, id, on)
	case w.cheats("letters change places") && t.held == nil:
		t.held = t.all[id]
		return
	case w.cheats("letters change places"):
		defer t.runs(w, t.held.id, on)
		defer func() { t.held = nil }()
	}
	t.runs(w, id, on)
}

// runs checks that a message has not run, and none that was sent after it. t.mu is held.
func (t *postsTruth) runs(w *world, id uint64, on string) {
	w.truth.Note("mail %x runs on %s", id, on)
	m := t.all[id]
	if m.ran++; m.ran > 1 {
		w.truth.Bad("mail %x to %s ran %d times", id, m.to, m.ran)
	}
	l := m.line()
	if id < t.latest[l] && w.isUp(on) { // otherwise an earlier start still does what its successor cannot know of
		w.truth.Bad("mail %x to %s was handled after %x", id, m.to, t.latest[l])
	}
	t.latest[l] = max(id, t.latest[l])
}

// dead notes a dead letter of a system's outbox.
func (t *postsTruth) dead(w *world, sys *actor.System, l actor.DeadLetter) {
	var m Mail
	kept := sys.KeptLetters(deadletter.Filter{ID: l.ID})
	if len(kept) != 1 || kept[0].Encoded == nil || msgpack.Unmarshal(kept[0].Encoded.Body, &m) != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.all[m.ID]
	if p == nil || p.from.Sys != sys || w.cheats("a letter is given up in silence") {
		return
	}
	w.truth.Note("mail %x to %s is given up: %v", m.ID, p.to, l.Reason)
	p.letters++
	p.verdict, p.code = rpc.Ran(l.Reason), rpc.CodeOf(l.Reason)
}

func (t *postsTruth) givesUp(sys *actor.System, n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.events[sys] += n
}

// delivered checks that no outbox has forgotten anything, when there have been no faults for a while.
func (w *world) delivered() {
	for _, n := range w.Nodes {
		if st := n.Live().Sys.Stats().Outbox; st.Waiting > 0 {
			w.truth.Bad("the outbox of %s still has %d messages, for %d actors", n.Name, st.Waiting, st.Targets)
		}
	}
}

// outboxPage is how much memory an actor's node keeps at most of each outbox that has sent to the actor, for a
// day: in memory, and of its record.
const outboxPage = 384

// remembers is how many bytes a node may still keep of outboxes.
func (t *postsTruth) remembers(w *world, node string) int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	type pair struct {
		from *simulation.Life
		to   string
	}
	pairs := map[pair]bool{}
	for _, m := range t.all {
		if nodeOf(m.to) == node {
			pairs[pair{m.from, m.to}] = true
		}
	}
	principals := 1
	if w.plan.Strangers { // the same node is another one on each road
		principals = len(w.plan.Roads) + 1
	}
	return int64(len(pairs) * outboxPage * principals)
}

// judge is called when all systems are shut down.
func (t *postsTruth) judge(w *world) {
	t.watching.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	given := map[*actor.System]int{}
	for _, m := range t.all {
		given[m.from.Sys] += m.letters
		ran, mayRun := m.ran > 0, m.letters == 0 || m.verdict != rpc.NotRun
		switch {
		case !m.told:
			w.truth.Bad("mail %x to %s: its sender was never told whether it is kept", m.id, m.to)
		case m.err != nil && rpc.Ran(m.err) != rpc.NotRun:
			w.truth.Bad("mail %x to %s was not kept, and its sender does not know that: %v", m.id, m.to, m.err)
		case m.err != nil && (ran || m.letters > 0):
			w.truth.Bad("mail %x to %s was refused, and ran %d times, with %d dead letters", m.id, m.to, m.ran, m.letters)
		case m.err == nil && !ran && m.letters == 0:
			w.truth.Bad("mail %x to %s was kept, and is forgotten", m.id, m.to)
		case m.letters > 1:
			w.truth.Bad("mail %x to %s has %d dead letters", m.id, m.to, m.letters)
		case ran && !mayRun:
			w.truth.Bad("mail %x to %s was given up as not run, and ran", m.id, m.to)
		case m.letters > 0 && m.verdict == rpc.HasRun:
			w.truth.Bad("mail %x to %s was given up, and its sender was told that it ran", m.id, m.to)
		case m.letters > 0 && !m.limited && m.code == rpc.OutcomeUnknown && !t.lost(w, m) && !w.plan.Strangers: // what has come from another principal is not recognised, and so not known
			w.truth.Bad("mail %x to %s was given up, and its node was not lost: %v %v", m.id, m.to, m.code, m.verdict)
		}
	}
	for sys, n := range t.events {
		if n != given[sys] {
			w.truth.Bad("%d events say that a message was given up by %s, and there are %d dead letters", n, sys.Name(), given[sys])
		}
	}
}

// lost reports whether a start of a message's node has ended.
func (t *postsTruth) lost(w *world, m *mailing) bool {
	return slices.ContainsFunc(w.Nodes, func(n *simulation.Node) bool { return n.Name == nodeOf(m.to) && len(n.Past()) > 0 })
}
