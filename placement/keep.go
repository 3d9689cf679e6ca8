package placement

import "time"

// Keep is what one node knows of an actor that is to be active always, and decides when the node has it
// activated: while the cluster chooses this node for the actor, and it is not known to be active; and after an
// activation on this node has ended. The other nodes do nothing. While nothing changes, nobody does anything.
//
// The zero value knows of no activation. It is not for concurrent use. All times are those of the node's clock.
type Keep struct {
	state  keepState
	holder Holder    // who has it (kept), or had it
	since  time.Time // when that was learned
	due    time.Time // when the next attempt may begin
	ours   bool      // the last activation was on this node, which sees to the next one, whoever is chosen
	failed int       // attempts and activations that have come to nothing, one after another
	told   bool      // that it is not active
}

// keepState is how far a node has come with it:
//
//	wanted ──an attempt begins──► trying ──somebody has it──► kept
//	any ──it was activated here──► kept
//	trying ──failed──► wanted
//	kept ──it has ended here, its holder leaves, or a node has gone──► wanted
type keepState uint8

const (
	keepWanted keepState = iota // it is not known to be active
	keepTrying                  // this node has it activated
	keepKept                    // the holder has it, as far as is known
)

// The pauses of a Keep.
const (
	KeepPause    = 100 * time.Millisecond // after the first failure; doubled each time
	MaxKeepPause = 30 * time.Second       // the longest pause between two attempts
	KeepSettled  = time.Minute            // an activation that lasts so long makes up for the failures before it
	keepLeaves   = 200 * time.Millisecond // between two looks at an actor whose holder leaves
)

// Next says whether to begin an attempt to have the actor activated. Then Tried has to follow. If it is not
// to begin yet, pause is when to ask again; 0: when something has changed. chosen says that the
// cluster chooses this node for the actor, and hosts whether a holder hosts the kind, as far as is known.
func (k *Keep) Next(now time.Time, chosen bool, hosts func(Holder) bool) (begin bool, pause time.Duration) {
	if k.state == keepKept && !hosts(k.holder) {
		k.state, k.due = keepWanted, k.since.Add(keepLeaves)
	}
	switch {
	case k.state != keepWanted || !chosen && !k.ours:
		return false, 0
	case now.Before(k.due):
		return false, k.due.Sub(now)
	}
	k.state = keepTrying
	return true, 0
}

// Tried says how the attempt has ended: h has the actor; or failed, nobody is known to have it. change
// says that this is news: that it is active again after all, or that it cannot be activated.
func (k *Keep) Tried(now time.Time, h Holder, failed bool) (change bool) {
	switch {
	case k.state != keepTrying: // it was activated here meanwhile
		return false
	case failed:
		k.state = keepWanted
		return k.fail(now)
	}
	change = k.told
	k.hold(now, h)
	return change
}

// Began says that it is active on this node, which is h. change says that it was not before.
func (k *Keep) Began(now time.Time, h Holder) (change bool) {
	change = k.state != keepKept || k.holder != h
	k.hold(now, h)
	return change
}

// Ended says that the activation on this node, which is h, has ended. moves says that it is to be active
// elsewhere now, and nothing has failed. change says that this is news: it does if the actor
// was active.
func (k *Keep) Ended(now time.Time, h Holder, moves bool) (change bool) {
	if k.state != keepKept || k.holder != h { // it had not begun: the attempt fails
		return false
	}
	k.state, k.ours = keepWanted, true
	if moves {
		k.due = now
		return false
	}
	if now.Sub(k.since) >= KeepSettled {
		k.failed = 0
	}
	return k.fail(now)
}

// Left says that a node which hosted the kind is gone. It may have had the actor, also if another one had it
// as far as is known. own is this node, of which is known what it has.
func (k *Keep) Left(now time.Time, own Holder) {
	if k.state == keepKept && (k.holder.Node != own.Node || k.holder.Epoch != own.Epoch) {
		k.state, k.due = keepWanted, now
	}
}

func (k *Keep) hold(now time.Time, h Holder) {
	k.state, k.holder, k.since, k.ours, k.told = keepKept, h, now, false, false
}

func (k *Keep) fail(now time.Time) (change bool) {
	k.due = now.Add(min(KeepPause<<min(k.failed, 16), MaxKeepPause))
	k.failed++
	change, k.told = !k.told, true
	return change
}
