package stored

import (
	"fmt"

	"github.com/tandem-go/tandem/state"
)

// AppendOutcome is how an activation stores the outcome of a request.
var AppendOutcome = appendOutcome

// OutcomeSize is what an outcome without texts takes.
const OutcomeSize = outcomeSize

// Accounts recounts what an activation holds, and compares that with its counts.
func (a *Activation[H]) Accounts() error {
	t, count, size := &a.requests, 0, 0
	check := func(c *caller[H]) error {
		own := 0
		for _, r := range c.requests {
			o := state.Outcome{Caller: r.callerName(), Body: r.body}
			if r.stage == running {
				o.Body = make([]byte, outcomeSize)
			}
			if r.size() != o.Size() || r.stage == dropped {
				return fmt.Errorf("request %d of %q is %v and counts for %d bytes, want %d", r.counter, o.Caller, r.stage, r.size(), o.Size())
			}
			own += r.size()
		}
		if own != c.bytes {
			return fmt.Errorf("%q counts for %d bytes, want %d", c.name, c.bytes, own)
		}
		count += len(c.requests)
		size += own
		return nil
	}
	for i, c := range t.callers {
		if c.place != i || t.named(c.name) != c || len(c.requests) == 0 && !c.marked {
			return fmt.Errorf("%q is at place %d, and says %d", c.name, i, c.place)
		}
		if c.marked {
			count++
			size += sizeOfMark(c.name)
		}
		if err := check(c); err != nil {
			return err
		}
	}
	if t.keys != nil {
		if err := check(t.keys); err != nil || len(t.keys.requests) != len(t.byKey) {
			return fmt.Errorf("%d keys, want %d, %v", len(t.byKey), len(t.keys.requests), err)
		}
	}
	if count != t.count || size != t.bytes || t.byName != nil && len(t.callers) != len(t.byName) {
		return fmt.Errorf("%d requests of %d bytes, want %d of %d", t.count, t.bytes, count, size)
	}
	if n := sizeOfAll(a.box.messages); n != a.box.bytes {
		return fmt.Errorf("an outbox of %d bytes, want %d", a.box.bytes, n)
	}
	return nil
}

// Size is how many bytes the next record takes at most.
func (a *Activation[H]) Size() int { return a.size() }
