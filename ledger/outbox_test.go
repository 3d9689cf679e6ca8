package ledger_test

import (
	"slices"
	"testing"
	"time"

	"github.com/tandem-go/tandem/ledger"
)

// One page is kept of an outbox, which only ever goes on.
func TestOutboxPage(t *testing.T) {
	at := time.Unix(1000, 0)
	id := ledger.ID{Grant: [16]byte{7}}
	number := func(op ledger.Op, n uint64) ledger.Change {
		return ledger.Change{Op: op, ID: id, Time: at, Fingerprint: n}
	}
	for _, c := range []struct {
		name    string
		changes []ledger.Change
		number  uint64 // 0: there is no page
		done    bool
	}{
		{"begun", []ledger.Change{number(ledger.Numbered, 5)}, 5, false},
		{"done", []ledger.Change{number(ledger.Numbered, 5), number(ledger.Done, 5)}, 5, true},
		{"the next one", []ledger.Change{number(ledger.Numbered, 5), number(ledger.Done, 5), number(ledger.Numbered, 8)}, 8, false},
		{"not backwards", []ledger.Change{number(ledger.Numbered, 5), number(ledger.Done, 5), number(ledger.Numbered, 4), number(ledger.Numbered, 5)}, 5, true},
		{"another one is done", []ledger.Change{number(ledger.Numbered, 5), number(ledger.Done, 4)}, 5, false},
		{"not begun after all", []ledger.Change{number(ledger.Numbered, 5), number(ledger.Freed, 5)}, 0, false},
		{"back to the one before", []ledger.Change{number(ledger.Numbered, 5), number(ledger.Done, 5), number(ledger.Numbered, 6), number(ledger.Freed, 6)}, 5, true},
		{"done is not undone", []ledger.Change{number(ledger.Numbered, 5), number(ledger.Done, 5), number(ledger.Freed, 5)}, 5, true},
		{"another one is undone", []ledger.Change{number(ledger.Numbered, 5), number(ledger.Freed, 4)}, 5, false},
		{"a request is none", []ledger.Change{{Op: ledger.Begun, ID: id, Time: at, Fingerprint: 3}, number(ledger.Numbered, 5)}, 0, false},
		{"nor is an outbox a request", []ledger.Change{number(ledger.Numbered, 5), {Op: ledger.Begun, ID: id, Time: at, Fingerprint: 3}}, 5, false},
		{"forgotten", []ledger.Change{number(ledger.Numbered, 5), number(ledger.Done, 5), number(ledger.Freed, 0)}, 0, false},
	} {
		l := ledger.New()
		for _, change := range c.changes {
			l.Apply(change)
			l.Apply(change)
		}
		again := ledger.New()
		for change := range l.All() {
			parsed, rest, err := ledger.ParseChange(change.Append(nil))
			if err != nil || len(rest) > 0 {
				t.Fatal(err)
			}
			again.Apply(parsed)
		}
		for _, l := range []*ledger.Ledger{l, again} {
			page, found := l.Lookup(id)
			if page.Number != c.number || page.Done != c.done && c.number > 0 || found != (c.number > 0) && c.name != "a request is none" {
				t.Errorf("%s: %+v, found %v", c.name, page, found)
			}
		}
		if l.Bytes() != again.Bytes() {
			t.Errorf("%s: %d bytes, %d when it is read again", c.name, l.Bytes(), again.Bytes())
		}
		for change := range l.All() {
			l.Apply(ledger.Change{Op: ledger.Freed, ID: change.ID})
		}
		if l.Bytes() != 0 {
			t.Errorf("%s: %d bytes are left", c.name, l.Bytes())
		}
	}
}

// The page of an outbox is kept for OutboxLife longer than that of a key.
func TestOutboxExpires(t *testing.T) {
	at := time.Unix(1000, 0)
	l := ledger.New()
	l.Apply(ledger.Change{Op: ledger.Numbered, ID: ledger.ID{Grant: [16]byte{1}}, Time: at, Fingerprint: 5})
	l.Apply(ledger.Change{Op: ledger.Done, ID: ledger.ID{Grant: [16]byte{1}}, Time: at, Fingerprint: 5})
	nobody := func([16]byte) bool { return false }
	if gone := slices.Collect(l.Expired(at.Add(ledger.OutboxLife), nobody)); len(gone) != 0 {
		t.Errorf("it has expired: %v", gone)
	}
	gone := slices.Collect(l.Expired(at.Add(ledger.OutboxLife+1), nobody))
	if len(gone) != 1 {
		t.Fatalf("expired: %v", gone)
	}
	if l.Apply(gone[0]); l.Bytes() != 0 {
		t.Error("it stays")
	}
}
