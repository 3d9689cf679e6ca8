package rpc_test

import (
	"testing"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// A session lasts at least four heartbeats, whatever the configuration says.
func TestSessionLeaseIsLongEnough(t *testing.T) {
	for _, row := range []struct{ lease, beat, want time.Duration }{
		{0, 0, rpc.DefaultSessionLease},
		{0, 15 * time.Second, time.Minute},
		{0, 15*time.Second + 1, time.Minute + 4},
		{8 * time.Second, 2 * time.Second, 8 * time.Second},
		{8*time.Second - 1, 2 * time.Second, 8 * time.Second},
		{time.Second, 0, 4 * rpc.DefaultHeartbeat},
		{9 * time.Second, 2 * time.Second, 9 * time.Second},
	} {
		if got := (rpc.Limits{SessionLease: row.lease, Heartbeat: row.beat}).WithDefaults().SessionLease; got != row.want {
			t.Errorf("a lease of %v with heartbeats of %v: lasts %v, want %v", row.lease, row.beat, got, row.want)
		}
	}
}
