package simulation

import (
	"time"

	"github.com/tandem-go/tandem/transport/memnet"
)

// Plan is what is drawn for a run before it begins.
type Plan struct {
	Nodes     int
	Roads     []string // "direct" and "bus", or one of them
	Lease     time.Duration
	Heartbeat time.Duration            // 0: the default
	Length    time.Duration            // of the faults
	Gap       time.Duration            // mean pause between faults
	Faults    []string                 // of FaultNames
	Base      map[string]memnet.Faults // of each road, all the time
	Stores    []bool                   // of the nodes; shorter: the others have none
	Slow      time.Duration            // a write to a store takes, at most
}
