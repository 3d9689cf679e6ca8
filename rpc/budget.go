package rpc

import (
	"sync"
	"sync/atomic"
)

// What is set aside for the reply of each request when it is admitted: a KiB, unless
// limits are small. So a reply up to that size can always be kept; a larger one is if
// there is room. A principal can have reserveShares requests waiting or running.
const (
	maxReserve    = 1 << 10
	reserveShares = 1 << 14
)

// budget counts the bytes set aside for replies and outcomes that are kept: all of
// them, and each principal's, which may have a quarter.
type budget struct {
	limit   int64
	replies int // bytes set aside for each reply
	ahead   int // bytes that a session takes and keeps at a time, so that few requests meet others here; while half of its principal's share is free, so that sessions which do nothing leave the other half to those that do
	all     atomic.Int64

	mu     sync.Mutex // guards what follows
	shares map[string]*share
}

// share is one principal's part.
type share struct {
	used  atomic.Int64
	users int // sessions and keys; guarded by budget.mu
}

func (b *budget) init(limit int64, keep int) {
	b.limit, b.shares = limit, map[string]*share{}
	b.replies = min(maxReserve, keep, int(limit/4/reserveShares))
	b.ahead = int(limit / 1024)
}

// of returns the share of a principal, for one more session or key.
func (b *budget) of(principal string) *share {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.shares[principal]
	if s == nil {
		s = &share{}
		b.shares[principal] = s
	}
	s.users++
	return s
}

// leave notes that a session has ended, or a key was forgotten.
func (b *budget) leave(principal string, s *share) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s.users--; s.users == 0 {
		delete(b.shares, principal)
	}
}

// reserve sets n bytes aside, or reports that they are over a limit.
func (b *budget) reserve(s *share, n int) bool {
	if s.used.Add(int64(n)) > b.limit/4 {
		s.used.Add(int64(-n))
		return false
	}
	if b.all.Add(int64(n)) > b.limit {
		b.free(s, n)
		return false
	}
	return true
}

func (b *budget) free(s *share, n int) {
	if n != 0 {
		s.used.Add(int64(-n))
		b.all.Add(int64(-n))
	}
}

// reserve sets n bytes aside for a reply, or reports that they are over a limit. s.mu is held.
func (s *session) reserve(n int) bool {
	b := &s.node.budget
	switch {
	case n <= s.spare:
		s.spare -= n
	case !b.crowded(s.share) && b.reserve(s.share, n+b.ahead):
		s.spare += b.ahead
	default:
		return b.reserve(s.share, n)
	}
	return true
}

// crowded reports whether half of the share is used.
func (b *budget) crowded(s *share) bool { return s.used.Load() > b.limit/8 }

// free gives them back. s.mu is held.
func (s *session) free(n int) {
	b := &s.node.budget
	if b.crowded(s.share) {
		b.free(s.share, s.spare+n)
		s.spare = 0
		return
	}
	if s.spare += n; s.spare > 2*s.node.budget.ahead {
		s.node.budget.free(s.share, s.spare-s.node.budget.ahead)
		s.spare = s.node.budget.ahead
	}
}
