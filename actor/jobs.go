package actor

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// Every node has a desk: a hidden actor that takes jobs on and answers questions about
// them. A job itself lies in its actor's mailbox like a request.

// Defaults of Config for tokens.
const (
	DefaultTokens      = 1024             // of one principal, from the submission until the result expires
	DefaultTokenLife   = 10 * time.Minute // of a result, after the job is over
	DefaultResultBytes = 256 << 20        // of all results that are kept, of one principal a quarter
)

const (
	jobDeskName = hidden + "jobs"
	tokenLen    = 26 // of 128 random bits in base32
)

// The desk's messages.
type (
	submitJob struct {
		Returns[string]
		Target string
		TypeID uint64
		Codec  uint8
		Body   []byte
		msg    any // instead of Body, on the same node
	}
	pollJob struct {
		Returns[jobReport]
		ID string
	}
	awaitJob struct {
		Returns[jobReport]
		ID   string
		Turn time.Duration // until when, if it is not over; awaitTurn at most
	}
	cancelJob struct {
		Returns[jobReport]
		ID string
	}
	jobReport struct {
		State       rpc.JobState
		Done, Total int64
		Code        rpc.Code // of a failed or cancelled job, with what follows
		Verdict     rpc.Verdict
		Message     string
		User        string
		TypeID      uint64 // of a result, with what follows
		Codec       uint8
		Body        []byte
		value       any          // instead of TypeID and Body, on the same node
		typ         reflect.Type // of value, as it was declared
	}
)

func (submitJob) WireName() string { return "tandem.job.submit" }
func (pollJob) WireName() string   { return "tandem.job.poll" }
func (awaitJob) WireName() string  { return "tandem.job.await" }
func (cancelJob) WireName() string { return "tandem.job.cancel" }
func (jobReport) WireName() string { return "tandem.job.report" }

// status is the report for the application.
func (r jobReport) status(node string) rpc.JobStatus {
	st := rpc.JobStatus{State: r.State, Done: r.Done, Total: r.Total}
	switch {
	case r.Code != 0:
		st.Err = &rpc.Error{Code: r.Code, Verdict: r.Verdict, Message: r.Message, User: r.User, Node: node}
	case r.State == rpc.JobUnknown:
		st.Err = rpc.Errorf(rpc.OutcomeUnknown, rpc.Unknown, "node %s knows nothing of such a job: it was started anew, or never gave this token out", node)
	case r.State.Over() && r.State != rpc.JobDone: // never silence, whatever a node sends
		st.Err = &rpc.Error{Code: rpc.OutcomeUnknown, Message: "the job is " + r.State.String() + ", and nothing is said of why", Node: node}
	}
	return st
}

// desk has no state of its own: the system's table of jobs has.
type desk struct{}

var jobDeskKind = Define("tandem.jobs", func() desk { return desk{} },
	Answer(desk.submit).askedOnly(), Answer(desk.poll).askedOnly(), Answer(desk.await).askedOnly(), Answer(desk.cancel).askedOnly())

// submit takes a job on.
func (desk) submit(ctx *Context, m submitJob) (string, error) {
	s := ctx.System()
	c := s.refs.live(m.Target)
	if c == nil || strings.HasPrefix(m.Target, hidden) { // which serves callers, not jobs
		ctx.refuse(rpc.Errorf(rpc.NotFound, rpc.NotRun, "no actor %s on node %s", m.Target, s.cfg.Name))
		return "", nil
	}
	msg, typ, err := c.openJob(m)
	if err != nil {
		ctx.refuse(err)
		return "", nil
	}
	j := &job{sys: s, bodySize: len(m.Body), principal: ctx.principal(), codec: m.Codec, remote: isRemote(ctx.req), of: c, typ: typ, report: jobReport{State: rpc.JobAccepted}}
	var name [16]byte
	rand.Read(name[:])
	it := item{msg: msg, req: j, meta: ctx.meta}
	j.item = it
	if c.kind.durable {
		return s.recordJob(ctx, c, j, name, m, it)
	}
	j.id = jobID(name)
	if err := s.jobs.add(j); err != nil {
		ctx.refuse(err)
		return "", nil
	}
	if err := c.takeJob(it); err != nil {
		s.jobs.remove(j)
		ctx.refuse(err)
		return "", nil
	}
	return j.id, nil
}

// takeJob puts a job into its actor's mailbox.
func (c *cell) takeJob(it item) *rpc.Error {
	p, err := c.park(it)
	switch {
	case err != nil:
		return putError(err)
	case p.HasDropped && p.Dropped.req == it.req:
		return errDropped
	}
	c.accepted(p)
	return nil
}

