// Package account counts the bytes that a node holds for its peers.
package account

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/internal/engine/host"
	"github.com/tandem-go/tandem/rpc"
)

// Account counts the bytes that a node holds for its peers: messages that wait or are being
// handled, the parts of large messages that have come, records and outcomes of requests,
// results of jobs, and items of streams. Bytes count from the moment at which they have come,
// not when they are announced, until they are freed. A node has one Account, in which each
// principal has a share. Its methods may be called concurrently.
//
// A principal may hold as much as stays free. So a single principal gets half of all, two get
// a third each, and there is always room for one more. Large messages have to leave a quarter
// of the limit free, so that there is room for small ones.
type Account struct {
	host *host.Host
	Limits
	all     atomic.Int64
	refused atomic.Uint64 // how often there was no room

	sessions  int     // how many sessions may be open
	openBurst int     // how many sessions one principal may open at once,
	openRate  float64 // and then per second

	mu     sync.Mutex // guards what follows
	shares map[string]*Share
	open   int // sessions
}

// Limits are the limits of an Account, in bytes. They do not change.
type Limits struct {
	Limit int64 // of all shares together
	Reply int   // reserved for the reply of each request
	Ahead int   // what a session reserves at a time, so that most messages need not change the shared counters
}

// Share is one principal's part of an Account. Its methods may be called concurrently.
type Share struct {
	account   *Account
	principal string
	used      atomic.Int64
	loggedAt  atomic.Int64 // node clock, plus one, when the log last said that the share is full; 0: never

	users    int    // how many sessions, links and others use the share; guarded by Account.mu, like what follows
	sessions int    // how many are open
	opens    bucket // limits how often sessions are opened
	voids    bucket // limits the questions of AllowVoid
}

// bucket is a token bucket: it allows a burst at once, and then a rate per second. It is a
// pure structure.
type bucket struct {
	used float64       // how many of the burst have been used
	at   time.Duration // when used was computed
}

func (b *bucket) allow(now time.Duration, burst int, rate float64) bool {
	if b.full(now, rate); b.used+1 > float64(burst) {
		return false
	}
	b.used++
	return true
}

// full reports whether the whole burst is available.
func (b *bucket) full(now time.Duration, rate float64) bool {
	b.used, b.at = max(0, b.used-(now-b.at).Seconds()*rate), now
	return b.used == 0
}

// For the reply of each request MaxReply bytes are reserved when it is admitted, or less if the
// limits are small. So a reply up to that size can always be kept. A larger one is kept if
// there is room.
const (
	MaxReply            = 1 << 10
	reserveShares       = 1 << 16 // Limits.Reply is at most this part of the limit
	aheadShares         = 1 << 14 // Limits.Ahead is this part of the limit
	minBurst            = 64
	VoidBurst           = 2 * rpc.DefaultWindow // how often a principal may ask at once (see AllowVoid): as many as the clients of a lost start need
	VoidRate            = 64                    // and then per second
	freeSessionMultiple = 3                     // a principal may have this many times as many sessions as stay free
	Record              = 320                   // bytes of a message without its body and metadata, and of a record without the outcome
)

// New returns an Account of limit bytes, for at most that many sessions. At most keep bytes of
// a reply are kept.
func New(h *host.Host, limit int64, keep, sessions int) *Account {
	return &Account{host: h, Limits: Limits{limit, min(MaxReply, keep, int(limit/reserveShares)), int(limit / aheadShares)},
		sessions: sessions, openBurst: max(sessions/4, minBurst), openRate: max(float64(sessions)/64, 1), shares: map[string]*Share{}}
}

// Held returns how many bytes are counted.
func (a *Account) Held() int64 { return a.all.Load() }

// Refused returns how often there was no room.
func (a *Account) Refused() uint64 { return a.refused.Load() }

// Share returns the share of a principal, for one more user, which has to call Leave in the
// end.
func (a *Account) Share(principal string) *Share {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.shares[principal]
	if s == nil {
		s = &Share{account: a, principal: principal}
		a.shares[principal] = s
	}
	s.users++
	return s
}

// Own returns a new share for something of the node itself, which no principal uses.
func (a *Account) Own(name string) *Share { return &Share{account: a, principal: name} }

// Leave says that one user does not use the share any more.
func (s *Share) Leave() {
	s.account.mu.Lock()
	defer s.account.mu.Unlock()
	s.users--
}

// Sweep removes the shares that nobody uses, that hold nothing, and whose opens and questions
// need not be remembered any more.
func (a *Account) Sweep(now time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, s := range a.shares {
		if s.users == 0 && s.used.Load() == 0 && s.opens.full(now, a.openRate) && s.voids.full(now, VoidRate) {
			delete(a.shares, name)
		}
	}
}

// AllowOpen counts an open of a session, and reports whether it is allowed: it is not if there
// were too many lately.
func (s *Share) AllowOpen(now time.Duration) bool {
	s.account.mu.Lock()
	defer s.account.mu.Unlock()
	return s.opens.allow(now, s.account.openBurst, s.account.openRate)
}

