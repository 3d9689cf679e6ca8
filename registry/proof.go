package registry

// With a Proof, a process that starts can find out that the process which holds its name is
// dead, instead of waiting until the lease has expired. That works only within one run of
// one kernel and one namespace, where process ids mean the same. If death is not proven,
// the holder counts as alive.
//
// Two systems of one process have the same proof, so neither can prove that the other has
// ended without giving up its name.

// Process is what is visible of a process.
type Process struct {
	Seen    bool   // false: nothing is known, not even whether it exists
	Exists  bool   // it exists and has not ended; a zombie does not count as existing
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
	return p.Started != 0 && seen.Started != 0 && p.Started != seen.Started // the id belongs to another process now
}
