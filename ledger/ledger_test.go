package ledger

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// ledgerModel does what a Ledger does, as plainly as possible: it keeps every change that
// was applied, and reads all of them for each question.
type ledgerModel []Change

func (m ledgerModel) owner(grant [16]byte) (owner string, at time.Time, known bool) {
	for _, c := range m {
		switch {
		case c.ID.Grant != grant:
		case c.Op == Opened && !known:
			owner, at, known = c.Owner, c.Time, true
		case c.Op == Closed:
			owner, at, known = "", time.Time{}, false
		}
	}
	return owner, at, known
}

func (m ledgerModel) lookup(id ID) (p Page, known bool) {
	named := id.Seq == 0 // its caller named it, so it needs no session
	open := named
	for _, c := range m {
		switch {
		case c.ID.Grant != id.Grant:
		case c.Op == Opened:
			open = true
		case c.Op == Closed:
			if !named {
				open, known, p = false, false, Page{}
			}
		case c.ID != id || !open:
		case c.Op == Freed:
			known, p = false, Page{}
		case p.Done:
		case c.Op == Submitted && named && !known && len(c.Outcome) > 0:
			known, p.Job, p.Time = true, c.Outcome, c.Time
		case c.Op == Begun:
			known, p.Begun, p.Fingerprint, p.Time = true, true, c.Fingerprint, c.Time
		case c.Op == Done && known:
			p.Done, p.Outcome, p.Time = true, c.Outcome, c.Time
		}
	}
	return p, known
}

const (
	modelGrants = 3
	modelSeqs   = 3
)

func modelGrant(n int) [16]byte { return [16]byte{byte(n)} }

// agree compares everything that can be seen of a ledger with its model.
func agree(t rapid.TB, l *Ledger, m ledgerModel) {
	size := 0
	for g := range modelGrants {
		grant := modelGrant(g)
		owner, known := l.Owner(grant)
		wantOwner, _, wantKnown := m.owner(grant)
		if owner != wantOwner || known != wantKnown {
			t.Fatalf("owner of %d: %q, %v; want %q, %v", g, owner, known, wantOwner, wantKnown)
		}
		if known {
			size += pageSize + len(owner)
		}
		for seq := range uint64(modelSeqs) {
			got, found := l.Lookup(ID{grant, seq})
			want, wantFound := m.lookup(ID{grant, seq})
			if found != wantFound || got.Fingerprint != want.Fingerprint || got.Done != want.Done || got.Begun != want.Begun || !bytes.Equal(got.Job, want.Job) ||
				!bytes.Equal(got.Outcome, want.Outcome) || !got.Time.Equal(want.Time) {
				t.Fatalf("lookup of %d, %d: %+v, %v; want %+v, %v", g, seq, got, found, want, wantFound)
			}
			if found {
				size += pageSize + len(got.Job) + len(got.Outcome)
			}
		}
	}
	if l.Bytes() != size {
		t.Fatalf("Bytes() = %d, want %d", l.Bytes(), size)
	}
}

func drawChange(t *rapid.T) Change {
	c := Change{
		Op:   Op(rapid.IntRange(1, int(lastOp)).Draw(t, "op")),
		ID:   ID{modelGrant(rapid.IntRange(0, modelGrants-1).Draw(t, "grant")), rapid.Uint64Range(0, modelSeqs-1).Draw(t, "seq")},
		Time: time.Unix(rapid.Int64Range(1, 20).Draw(t, "time"), 0),
	}
	switch c.Op {
	case Opened:
		c.ID.Seq, c.Owner = 0, rapid.StringN(0, 5, -1).Draw(t, "owner")
	case Closed:
		c.ID.Seq = 0
	case Begun:
		c.Fingerprint = rapid.Uint64Range(0, 3).Draw(t, "fingerprint")
	case Done, Submitted:
		c.Outcome = rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(t, "outcome")
	}
	return c
}

// TestLedgerAgainstModel applies changes in any order, some of them twice.
func TestLedgerAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, m := New(), ledgerModel(nil)
		t.Repeat(map[string]func(*rapid.T){
			"apply": func(t *rapid.T) {
				c := drawChange(t)
				l.Apply(c)
				m = append(m, c)
				agree(t, l, m)
				if rapid.Bool().Draw(t, "twice") {
					l.Apply(c)
					agree(t, l, m) // nothing has changed
				}
			},
			"rebuild": func(t *rapid.T) {
				again := New()
				for c := range l.All() {
					c, rest, err := ParseChange(c.Append(nil)) // as from a store
					if err != nil || len(rest) > 0 {
						t.Fatal(err)
					}
					again.Apply(c)
				}
				agree(t, again, m)
				for c := range l.All() { // behind what it was made from, as after a Rewrite that was cut
					again.Apply(c)
				}
				agree(t, again, m)
				l = again
			},
			"expire": func(t *rapid.T) {
				before := time.Unix(rapid.Int64Range(1, 20).Draw(t, "before"), 0)
				live := modelGrant(rapid.IntRange(0, modelGrants-1).Draw(t, "live"))
				var want []Change
				for g := range modelGrants {
					grant := modelGrant(g)
					if p, ok := m.lookup(ID{Grant: grant}); ok && p.Job == nil && p.Time.Before(before) && (p.Done || grant != live) {
						want = append(want, Change{Op: Freed, ID: ID{Grant: grant}})
					}
					if _, at, ok := m.owner(grant); ok && at.Before(before) && grant != live {
						want = append(want, Change{Op: Closed, ID: ID{Grant: grant}})
					}
				}
				n := 0
				for c := range l.Expired(before, func(g [16]byte) bool { return g == live }) {
					if !slices.ContainsFunc(want, func(w Change) bool { return w.Op == c.Op && w.ID == c.ID }) {
						t.Fatalf("expired: %v %v", c.Op, c.ID)
					}
					n++
					l.Apply(c)
					m = append(m, c)
				}
				if n != len(want) {
					t.Fatalf("%d have expired, want %d", n, len(want))
				}
				agree(t, l, m)
			},
		})
	})
}

func TestLedgerIteratorsStop(t *testing.T) {
	l := New()
	for g := range 3 {
		l.Apply(Change{Op: Opened, ID: ID{Grant: modelGrant(g)}})
		l.Apply(Change{Op: Begun, ID: ID{Grant: modelGrant(g), Seq: 1}})
		l.Apply(Change{Op: Begun, ID: ID{Grant: modelGrant(g)}})
		l.Apply(Change{Op: Done, ID: ID{Grant: modelGrant(g)}})
	}
	for stop := range 12 {
		n := 0
		for range l.All() {
			if n++; n > stop {
				break
			}
		}
		if n != stop+1 {
			t.Errorf("All yields %d", n)
		}
	}
	for stop := range 6 {
		n := 0
		for range l.Expired(time.Unix(1, 0), func([16]byte) bool { return false }) {
			if n++; n > stop {
				break
			}
		}
		if n != stop+1 {
			t.Errorf("Expired yields %d", n)
		}
	}
}
