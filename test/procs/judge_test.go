//go:build unix

package procs

import (
	"fmt"
	"slices"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// answer is what a caller was told.
type answer uint8

const (
	nothing answer = iota
	reply
	notRun
	hasRun
	unknown
	wasSent
	wasAccepted
	answers
)

var answerNames = [answers]string{"nothing", "a reply", "that it never ran", "that it ran", "that nobody knows", "that it was sent", "that it is in the mailbox"}

// operation is what the judge keeps of one: little, for there are many.
type operation struct {
	asked   int64
	due     int64  // when its caller must know; 0: nobody asked
	mark    uint16 // the judge's when it was asked
	runs    uint8
	told    answer
	late    bool
	crossed bool
	again   bool // it was told twice
	aloft   bool // it was under way when its server was killed, or stopped for good
}

// tally is what a run comes to.
type tally struct {
	requests                int // of all sorts
	replies                 int
	notRun, hasRun, unknown int
	panics, lostTrack       int // of hasRun those that ended with Panicked, of unknown the requests with OutcomeUnknown
	oneWay                  int // sent or accepted
	unanswered              int // requests of clients that were killed before they were due

	// These count requests that were outstanding when their server was killed.
	aloft    [answers]int // what their callers were told
	aloftRan int          // those of whom nobody knows, and that ran

	twice, lost, wrong, crossed, disorder int // violations
}

// judge compares what callers were told with what ran. It reads records as they come, and
// decides at the end, because a request that is said not to have run must not run later either.
type judge struct {
	slack  time.Duration          // how late a caller may learn of its deadline
	ops    map[uint32][]operation // by life and caller, then by number
	killed map[uint16]time.Time   // starts of the client that were killed
	at     map[who]uint64         // port of the NATS node where a process is
	tally  tally
	wrong  []string          // the first violations
	order  map[stream]uint32 // number of the last one-way message that ran
	mortal bool              // the server under fault is killed: what was accepted may go with it
	taken  int64             // when the server under fault was last killed
	quiet  silence
	change crossing

	// How many operations that began after the last mark the server under fault has
	// answered.
	mark   uint16
	marked int64
	fresh  int
}

// stream is the one-way messages of one caller to one actor in one of its lives.
type stream struct {
	caller uint32
	to     who
	life   uint16
	actor  uint64
}

func newJudge(slack time.Duration, mortal bool) *judge {
	return &judge{slack: slack, mortal: mortal, ops: map[uint32][]operation{}, killed: map[uint16]time.Time{}, at: map[who]uint64{}, order: map[stream]uint32{}}
}

// markNow restarts the count of fresh.
func (j *judge) markNow() {
	j.mark++
	j.marked, j.fresh = time.Now().UnixNano(), 0
}

// maxOps bounds the operations of one caller in one life, against nonsense in a file.
const maxOps = 1 << 26

func (j *judge) op(id uint64) *operation {
	key, n := uint32(id>>32), int(uint32(id))
	if n >= maxOps {
		j.violation("no such operation: %x", id)
		n = 0
	}
	ops := j.ops[key]
	if n >= len(ops) {
		ops = append(ops, make([]operation, n+1-len(ops))...)
		j.ops[key] = ops
	}
	return &ops[n]
}

// take takes a record in. Those of one file come in order, those of two do not.
func (j *judge) take(r record) {
	at := time.Unix(0, r.at)
	switch r.sort {
	case asked:
		j.tally.requests++
		o := j.op(r.op)
		o.asked, o.due = r.at, int64(r.aux)
		if r.at > j.marked {
			o.mark = j.mark
		}
	case ran:
		j.ran(r)
	case told:
		j.told(r, at)
	case sent:
		j.tally.oneWay++
		j.op(r.op).told = wasSent
	case accepted:
		j.tally.oneWay++
		if j.op(r.op).told = wasAccepted; j.mortal && r.who == serverA {
			j.op(r.op).told = wasSent
		}
	case bus:
		j.at[r.who] = r.aux
	case road:
		j.change.changed(r.aux, at)
	default:
		j.violation("no such record: %+v", r)
	}
}

func (j *judge) ran(r record) {
	if o := j.op(r.op); o.runs < 255 {
		o.runs++
	}
	if r.aux == 0 {
		return
	}
	s, n := stream{uint32(r.op >> 32), r.who, r.life, r.aux}, uint32(r.op)
	if n <= j.order[s] {
		j.tally.disorder++
		j.violation("one-way message %x ran after %x of the same caller, at the same actor", r.op, j.order[s])
	}
	j.order[s] = max(n, j.order[s])
}

func (j *judge) told(r record, at time.Time) {
	o := j.op(r.op)
	o.again = o.told != nothing
	o.aloft = r.who == serverA && o.asked < j.taken && j.taken < r.at && r.aux != 1
	o.late = at.UnixNano() > o.due+int64(j.slack)
	switch {
	case r.code == rpc.Panicked:
		j.tally.panics++
	case r.code == rpc.OutcomeUnknown && r.aux != 1:
		j.tally.lostTrack++
	}
	switch {
	case r.code == 0:
		o.told, o.crossed = reply, r.aux != r.op
		j.tally.replies++
		if r.who == serverA {
			if o.mark == j.mark {
				j.fresh++
			}
			j.quiet.reply(at)
			j.change.reply(at)
		}
	case r.verdict == rpc.NotRun:
		o.told = notRun
		j.tally.notRun++
	case r.verdict == rpc.HasRun:
		o.told = hasRun
		j.tally.hasRun++
	default:
		o.told = unknown
		j.tally.unknown++
	}
}

const maxViolations = 20

func (j *judge) violation(format string, args ...any) {
	if len(j.wrong) < maxViolations {
		j.wrong = append(j.wrong, fmt.Sprintf(format, args...))
	}
}

// decide judges every operation, once all processes have ended.
func (j *judge) decide() {
	for key, ops := range j.ops {
		killed, dead := j.killed[uint16(key>>16)]
		for n, o := range ops {
			if o == (operation{}) {
				continue
			}
			id := uint64(key)<<32 | uint64(n)
			if o.runs > 1 {
				j.tally.twice++
				j.violation("operation %x ran %d times; its caller was told %s", id, o.runs, answerNames[o.told])
			}
			switch {
			case o.due == 0:
				j.tally.wrong++
				j.violation("operation %x ran %d times, was told %s, and nobody had asked for it", id, o.runs, answerNames[o.told])
			case o.told == nothing && dead && o.due+int64(j.slack) > killed.UnixNano():
				j.tally.unanswered++
			case o.told == nothing:
				j.tally.lost++
				j.violation("operation %x (runs: %d): its caller was never told anything", id, o.runs)
			case o.late:
				j.tally.lost++
				j.violation("operation %x (runs: %d): its caller was told %s more than %v after its deadline", id, o.runs, answerNames[o.told], j.slack)
			}
			switch {
			case o.again:
				j.tally.wrong++
				j.violation("operation %x: its caller was told twice", id)
			case o.told == notRun && o.runs > 0, (o.told == hasRun || o.told == reply || o.told == wasAccepted) && o.runs == 0:
				j.tally.wrong++
				j.violation("operation %x ran %d times, and its caller was told %s", id, o.runs, answerNames[o.told])
			}
			if o.aloft {
				j.tally.aloft[o.told]++
				if o.told == unknown && o.runs > 0 {
					j.tally.aloftRan++
				}
			}
			if o.crossed {
				j.tally.crossed++
				j.violation("operation %x got the reply to another one", id)
			}
		}
	}
}

// silence measures the longest time without a reply in each injection.
type silence struct {
	last    time.Time // zero before the first injection
	longest time.Duration
	all     []time.Duration
}

// begin begins an injection, and so ends the one before.
func (s *silence) begin(at time.Time) {
	s.end()
	s.last, s.longest = at, 0
}

func (s *silence) end() {
	if !s.last.IsZero() {
		s.all = append(s.all, s.longest)
	}
	s.last = time.Time{}
}

func (s *silence) reply(at time.Time) {
	if s.last.IsZero() || !at.After(s.last) {
		return
	}
	s.longest = max(s.longest, at.Sub(s.last))
	s.last = at
}

// crossing measures the time from a link's death to the first reply on the other road.
type crossing struct {
	died, over time.Time
	all        []time.Duration
}

func (c *crossing) begin(at time.Time) { c.died, c.over = at, time.Time{} }

func (c *crossing) changed(to uint64, at time.Time) {
	if to == roads["nats"] && !c.died.IsZero() && at.After(c.died) && c.over.IsZero() {
		c.over = at
	}
}

func (c *crossing) reply(at time.Time) {
	if !c.over.IsZero() && at.After(c.over) {
		c.all = append(c.all, at.Sub(c.died))
		c.died, c.over = time.Time{}, time.Time{}
	}
}

// quantile returns the q-th part of all, which it sorts; 0 if there are none.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[min(len(all)-1, int(q*float64(len(all))))]
}