// AllowVoid counts a question that leaves a permanent row in an application's records, and
// reports whether it is allowed: it is not if there were too many lately.
func (s *Share) AllowVoid(now time.Duration) bool {
	s.account.mu.Lock()
	defer s.account.mu.Unlock()
	return s.voids.allow(now, VoidBurst, VoidRate)
}

// OpenSession counts one more session. If too many are open, it returns an error: Overloaded,
// NotRun.
func (s *Share) OpenSession() *rpc.Error {
	a := s.account
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.open >= a.sessions:
		return rpc.Errorf(rpc.Overloaded, rpc.NotRun, "%d sessions are open here", a.open)
	case s.sessions >= freeSessionMultiple*(a.sessions-a.open):
		return rpc.Errorf(rpc.Overloaded, rpc.NotRun, "%d sessions of %s are open here, of %d in all", s.sessions, s.principal, a.open)
	}
	a.open++
	s.sessions++
	return nil
}

// CloseSession stops counting a session.
func (s *Share) CloseSession() {
	s.account.mu.Lock()
	defer s.account.mu.Unlock()
	s.account.open--
	s.sessions--
}

// Hold counts n bytes, and reports whether there is room for them. If not, they are not counted.
func (s *Share) Hold(n int) bool { return s.reserve(n, 0) }

// HoldLarge is like Hold, but only if a quarter of all stays free.
func (s *Share) HoldLarge(n int) bool { return s.reserve(n, s.account.Limit/4) }

// HoldRecord is like Hold, for the record of a message that is refused because there is no
// room. Such records may take a sixteenth more than the limit. The client gets the same
// refusal for each copy if there is a record.
func (s *Share) HoldRecord() bool { return s.reserve(Record, -s.account.Limit/16) }

func (s *Share) reserve(n int, leaves int64) bool {
	used, all := s.used.Add(int64(n)), s.account.all.Add(int64(n))
	if used+all+leaves <= s.account.Limit {
		return true
	}
	s.Free(n)
	s.account.refused.Add(1)
	return false
}

// Force counts n bytes even if there is no room for them, because they must be accepted.
func (s *Share) Force(n int) {
	s.used.Add(int64(n))
	s.account.all.Add(int64(n))
}

// Free stops counting n bytes.
func (s *Share) Free(n int) {
	if n != 0 {
		s.used.Add(int64(-n))
		s.account.all.Add(int64(-n))
	}
}

// Ample reports whether there is so much room that bytes may be reserved ahead.
func (s *Share) Ample() bool { return s.used.Load()+s.account.all.Load() <= s.account.Limit/4 }

// Memory is a Share for what a node holds because of a message beyond its outcome, such as the
// result of a job or the items of a stream. It has to be closed. Its methods may be called
// concurrently.
type Memory struct{ share *Share }

// Memory returns a Memory that counts in the share of a principal.
func (a *Account) Memory(principal string) Memory { return Memory{a.Share(principal)} }

// Hold counts n bytes. If there is no room for them, it returns an error: Overloaded, NotRun.
func (m Memory) Hold(n int) *rpc.Error {
	if m.share.HoldLarge(n) {
		return nil
	}
	return m.share.Full("")
}

// Keep is like Hold, for what may be held for long and is freed by later messages. It leaves
// three eighths of all free, so that there is room for those messages and for large answers to
// them, even if one principal fills the half that it may hold.
func (m Memory) Keep(n int) *rpc.Error {
	if m.share.reserve(n, m.share.account.Limit/8*3) {
		return nil
	}
	return m.share.Full("")
}

// Free stops counting n bytes.
func (m Memory) Free(n int) { m.share.Free(n) }

// Close says that the Memory is not used any more. Bytes that were not freed stay counted.
func (m Memory) Close() { m.share.Leave() }

// logEvery is how often the log says that a share is full.
const logEvery = time.Minute

// LogDue reports whether it is time to log that the share is full. If so, the caller has to
// log it, because the next time is an interval later.
func (s *Share) LogDue() bool {
	now, said := s.account.host.Now()+1, s.loggedAt.Load()
	return (said == 0 || now-time.Duration(said) >= logEvery) && s.loggedAt.CompareAndSwap(said, int64(now))
}

// Full returns the error for what is refused because the share is full: Overloaded, NotRun. Now
// and then it logs that and sends an event. node is the peer's name, empty if it is not known.
func (s *Share) Full(node string) *rpc.Error {
	a, h := s.account, s.account.host
	err := rpc.Errorf(rpc.Overloaded, rpc.NotRun, "what %s has this node hold fills its share of the memory (rpc.Limits.MemoryBytes)", s.principal)
	if s.LogDue() {
		h.Logger.Warn("a principal's share of the memory is full", "principal", s.principal, "node", node,
			"bytes", s.used.Load(), "all", a.all.Load(), "limit", a.Limit, "refused", a.refused.Load())
		h.Event(rpc.Event{Type: rpc.MemoryFull, Peer: node, Err: err})
	}
	return err
}

// Used returns how many bytes are counted in the share.
func (s *Share) Used() int64 { return s.used.Load() }
