package state

// Verdict is what the last commit of a key says about a commit whose own fate is unknown.
type Verdict uint8

// The verdicts.
const (
	Pending  Verdict = iota // the commit is not stored, but a copy that is under way still can be
	Kept                    // it is the last one
	Replaced                // it was stored, and another one has replaced it
	Refused                 // another one was stored in its place, so it never will be
	Later                   // there were several others since: it cannot be told any more
	Missing                 // the commit that it was to replace is not there, and should be
)

var verdictNames = [...]string{"pending", "kept", "replaced", "refused", "later", "missing"}

// String returns the verdict's name.
func (v Verdict) String() string { return verdictNames[min(int(v), len(verdictNames)-1)] }

// Judge says what is known about the commit s if found, with the number seq, is the last one of
// its key; seq is 0 if there is none. Judge is for stores. What it says is as true as found: an
// outdated found makes it say Pending or Missing.
func (s *Stored) Judge(found *Stored, seq uint64) Verdict {
	switch before := s.Before; {
	case seq == 0 && before.Seq == 0:
		return Pending
	case seq < before.Seq:
		return Missing
	case found.ID == s.ID:
		return Kept
	case seq == before.Seq && found.ID == before.ID:
		return Pending
	case seq == before.Seq:
		return Missing
	case found.Before.ID == s.ID:
		return Replaced
	case found.Before == before:
		return Refused
	case found.Token < s.Token: // tokens do not fall from one commit to the next, so s is not among those before found
		return Refused
	}
	return Later
}
