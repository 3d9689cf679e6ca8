package stored

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tandem-go/tandem/state"
)

// Name is what all copies of a request have in common, whichever activation they reach: the number
// that its caller gave it, or a key. The zero Name is that of a message of which nothing is kept: a
// copy of it runs again.
type Name struct {
	Caller  string    // a random name of one start of the caller's node; for a key, the name of the key
	Counter uint64    // the caller's number of the request; it gives no number twice
	Below   uint64    // the caller needs no outcome of its requests to this actor below this number
	Expires time.Time // not zero: it is a key, whose outcome is kept until then, and which has no numbers
	Print   uint64    // stands for the content of the request: copies have the same
}

// Request is a named request that is to run, or that has run and is remembered.
type Request[H any] struct {
	caller  *caller[H]
	key     string // empty for a number
	counter uint64
	expires int64 // for a key: milliseconds since 1970
	print   uint64
	stage   stage
	needs   uint64 // once it is done: the number of the commit for which its reply waits
	body    []byte // once it is done: its outcome, as it is stored
	joined  []H    // while it runs: further copies
}

// callerName is what is stored as the caller of its outcome.
func (r *Request[H]) callerName() string {
	if r.expires != 0 {
		return r.key
	}
	return r.caller.name
}

// size is how many bytes it counts for.
func (r *Request[H]) size() int {
	n := sizeOf(r.callerName())
	if r.stage == done {
		n += len(r.body) - outcomeSize
	}
	return n
}

// stage is how far a named request has come:
//
//	running ──Handled──► done ──acked, forgotten, expired, undone──► dropped
//	   │                                                                ▲
//	   └────────── acked, forgotten, withdrawn, refused ────────────────┘
//
// One that was dropped while it ran is not remembered when it is done.
type stage uint8

const (
	running stage = iota
	done
	dropped
)

// caller is what is known of a caller, or of all keys.
type caller[H any] struct {
	name     string
	place    int    // in table.callers
	mark     uint64 // it needs no outcomes below this
	marked   bool   // an outcome was dropped because of the mark, which has to be kept therefore
	requests []*Request[H]
	bytes    int
	heard    int64 // when it has asked last, in nanoseconds since 1970
}

// hears notes that the caller has asked for something. c may be nil.
func (c *caller[H]) hears(now time.Time) {
	if c != nil {
		c.heard = now.UnixNano()
	}
}

// table holds the outcomes. They are in it as the next record will have them.
type table[H any] struct {
	callers []*caller[H]
	byName  map[string]*caller[H] // nil as long as there are few
	keys    *caller[H]            // its requests are in no order; nil: there was none yet
	byKey   map[string]*Request[H]
	expiry  int64 // no key expires before, in milliseconds since 1970; 0: there are none
	count   int   // of requests and marks
	bytes   int   // that they take in a record
}

// sizeOf is how many bytes an outcome takes in a record, without user, message and body.
func sizeOf(name string) int { return (&state.Outcome{Caller: name}).Size() + outcomeSize }

func sizeOfMark(name string) int { return (&state.Outcome{Caller: name}).Size() + markSize }

func (n *Name) key() bool { return !n.Expires.IsZero() }

// stale reports whether the outcome may have been dropped, so that the request must not run.
func stale[H any](n *Name, c *caller[H], now time.Time) bool {
	if n.key() {
		return n.Expires.UnixMilli() <= now.UnixMilli()
	}
	return n.Counter < n.Below || c != nil && n.Counter < c.mark
}

// of returns what is known of who has made a request; nil if that is nothing.
func (t *table[H]) of(n *Name) *caller[H] {
	if n.key() {
		return t.keys
	}
	return t.named(n.Caller)
}

// few callers are found without a map, because most activations never have more.
const few = 8

func (t *table[H]) named(name string) *caller[H] {
	if t.byName != nil {
		return t.byName[name]
	}
	for _, c := range t.callers {
		if c.name == name {
			return c
		}
	}
	return nil
}