// jobID is a job's name as text.
func jobID(name [16]byte) string {
	return jobNames.EncodeToString(name[:])
}

// isJobID reports whether a text is what jobID makes.
func isJobID(text string) bool {
	name, err := jobNames.DecodeString(text)
	return err == nil && len(text) == tokenLen && jobNames.EncodeToString(name) == text
}

var jobNames = base32.StdEncoding.WithPadding(base32.NoPadding)

// openJob is a job's message, decoded, and the type of its result, if it declares one.
func (c *cell) openJob(m submitJob) (any, reflect.Type, *rpc.Error) {
	sys := c.self.sys
	h := c.kind.handlerOf(sys, m.TypeID)
	if h == nil && m.msg != nil {
		h = c.kind.handlers[reflect.TypeOf(m.msg)]
	}
	var typ reflect.Type
	if h != nil {
		typ = h.reply
	}
	switch {
	case h == nil && (m.msg == nil || !c.kind.receiver):
		return nil, nil, sys.unhandled(c.kind, m.TypeID)
	case h != nil && h.run != nil && typ == nil:
		return nil, nil, rpc.Errorf(rpc.Unhandled, rpc.NotRun, "%s does not answer messages of %s with a reply", c.kind.name, sys.types.nameOf(m.TypeID))
	case m.msg != nil:
		return m.msg, typ, nil
	}
	cd, err := sys.codecs.ByID(m.Codec)
	var msg any
	if err == nil {
		msg, err = h.decode(cd, m.Body)
	}
	if err != nil {
		return nil, nil, bodyError(err, rpc.NotRun, fmt.Sprint("message ", h.typ))
	}
	return msg, typ, nil
}

// find returns the caller's job of that id. A nil job comes with what there is to say.
func (desk) find(ctx *Context, id string) (*job, jobReport) {
	j, expired := ctx.System().jobs.get(id)
	switch {
	case expired != nil && expired.principal == ctx.principal():
		return nil, jobReport{State: rpc.JobExpired, Code: rpc.Expired, Verdict: expired.verdict, Message: "the job was over, and its result has expired"}
	case j != nil && j.principal == ctx.principal():
		return j, jobReport{}
	case j != nil || expired != nil:
		ctx.refuse(rpc.Errorf(rpc.Denied, rpc.NotRun, "the token is another principal's"))
	}
	return nil, jobReport{State: rpc.JobUnknown}
}

func (d desk) poll(ctx *Context, m pollJob) (jobReport, error) {
	j, none := d.find(ctx, m.ID)
	if j == nil {
		return none, nil
	}
	return j.now().without(), nil
}

// settled reports whether nothing more will become of the job.
func (r jobReport) settled() bool { return r.State.Over() || r.State == rpc.JobUnknown }

// without is the report without the result.
func (r jobReport) without() jobReport {
	r.value, r.typ, r.Body, r.TypeID, r.Codec = nil, nil, nil, 0, 0
	return r
}

func (d desk) await(ctx *Context, m awaitJob) (jobReport, error) {
	j, none := d.find(ctx, m.ID)
	if j == nil {
		return none, nil
	}
	remote := isRemote(ctx.req)
	if r := j.now(); r.settled() {
		return j.ready(r, remote), nil
	}
	if ctx.System().jobs.isLeft(ctx, j) {
		ctx.refuse(errShutdown)
		return jobReport{}, nil
	}
	j.wait(awaiter{later: Defer[jobReport](ctx), remote: remote}, min(max(m.Turn, shortTurn), awaitTurn))
	return jobReport{}, nil
}

func (d desk) cancel(ctx *Context, m cancelJob) (jobReport, error) {
	j, none := d.find(ctx, m.ID)
	if j == nil {
		return none, nil
	}
	if j.cancel() {
		j.wait(awaiter{later: Defer[jobReport](ctx), remote: isRemote(ctx.req), brief: true}, awaitTurn)
		return jobReport{}, nil
	}
	return j.now().without(), nil
}

// jobTable is the jobs of a system.
type jobTable struct {
	sys    *System
	asking chan struct{} // as many as questions of Await are under way to other nodes

	mu      sync.Mutex // guards what follows
	all     map[string]*job
	mine    map[string]int // by principal
	bytes   map[string]int // of results, by principal
	pending map[string]int // jobs that are not over, by principal
	usual   map[string]int // bytes of a result, by principal: a moving average
	total   int            // of bytes
	over    []ended        // in the order of their ends
	gone    map[string]expiredJob
	lost    map[string][]*job // left by an earlier start, for actors that are not spawned yet
	lined   bool              // a shutdown ends the turns of those who await them
	timer   *time.Timer       // of the next expiry
	closed  bool
}

