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

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/rpc"
)

// Every node has a job server: a hidden actor that accepts jobs and answers questions about
// them. The job itself waits in its actor's mailbox, like a request.

// Defaults of Config for tokens.
const (
	DefaultTokens      = 1024             // job tokens of one principal; each counts from the submission until the result expires
	DefaultTokenLife   = 10 * time.Minute // how long a result is kept after the job has ended
	DefaultResultBytes = 256 << 20        // bytes of all results that are kept; a quarter of it for one principal
)

const (
	jobServerName = hidden + "jobs"
	tokenLen      = 26 // characters of a job's id: 128 random bits in base32
)

// The job server's messages.
type (
	submitJob struct {
		Returns[string]
		Target string
		TypeID uint64
		Codec  uint8
		Body   []byte
		id     string `msgpack:"-"` // of the job; empty: the server chooses it
		msg    any    `msgpack:"-"` // takes the place of Body on the same node
	}
	keptJob struct { // a submitJob that a stored actor has kept, which chooses the id: a one-way message
		Target string
		TypeID uint64
		Codec  uint8
		Body   []byte
		ID     string
	}
	pollJob struct {
		Returns[jobReport]
		ID string
	}
	awaitJob struct {
		Returns[jobReport]
		ID   string
		Turn time.Duration // how long to wait for the end of the job; awaitTurn at most
	}
	cancelJob struct {
		Returns[jobReport]
		ID string
	}
	jobReport struct {
		State       rpc.JobState
		Done, Total int64
		Code        rpc.Code // this and what follows: the error of a failed or cancelled job
		Verdict     rpc.Verdict
		Message     string
		User        string
		TypeID      uint64 // this and what follows: the result
		Codec       uint8
		Body        []byte
		value       any          `msgpack:"-"` // takes the place of TypeID and Body on the same node
		typ         reflect.Type `msgpack:"-"` // the declared type of value
	}
)

func (submitJob) WireName() string { return "tandem.job.submit" }
func (keptJob) WireName() string   { return "tandem.job.kept" }
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
		st.Err = rpc.Errorf(rpc.OutcomeUnknown, rpc.Unknown, "node %s knows nothing of such a job: it was restarted, or never gave this token out", node)
	case r.State.Over() && r.State != rpc.JobDone: // there is always an error, whatever the node sends
		st.Err = &rpc.Error{Code: rpc.OutcomeUnknown, Message: "the job is " + r.State.String() + ", and nothing is said of why", Node: node}
	}
	return st
}

// jobServer has no state of its own: the jobs are in the system's jobTable.
type jobServer struct{}

var jobServerKind = Define("tandem.jobs", func() jobServer { return jobServer{} },
	Answer(jobServer.submit), Handle(jobServer.submitKept), Answer(jobServer.poll), Answer(jobServer.await), Answer(jobServer.cancel)).With(systems())

// submit accepts a job.
func (jobServer) submit(ctx *Context, m submitJob) (string, error) {
	s := ctx.System()
	if err := ctx.mayUse(m.Target, m.TypeID, access.Submit); err != nil {
		ctx.refuse(err)
		return "", nil
	}
	c := s.refs.live(m.Target)
	if c == nil && strings.HasPrefix(m.Target, placed) {
		var none *rpc.Error
		if c, none = s.virtuals.activation(m.Target); none != nil {
			ctx.refuse(none)
			return "", nil
		}
	}
	if c == nil || strings.HasPrefix(m.Target, hidden) { // internal actors do no jobs
		ctx.refuse(rpc.Errorf(rpc.NotFound, rpc.NotRun, "no actor %s on node %s", m.Target, s.cfg.Name))
		return "", nil
	}
	if m.id == "" { // otherwise it may have come before
		if err := ctx.mayStart(c, m.TypeID); err != nil {
			ctx.refuse(err)
			return "", nil
		}
	}
	msg, typ, err := c.decodeJob(m)
	if err != nil {
		ctx.refuse(err)
		return "", nil
	}
	j := &job{sys: s, bodySize: len(m.Body), principal: ctx.Principal(), origin: ctx.origin, actor: m.Target, typeID: m.TypeID, codec: m.Codec, remote: isRemote(ctx.req), of: c, typ: typ, asked: ctx.RequestID(), report: jobReport{State: rpc.JobAccepted}}
	name := jobNameOf(m.id)
	if m.id != "" {
		if known, gone := s.jobs.get(m.id); known != nil || gone != nil { // it has come again
			return m.id, nil
		}
	}
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
	j.noteJob(trail.Accepted, jobReport{})
	if err := c.takeJob(it); err != nil {
		s.jobs.remove(j)
		ctx.refuse(err)
		return "", nil
	}
	return j.id, nil
}

