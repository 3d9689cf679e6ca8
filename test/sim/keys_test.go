package sim

import (
	"fmt"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/rpc"
)

// Keys belong to the run, not to a caller: every caller that draws a key draws the same
// message. Each key is used for a while, so that attempts of several callers meet, and a few
// more times later.
const (
	keysAtOnce = 3
	keyTerm    = 4 * time.Second
)

// keyed is what a key stands for.
type keyed struct {
	key string // and the receiver: so it is a name in the truth as well
	to  string
	ops []Op // the message, and those that are wrongly sent under the same key
	n   *Note
}

// key returns the run's i-th key.
func (w *world) key(i int) keyed {
	r := w.RNG(fmt.Sprintf("key %d", i))
	name := draw.Pick(r, "quick", "quick", "slow0", "slow1", "small", "picky")
	k := keyed{to: name + "@" + w.Nodes[r.IntN(len(w.Nodes))].Name}
	k.key = fmt.Sprintf("k%d %s", i, k.to)
	id := 1<<63 | uint64(i)<<8
	if draw.Chance(r, 0.15) {
		k.n = &Note{ID: id, Acked: true, Key: k.key, Work: draw.Pick(r, 0, draw.Span(r, 0, 50*time.Millisecond))}
		return k
	}
	messages := draw.Pick(r, 1, 1, 2)
	for range messages {
		op := Op{ID: id, Key: k.key, Rivals: messages > 1, Heed: draw.Chance(r, 0.2), Pad: draw.Pick(r, 0, 0, 100, 300), Work: draw.Pick(r, 0, draw.Span(r, 0, 100*time.Millisecond), draw.Span(r, 0, 5*time.Second))}
		if draw.Chance(r, 0.05) {
			op.End = 1 + r.IntN(2)
		}
		k.ops = append(k.ops, op)
		id++
	}
	return k
}

// keyed sends a message under a key that others use as well.
func (c *caller) keyed() {
	term := int(c.w.truth.Now() / keyTerm)
	if draw.Chance(c.r, 0.2) {
		term = c.r.IntN(term + 1)
	}
	k := c.w.key(term*keysAtOnce + c.r.IntN(keysAtOnce))
	switch {
	case k.n != nil:
		c.tellKeyed(k)
	case draw.Chance(c.r, 0.5):
		c.call(k.to, k.draw(c))
	default:
		c.ask(k.to, k.draw(c))
	}
}

// draw returns the message, or sometimes another one under its key.
func (k keyed) draw(c *caller) Op {
	if x := c.r.Float64(); len(k.ops) > 1 && x < 0.3 {
		return k.ops[1]
	}
	return k.ops[0]
}

func (c *caller) tellKeyed(k keyed) {
	ctx, cancel, due := c.within(draw.Chance(c.r, 0.1))
	defer cancel()
	o := c.next(simulation.Acked, k.n.ID, k.to, due)
	o.Key = k.key
	c.w.truth.Begin(o)
	c.end(o, Done{}, actor.Tell(ctx, c.ref(k.to), *k.n, rpc.Acked(), rpc.Key(k.key)))
}
