package procs

import (
	"fmt"
	"syscall"
	"unsafe"
)

// clockMonotonic is CLOCK_MONOTONIC.
const clockMonotonic = 1

// monotonic is the time in nanoseconds by a clock that all processes of the machine share, and that nobody sets.
func monotonic() int64 {
	var t syscall.Timespec
	if _, _, err := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, clockMonotonic, uintptr(unsafe.Pointer(&t)), 0); err != 0 {
		panic(fmt.Sprintf("the monotonic clock: %v", err))
	}
	return t.Nano()
}
