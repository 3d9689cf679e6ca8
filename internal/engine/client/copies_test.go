package client

import (
	"testing"

	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// roadTo is a link on which the copies up to a position have left.
type roadTo struct {
	transport.Link
	upTo uint64
}

func (l *roadTo) Handed(at uint64) bool { return at <= l.upTo }

// What is known of an attempt after events on its links. d is a direct link, b one over a bus;
// on both, copies up to position 10 have left.
func TestCopies(t *testing.T) {
	d := &Link{Link: wire.Link{Link: &roadTo{upTo: 10}, Direct: true}}
	b := &Link{Link: wire.Link{Link: &roadTo{upTo: 10}}}
	for _, row := range []struct {
		name    string
		steps   func(c *copies)
		verdict rpc.Verdict
		on      *Link
		d, b    bool // an answer counts there
	}{
		{"nothing", func(*copies) {}, rpc.NotRun, nil, false, false},
		{"in a queue", func(c *copies) { c.sent(d, 11) }, rpc.Unknown, d, true, false},
		{"lost in the queue", func(c *copies) { c.sent(d, 11); c.lost() }, rpc.NotRun, nil, false, false},
		{"lost on its way", func(c *copies) { c.sent(d, 10); c.lost() }, rpc.Unknown, nil, false, false},
		{"lost on its way, then in a queue", func(c *copies) { c.sent(d, 10); c.lost(); c.sent(b, 11); c.lost() }, rpc.Unknown, nil, false, false},
		{"refused", func(c *copies) { c.sent(d, 10); c.refused(d) }, rpc.NotRun, nil, false, false},
		{"refused on another link", func(c *copies) { c.sent(d, 10); c.refused(b) }, rpc.Unknown, d, true, false},
		{"refused on a bus", func(c *copies) { c.sent(b, 10); c.refused(b) }, rpc.Unknown, b, false, true},
		{"refused, another copy on its way", func(c *copies) { c.sent(b, 10); c.sent(d, 10); c.refused(d) }, rpc.Unknown, d, true, true},
		{"on both", func(c *copies) { c.sent(b, 10); c.sent(d, 10) }, rpc.Unknown, d, true, true},
		{"on both, the later one lost in its queue", func(c *copies) { c.sent(b, 10); c.sent(d, 11); c.lost() }, rpc.Unknown, nil, false, true},
		{"unresolved", func(c *copies) { c.sent(d, 11); c.unresolve() }, rpc.Unknown, nil, false, false},
		{"unresolved, and did not run", func(c *copies) { c.sent(d, 10); c.unresolve(); c.reset() }, rpc.NotRun, nil, false, false},
	} {
		var c copies
		row.steps(&c)
		if c.verdict() != row.verdict || c.unsent() != (row.verdict == rpc.NotRun) || c.on != row.on || c.isOn(d) != row.d || c.isOn(b) != row.b {
			t.Errorf("%s: %v, on a link: %v, an answer counts on d %v, on b %v", row.name, c.verdict(), c.on != nil, c.isOn(d), c.isOn(b))
		}
	}
}

// sent reports whether a call that waited for a link does not wait any more.
func TestFirstCopy(t *testing.T) {
	d := &Link{Link: wire.Link{Link: &roadTo{upTo: 10}, Direct: true}}
	var c copies
	if !c.sent(d, 1) || c.sent(d, 2) {
		t.Error("only the first one is the first")
	}
	c.lost()
	if !c.sent(d, 3) {
		t.Error("after a loss none has one")
	}
}
