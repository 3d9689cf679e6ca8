package settings

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// Entry is one write to a source.
type Entry struct {
	Key      string // as Key.String gives it
	Revision uint64 // a later write of the same source has a higher one
	Time     time.Time
	Deleted  bool
	Data     []byte // a document as Parse takes it
	Err      error  // of a source that has read it, and found it wrong: then the rest is not looked at
}

// WholeDocument is the key of an entry about a source as a whole that cannot be decoded, for sources that have one
// document of all sections.
const WholeDocument = "the whole document"

// Update is what a source has to say.
type Update struct {
	// Away says why the source cannot be read now. Then nothing else is set.
	Away error

	// Source says which one it is: if what is kept there was made anew, its revisions begin anew, and Source is
	// another one.
	Source string

	// Whole says that Entries are all that there is, with the earlier writes that are remembered. A key
	// that is not among them is not set. The first Update of each Source must be Whole.
	Whole   bool
	Entries []Entry
}

// Version is one write of a section. It is not changed.
type Version struct {
	Key
	Revision     uint64
	Time         time.Time
	Author, Note string
	Value        Value // nil: the section was deleted, or Err is set
	Deleted      bool
	Err          error // why the value is refused; nil: it is good
}

// NewVersion decodes an entry. A key that is wrong is an Err, too.
func NewVersion(e Entry) *Version {
	v := &Version{Revision: e.Revision, Time: e.Time, Deleted: e.Deleted}
	if e.Err != nil {
		v.Section, v.Err = Section(e.Key), e.Err
		return v
	}
	if v.Key, v.Err = ParseKey(e.Key); v.Err != nil {
		v.Section = Section(cut(e.Key, maxStrangeKey))
	}
	v.Author, v.Note = AuthorOf(e.Data)
	if v.Deleted || v.Err != nil {
		return v
	}
	var d Document
	d, v.Err = Parse(v.Section, e.Data)
	v.Value = d.Value
	return v
}

// Table decides what is in force on one node, by what its source says. It is pure: it has no clock, lock,
// goroutine or I/O, and nothing but its own methods changes it. It is not safe for concurrent use.
type Table struct {
	node    string
	source  string
	keys    map[Key]*slot
	strange map[string]*Version // refused, of keys that there are not
}

// maxStrange is how many keys that there are not are remembered, and maxStrangeKey how much of each.
const (
	maxStrange    = 32
	maxStrangeKey = 200
)

// slot is what is known of a key.
type slot struct {
	seen   uint64   // the highest revision that was taken in
	good   *Version // the last good one; nil: it is not set
	before *Version // what good was before, in case that it cannot be applied
	bad    *Version // a later one that was refused; nil: there is none
}

// NewTable returns the table of a node, with nothing set.
func NewTable(node string) *Table {
	t := &Table{node: node, keys: map[Key]*slot{}, strange: map[string]*Version{}}
	for _, s := range sections {
		t.keys[Key{Section: s}], t.keys[Key{s, node}] = &slot{}, &slot{}
	}
	return t
}

// Take takes in an update, and returns the versions that are refused now. What is not about this node, and what is
// not newer than what was taken in before, is left out. Of several versions of one key that come together, only
// the latest is reported.
func (t *Table) Take(u Update) (refused []*Version) {
	if u.Away != nil || u.Source != t.source && !u.Whole {
		return nil
	}
	if u.Source != t.source {
		t.source = u.Source
		clear(t.strange)
		for _, s := range t.keys {
			s.seen = 0
		}
	}
	for _, s := range t.keys {
		s.before = s.good
	}
	entries := slices.Clone(u.Entries)
	slices.SortStableFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Revision, b.Revision) })
	there, late, strange := map[Key]bool{}, map[Key]*Version{}, map[string]bool{}
	for _, e := range entries {
		k, err := ParseKey(e.Key)
		if err != nil {
			if v := t.unknown(e); v != nil {
				refused = append(refused, v)
			}
			strange[cut(e.Key, maxStrangeKey)] = true
			continue
		}
		s := t.keys[k]
		if there[k] = true; s == nil || e.Revision <= s.seen {
			continue
		}
		if s.take(NewVersion(e)); s.bad == nil {
			delete(late, k)
		} else {
			late[k] = s.bad
		}
	}
	for k, s := range t.keys {
		if u.Whole && !there[k] {
			s.seen, s.good, s.bad = 0, nil, nil // if it comes after all, it counts
		}
	}
	maps.DeleteFunc(t.strange, func(key string, _ *Version) bool { return u.Whole && !strange[key] })
	for _, v := range late {
		refused = append(refused, v)
	}
	slices.SortFunc(refused, func(a, b *Version) int { return cmp.Compare(a.Revision, b.Revision) })
	return refused
}

// take takes in a newer version.
func (s *slot) take(v *Version) {
	s.seen = v.Revision
	switch {
	case v.Deleted:
		s.good, s.bad = nil, nil
	case v.Err != nil:
		s.bad = v
	default:
		s.good, s.bad = v, nil
	}
}

// unknown returns the version of a key that there is not, if it is to be reported.
func (t *Table) unknown(e Entry) *Version {
	key := cut(e.Key, maxStrangeKey)
	known := t.strange[key]
	switch {
	case known != nil && e.Revision <= known.Revision, known == nil && len(t.strange) >= maxStrange:
		return nil
	case e.Deleted:
		delete(t.strange, key)
		return nil
	}
	t.strange[key] = NewVersion(e)
	return t.strange[key]
}

// InForce returns the version of a section that is to be in force: the node's own, or else that for all nodes;
// nil: the section is not set.
func (t *Table) InForce(s Section) *Version {
	if own := t.keys[Key{s, t.node}].good; own != nil {
		return own
	}
	return t.keys[Key{Section: s}].good
}

// Refuse says that v, which InForce has returned, could not be applied. It is refused, and what was good before
// is again. It returns the refused version.
func (t *Table) Refuse(v *Version, why error) *Version {
	refused := *v
	refused.Err, refused.Value = rpc.Errorf(rpc.Invalid, rpc.NotRun, "%w", &Error{v.Section, "", why}), nil
	if s := t.keys[v.Key]; s.good == v {
		s.good, s.before, s.bad = s.before, nil, &refused
		if s.good == v {
			s.good = nil
		}
	}
	return &refused
}

// State is how far a node has come with one key.
type State struct {
	Key
	Applied *Version // the last good one; nil: none was there, or it was deleted
	InForce bool     // Applied is in force; else the node's own value stands in its place, or the node has nothing to apply it to
	Refused *Version // one that is newer than Applied, and was refused; nil: there is none
}

// States returns what is known of each key that is set, in the order of the sections, for all nodes before the node's own;
// and then of keys that there should not be.
func (t *Table) States() (all []State) {
	for _, section := range sections {
		for _, k := range []Key{{Section: section}, {section, t.node}} {
			if s := t.keys[k]; s.good != nil || s.bad != nil {
				all = append(all, State{k, s.good, s.good != nil && t.InForce(section) == s.good, s.bad})
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(t.strange)) {
		v := t.strange[key]
		all = append(all, State{v.Key, nil, false, v})
	}
	return all
}
