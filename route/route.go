// Package route decides which workers of a pool get a message: in turn, at random, the least busy
// one, one by a key, all of them, or the first of several that answers.
//
// A Policy says how, and is given to actor.Pool:
//
//	sys.Spawn("resize", ResizeKind, actor.Pool(8, route.LeastBusy()))
//
// A Table takes the decisions. It has no clock, no lock and no goroutine; its caller owns it, and
// gives it the random numbers.
package route

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/tandem-go/tandem/internal/rendezvous"
)

// Policy says which workers get a message. The zero value is RoundRobin. A Policy may be used by
// any number of pools.
type Policy struct {
	kind kind
	n    int // of FirstOf
	key  func(message any) (key string, ok bool)
	typ  reflect.Type // of the messages that key takes
}

type kind uint8

const (
	inTurn kind = iota
	byChance
	leastBusy
	byKey
	broadcast
	firstOf
)

// RoundRobin takes the workers in turn. One whose mailbox is full is passed over.
func RoundRobin() Policy { return Policy{} }

// Random takes a random worker, each with the same probability. If its mailbox is full, it takes
// another one.
func Random() Policy { return Policy{kind: byChance} }

// LeastBusy takes the worker with the fewest messages that wait or are being handled. Equal ones
// take turns.
func LeastBusy() Policy { return Policy{kind: leastBusy} }

// ByKey sends messages with the same key to the same worker, in order, as long as the pool has
// the same workers. When a worker comes or goes, only its keys move (rendezvous hashing). No other
// worker takes a message for one whose mailbox is full. key is called in the turn of the pool, so it
// must be fast. M may be an interface that several types of messages implement; a message that is
// no M is refused.
func ByKey[M any](key func(M) string) Policy {
	return Policy{kind: byKey, typ: reflect.TypeFor[M](), key: func(message any) (string, bool) {
		m, ok := message.(M)
		if !ok {
			return "", false
		}
		return key(m), true
	}}
}

// Broadcast sends each one-way message to all workers. Requests are refused.
func Broadcast() Policy { return Policy{kind: broadcast} }

// FirstOf sends each request to the n least busy workers, or to as many as have room. The first reply
// wins, and the others are cancelled. An error counts only if all have failed. One-way
// messages, jobs, streams and requests with a key go to the least busy worker only.
func FirstOf(n int) Policy { return Policy{kind: firstOf, n: n} }

// Validate returns what is wrong with p, or nil.
func (p Policy) Validate() error {
	if p.kind == firstOf && p.n < 1 {
		return fmt.Errorf("route: FirstOf(%d): want at least 1", p.n)
	}
	return nil
}

// String returns the policy's name.
func (p Policy) String() string {
	if p.kind == firstOf {
		return fmt.Sprintf("first of %d", p.n)
	}
	return [...]string{"round robin", "random", "least busy", "by key", "broadcast"}[p.kind]
}

// Keyed reports whether Key has to be asked, and for which type of messages.
func (p Policy) Keyed() (reflect.Type, bool) { return p.typ, p.kind == byKey }

// Key returns the key of a message. ok is false if the message is not of the policy's type.
func (p Policy) Key(message any) (key string, ok bool) { return p.key(message) }

// Broadcasts reports whether one-way messages go to all workers, and requests to none.
func (p Policy) Broadcasts() bool { return p.kind == broadcast }

// Races returns how many workers a request goes to; 1 for most policies.
func (p Policy) Races() int { return max(p.n, 1) }

// Worker is what a Table knows of one worker.
type Worker struct {
	Number int // its number in the pool, which never changes
	Load   int // messages that wait or are being handled; only LeastBusy and FirstOf look at it
}

// Loads reports whether a Table of this policy looks at the load of workers.
func (p Policy) Loads() bool { return p.kind == leastBusy || p.kind == firstOf }

// Table takes the decisions for one pool.
type Table struct {
	Policy Policy
	turn   int // the number of the worker that was preferred last
}

// Order appends to into which of the workers may take a message, as indices of workers, the
// preferred one first. The caller tries them in this order. workers are in the order of their numbers. key
// is the message's, for ByKey. random is a random number. The result is empty only if workers is.
func (t *Table) Order(into []int, workers []Worker, key string, random uint64) []int {
	n := len(workers)
	if n == 0 {
		return into
	}
	first := 0
	switch t.Policy.kind {
	case byKey:
		return append(into, owner(workers, key))
	case broadcast:
	case byChance:
		first = int(random % uint64(n))
	default:
		for first < n && workers[first].Number <= t.turn { // the next one, also if workers have come or gone
			first++
		}
		first %= n
	}
	from := len(into)
	for i := range n {
		into = append(into, (first+i)%n)
	}
	if order := into[from:]; t.Policy.Loads() {
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(workers[a].Load, workers[b].Load) })
	}
	return into
}

// Took notes that the worker of that number got a message.
func (t *Table) Took(number int) { t.turn = number }

// owner returns the worker of a key: the one whose hash together with the key's is the largest.
func owner(workers []Worker, key string) int {
	best, most := 0, uint64(0)
	h := rendezvous.Hash(key)
	for i, w := range workers {
		if score := rendezvous.Mix(h ^ rendezvous.Mix(uint64(w.Number))); i == 0 || score > most {
			best, most = i, score
		}
	}
	return best
}

// MaxWorkers is how many workers a pool may have.
const MaxWorkers = math.MaxUint16

// Stats is what a pool is doing.
type Stats struct {
	Policy  string
	Waiting int // messages in the pool's own mailbox, which no worker has got yet
	Workers []WorkerStats
}

// WorkerStats is what one worker of a pool is doing.
type WorkerStats struct {
	Name    string
	Load    int    // messages that wait or are being handled
	Handled uint64 // messages that were handled, as far as counted: after each batch
}
