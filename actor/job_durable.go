package actor

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/tandem-go/tandem/internal/engine/journal"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
)

// records is the codec of jobs and their outcomes in the store.
var records = codec.Msgpack(codec.Limits{})

// maxJobBytes bounds a recorded job and a recorded result: each must fit into one write.
const maxJobBytes = ledger.MaxBatch - 1<<10

// storedJob is a job as it is recorded.
type storedJob struct {
	Principal string
	Target    string
	TypeID    uint64
	Codec     uint8
	Body      []byte
	Remote    bool
	Node      string
}

// recordJob has a job of a durable actor recorded before it is accepted.
func (s *System) recordJob(ctx *Context, c *cell, j *job, name [16]byte, m submitJob, it item) (string, error) {
	refuse := func(err *rpc.Error) (string, error) {
		ctx.refuse(err)
		return "", nil
	}
	if m.msg != nil { // submitted on this node
		m.Codec = s.cfg.Codec.ID()
		body, err := s.cfg.Codec.Append(nil, m.msg)
		if err != nil {
			return refuse(rpc.Errorf(rpc.Undecodable, rpc.NotRun, "encoding the job: %w", err))
		}
		m.Body, j.codec = body, m.Codec
	}
	stored, err := records.Append(nil, storedJob{j.principal, m.Target, m.TypeID, m.Codec, m.Body, j.remote, ctx.Node()})
	if err != nil {
		return refuse(rpc.Errorf(rpc.Internal, rpc.NotRun, "encoding the job: %w", err))
	}
	if len(stored) > maxJobBytes {
		return refuse(rpc.Errorf(rpc.TooLarge, rpc.NotRun, "a job of %d bytes cannot be recorded, the limit is %d", len(stored), maxJobBytes))
	}
	if in, ok := ctx.req.(*server.Inbound); ok && in.Keyed() { // the key outlives the node, like the job
		name = [16]byte(hashOf([]byte("job " + in.RequestID())))
	}
	j.id, j.print = jobID(name), printOf(stored)
	switch known, gone := s.jobs.get(j.id); {
	case known != nil && known.print != j.print:
		return refuse(rpc.Errorf(rpc.IDReused, rpc.NotRun, "another job was submitted under this key")) // the key is not used up by this refusal
	case known != nil, gone != nil:
		return j.id, nil
	}
	if err := s.jobs.add(j); err != nil {
		return refuse(err)
	}
	later := Defer[string](ctx)
	s.node.RecordJob(name, stored, func(r *journal.JobRecord, err error) {
		if err != nil {
			s.jobs.remove(j)
			refusal := rpc.Errorf(rpc.Unavailable, rpc.Unknown, "the job could not be recorded: %w", err)
			if rpc.CodeOf(err) == rpc.Overloaded { // nothing was written
				refusal = rpc.Errorf(rpc.Overloaded, rpc.NotRun, "the job was not recorded: %w", err)
			}
			_ = later.d.fail(refusal)
			return
		}
		j.record = r
		j.noteJob(trail.Accepted, jobReport{})
		if err := c.takeJob(it); err != nil {
			s.jobs.remove(j)
			r.Free()
			_ = later.d.fail(err)
			return
		}
		_ = later.Answer(j.id)
	})
	return "", nil
}

// Restore implements engine.Restorer: it takes over the jobs, and the messages in the outbox, that earlier
// starts have left.
func (v dispatcher) Restore(jobs []*journal.JobRecord) {
	t := &v.s.jobs
	for _, r := range jobs {
		if v.s.outbox.restore(r) {
			continue
		}
		var stored storedJob
		if err := records.Decode(r.Job, &stored); err != nil {
			v.s.log.Error("a recorded job cannot be read", "id", jobID(r.ID()), "err", err)
			r.Free()
			continue
		}
		j := &job{sys: v.s, id: jobID(r.ID()), principal: stored.Principal, origin: &server.Origin{Principal: stored.Principal, Node: stored.Node}, actor: stored.Target, typeID: stored.TypeID, codec: stored.Codec, remote: true, target: stored.Target, record: r, print: printOf(r.Job)}
		switch {
		case r.Done:
			if err := records.Decode(r.Outcome, &j.report); err != nil {
				j.report = unknownJob("the outcome of the job cannot be read: %v", err)
			}
		case r.Begun:
			j.report = unknownJob("the job for %s was begun at %s, and was not done when the node was lost", stored.Target, r.BegunAt.UTC().Format(time.RFC3339))
		default:
			j.report = jobReport{State: rpc.JobAccepted}
		}
		t.restore(j, &stored)
	}
}