// find returns the request of a name, nil if it is not known. c is what of has returned, in all that follows.
func (t *table[H]) find(n *Name, c *caller[H]) *Request[H] {
	if n.key() {
		return t.byKey[n.Caller]
	}
	if c != nil {
		if i, ok := c.search(n.Counter); ok {
			return c.requests[i]
		}
	}
	return nil
}

func (c *caller[H]) search(counter uint64) (int, bool) {
	if n := len(c.requests); n == 0 || c.requests[n-1].counter < counter {
		return n, false
	}
	return slices.BinarySearchFunc(c.requests, counter, func(r *Request[H], counter uint64) int { return cmp.Compare(r.counter, counter) })
}

// room reports whether the limits allow one more request of that name.
func (t *table[H]) room(n *Name, c *caller[H], cfg *Config) bool {
	size := sizeOf(n.Caller)
	return t.count < cfg.Outcomes && t.bytes+size <= cfg.OutcomeBytes &&
		(c == nil || len(c.requests) < cfg.CallerOutcomes && c.bytes+size <= cfg.CallerBytes)
}

// grows reports whether the limits allow n more bytes for r.
func (t *table[H]) grows(r *Request[H], n int, cfg *Config) bool {
	return t.bytes+n <= cfg.OutcomeBytes && r.caller.bytes+n <= cfg.CallerBytes
}

// add adds a request, which runs.
func (t *table[H]) add(n *Name, c *caller[H]) *Request[H] {
	if c == nil && n.key() {
		t.keys, t.byKey = &caller[H]{}, map[string]*Request[H]{}
		c = t.keys
	} else if c == nil {
		c = t.caller(n.Caller)
	}
	r := &Request[H]{caller: c, counter: n.Counter, print: n.Print}
	if n.key() {
		r.key, r.expires = n.Caller, n.Expires.UnixMilli()
		t.byKey[n.Caller] = r
		c.requests = append(c.requests, r)
		t.expireAt(r.expires)
	} else {
		i, _ := c.search(n.Counter)
		c.requests = slices.Insert(c.requests, i, r)
		c.mark = max(c.mark, n.Below)
	}
	t.count++
	t.grow(r, r.size())
	return r
}

func (t *table[H]) expireAt(ms int64) {
	if t.expiry == 0 || ms < t.expiry {
		t.expiry = ms
	}
}

// caller returns what is known of a caller, and adds it if it is new.
func (t *table[H]) caller(name string) *caller[H] {
	c := t.named(name)
	if c != nil {
		return c
	}
	c = &caller[H]{name: name, place: len(t.callers)}
	t.callers = append(t.callers, c)
	if t.byName != nil {
		t.byName[name] = c
	} else if len(t.callers) > few {
		t.byName = make(map[string]*caller[H], 2*few)
		for _, c := range t.callers {
			t.byName[c.name] = c
		}
	}
	return c
}

func (t *table[H]) grow(r *Request[H], n int) {
	r.caller.bytes += n
	t.bytes += n
}

// finish gives a request its outcome, which is remembered unless it was dropped. The reply needs that
// commit.
func (t *table[H]) finish(r *Request[H], body []byte, needs uint64) {
	r.body, r.needs = body, needs
	if r.stage == running {
		r.stage = done
		t.grow(r, len(body)-outcomeSize)
	}
}

// drop removes a request that is not to be remembered, if it is still in the table.
func (t *table[H]) drop(r *Request[H]) {
	if r.stage == dropped {
		return
	}
	c := r.caller
	if r.expires != 0 {
		delete(t.byKey, r.key)
		i := slices.Index(c.requests, r)
		last := len(c.requests) - 1
		c.requests[i], c.requests[last] = c.requests[last], nil
		c.requests = c.requests[:last]
	} else {
		i, _ := c.search(r.counter)
		c.requests = slices.Delete(c.requests, i, i+1)
	}
	t.leave(r)
	t.clean(c)
}

// leave counts a request no more, which is not in a list any more.
func (t *table[H]) leave(r *Request[H]) {
	t.grow(r, -r.size())
	r.stage = dropped
	t.count--
}

