package rpc

import (
	"sync"
	"sync/atomic"
	"time"
)

// account counts the bytes that peers have this node hold: messages that wait or are being
// handled, the parts of large ones that have come, records and outcomes of requests, results
// of jobs, items of streams. It counts what has come, not what was announced, until the
// memory is given back. There is one for the node, in which each principal has a share.
//
// A principal may have as much as is free. So one alone gets half of all, two get a third
// each, and whatever others hold there is room for one more. Large messages leave a
// quarter of all free, so that small ones find room beside them.
type account struct {
	limit   int64
	replies int // bytes set aside for the reply of each request
	ahead   int // bytes that a session takes and keeps at a time, so that few messages meet others here
	all     atomic.Int64
	refused atomic.Uint64 // how often there was no room

	sessions  int     // that there may be
	openBurst int     // that one principal may open at once,
	openRate  float64 // and then each second

	mu     sync.Mutex // guards what follows
	shares map[string]*share
}

// share is one principal's part.
type share struct {
	of        *account
	principal string
	used      atomic.Int64
	said      atomic.Int64 // node clock when a line of the log said that it is full; 0: never

	sessions int // guarded by Node.mu

	users int    // sessions, links and others that count here; guarded by account.mu
	opens bucket // likewise
	voids bucket // likewise
}

// bucket lets so many through at once, and then so many a second: pure.
type bucket struct {
	gone float64       // of those at once
	at   time.Duration // when that was so
}

func (b *bucket) take(now time.Duration, burst int, rate float64) bool {
	if b.full(now, rate); b.gone+1 > float64(burst) {
		return false
	}
	b.gone++
	return true
}

// full reports whether nothing is gone.
func (b *bucket) full(now time.Duration, rate float64) bool {
	b.gone, b.at = max(0, b.gone-(now-b.at).Seconds()*rate), now
	return b.gone == 0
}

// What is set aside for the reply of each request when it is admitted: a KiB, unless limits
// are small. So a reply up to that size can always be kept; a larger one is if there is room.
const (
	maxReserve    = 1 << 10
	reserveShares = 1 << 16 // of the limit
	aheadShares   = 1 << 14
	minBurst      = 64
	voidBurst     = 2 * DefaultWindow // what the clients of a start that was lost may ask at once
	voidRate      = 64                // and then each second
	sessionGreed  = 3                 // times as many sessions as are free a principal may have
	recordSize    = 320               // bytes that a message takes beside its body and what came with it, or its record beside the outcome
)

func (a *account) init(limit int64, keep, sessions int) {
	a.limit, a.shares = limit, map[string]*share{}
	a.replies = min(maxReserve, keep, int(limit/reserveShares))
	a.ahead = int(limit / aheadShares)
	a.sessions, a.openBurst, a.openRate = sessions, max(sessions/4, minBurst), max(float64(sessions)/64, 1)
}

// of returns the share of a principal, for one more user, which has to leave.
func (a *account) of(principal string) *share {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.shares[principal]
	if s == nil {
		s = &share{of: a, principal: principal}
		a.shares[principal] = s
	}
	s.users++
	return s
}

// leave ends that.
func (s *share) leave() {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	s.users--
}

// sweep takes out the shares that nobody uses and that hold nothing, not even a number of
// opens that is to be remembered.
func (a *account) sweep(now time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, s := range a.shares {
		if s.users == 0 && s.used.Load() == 0 && s.opens.full(now, a.openRate) && s.voids.full(now, voidRate) {
			delete(a.shares, name)
		}
	}
}

// open takes note of an open of a session, or reports that there were too many lately.
func (s *share) open(now time.Duration) bool {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	return s.opens.take(now, s.of.openBurst, s.of.openRate)
}

// void takes note of a question that leaves a row in an application's records for good, or
// reports that there were too many lately.
func (s *share) void(now time.Duration) bool {
	s.of.mu.Lock()
	defer s.of.mu.Unlock()
	return s.voids.take(now, voidBurst, voidRate)
}

// enter returns why a session may not be opened, when there are so many. Node.mu is held.
func (s *share) enter(all int) *Error {
	switch most := s.of.sessions; {
	case all >= most:
		return Errorf(Overloaded, NotRun, "%d sessions are open here", all)
	case s.sessions >= sessionGreed*(most-all):
		return Errorf(Overloaded, NotRun, "%d sessions of %s are open here, of %d in all", s.sessions, s.principal, all)
	}
	return nil
}

