package sim

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/transport"
)

// owned is an operation of one principal. If another one repeats it, that is a different
// operation.
type owned struct {
	principal string
	id        uint64
}

// feat is one run of a handler.
type feat struct {
	owned
	on string
}

// books is the truth about a run with hostile peers.
type books struct {
	start     time.Time
	cheat     string // what is recorded wrongly, on purpose
	talks     bool   // there is to be a transcript
	impostors bool   // on the bus, somebody may answer for another node

	mu       sync.Mutex // guards what follows
	r        *rand.Rand
	runs     map[uint64]feat
	counts   map[owned]int
	requests map[string]owned // by the session and number, or the key, at its node
	grants   map[string]bool  // all that were given out, in hex
	lines    map[string]int   // the latest N, by principal, actor and line
	never    map[owned]error  // those that are said never to run
	script   []string
	wrong    []string
	calls    int            // of honest principals
	served   map[string]int // runs, by principal
	refused  int            // honest calls for which there was no room
	heard    int            // envelopes that came to hostile peers
	over     bool           // the honest nodes are through
}

func newBooks(r *rand.Rand) *books {
	return &books{start: time.Now(), r: r, runs: map[uint64]feat{}, counts: map[owned]int{}, requests: map[string]owned{}, grants: map[string]bool{},
		lines: map[string]int{}, never: map[owned]error{}, served: map[string]int{}}
}

// maxWrong is how many errors of one run are kept: the first ones say most.
const maxWrong = 20

func (b *books) bad(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.badLocked(format, args...)
}

func (b *books) badLocked(format string, args ...any) {
	if len(b.wrong) < maxWrong {
		b.wrong = append(b.wrong, fmt.Sprintf("%v: ", time.Since(b.start))+fmt.Sprintf(format, args...))
	}
}

func (b *books) note(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.script = append(b.script, fmt.Sprintf("%12v ", time.Since(b.start))+fmt.Sprintf(format, args...))
}

// isHonest reports whether a principal is one of the honest nodes.
func isHonest(principal string) bool {
	return principal == rpc.NodePrincipal("ann") || principal == rpc.NodePrincipal("shop")
}

// begins notes that a handler begins, and returns the number of the run.
func (b *books) begins(ctx *actor.Context, id uint64) uint64 {
	o := owned{ctx.Principal(), id}
	at := ctx.Self().Name()
	request, _, err := actor.Completion(ctx, Deal{})
	if b.talks {
		b.note("%s runs %d of %s as request %s", ctx.Self(), id, ctx.Principal(), request)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent(ctx)
	if err != nil {
		b.badLocked("the name of %v: %v", o, err)
	}
	// One-way messages have no name of their own, but that of their session.
	if grant, told := strings.CutSuffix(request, strings.Repeat("0", 16)); !told || !b.grants[grant] {
		request += " at " + ctx.System().Name() // each node has keys of its own
		if was, known := b.requests[request]; known {
			b.badLocked("request %s of %v runs twice, first as %v", request, o, was)
		}
		b.requests[request] = o
	}
	b.entered(o, at)
	n := b.r.Uint64() >> 2
	if b.cheat == "the number of a run is another one's" && isHonest(o.principal) {
		for other := range b.runs {
			return other
		}
	}
	b.runs[n] = feat{o, at}
	return n
}

// gave notes that a grant is given out.
func (b *books) gave(g transport.Grant) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.grants[hex.EncodeToString(g[:])] = true
}

// sent checks that the actor that is named as the sender is on the sender's node. b.mu is held.
func (b *books) sent(ctx *actor.Context) {
	if s := ctx.Sender(); !s.IsZero() && rpc.NodePrincipal(s.Node()) != ctx.Principal() {
		b.badLocked("a message of %s says that it is from %v", ctx.Principal(), s)
	}
}

