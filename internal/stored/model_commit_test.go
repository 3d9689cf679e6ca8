package stored_test

import (
	"context"
	"slices"
	"time"

	"github.com/tandem-go/tandem/internal/stored"
	"github.com/tandem-go/tandem/state"
)

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
