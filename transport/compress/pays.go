package compress

// pays remembers of which types of messages compression does not pay, so that it need not be tried with
// each of them. It is a pure structure. It remembers a few types only: another type in the same slot takes
// the place of the one before.
type pays struct{ slots [64]slot }

// slot is what pays knows of a type.
type slot struct {
	typeID uint64
	failed int // attempts in a row that did not pay
	skip   int // messages that are not tried
}

const (
	patience = 3   // attempts in a row that may fail before messages are skipped
	maxSkip  = 256 // messages that are skipped at most until the next attempt
)

// slot returns that of a type. Ids of types are hashes.
func (p *pays) slot(typeID uint64) *slot { return &p.slots[typeID%uint64(len(p.slots))] }

// try reports whether compression is to be tried with the next message of a type.
func (p *pays) try(typeID uint64) bool {
	s := p.slot(typeID)
	if s.typeID != typeID || s.skip == 0 {
		return true
	}
	s.skip--
	return false
}

// tried notes whether an attempt has paid. After each that has not, twice as many messages are
// skipped as after the one before.
func (p *pays) tried(typeID uint64, paid bool) {
	s := p.slot(typeID)
	switch {
	case paid:
		if s.typeID == typeID {
			*s = slot{}
		}
		return
	case s.typeID != typeID:
		*s = slot{typeID: typeID}
	}
	if s.failed++; s.failed >= patience {
		s.skip = min(1<<(s.failed-patience), maxSkip)
		s.failed = min(s.failed, patience+8)
	}
}