// unknownJob is the report of a job of which it is not known whether it ran.
func unknownJob(format string, args ...any) jobReport {
	e := rpc.Errorf(rpc.OutcomeUnknown, rpc.Unknown, format, args...)
	return jobReport{State: rpc.JobUnknown, Code: e.Code, Verdict: e.Verdict, Message: e.Message}
}

// restore adds a job of an earlier start, whatever the limits are now.
func (t *jobTable) restore(j *job, stored *storedJob) {
	t.mu.Lock()
	t.all[j.id] = j
	t.mine[j.principal]++
	t.pending[j.principal]++
	if j.report.State == rpc.JobDone {
		t.keepLocked(j, len(j.report.Body))
	}
	if j.report.State == rpc.JobAccepted {
		j.stored = stored
		t.orphans[j.target] = append(t.orphans[j.target], j)
	}
	t.mu.Unlock()
	if j.report.State != rpc.JobAccepted {
		t.count(j)
	}
}

// resume puts the jobs that an earlier actor of the same name had not begun into c's mailbox.
func (s *System) resume(c *cell) {
	name := c.self.addr.name
	s.jobs.mu.Lock()
	lost := s.jobs.orphans[name]
	if len(lost) > 0 && c.kind.durable {
		delete(s.jobs.orphans, name)
		for _, j := range lost {
			j.of = c
		}
	}
	s.jobs.mu.Unlock()
	if !c.kind.durable {
		return
	}
	var items []item
	for _, j := range lost {
		msg, typ, err := c.decodeJob(submitJob{TypeID: j.stored.TypeID, Codec: j.stored.Codec, Body: j.stored.Body})
		j.typ, j.stored = typ, nil
		if err != nil {
			j.fail(err)
			continue
		}
		j.item = item{msg: msg, req: j}
		items = append(items, j.item)
	}
	for i, it := range items {
		err := c.takeJob(it)
		if err != nil && err.Code == rpc.Overloaded && c.box.Blocks() {
			go c.takeJobs(items[i:]) // until the actor stops
			return
		}
		if err != nil {
			it.req.Fail(err)
		}
	}
}

// takeJobs puts accepted jobs into the mailbox. It waits for room.
func (c *cell) takeJobs(items []item) {
	for _, it := range items {
		p, err := c.putWhen(c.self.sys.ctx, it)
		if err != nil {
			it.req.Fail(putError(err))
			continue
		}
		c.accepted(p)
	}
}

// isOrphaned reports whether j waits for an actor that will not be spawned any more, because
// the system drains. If j waits for an actor, it has a shutdown end the turns of j's awaiters.
func (t *jobTable) isOrphaned(ctx *Context, j *job) bool {
	t.mu.Lock()
	lost := j.of == nil
	lined := t.listed || !lost
	t.listed = t.listed || lost
	t.mu.Unlock()
	if !lined {
		t.sys.waitLists.add(ctx.cell, waitList{owner: t, nudge: t.endTurns, end: t.endTurns})
	}
	return lost && t.sys.draining()
}

// endTurns ends the turns of those who wait for jobs whose actors do not exist.
func (t *jobTable) endTurns() {
	t.mu.Lock()
	var all []*job
	for _, js := range t.orphans {
		all = append(all, js...)
	}
	t.mu.Unlock()
	for _, j := range all {
		j.endTurns()
	}
}

func hashOf(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:16]
}

// printOf is the fingerprint of a job as it is stored.
func printOf(stored []byte) uint64 { return binary.BigEndian.Uint64(hashOf(stored)) }
