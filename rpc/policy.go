package rpc

// RoadPolicy says which roads a node takes to its peers.
type RoadPolicy uint8

// The policies.
const (
	// DirectFirst, the default, sends over a direct link while there is one, and keeps a
	// link over the bus beside it, to change to at once.
	DirectFirst RoadPolicy = iota
	BusOnly                // never opens a direct link
	DirectOnly             // never opens a link over the bus
	// Adaptive starts on the bus. It opens a direct link to a peer when there is enough
	// traffic, or when the bus does not lead there, and closes the link when it falls idle.
	// So many nodes need no full mesh of links.
	Adaptive
)

// String returns the policy's name in lower case.
func (r RoadPolicy) String() string {
	return [...]string{"direct first", "bus only", "direct only", "adaptive", "?"}[min(r, Adaptive+1)]
}

// Valid reports whether r is one of the policies.
func (r RoadPolicy) Valid() bool { return r <= Adaptive }
