package registry

// A Proof lets a starter show that the process which holds its name is dead, instead of
// waiting until its lease has run out. It can be shown only from within the same run of
// the same kernel and the same namespace, where process numbers mean the same. What
// cannot be shown is not assumed: a holder may always be alive.
//
// Two systems of one process have one proof, so neither can show that the other has
// ended without giving its name up.

// Process is what can be seen of a process.
type Process struct {
	Seen    bool   // false: nothing is known of it, not even whether it exists
	Exists  bool   // and has not ended: one that nobody has waited for yet is not there any more
	Started uint64 // as in Proof; 0 if unknown
}

// Same reports whether what p says can be checked by the process whose proof is own: in
// the same run of one kernel, within one namespace. It is false if either is unknown.
func (p *Proof) Same(own *Proof) bool {
	return p != nil && own != nil && p.Boot != "" && p.Namespace != "" && p.Boot == own.Boot && p.Namespace == own.Namespace
}

// Dead reports whether the process that p names is provably dead. own is the proof of
// the process that asks, and seen is what it sees of process number p.PID.
func (p *Proof) Dead(own *Proof, seen Process) bool {
	switch {
	case !p.Same(own) || !seen.Seen:
		return false
	case !seen.Exists:
		return true
	}
	return p.Started != 0 && seen.Started != 0 && p.Started != seen.Started // the number belongs to another one by now
}
