package jetstream

import "time"

// Hasten shortens the times after which a firing is handed out again that nobody holds, after which a
// follower notices that NATS does not know its request, or that a stream is gone.
func (s *Store) Hasten(d time.Duration) {
	s.ackWait, s.heartbeat, s.pullFor = d, d/4, d
}