// submitKept accepts a job that a stored actor has kept. What refuses it has it sent again, as other messages.
func (j jobServer) submitKept(ctx *Context, m keptJob) error {
	if !isJobID(m.ID) {
		return rpc.Errorf(rpc.Invalid, rpc.HasRun, "a job with the id %.40q", m.ID)
	}
	_, err := j.submit(ctx, submitJob{Target: m.Target, TypeID: m.TypeID, Codec: m.Codec, Body: m.Body, id: m.ID})
	return err
}

// takeJob puts a job into its actor's mailbox.
func (c *cell) takeJob(it item) *rpc.Error {
	p, err := c.enqueue(it)
	switch {
	case err != nil:
		return putError(err)
	case p.HasDropped && p.Dropped.req == it.req:
		return errDropped
	}
	c.accepted(p)
	return nil
}

// jobID returns a job's name as text.
func jobID(name [16]byte) string {
	return jobNames.EncodeToString(name[:])
}

// jobNameOf returns the name in a job's id, or a random one if that is empty.
func jobNameOf(id string) (name [16]byte) {
	if id == "" {
		rand.Read(name[:])
		return name
	}
	_, _ = jobNames.Decode(name[:], []byte(id)) // isJobID has looked at it
	return name
}

// isJobID reports whether a text is what jobID makes.
func isJobID(text string) bool {
	name, err := jobNames.DecodeString(text)
	return err == nil && len(text) == tokenLen && jobNames.EncodeToString(name) == text
}

var jobNames = base32.StdEncoding.WithPadding(base32.NoPadding)

// decodeJob returns a job's message, decoded, and the type of its result if that is declared.
func (c *cell) decodeJob(m submitJob) (any, reflect.Type, *rpc.Error) {
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
		return nil, nil, bodyError(sys.hidePanic(err, c.self.addr, fmt.Sprint(h.typ)), rpc.NotRun, fmt.Sprint("message ", h.typ))
	}
	return msg, typ, nil
}

// find returns the caller's job of that id. If it returns no job, the report is the answer.
func (jobServer) find(ctx *Context, id string, op access.Op) (*job, jobReport) {
	j, expired := ctx.System().jobs.get(id)
	switch {
	case expired != nil && expired.principal == ctx.Principal():
		return nil, jobReport{State: rpc.JobExpired, Code: rpc.Expired, Verdict: expired.verdict, Message: "the job was over, and its result has expired"}
	case j != nil && j.principal == ctx.Principal():
		if err := ctx.mayUse(j.actor, j.typeID, op); err != nil {
			ctx.refuse(err)
			break
		}
		return j, jobReport{}
	case j != nil || expired != nil:
		ctx.refuse(ctx.foreign("the token"))
	}
	return nil, jobReport{State: rpc.JobUnknown}
}

func (d jobServer) poll(ctx *Context, m pollJob) (jobReport, error) {
	j, none := d.find(ctx, m.ID, access.Redeem)
	if j == nil {
		return none, nil
	}
	return j.now().without(), nil
}

// final reports whether the job's state will not change any more.
func (r jobReport) final() bool { return r.State.Over() || r.State == rpc.JobUnknown }

// without is the report without the result.
func (r jobReport) without() jobReport {
	r.value, r.typ, r.Body, r.TypeID, r.Codec = nil, nil, nil, 0, 0
	return r
}