// ended is a job whose time is counted.
type ended struct {
	id   string
	at   time.Time
	gone bool // it has expired, and only that is remembered
}

// expiredJob is what is remembered of a job for as long again as its result was kept.
type expiredJob struct {
	principal string
	verdict   rpc.Verdict
}

func (t *jobTable) init(s *System) {
	t.sys, t.all, t.mine, t.bytes, t.gone = s, map[string]*job{}, map[string]int{}, map[string]int{}, map[string]expiredJob{}
	t.lost, t.pending, t.usual = map[string][]*job{}, map[string]int{}, map[string]int{}
	t.asking = make(chan struct{}, maxAsking)
}

// add takes a job in, or says that its principal has as many as it may.
func (t *jobTable) add(j *job) *rpc.Error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if limit := t.sys.cfg.Tokens; t.mine[j.principal] >= limit {
		return rpc.Errorf(rpc.Overloaded, rpc.NotRun, "%s has %d tokens here, which is the limit", j.principal, limit)
	}
	if err := t.room(j); err != nil {
		return err
	}
	if j.remote {
		memory := t.sys.node.Memory(j.principal)
		if err := memory.Hold(j.bodySize + jobSize); err != nil {
			memory.Close()
			return err
		}
		j.memory, j.held = &memory, j.bodySize+jobSize
	}
	t.mine[j.principal]++
	t.pending[j.principal]++
	t.all[j.id] = j
	return nil
}

func (t *jobTable) remove(j *job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.removeLocked(j)
}

func (t *jobTable) removeLocked(j *job) {
	if t.all[j.id] == j && j.memory != nil {
		j.memory.Free(j.held)
		j.memory.Close()
		j.memory = nil
	}
	delete(t.all, j.id)
	t.settled(j)
	if left := slices.DeleteFunc(t.lost[j.target], func(o *job) bool { return o == j }); len(left) > 0 {
		t.lost[j.target] = left
	} else {
		delete(t.lost, j.target)
	}
	if t.mine[j.principal]--; t.mine[j.principal] <= 0 {
		delete(t.mine, j.principal)
		delete(t.usual, j.principal)
	}
	t.total -= j.kept
	if t.bytes[j.principal] -= j.kept; t.bytes[j.principal] <= 0 {
		delete(t.bytes, j.principal)
	}
}

func (t *jobTable) get(id string) (*job, *expiredJob) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e, ok := t.gone[id]; ok {
		return nil, &e
	}
	return t.all[id], nil
}

// isOwn reports whether ctx is that of a handler, in its actor's turn, and the job is one
// that the same actor is still to do.
func (t *jobTable) isOwn(ctx context.Context, id string) bool {
	from := handling(ctx)
	if from == nil || isDetached(ctx) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	j := t.all[id]
	return j != nil && j.of != nil && from.isIn(j.of) && !j.now().settled()
}

// count has j's time run from now on.
func (t *jobTable) count(j *job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.settled(j)
	j.shrink()
	t.over = append(t.over, ended{id: j.id, at: time.Now()})
	t.arm()
}

// arm sets the timer for what expires next. t.mu is held.
func (t *jobTable) arm() {
	if t.closed || len(t.over) == 0 {
		return
	}
	wait := time.Until(t.over[0].at.Add(t.sys.cfg.TokenLife))
	if t.timer == nil {
		t.timer = time.AfterFunc(wait, t.expire)
	} else if len(t.over) == 1 {
		t.timer.Reset(wait)
	}
}

// expire lets results go whose time is over, and forgets those that went long ago.
func (t *jobTable) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for len(t.over) > 0 && now.Sub(t.over[0].at) >= t.sys.cfg.TokenLife {
		f := t.over[0]
		t.over = t.over[1:]
		j := t.all[f.id]
		switch {
		case f.gone:
			delete(t.gone, f.id)
		case j != nil:
			t.removeLocked(j)
			if j.record != nil {
				j.record.Free()
			}
			t.gone[f.id] = expiredJob{j.principal, j.now().verdict()}
			t.over = append(t.over, ended{id: f.id, at: now, gone: true})
		}
	}
	if len(t.over) > 0 && !t.closed {
		t.timer.Reset(max(time.Until(t.over[0].at.Add(t.sys.cfg.TokenLife)), 0))
	}
}

// close stops the timer.
func (t *jobTable) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.timer != nil {
		t.timer.Stop()
	}
}

// verdict is whether a job that is over ran.
func (r jobReport) verdict() rpc.Verdict {
	if r.State == rpc.JobDone {
		return rpc.HasRun
	}
	return r.Verdict
}
