package server

import (
	"context"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/internal/engine/account"
	"github.com/tandem-go/tandem/internal/engine/host"
	"github.com/tandem-go/tandem/internal/engine/journal"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// Handler runs the requests and one-way messages of peers. Its methods are called from the
// readers of links, also concurrently, and must not block.
type Handler interface {
	// HandleRequest gets a request that is to run. Exactly once, now or later, Reply or Fail
	// has to be called for it.
	HandleRequest(in *Inbound)
	// Durability returns what a later start of this node can find out about requests to an
	// actor.
	Durability(target string) Durability
	// HandleTells gets one-way messages to one actor, in order. Some of tells may be rows, see
	// Inbound.Left and Unpack. The slice is valid only during the call.
	HandleTells(tells []*Inbound)
	// LoseTells gets one-way messages to one actor that are not to be handled, no rows, and the reason.
	// Their bodies may be missing. It must not keep any of them.
	LoseTells(tells []*Inbound, why *rpc.Error)
}

// Config describes a Server. Every field except Check, OnDenied, Kinds, Compression and Trail is required.
type Config struct {
	rpc.Limits
	Host    *host.Host
	Account *account.Account
	Handler Handler
	Kinds   []string // the kinds of actors of which this node or the application keeps records

	// Check returns nil if a client may get the recorded outcome of a request, or may use a
	// key, and otherwise why not. It is called with locks held, and must not block or change
	// anything. If Check is nil, every client may. OnDenied, if it is not nil, is called with
	// what Check refused.
	Check    func(Arrival) *rpc.Error
	OnDenied func(Arrival, *rpc.Error)

	Compression transport.Compression // nil: nothing is compressed
	Trail       *trail.Trail          // notes what becomes of requests; nil: nothing is noted
}

// Server is the half of a node that serves its peers: it keeps their sessions and the records
// of their requests. Its methods may be called concurrently, except Keep.
//
// Locks are taken in this order: Server.mu, client.receiveLock, session.mu, keys.mu.
type Server struct {
	cfg        Config
	host       *host.Host
	account    *account.Account
	journal    *journal.Journal // nil without a store
	seed       maphash.Seed
	questions  chan struct{} // holds a token for each question to an application's own records that is being asked
	questioned sync.Map      // the IDs about which an application's records are being asked
	ackWake    chan struct{} // has a token when the records of a session may have become fewer
	_          host.LinePad  // the fields below change all the time

	counts   counts
	keys     keys
	inbounds inbounds

	mu       sync.Mutex // guards what follows
	open     bool       // whether new sessions are opened
	sessions map[transport.Grant]*session
	clients  map[string]*client // those that have sessions, by ownerName
	served   uint64             // requests that were admitted in sessions that have ended
}

// counts are totals since the Server was created.
type counts struct {
	replayed, attached, refused, recovered, keysRefused  atomic.Uint64
	tellsServed, tellsDropped, tellsMissed, tellsRefused atomic.Uint64
	sessionsOpened, sessionsExpired, opensRefused        atomic.Uint64
	joinsDenied, badMarks                                atomic.Uint64
}

// New returns a Server that opens sessions only with this node itself until Open is called.
func New(cfg Config) *Server {
	srv := &Server{cfg: cfg, host: cfg.Host, account: cfg.Account, seed: maphash.MakeSeed(), questions: make(chan struct{}, maxQuestions), ackWake: make(chan struct{}, 1),
		sessions: map[transport.Grant]*session{}, clients: map[string]*client{}}
	srv.keys.server, srv.keys.all, srv.keys.done.limit, srv.keys.done.share = srv, map[[16]byte]*keyed{}, cfg.KeyBytes, cfg.Account.Share
	srv.keys.marks = map[[16]byte]*mark{}
	return srv
}

// Keep makes the Server keep records in a journal. It is called before there is any link.
func (srv *Server) Keep(j *journal.Journal) { srv.journal = j }

// Known reports whether name is that of a session that is open, or of a key of which an
// attempt runs or is to run.
func (srv *Server) Known(name [16]byte) bool { return srv.session(name) != nil || srv.keys.runs(name) }

// Open sets whether the Server opens new sessions with other nodes.
func (srv *Server) Open(open bool) {
	srv.mu.Lock()
	srv.open = open
	srv.mu.Unlock()
}

// Beat is called with each heartbeat. expire says whether leases may end. Beat returns the
// nodes that have sent requests or one-way messages since the last heartbeat.
func (srv *Server) Beat(now time.Duration, expire bool) (served map[string]bool) {
	srv.keys.sweep(now)
	srv.mu.Lock()
	defer srv.mu.Unlock()
	served = map[string]bool{}
	for g, s := range srv.sessions {
		if s.takeWorked() && !s.foreign {
			served[s.id.Node] = true
		}
		if expire && s.expire(now, srv.cfg.SessionLease) {
			delete(srv.sessions, g)
			srv.counts.sessionsExpired.Add(1)
		}
	}
	return served
}

// AwaitAcks returns when every reply was acked, when every link that could bring an ack is
// closed, or when ctx ends. Until then copies are still answered. It returns how many records
// were not acked.
func (srv *Server) AwaitAcks(ctx context.Context) int {
	for {
		left, lost := 0, 0
		srv.mu.Lock()
		for _, s := range srv.sessions {
			if records, linked := s.records(); linked {
				left += records
			} else {
				lost += records
			}
		}
		srv.mu.Unlock()
		if left == 0 {
			return lost
		}
		select {
		case <-srv.ackWake:
		case <-ctx.Done():
			return left + lost
		}
	}
}

// poke wakes a goroutine that waits in AwaitAcks.
func (srv *Server) poke() {
	select {
	case srv.ackWake <- struct{}{}:
	default:
	}
}

// SealedSession is a session in which no request starts any more.
type SealedSession struct {
	wire.SessionWord         // the last word, which its client needs to know
	On               []*Link // the links on which it is open
}

// Seal makes sure that no request of any session starts from now on. It returns all sessions
// except those of this node itself.
func (srv *Server) Seal() (sealed []SealedSession) {
	srv.mu.Lock()
	sessions := make([]*session, 0, len(srv.sessions))
	for _, s := range srv.sessions {
		sessions = append(sessions, s)
	}
	srv.mu.Unlock()
	for _, s := range sessions {
		if word, on := s.seal(); !s.own {
			sealed = append(sealed, SealedSession{wire.SessionWord{Grant: s.grant, Word: word}, on})
		}
	}
	return sealed
}

// View is a snapshot of what a Server has.
type View struct {
	Sessions []transport.Grant
	Clients  int // how many starts of nodes have sessions
	Waiting  int // how many attempts wait for the outcome of another one with the same key
}

// View returns a snapshot.
func (srv *Server) View() View {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return View{slices.Collect(maps.Keys(srv.sessions)), len(srv.clients), srv.keys.waits()}
}

// Count adds the Server's numbers to a snapshot. It takes the locks of all sessions in turn.
func (srv *Server) Count(s *rpc.Stats) {
	c := &srv.counts
	s.Replayed, s.Attached, s.Refused, s.Recovered, s.KeysRefused = c.replayed.Load(), c.attached.Load(), c.refused.Load(), c.recovered.Load(), c.keysRefused.Load()
	s.TellsServed, s.TellsDropped, s.TellsMissed, s.TellsRefused = c.tellsServed.Load(), c.tellsDropped.Load(), c.tellsMissed.Load(), c.tellsRefused.Load()
	s.SessionsOpened, s.SessionsExpired, s.OpensRefused = c.sessionsOpened.Load(), c.sessionsExpired.Load(), c.opensRefused.Load()
	s.JoinsDenied, s.BadMarks = c.joinsDenied.Load(), c.badMarks.Load()
	srv.mu.Lock()
	for _, v := range srv.sessions {
		v.count(s)
	}
	s.Served += srv.served
	srv.mu.Unlock()
	s.Keys, s.KeyBytes = srv.keys.count()
}
