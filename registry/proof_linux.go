package registry

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Self returns the proof of this process; nil where the system does not tell, as outside
// of Linux.
func Self() *Proof {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil
	}
	// In a container that is shown the host's /proc, numbers there are not ours.
	if own, err := os.Readlink("/proc/self"); err != nil || own != strconv.Itoa(os.Getpid()) {
		return nil
	}
	pids, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return nil
	}
	clock, err := os.Readlink("/proc/self/ns/time") // in another one, start times are others
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil
	}
	p := Look(os.Getpid())
	if !p.Seen || p.Started == 0 {
		return nil
	}
	return &Proof{Boot: string(bytes.TrimSpace(boot)), Namespace: strings.TrimSpace(pids + " " + clock), PID: os.Getpid(), Started: p.Started}
}

// Look returns what can be seen of a process.
func Look(pid int) Process {
	// Asked first, for /proc may be set up to hide the processes of other users.
	switch err := syscall.Kill(pid, 0); {
	case errors.Is(err, syscall.ESRCH):
		return Process{Seen: true}
	case err != nil && !errors.Is(err, syscall.EPERM):
		return Process{}
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Process{Seen: true, Exists: true}
	}
	return parseStat(text)
}

// parseStat reads /proc/<pid>/stat, of proc_pid_stat(5): state is field 3 and the time of
// the start field 22. Field 2 is the program's name in brackets, which may hold anything.
func parseStat(text []byte) Process {
	p := Process{Seen: true, Exists: true}
	_, rest, ok := bytes.Cut(text[max(bytes.LastIndexByte(text, ')'), 0):], []byte(") "))
	fields := strings.Fields(string(rest))
	if !ok || len(fields) < 20 {
		return p
	}
	if state := fields[0]; state == "Z" || state == "X" || state == "x" {
		p.Exists = false
	}
	p.Started, _ = strconv.ParseUint(fields[19], 10, 64)
	return p
}
