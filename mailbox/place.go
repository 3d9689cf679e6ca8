package mailbox

import "fmt"

// Class is the priority of a message in a box that was made with InitOrdered. Messages of a higher
// class come out first; see Config.Overtake for what a lower one gets.
type Class int8

// The classes, the lowest first. The zero Class is Normal.
const (
	Low Class = iota - 1
	Normal
	High
	Urgent
)

// classCount is how many classes there are.
const classCount = int(Urgent-Low) + 1

// Valid reports whether c is one of the four classes.
func (c Class) Valid() bool { return Low <= c && c <= Urgent }

// String returns the class's name.
func (c Class) String() string {
	switch c {
	case Low:
		return "low"
	case Normal:
		return "normal"
	case High:
		return "high"
	case Urgent:
		return "urgent"
	}
	return fmt.Sprintf("class(%d)", int8(c))
}

// Sender names who has sent a message, for Config.Fair: two messages have the same sender if their
// Senders are equal. The box does not look at what the fields say.
type Sender struct{ Actor, Node, Principal string }

// Place says where a message belongs in an ordered box.
type Place struct {
	Class  Class  // one that is out of range counts as the nearest one
	Sender Sender // counts only in a box with Config.Fair

	// Last has the message join the class in which most messages wait, whatever Class says, behind
	// those of its sender. It is for what is to show that messages have come out.
	Last bool
}
