package placement

import "errors"

// Self is the node that decides, and its attempt to activate an actor.
type Self struct {
	Node, Epoch string
	Attempt     string // the ID of the claims that this attempt makes; a new one for each activation

	// Certain says that the node's own lease cannot have ended yet, by its own monotonic clock.
	Certain bool
}

// Sight is what is known of an epoch that holds a claim.
type Sight uint8

const (
	Unseen Sight = iota // not known: the registry has to be read
	Alive               // it is in the registry, or was a moment ago
	Gone                // it was not in the registry at some moment after the claim was read
)

var sightNames = [...]string{"unseen", "alive", "gone", "?"}

// String returns the sight in lower case.
func (s Sight) String() string { return sightNames[min(int(s), len(sightNames)-1)] }

// Look says what a registry's record of the claim's node proves of its holder. epoch is that of the
// record; there says whether there is a record. fresh says that it was read from where it is kept,
// not from a cache, and that this reading began after the claim was read: else an epoch that
// has just been registered could be taken for one that is gone.
//
// A record without an epoch, as in a fixed list, may be of any epoch. So nothing there is ever
// Gone, except for an earlier start of the own node; see [Decide].
func Look(c Claim, epoch string, there, fresh bool) Sight {
	switch {
	case there && (epoch == c.Epoch || epoch == ""):
		return Alive
	case fresh:
		return Gone
	}
	return Unseen
}

// Step is what a node does about a key.
type Step uint8

const (
	Refuse  Step = iota // its own lease is not certain: it may not hold anything now
	Serve               // the claim was made by this attempt
	Moved               // the holder is alive: tell it to those who ask
	Confirm             // read the registry's record of the holder, and decide again
	Create              // make a claim
	Replace             // replace the claim that was found, under its token
)

var stepNames = [...]string{"refuse", "serve", "moved", "confirm", "create", "replace", "?"}

// String returns the step in lower case.
func (s Step) String() string { return stepNames[min(int(s), len(stepNames)-1)] }

// Decide says what a node does that was asked for an actor which it has not activated, after it has
// read the claim and knows what sight says of its holder.
//
// A claim of this epoch that another attempt has made is replaced, not served: since it was made, the
// node may have lost its lease and won it again, and another node that has seen it gone may be about
// to replace that claim. One of the two writes fails. So each activation has made a write of its
// own.
//
// A claim of an earlier start of this node is replaced without a look at the registry: this start
// holds the name, so that one does not. The other way round, a start that has lost its name is not
// certain of its lease.
func Decide(self Self, found Held, sight Sight) Step {
	switch {
	case !self.Certain:
		return Refuse
	case found.Token == 0:
		return Create
	case found.Node == self.Node && found.Epoch == self.Epoch && found.ID == self.Attempt:
		return Serve
	case found.Node == self.Node, sight == Gone:
		return Replace
	case sight == Alive:
		return Moved
	}
	return Confirm
}

// Next is what follows a write.
type Next uint8

const (
	Hold      Next = iota // the claim is made: serve, if the lease is still certain
	ReadAgain             // read the claim, and decide again, in the same attempt
	Later                 // nothing was written; try again after a while, or give up
	Fail                  // another attempt does not help: tell those who ask, and the operator
)

var nextNames = [...]string{"hold", "read again", "later", "fail", "?"}

// String returns the name in lower case.
func (n Next) String() string { return nextNames[min(int(n), len(nextNames)-1)] }

// After says what follows a Create or a Replace that has ended with err. After an error that proves
// nothing, reading finds out: the claim then has the attempt's ID, or the same write is made again.
func After(err error) Next {
	switch {
	case err == nil:
		return Hold
	case errors.Is(err, ErrLost), errors.Is(err, ErrInvalid), errors.Is(err, ErrFormat):
		return Fail
	case errors.Is(err, ErrConflict), errors.Is(err, ErrUnknown):
		return ReadAgain
	case errors.Is(err, ErrUnavailable):
		return Later
	}
	return ReadAgain
}

// Fate is what became of a write whose answer was not seen.
type Fate uint8

const (
	Open    Fate = iota // nothing is proved: it may still be made
	Made                // it is the key's claim
	Refused             // it is not the key's claim, and never will be
)

var fateNames = [...]string{"open", "made", "refused", "?"}

// String returns the fate in lower case.
func (f Fate) String() string { return fateNames[min(int(f), len(fateNames)-1)] }

// Settle says what became of a write of c after the token before, by what was read afterwards. If
// the key has none, found may have the token under which the last one was released. It is for those
// who implement Claims.
func Settle(c Claim, before Token, found Held) Fate {
	switch {
	case found.Claim == c:
		return Made
	case found.Token > before:
		return Refused
	}
	return Open
}
