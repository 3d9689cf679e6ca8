//go:build unix && !linux

package procs

import "time"

// monotonic is the time in nanoseconds by a clock that all processes of the machine share. Here that is the
// wall clock: it must not be set while the tests run.
func monotonic() int64 { return time.Now().UnixNano() }
