package actor

import (
	"strings"
	"time"

	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/trail"
	"github.com/tandem-go/tandem/rpc"
)

// This file tells what the tables and the store of the node have of a request now.

// stands returns that for the request that is asked about. records is what the trail has of it: a key is known only together
// with its principal and its actor, which stand there.
func (s *System) stands(q whyAsked, records []trail.Record, seen func(*trail.Record) bool) (steps []inspect.Step) {
	add := func(r *trail.Record, kept []server.Entry) {
		for _, k := range kept {
			st := inspect.Step{Time: k.Time, Node: s.cfg.Name, Side: inspect.Record, What: inspect.Kept, Request: r.ID.String(), Target: r.Target, Principal: r.Principal, Peer: r.Peer,
				Key: r.Key.String(), Job: jobText(r.Job), Detail: k.In + ": " + k.State}
			if k.Time.IsZero() { // it is so now
				st.Time = time.Now().Round(0)
			}
			if k.Err != nil {
				st.Code, st.Ran = k.Err.Code.String(), k.Err.Verdict.String()
			}
			steps = append(steps, st)
		}
	}
	if q.Job != 0 {
		if j := s.jobs.standingFor(q.Job); j != nil {
			r := trail.Record{Head: trail.Head{Side: trail.Job, Target: j.actor, Principal: j.principal, Job: q.Job}}
			if seen == nil || seen(&r) {
				add(&r, []server.Entry{j.entry()})
			}
		}
		return steps
	}
	if id, err := rpc.ParseRequestID(q.Request); err == nil {
		all, target := s.node.Server.KeptOf(id)
		r := trail.Record{Head: trail.Head{ID: id, Side: trail.Server, Target: target}}
		for i := range records {
			if r.Target == "" && records[i].Side == trail.Server {
				r.Target = records[i].Target
			}
		}
		if seen == nil || r.Target != "" && seen(&r) {
			add(&r, all)
		}
	}
	type name struct{ principal, target string }
	under := map[name]bool{}
	for i := range records {
		r := &records[i]
		n := name{r.Principal, r.Target}
		if r.Side != trail.Server || q.Key == "" || under[n] || seen != nil && !seen(r) {
			continue
		}
		under[n] = true
		add(&trail.Record{Head: trail.Head{Side: trail.Server, Peer: r.Peer, Target: r.Target, Principal: r.Principal, Key: r.Key}}, s.node.Server.KeptUnder(r.Principal, r.Target, q.Key))
	}
	return steps
}

// standingFor returns the job for whose id that number stands, or nil.
func (t *jobTable) standingFor(sum uint64) *job {
	t.mu.Lock()
	ids := make([]string, 0, len(t.all))
	for id := range t.all {
		ids = append(ids, id)
	}
	t.mu.Unlock()
	for _, id := range ids {
		if trail.Sum(id) == sum {
			j, _ := t.get(id)
			return j
		}
	}
	return nil
}

// entry is what is kept of the job.
func (j *job) entry() server.Entry {
	r := j.now()
	k := server.Entry{In: "jobs", State: strings.ToLower(r.State.String()), Over: r.final()}
	if j.record != nil {
		k.In = "jobs, in the store"
	}
	if r.Code != 0 {
		k.Err = &rpc.Error{Code: r.Code, Verdict: r.Verdict}
	}
	return k
}

// noteJob notes what becomes of a job.
func (j *job) noteJob(what trail.What, r jobReport) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.noteLocked(what, r)
}

// noteLocked is noteJob for those who hold j.mu.
func (j *job) noteLocked(what trail.What, r jobReport) {
	t := j.sys.trail
	if t == nil {
		return
	}
	step := trail.Step{At: j.sys.node.Client.Now(), What: what, Code: r.Code}
	if r.Code != 0 {
		step.Verdict = r.Verdict
	}
	if j.trail.IsZero() || !t.Add(j.trail, step) {
		h := trail.Head{Side: trail.Job, Target: j.actor, TypeID: j.typeID, Principal: j.principal, Job: trail.Sum(j.id)}
		if j.origin != nil {
			h.Peer = j.origin.Node
		}
		h.ID = j.asked
		j.trail = t.Keep(&h, trail.Marked)
		t.Add(j.trail, step)
	}
}