// ack drops what a caller needs no more. Copies of it are stale from now on.
func (t *table[H]) ack(c *caller[H], below uint64) {
	if c == nil || below <= c.mark {
		return
	}
	c.mark = below
	n, _ := c.search(below)
	if n == 0 {
		return
	}
	for _, r := range c.requests[:n] {
		t.leave(r)
	}
	c.requests = slices.Delete(c.requests, 0, n)
	t.setMarked(c)
}

// setMarked has the next record keep the mark of a caller.
func (t *table[H]) setMarked(c *caller[H]) {
	if !c.marked {
		c.marked = true
		t.count++
		t.bytes += sizeOfMark(c.name)
	}
}

// forget drops everything about a caller.
func (t *table[H]) forget(name string) {
	c := t.named(name)
	if c == nil {
		return
	}
	for _, r := range c.requests {
		t.leave(r)
	}
	c.requests = nil
	if c.marked {
		c.marked = false
		t.count--
		t.bytes -= sizeOfMark(c.name)
	}
	t.clean(c)
}

// clean removes a caller of which nothing has to be known.
func (t *table[H]) clean(c *caller[H]) {
	if c == t.keys || c.marked || len(c.requests) > 0 {
		return
	}
	last := t.callers[len(t.callers)-1]
	t.callers[c.place], last.place = last, c.place
	t.callers[len(t.callers)-1] = nil
	t.callers = t.callers[:len(t.callers)-1]
	delete(t.byName, c.name)
}

// expire drops the keys whose time has passed. One that runs is kept until it is done.
func (t *table[H]) expire(now time.Time) {
	ms := now.UnixMilli()
	if t.expiry == 0 || ms < t.expiry {
		return
	}
	kept := t.keys.requests[:0]
	t.expiry = 0
	for _, r := range t.keys.requests {
		if r.stage == done && ms >= r.expires {
			delete(t.byKey, r.key)
			t.leave(r)
			continue
		}
		kept = append(kept, r)
		t.expireAt(r.expires)
	}
	clear(t.keys.requests[len(kept):])
	t.keys.requests = kept
}

// record appends what a record has to keep.
func (t *table[H]) record(dst []state.Outcome) []state.Outcome {
	dst = slices.Grow(dst, t.count)
	mark := []byte{FormatVersion, isMark}
	for _, c := range t.callers {
		if c.marked {
			dst = append(dst, state.Outcome{Caller: c.name, Counter: c.mark, Body: mark})
		}
		dst = c.record(dst)
	}
	if t.keys != nil {
		dst = t.keys.record(dst)
	}
	return dst
}

func (c *caller[H]) record(dst []state.Outcome) []state.Outcome {
	for _, r := range c.requests {
		if r.stage == done {
			o := state.Outcome{Caller: r.callerName(), Counter: r.counter, Body: r.body}
			if r.expires != 0 {
				o.Expires = time.UnixMilli(r.expires)
			}
			dst = append(dst, o)
		}
	}
	return dst
}

// load takes over what a record has kept. The error wraps [state.ErrFormat].
func (t *table[H]) load(outcomes []state.Outcome) error {
	for i := range outcomes {
		o := &outcomes[i]
		kind, err := kindOf(o.Body)
		if err != nil {
			return err
		}
		if kind == isMark && o.Expires.IsZero() {
			c := t.caller(o.Caller)
			c.mark = max(c.mark, o.Counter)
			t.setMarked(c)
			continue
		}
		n := Name{Caller: o.Caller, Counter: o.Counter, Expires: o.Expires}
		if _, n.Print, err = Parse(o.Body); err != nil {
			return err
		}
		c := t.of(&n)
		if t.find(&n, c) != nil {
			return badFormat(o.Body, "two outcomes of %s", &n)
		}
		t.finish(t.add(&n, c), o.Body, 0)
	}
	return nil
}

// String returns the name as errors show it.
func (n *Name) String() string {
	if n.key() {
		return fmt.Sprintf("key %q", n.Caller)
	}
	return fmt.Sprintf("request %d of %q", n.Counter, n.Caller)
}
