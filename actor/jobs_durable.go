package actor

import (
	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
)

// records is how jobs and their outcomes lie in the store.
var records = codec.Msgpack(codec.Limits{})

// maxJobBytes bounds a job, and a result, that is recorded: it must fit into one write.
const maxJobBytes = dedup.MaxBatch - 1<<10

// storedJob is a job in the store.
type storedJob struct {
	Principal string
	Target    string
	TypeID    uint64
	Codec     uint8
	Body      []byte
	Remote    bool
}

// recordJob has a job of a durable actor stored before it is accepted.
func (s *System) recordJob(ctx *Context, c *cell, j *job, name [16]byte, m submitJob, it item) (string, error) {
	refuse := func(err *rpc.Error) (string, error) {
		s.jobs.remove(j)
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
	stored, err := records.Append(nil, storedJob{j.principal, m.Target, m.TypeID, m.Codec, m.Body, j.remote})
	if err != nil {
		return refuse(rpc.Errorf(rpc.Internal, rpc.NotRun, "encoding the job: %w", err))
	}
	if len(stored) > maxJobBytes {
		return refuse(rpc.Errorf(rpc.TooLarge, rpc.NotRun, "a job of %d bytes cannot be recorded, the limit is %d", len(stored), maxJobBytes))
	}
	later := Defer[string](ctx)
	s.node.RecordJob(name, stored, func(r *rpc.JobRecord, err error) {
		if err != nil {
			s.jobs.remove(j)
			_ = later.d.fail(rpc.Errorf(rpc.Unavailable, rpc.Unknown, "the job could not be recorded: %w", err))
			return
		}
		j.record = r
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

// Restore implements rpc.Restorer: it takes in the jobs that earlier starts have left.
func (v server) Restore(jobs []*rpc.JobRecord) {
	t := &v.s.jobs
	for _, r := range jobs {
		var stored storedJob
		if err := records.Decode(r.Job, &stored); err != nil {
			v.s.log.Error("a recorded job cannot be read", "id", jobID(r.ID()), "err", err)
			r.Free()
			continue
		}
		j := &job{sys: v.s, id: jobID(r.ID()), principal: stored.Principal, codec: stored.Codec, remote: true, target: stored.Target, record: r}
		switch {
		case r.Done:
			if err := records.Decode(r.Outcome, &j.report); err != nil {
				j.report = jobReport{State: rpc.JobUnknown}
			}
		case r.Begun:
			j.report = jobReport{State: rpc.JobUnknown}
		default:
			j.report = jobReport{State: rpc.JobAccepted}
		}
		t.restore(j, &stored)
	}
}

// restore takes in a job of an earlier start, whatever the limits are now.
func (t *jobTable) restore(j *job, stored *storedJob) {
	t.mu.Lock()
	t.all[j.id] = j
	t.mine[j.principal]++
	if j.report.State == rpc.JobAccepted {
		j.stored = stored
		t.lost[j.target] = append(t.lost[j.target], j)
	}
	t.mu.Unlock()
	if j.report.State != rpc.JobAccepted {
		t.count(j)
	}
}

// resume gives an actor the jobs that an earlier one of its name had not begun.
func (s *System) resume(c *cell) {
	name := c.self.addr.name
	s.jobs.mu.Lock()
	lost := s.jobs.lost[name]
	if len(lost) > 0 && c.kind.durable {
		delete(s.jobs.lost, name)
	}
	s.jobs.mu.Unlock()
	if !c.kind.durable {
		return
	}
	for _, j := range lost {
		msg, typ, err := c.openJob(submitJob{TypeID: j.stored.TypeID, Codec: j.stored.Codec, Body: j.stored.Body})
		j.of, j.typ = c, typ
		if err == nil {
			err = c.takeJob(item{msg: msg, req: j})
		}
		if err != nil {
			j.fail(err)
		}
		j.stored = nil
	}
}