// entered checks that a run of o may begin. b.mu is held.
func (b *books) entered(o owned, at string) {
	if b.counts[o]++; b.cheat == "each runs twice" {
		b.counts[o]++
	}
	b.served[o.principal]++
	if closed(at) && !isHonest(o.principal) {
		b.badLocked("%s has served %s", at, o.principal)
	}
	if !isHonest(o.principal) {
		return
	}
	if b.counts[o] > 1 {
		b.badLocked("%v has run %d times", o, b.counts[o])
	}
	if err := b.never[o]; err != nil {
		b.badLocked("%v runs, and it was said that it never would: %v", o, err)
	}
}

// closed reports whether only the honest nodes may use an actor.
func closed(name string) bool { return name == "vault" || name == "line" }

// follows checks that a one-way message comes after those before it.
func (b *books) follows(ctx *actor.Context, m Word) {
	o := owned{ctx.Principal(), m.ID}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sent(ctx)
	b.entered(o, ctx.Self().Name())
	line := o.principal + " " + ctx.Self().String() + " " + m.Line
	if last := b.lines[line]; isHonest(o.principal) && m.N <= last {
		b.badLocked("one-way message %d of %s comes after %d", m.N, line, last)
	}
	b.lines[line] = m.N
}

// ends checks what the caller of o was told. The operation was to end by due.
func (b *books) ends(what string, o owned, d Deal, err error, due time.Time) {
	if late := time.Since(due); late > time.Second {
		b.bad("%s %v ended %v late", what, o, late)
	}
	if err == nil {
		b.belongs(what, o, d)
	} else {
		b.failed(what, o, err)
	}
}

// belongs checks that d is the answer to o.
func (b *books) belongs(what string, o owned, d Deal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	if b.cheat == "answers are crossed" {
		d.ID++
	}
	if run, ran := b.runs[d.Run]; !ran || run.owned != o || d.ID != o.id {
		b.badLocked("%s: %v got the answer %v of %v", what, o, d, run)
	}
}

// failed checks the error of o.
func (b *books) failed(what string, o owned, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	ran := b.counts[o]
	switch verdict := rpc.Ran(err); {
	case verdict == rpc.NotRun && ran > 0 && !strings.Contains(what, "key"):
		b.badLocked("%s: %v is said not to have run, and has: %v", what, o, err)
	case verdict == rpc.HasRun && ran == 0:
		b.badLocked("%s: %v is said to have run, and has not: %v", what, o, err)
	case verdict == rpc.NotRun && !strings.Contains(what, "key"): // whose other attempt may run
		b.never[o] = err
	}
	b.excusedLocked(what, o, err)
}

// excused checks that no other principal can cause the error.
func (b *books) excused(what string, o owned, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.excusedLocked(what, o, err)
}

func (b *books) excusedLocked(what string, o owned, err error) {
	switch rpc.CodeOf(err) {
	case rpc.Canceled, rpc.Expired: // as it was asked to
	case rpc.Overloaded:
		b.refused++
	case rpc.Denied: // where somebody else may answer in the node's name, and is found out
		if !b.impostors || !errors.Is(err, transport.ErrIdentity) {
			b.badLocked("%s: %v was denied: %v", what, o, err)
		}
	default:
		b.badLocked("%s: %v was ended: %v", what, o, err)
	}
}

// sees checks that what a hostile peer gets was made for it.
func (b *books) sees(principal, what string, d Deal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if run, ran := b.runs[d.Run]; !ran || run.principal != principal {
		b.badLocked("%s got a %s with what belongs to %v", principal, what, run)
	}
}

var packs = codec.Msgpack(codec.Limits{})

// pack encodes a value that is known to be valid.
func pack(v any) []byte {
	b, err := packs.Append(nil, v)
	if err != nil {
		panic(err)
	}
	return b
}

// unbatch reads the items of a stream's batch.
func unbatch(b []byte) (all []Deal) {
	for len(b) > 0 {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return all
		}
		var d Deal
		if packs.Decode(b[size:size+int(n)], &d) == nil {
			all = append(all, d)
		}
		b = b[size+int(n):]
	}
	return all
}
