package jetstream

import "time"

// Hasty is cfg with a NATS that notices sooner what is lost: it delivers a message again that was neither
// acked nor held for ackWait, and says each second that it knows of a request.
func Hasty(cfg Config, ackWait time.Duration) Config {
	cfg.ackWait, cfg.heartbeat = ackWait, time.Second
	return cfg
}
