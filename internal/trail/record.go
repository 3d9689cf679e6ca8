package trail

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// Side says in which part a node had in a request.
type Side uint8

// The sides.
const (
	Client Side = iota + 1 // the node that has sent it
	Server                 // the node that handles it
	Job                    // the node that has the job
)

// Class says why a request is kept. A request of a higher class has a ring of its own, so it is
// not replaced by those of a lower one, however many there are.
type Class uint8

// The classes.
const (
	Routine Class = iota // one of many like it
	Marked               // it has a key, a job or a trace that is recorded
	Unusual              // more became of it than that it was sent once, ran and was answered
	classes
)

// What is what became of a request in a step. The numbers are those of this process only.
type What uint8

// Head is what is known of a request from its beginning. It refers to no message. Its strings are
// those of nodes, principals and actors, which others keep, too.
type Head struct {
	ID        rpc.RequestID
	Side      Side
	Peer      string // the other node
	Principal string // of the client; empty on the client's side
	Target    string // the actor
	TypeID    uint64
	Trace     [16]byte
	Key       Text
	Job       uint64 // what stands for the job's id, see Sum; 0: no job
}

// Step is one step in the life of a request.
type Step struct {
	At      time.Duration // node clock; 0: it is not known
	What    What
	Verdict rpc.Verdict
	Code    rpc.Code
	About   bool          // it was a little later than At
	Other   rpc.RequestID // another request that the step has to do with
	Road    string
}

// Bounds of what is kept of one request: its first steps and its last ones. Those between them are
// only counted.
const (
	FirstSteps = 7
	lastSteps  = 7
	MaxSteps   = FirstSteps + lastSteps
)

// maxText is how many bytes of a text are kept.
const maxText = 40

// Text is a text of a caller's own, without reference to the memory that it came in. A long one is
// cut, and is recognised all the same.
type Text struct {
	sum  uint64
	len  uint8
	cut  bool
	text [maxText]byte
}

// TextOf returns s as a Text.
func TextOf(s string) (t Text) {
	if s == "" {
		return t
	}
	t.sum = Sum(s)
	t.len, t.cut = uint8(copy(t.text[:], s)), len(s) > maxText
	return t
}

// String returns the text; of a long one the beginning, and an ellipsis.
func (t *Text) String() string {
	if t.cut {
		return string(t.text[:]) + "…"
	}
	return string(t.text[:t.len])
}

// Sum returns a number that stands for a secret, or for a text: nobody can tell from it what it stands for.
func Sum(s string) uint64 {
	h := sha256.Sum256([]byte("tandem trail\x00" + s))
	return max(binary.BigEndian.Uint64(h[:]), 1)
}

// Record is what is known of one request.
type Record struct {
	Head
	Class   Class
	Number  uint64 // in the order in which requests were first kept; those that came later have higher ones
	Dropped int    // steps between the first and the last ones that were not kept

	count int // steps that were added
	steps [MaxSteps]Step
}

// add adds a step.
func (r *Record) add(s Step) {
	if r.count < MaxSteps {
		r.steps[r.count] = s
	} else {
		r.steps[FirstSteps+(r.count-FirstSteps)%lastSteps] = s
		r.Dropped++
	}
	r.count++
}

// Len returns how many steps are kept, and At the i-th of them.
func (r *Record) Len() int { return min(r.count, MaxSteps) }

// At returns the i-th step that is kept.
func (r *Record) At(i int) *Step {
	if i >= FirstSteps && r.count > MaxSteps {
		i = FirstSteps + (r.count-FirstSteps+i-FirstSteps)%lastSteps
	}
	return &r.steps[i]
}