func (d jobServer) await(ctx *Context, m awaitJob) (jobReport, error) {
	j, none := d.find(ctx, m.ID, access.Redeem)
	if j == nil {
		return none, nil
	}
	remote := isRemote(ctx.req)
	if r := j.now(); r.final() {
		j.noteJob(trail.Fetched, jobReport{})
		return j.ready(r, remote), nil
	}
	if ctx.System().jobs.isOrphaned(ctx, j) {
		ctx.refuse(errShutdown)
		return jobReport{}, nil
	}
	j.wait(awaiter{later: Defer[jobReport](ctx), remote: remote}, min(max(m.Turn, shortTurn), awaitTurn))
	return jobReport{}, nil
}

func (d jobServer) cancel(ctx *Context, m cancelJob) (jobReport, error) {
	j, none := d.find(ctx, m.ID, access.Cancel)
	if j == nil {
		return none, nil
	}
	if j.cancel() {
		j.wait(awaiter{later: Defer[jobReport](ctx), remote: isRemote(ctx.req), stateOnly: true}, awaitTurn)
		return jobReport{}, nil
	}
	return j.now().without(), nil
}

// jobTable holds the jobs of a system.
type jobTable struct {
	sys    *System
	asking chan struct{} // holds a token for each question of an Await that is outstanding at another node

	mu      sync.Mutex // guards what follows
	all     map[string]*job
	mine    map[string]int // number of tokens, by principal
	bytes   map[string]int // bytes of the results that are kept, by principal
	pending map[string]int // jobs that have not ended, by principal
	usual   map[string]int // bytes of a result, by principal: a moving average
	total   int            // the sum of bytes
	over    []ended        // jobs that have ended, the earliest first
	gone    map[string]expiredJob
	orphans map[string][]*job // jobs that an earlier start has left, by the names of actors that are not spawned yet
	listed  bool              // the system's waitLists know the table, for orphans
	timer   *time.Timer       // of the next expiry
	closed  bool
}

// ended is a job that will expire, or an expired one that will be forgotten.
type ended struct {
	id   string
	at   time.Time
	gone bool // it has expired, and only its expiredJob is kept
}

// expiredJob is what is kept of an expired job, for as long again as its result was kept.
type expiredJob struct {
	principal string
	verdict   rpc.Verdict
}

func (t *jobTable) init(s *System) {
	t.sys, t.all, t.mine, t.bytes, t.gone = s, map[string]*job{}, map[string]int{}, map[string]int{}, map[string]expiredJob{}
	t.orphans, t.pending, t.usual = map[string][]*job{}, map[string]int{}, map[string]int{}
	t.asking = make(chan struct{}, maxAsking)
}

// add adds a job. It returns an error if its principal has too many, or there is no room.
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
	t.noteOver(j)
	if left := slices.DeleteFunc(t.orphans[j.target], func(o *job) bool { return o == j }); len(left) > 0 {
		t.orphans[j.target] = left
	} else {
		delete(t.orphans, j.target)
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

// isOwn reports whether ctx belongs to a handler in its actor's turn, and the job is one that
// the same actor has not finished.
func (t *jobTable) isOwn(ctx context.Context, id string) bool {
	from := handling(ctx)
	if from == nil || isDetached(ctx) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	j := t.all[id]
	return j != nil && j.of != nil && from.isIn(j.of) && !j.now().final()
}

// count starts the time after which j, which has ended, expires.
func (t *jobTable) count(j *job) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.noteOver(j)
	j.shrink()
	t.over = append(t.over, ended{id: j.id, at: time.Now()})
	t.arm()
}

// arm sets the timer for the next expiry. t.mu is held.
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

// expire removes the jobs whose results have been kept long enough, and forgets those that
// expired long ago.
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

// verdict says whether a job that has ended ran.
func (r jobReport) verdict() rpc.Verdict {
	if r.State == rpc.JobDone {
		return rpc.HasRun
	}
	return r.Verdict
}
