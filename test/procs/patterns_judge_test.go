//go:build unix

package procs

import (
	"fmt"
	"slices"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// Records of patterns. What a user begins and ends has the same op in both.
const (
	pushing    sort = iota + 64 // aux: when its end is due, as in all that begin
	pushed                      // who: the queue
	pulling                     //
	pulled                      //
	handed                      // an item, to a consumer whose pull began then; aux: the attempt
	acking                      //
	acked                       // aux: the attempt
	opening                     // a stream; aux: 0 for one without end
	closed                      // aux: what its reader found
	producing                   // by the host, as the three that follow
	produced                    //
	worked                      // a job's handler began
	submitting                  //
	submitted                   //
	finished                    // a job, says its Await; aux: the result
	redeemed                    // its token once more; aux: the result
	gained                      // by a process; op: goroutines, aux: bytes
)

// life is one start of a process.
type life struct {
	who who
	n   uint16
}

// lifeOf is whose an operation is.
func lifeOf(op uint64) life { return life{who(op >> 40), uint16(op >> 48)} }

// call is one thing that a user did.
type call struct {
	begun, due, ended int64
	verdict           rpc.Verdict
	code              rpc.Code // 0: it worked
}

func (c *call) begin(r record) { c.begun, c.due = r.at, int64(r.aux) }
func (c *call) end(r record)   { c.ended, c.verdict, c.code = r.at, r.verdict, r.code }

func (c *call) worked() bool { return c.ended != 0 && c.code == 0 }
func (c *call) doubtful() bool {
	return c.begun != 0 && (c.ended == 0 || c.code != 0 && c.verdict == rpc.Unknown)
}

// element is an item of a queue.
type element struct {
	queue    who
	push     call
	attempts map[uint64]int
	last     int64 // when the last pull that got it began
	acks     map[uint64]*call
}

// settled reports whether nothing is to be expected of it any more.
func (e *element) settled() (by int, perhaps bool) {
	for _, a := range e.acks {
		if a.worked() {
			by++
		}
		perhaps = perhaps || a.doubtful()
	}
	return by, perhaps
}

// flow is a stream.
type flow struct {
	read                call
	endless             bool
	found               uint64
	at                  life // the host that produces it
	producing, produced int64
}

// chore is a job.
type chore struct {
	submit, await call
	result        uint64
	runs          int
}

// count is what a run came to.
type count struct {
	items, again, gone    int // pushed; handed out a second time; lost with the memory that they were in
	pulls, failedPulls    int
	streams, cut          int
	jobs, unsure, redeems int
	forgotten             int // deliveries, by a leader of NATS

	lost, twice, wrong, silent, leaked, late int // violations
}

// arbiter is the judge of patterns.
type arbiter struct {
	kills     map[life]int64 // processes that were killed, and when
	hostEnds  []int64        // when the host was killed
	elections []int64        // when NATS elected a leader of the queue in it, or of a consumer of that
	items     map[uint64]*element
	pulls     map[uint64]*call
	flows     map[uint64]*flow
	chores    map[uint64]*chore
	count     count
	wrong     []string // the first violations
}

func newArbiter() *arbiter {
	return &arbiter{kills: map[life]int64{}, items: map[uint64]*element{}, pulls: map[uint64]*call{}, flows: map[uint64]*flow{}, chores: map[uint64]*chore{}}
}

func of[V any](m map[uint64]*V, op uint64) *V {
	if m[op] == nil {
		m[op] = new(V)
	}
	return m[op]
}

func (a *arbiter) item(op uint64) *element {
	e := of(a.items, op)
	if e.attempts == nil {
		e.attempts, e.acks = map[uint64]int{}, map[uint64]*call{}
	}
	return e
}

func (a *arbiter) violation(n *int, format string, args ...any) {
	if *n++; len(a.wrong) < maxViolations {
		a.wrong = append(a.wrong, fmt.Sprintf(format, args...))
	}
}

// died takes note that a process was killed.
func (a *arbiter) died(l life, at int64) {
	a.kills[l] = at
	if l.who == serverA {
		a.hostEnds = append(a.hostEnds, at)
	}
}

// mayForget reports whether NATS may have forgotten a delivery of the item. A new leader of the
// item's consumer knows only what the old one has sent it, and the old one does not wait until
// it has arrived. So the item may be delivered again as the same attempt, and also after its
// ack.
func (a *arbiter) mayForget(e *element) bool {
	return e.queue == inNATS && slices.ContainsFunc(a.elections, func(at int64) bool {
		return e.push.begun <= at && at <= e.last+int64(stepLimit)
	})
}

// hostDied reports whether the host was killed in that time.
func (a *arbiter) hostDied(from, to int64) bool {
	for _, at := range a.hostEnds {
		if from <= at && at <= to {
			return true
		}
	}
	return false
}

// take takes a record in. Those of one process come in order, those of two do not.
func (a *arbiter) take(r record) {
	switch r.sort {
	case pushing:
		e := a.item(r.op)
		e.queue = r.who
		e.push.begin(r)
	case pushed:
		a.item(r.op).push.end(r)
	case pulling:
		of(a.pulls, r.op).begin(r)
	case pulled:
		of(a.pulls, r.op).end(r)
	case handed:
		e := a.item(r.op)
		e.attempts[r.aux]++
		e.last = max(e.last, r.at)
	case acking:
		e := a.item(r.op)
		e.acks[uint64(len(e.acks))] = &call{begun: r.at, due: int64(r.aux)}
	case acked:
		e := a.item(r.op)
		for i := len(e.acks) - 1; i >= 0; i-- { // there may be another's, who is slow
			if c := e.acks[uint64(i)]; c.ended == 0 {
				c.end(r)
				break
			}
		}
	case opening:
		f := of(a.flows, r.op)
		f.read.begin(r)
		f.endless = r.aux == 0
	case closed:
		f := of(a.flows, r.op)
		f.read.end(r)
		f.found = r.aux
	case producing:
		f := of(a.flows, r.op)
		f.at, f.producing = life{r.who, r.life}, r.at
	case produced:
		of(a.flows, r.op).produced = r.at
	case worked:
		of(a.chores, r.op).runs++
	case submitting:
		of(a.chores, r.op).submit.begin(r)
	case submitted:
		c := of(a.chores, r.op)
		c.submit.end(r)
		c.await.begin(record{at: r.at, aux: uint64(r.at) + uint64(awaitLimit)})
	case finished:
		c := of(a.chores, r.op)
		c.await.end(r)
		c.result = r.aux
	case redeemed:
		a.count.redeems++
		if r.code != 0 || r.aux != r.op {
			a.violation(&a.count.lost, "job %x: its result is gone: code %v, %x", r.op, r.code, r.aux)
		}
	case gained:
		if r.op > moreGoroutines || r.aux > moreHeap {
			a.violation(&a.count.leaked, "process %d (start %d) has %d goroutines and %d bytes more than in the beginning", r.who, r.life, r.op, r.aux)
		}
	case bus, road:
	default:
		a.violation(&a.count.wrong, "no such record: %+v", r)
	}
}

// open is how many items and streams have not come to their end yet.
func (a *arbiter) open() (n int) {
	for op, e := range a.items {
		by, perhaps := e.settled()
		pushing := e.push.begun != 0 && e.push.ended == 0 // though its pusher may have been killed
		if pushing && a.kills[lifeOf(op)] == 0 || a.kept(e) && by == 0 && !perhaps {
			n++
		}
	}
	for _, f := range a.flows {
		if f.producing != 0 && f.produced == 0 && a.kills[f.at] == 0 {
			n++
		}
	}
	return n
}

// uncut is how many streams have lost their producer, and their readers do not know.
func (a *arbiter) uncut() (n int) {
	for op, f := range a.flows {
		if a.kills[f.at] != 0 && f.read.ended == 0 && a.kills[lifeOf(op)] == 0 {
			n++
		}
	}
	return n
}

// kept reports whether a queue must still have had the item in the end, unless it was acked.
func (a *arbiter) kept(e *element) bool {
	return e.push.worked() && !(e.queue == inNode && a.hostDied(e.push.begun, 1<<63-1))
}

// ended judges how a call ended, whatever it was. After it was killed, nobody tells.
func (a *arbiter) ended(what string, op uint64, c *call, by life) {
	killed := a.kills[by]
	switch {
	case c.ended == 0 && (killed == 0 || c.due != 0 && c.due+int64(slack) < killed):
		a.violation(&a.count.lost, "%s %x never ended", what, op)
	case c.due != 0 && c.ended > c.due+int64(slack):
		a.violation(&a.count.late, "%s %x ended %v after it was due", what, op, time.Duration(c.ended-c.due))
	case c.code == untyped:
		a.violation(&a.count.wrong, "%s %x ended with an error of no type", what, op)
	}
}

// decide judges everything, once all processes have ended.
func (a *arbiter) decide() {
	for op, e := range a.items {
		a.judgeItem(op, e)
	}
	for op, p := range a.pulls {
		a.count.pulls++
		if p.ended != 0 && p.code != 0 {
			a.count.failedPulls++
		}
		a.ended("pull", op, p, lifeOf(op))
	}
	for op, f := range a.flows {
		a.judgeFlow(op, f)
	}
	for op, c := range a.chores {
		a.judgeChore(op, c)
	}
}

func (a *arbiter) judgeItem(op uint64, e *element) {
	a.count.items++
	a.ended("push", op, &e.push, lifeOf(op))
	if e.push.begun == 0 {
		a.violation(&a.count.wrong, "item %x was handed out, and nobody had pushed it", op)
	}
	if e.push.ended != 0 && e.push.code != 0 && e.push.verdict == rpc.NotRun && len(e.attempts) > 0 {
		a.violation(&a.count.wrong, "item %x was handed out, and its push did not run", op)
	}
	if len(e.attempts) > 1 {
		a.count.again++
	}
	forgotten := a.mayForget(e)
	for n, times := range e.attempts {
		switch {
		case n > 0 && times == 1:
		case n > 0 && forgotten:
			a.count.forgotten++
		default:
			a.violation(&a.count.wrong, "item %x was handed out %d times as attempt %d", op, times, n)
		}
	}
	by, perhaps := e.settled()
	for _, c := range e.acks {
		if c.ended != 0 { // otherwise its consumer was killed, or has not ended either
			a.ended("an ack of item", op, c, life{})
		}
		switch {
		case !c.worked() || c.ended >= e.last:
		case forgotten:
			a.count.forgotten++
		default:
			a.violation(&a.count.twice, "item %x was handed out to a pull that began after it was acked", op)
		}
	}
	switch {
	case by > 1:
		a.violation(&a.count.twice, "item %x was acked %d times", op, by)
	case by == 1 || perhaps:
	case a.kept(e):
		a.violation(&a.count.lost, "item %x was pushed and not acked; it was handed out %d times", op, len(e.attempts))
	case e.push.worked():
		a.count.gone++
	}
}

func (a *arbiter) judgeFlow(op uint64, f *flow) {
	a.count.streams++
	reader := lifeOf(op)
	r := &f.read
	switch {
	case r.begun == 0:
		a.violation(&a.count.wrong, "stream %x was produced, and nobody had opened it", op)
		return
	case r.ended == 0 || !f.endless:
		a.ended("stream", op, r, reader)
	}
	over := r.ended
	if over == 0 {
		over = a.kills[reader]
	}
	if f.endless && a.kills[f.at] != 0 && r.ended != 0 {
		// A host that is killed again while it is asked is restarted.
		last := a.kills[f.at]
		for _, at := range a.hostEnds {
			if at < r.ended {
				last = max(last, at)
			}
		}
		if r.ended > last+int64(cutLimit+slack) {
			a.violation(&a.count.late, "stream %x was cut, and its reader heard of that after %v", op, time.Duration(r.ended-last))
		}
	}
	switch {
	case r.ended == 0:
	case f.found == wasMixed:
		a.violation(&a.count.wrong, "stream %x was out of order", op)
	case r.code == 0 && (f.found == wasShort || f.endless && f.found != wasLeft):
		a.violation(&a.count.silent, "stream %x was cut, and its reader was not told", op)
	case r.code != 0:
		a.count.cut++
		if r.verdict == rpc.NotRun && f.producing != 0 {
			a.violation(&a.count.wrong, "stream %x did not run, says its error, and it was produced", op)
		}
	}
	until := f.produced
	if until == 0 {
		until = a.kills[f.at]
	}
	if f.producing != 0 && (until == 0 || over != 0 && until > over+int64(goneLimit)) {
		a.violation(&a.count.leaked, "stream %x has no reader, and its producer goes on", op)
	}
}

func (a *arbiter) judgeChore(op uint64, c *chore) {
	a.count.jobs++
	by := lifeOf(op)
	a.ended("submission", op, &c.submit, by)
	if c.submit.worked() {
		a.ended("job", op, &c.await, by)
	}
	await := &c.await
	told := c.submit.worked() && await.ended != 0
	switch {
	case c.runs > 1:
		a.violation(&a.count.twice, "job %x ran %d times", op, c.runs)
	case c.submit.begun == 0:
		a.violation(&a.count.wrong, "job %x ran, and nobody had submitted it", op)
	case c.submit.ended != 0 && c.submit.code != 0 && c.submit.verdict == rpc.NotRun && c.runs > 0:
		a.violation(&a.count.wrong, "job %x ran, and its submission did not", op)
	case !told:
	case await.code == 0 && (c.runs == 0 || c.result != op):
		a.violation(&a.count.wrong, "job %x ran %d times, and its result is %x", op, c.runs, c.result)
	case await.code == 0:
	case await.verdict == rpc.NotRun && c.runs > 0 || await.verdict == rpc.HasRun:
		a.violation(&a.count.wrong, "job %x ran %d times, says code %v, verdict %v", op, c.runs, await.code, await.verdict)
	case await.code == rpc.Expired, !a.hostDied(c.submit.begun, await.ended):
		a.violation(&a.count.lost, "job %x was accepted and ended with code %v, verdict %v", op, await.code, await.verdict)
	default:
		a.count.unsure++
	}
}