// hold counts n bytes, or reports that there is no room for them.
func (s *share) hold(n int) bool { return s.take(n, 0) }

// holdLarge does so for what leaves room for others.
func (s *share) holdLarge(n int) bool { return s.take(n, s.of.limit/4) }

func (s *share) take(n int, leaves int64) bool {
	used, all := s.used.Add(int64(n)), s.of.all.Add(int64(n))
	if used+all+leaves <= s.of.limit {
		return true
	}
	s.free(n)
	s.of.refused.Add(1)
	return false
}

// force counts n bytes for which there may be no room: those of what has been promised.
func (s *share) force(n int) {
	s.used.Add(int64(n))
	s.of.all.Add(int64(n))
}

// free ends the counting of n bytes.
func (s *share) free(n int) {
	if n != 0 {
		s.used.Add(int64(-n))
		s.of.all.Add(int64(-n))
	}
}

// easy reports whether there is so much room that bytes may be taken ahead.
func (s *share) easy() bool { return s.used.Load()+s.of.all.Load() <= s.of.limit/4 }

// hold counts n bytes of a message, or reports that there is no room for them. s.mu is held.
func (s *session) hold(n int, large bool) bool {
	switch ahead := s.node.account.ahead; {
	case large:
		return s.share.holdLarge(n)
	case n <= s.spare:
		s.spare -= n
		return true
	case s.share.easy() && s.share.hold(n+ahead):
		s.spare += ahead
		return true
	}
	if !s.share.hold(n - s.spare) {
		return false
	}
	s.spare = 0
	return true
}

// free ends the counting of n bytes. s.mu is held.
func (s *session) free(n int) {
	if s.ended.Load() {
		s.share.free(n)
		return
	}
	if s.spare += n; s.spare > 2*s.node.account.ahead {
		s.share.free(s.spare - s.node.account.ahead)
		s.spare = s.node.account.ahead
	}
}

// yield gives back what a session without traffic has taken ahead. s.mu is held.
func (s *session) yield() {
	s.share.free(s.spare)
	s.spare = 0
	if s.listed > freeList && s.table.Trim() <= freeList {
		s.share.free(8 * (s.listed - freeList))
		s.listed = freeList
	}
}

// Memory is the share of the node's memory that one principal has. All methods may be
// called concurrently.
type Memory struct {
	node  *Node
	share *share
}

// Memory returns a principal's share, for what a message of it has this node hold beyond
// its own outcome: the result of a job, a stream. It has to be closed.
func (n *Node) Memory(principal string) Memory { return Memory{n, n.account.of(principal)} }

// Hold counts n bytes, or returns why there is no room for them: Overloaded, NotRun.
func (m Memory) Hold(n int) *Error {
	if m.share.holdLarge(n) {
		return nil
	}
	return m.node.full(m.share, "")
}

// Keep does so for what may stay for long, and is let go of by further messages: it leaves
// three eighths of all free, so that these and large answers to them find room, also beside
// one who fills the half that it may have.
func (m Memory) Keep(n int) *Error {
	if m.share.take(n, m.share.of.limit/8*3) {
		return nil
	}
	return m.node.full(m.share, "")
}

// Free ends the counting of n bytes.
func (m Memory) Free(n int) { m.share.free(n) }

// Close says that the share is not used here any more. What is still counted stays so.
func (m Memory) Close() { m.share.leave() }

// saidEvery is how often one principal's share is said to be full.
const saidEvery = time.Minute

// full is what is refused gets when a share is full. It is logged now and then; node is
// who asks, empty if nobody knows.
func (n *Node) full(s *share, node string) *Error {
	err := Errorf(Overloaded, NotRun, "what %s has this node hold fills its share of the memory (rpc.Config.MemoryBytes)", s.principal)
	now, said := n.now()+1, s.said.Load()
	if (said == 0 || now-time.Duration(said) >= saidEvery) && s.said.CompareAndSwap(said, int64(now)) {
		n.cfg.Logger.Warn("a principal's share of the memory is full", "principal", s.principal, "node", node,
			"bytes", s.used.Load(), "all", n.account.all.Load(), "limit", n.cfg.MemoryBytes, "refused", n.account.refused.Load())
		n.event(Event{Type: MemoryFull, Peer: node, Err: err})
	}
	return err
}
