package rpc

import (
	mathrand "math/rand/v2"
	"time"
)

// Defaults of Limits.
const (
	DefaultWindow       = 4096
	DefaultMaxBody      = 64<<20 + 32<<10 // 64 MiB of data, and what a codec puts around them
	DefaultKeep         = 256 << 10
	DefaultKeyLife      = 10 * time.Minute
	DefaultSessionLease = time.Minute
	DefaultHeartbeat    = 2 * time.Second
)

// Limits bound what a system and its peers hold for each other, and for how long. The zero
// value of each field is the default that its comment gives.
type Limits struct {
	// Window is how many requests from one node to another may be outstanding: of the Windows
	// of both nodes the smaller one counts. A sender of more waits. Default 4,096, which is
	// also the most.
	Window int
	// MaxBody bounds the bytes of a message's body. A larger one is refused as TooLarge.
	// Default 64 MiB of data, and 32 KiB for what a codec puts around them.
	MaxBody int
	// MaxPending bounds the bytes of the bodies that this system keeps for one peer, to send
	// them again; and as many again of large ones. Senders of more of them wait. Default
	// 64 MiB.
	MaxPending int
	// Keep is the bytes of the largest reply that is kept for copies of its request. What
	// is larger is sent once. Default 256 KiB.
	Keep int
	// MemoryBytes bounds what peers have this system hold: messages that wait or are being
	// handled, what has come of large ones, records and replies, keys, results of jobs,
	// batches of streams, items of queues in memory, what waits to be written to the store.
	// One principal may take as much as is free: half of all, if it is the only one. Beyond
	// that a request is refused as Overloaded, and did not run; a one-way message is lost.
	// Default 256 MiB, or 12 times MaxBody if that is more.
	MemoryBytes int64
	// KeyLife is how long the outcome of a request with a key is kept, and the outcomes of
	// requests to an earlier start of this node. Default 10 min.
	KeyLife time.Duration
	// KeyBytes bounds the memory of keys and their outcomes, which counts in MemoryBytes too.
	// A key and its reply take about 81 bytes, and 192 more if the kind is durable. One
	// principal may take nine times as much as is free: nine tenths, if it is the only one.
	// Beyond that a request with a new key is refused as Overloaded, and did not run.
	// Default two thirds of MemoryBytes. So by default nodes that are all anonymous can use
	// 5,000 new keys a second with small replies, or 1,500 for durable kinds; 5,000 for
	// durable kinds need a MemoryBytes of 2 GiB.
	KeyBytes int64
	// MaxSessions bounds the sessions that are open at this node. One principal may have
	// three times as many as are free: three quarters, if it is the only one. It may open a
	// quarter of MaxSessions at once, at least 64, and then a 64th of MaxSessions each
	// second; beyond that it is refused as Overloaded, and asks again. Default 16,384.
	MaxSessions int
	// SessionLease is how long a session lasts that has no traffic and nothing running. The
	// heartbeats of its client are traffic, so it does not end while a link is open. For that
	// it lasts at least four Heartbeats of this node, also if less is asked for here; and it
	// must be longer than two Heartbeats of any client. With a session that ends while its
	// client goes on, one-way messages under way are lost, and a call may end as Unknown.
	// Default 1 min.
	SessionLease time.Duration
	// Heartbeat is the time between two signs of life on a link. A link is closed after three
	// of them without one. All nodes of a cluster should have the same. Default 2 s.
	Heartbeat time.Duration
	// Random is where pauses come from, uniform in [0, 1); tests that repeat themselves set
	// it. It is called concurrently. Default math/rand.
	Random func() float64
}

// leaseBeats is the fewest heartbeats that a session lasts. A link is closed after three without
// a sign of life, and that renews the leases of its sessions: so these cannot end before it.
const leaseBeats = 4

// WithDefaults returns l with the defaults in place of zero values, and with a SessionLease of
// at least four Heartbeats.
func (l Limits) WithDefaults() Limits {
	set(&l.Window, DefaultWindow)
	set(&l.MaxBody, DefaultMaxBody)
	set(&l.MaxPending, 64<<20)
	set(&l.Keep, DefaultKeep)
	set(&l.MemoryBytes, max(256<<20, 12*int64(l.MaxBody)))
	set(&l.MaxSessions, 16384)
	set(&l.KeyLife, DefaultKeyLife)
	set(&l.KeyBytes, l.MemoryBytes/3*2)
	set(&l.SessionLease, DefaultSessionLease)
	set(&l.Heartbeat, DefaultHeartbeat)
	l.SessionLease = max(l.SessionLease, leaseBeats*l.Heartbeat)
	if l.Random == nil {
		l.Random = mathrand.Float64
	}
	return l
}

func set[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}
