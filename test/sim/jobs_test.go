package sim

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/internal/simulation"
	"github.com/tandem-go/tandem/rpc"
)

// Job is a message that is submitted. Its ID is the ground truth.
type Job struct {
	actor.Returns[Made]
	ID    uint64
	Steps int
	Step  time.Duration // that each takes
	Heed  bool          // it ends early with its context
	End   int           // 0: a result; 1: an error; 2: a panic; 3: a result that is put off, and given twice
	Keyed bool
}

// Made is the result of the Job of that ID.
type Made struct {
	ID  uint64
	Run int // no two have the same
}

type clerk struct{ w *world }

func (w *world) clerkKind(name string) *actor.Kind {
	return actor.Define(name, func() *clerk { return &clerk{w} }, actor.Answer((*clerk).do)).With(lively())
}

func (k *clerk) do(ctx *actor.Context, m Job) (Made, error) {
	run := k.w.jobs.begins(k.w, m, address(ctx))
	if k.w.cheats("a job runs twice") {
		run = k.w.jobs.begins(k.w, m, address(ctx))
	}
	made := Made{m.ID, run.no}
	for i := range m.Steps {
		ctx.Progress(int64(i), int64(m.Steps))
		work(ctx, m.Step, m.Heed)
	}
	defer k.w.jobs.ends(k.w, run)
	switch m.End {
	case 1:
		return Made{}, errAsked
	case 2:
		panic("a panic was asked for")
	case 3:
		later := actor.Defer[Made](ctx)
		pause := m.Step
		go func() {
			time.Sleep(pause)
			first := later.Answer(made)
			second := later.Answer(Made{m.ID, -1})
			if second == nil || k.w.cheats("a second answer is accepted") && first == nil {
				k.w.truth.Bad("job %x was answered twice: %v, %v", m.ID, first, second)
			}
		}()
	}
	return made, nil
}

// jobRun is one run of a job's handler.
type jobRun struct {
	no           int
	on           string
	keyed        bool
	begun, ended time.Duration
	over         bool
}

// ticket is the token of a job, and what was said about the job so far.
type ticket struct {
	id       uint64
	text     string
	to       *simulation.Node
	keyed    bool
	rank     int // of the latest state
	progress int64
	run      int // that an Await has got; 0: none
}

// jobsTruth knows what became of jobs.
type jobsTruth struct {
	mu      sync.Mutex // guards what follows
	runs    map[uint64][]*jobRun
	no      int
	never   map[uint64]error // jobs that are said never to run, and by what
	awaited int
}

func (t *jobsTruth) begins(w *world, m Job, on string) *jobRun {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.no++
	r := &jobRun{no: t.no, on: on, keyed: m.Keyed, begun: w.truth.Now()}
	forgets := min(w.plan.tokenLife(), w.truth.KeyLife)
	for _, o := range t.runs[m.ID] {
		other := m.Keyed && (o.on != on && !w.plan.clerkDurable(nodeOf(on)) || o.over && r.begun >= o.ended+forgets)
		if !other {
			w.truth.Bad("job %x runs on %s, and it has run on %s", m.ID, on, o.on)
		}
	}
	if t.runs == nil {
		t.runs = map[uint64][]*jobRun{}
	}
	t.runs[m.ID] = append(t.runs[m.ID], r)
	w.truth.Note("  job %x runs on %s", m.ID, on)
	return r
}

func (t *jobsTruth) ends(w *world, r *jobRun) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.ended, r.over = w.truth.Now(), true
}

func (p plan) tokenLife() time.Duration {
	if p.Patterns.TokenLife == 0 {
		return actor.DefaultTokenLife
	}
	return p.Patterns.TokenLife
}

// nodeOf returns the node of an address with an epoch.
func nodeOf(on string) string {
	for i := range on {
		if on[i] == '@' {
			return on[i+1 : i+3]
		}
	}
	return on
}

// verdict checks what an error says about whether the job ran.
func (t *jobsTruth) verdict(w *world, what string, id uint64, keyed bool, err error) {
	w.typed(what, err)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil || keyed: // whose other attempts may have run
	case rpc.Ran(err) == rpc.HasRun && len(t.runs[id]) == 0:
		w.truth.Bad("%s: job %x is said to have run, and it has not: %v", what, id, err)
	case rpc.Ran(err) == rpc.NotRun:
		if t.never == nil {
			t.never = map[uint64]error{}
		}
		t.never[id] = fmt.Errorf("%s: %w", what, err)
	}
}

// job submits a job, and starts others that follow it.
func (u *user) job() {
	to := u.target()
	m := Job{ID: u.id(), Steps: u.r.IntN(4), Step: draw.Span(u.r, 0, draw.Pick(u.r, 20*time.Millisecond, time.Second)), Heed: draw.Chance(u.r, 0.5),
		End: draw.Pick(u.r, 0, 0, 0, 0, 0, 1, 2, 3), Keyed: u.w.plan.Keys > 0 && draw.Chance(u.r, 0.4)}
	first, ok := u.submit(to, m)
	if m.Keyed && draw.Chance(u.r, 0.7) {
		started := firstStart(to)
		second, again := u.submit(to, m)
		one := u.w.plan.clerkDurable(to.Name) || started && firstStart(to)
		if u.w.cheats("a second submission gets another token") {
			second.text += "x"
		}
		if ok && again && one && first.text != second.text {
			u.w.truth.Bad("job %x has two tokens under one key on %s", m.ID, to.Name)
		}
		if again {
			first, ok = second, true
		}
	}
	if !ok {
		return
	}
	for range 1 + u.r.IntN(3) {
		u.watch(first)
	}
}

// firstStart reports whether a node is up in its first start.
func firstStart(n *simulation.Node) bool {
	l := n.Live()
	return l != nil && l.No == 1
}

func (u *user) submit(to *simulation.Node, m Job) (*ticket, bool) {
	ctx, cancel, due := u.brief(time.Millisecond, 8*time.Second)
	defer cancel()
	var opts []rpc.Option
	if m.Keyed {
		opts = append(opts, rpc.Key(fmt.Sprintf("job %x", m.ID)))
	}
	u.w.truth.Note("submit %x to %s", m.ID, to.Name)
	token, err := actor.Submit(ctx, u.life.Sys.Ref("clerk@"+to.Name), m, opts...)
	u.w.truth.Note("  submitted %x: %v %v", m.ID, err, token)
	u.w.inTime(fmt.Sprintf("the submission of job %x", m.ID), due)
	if u.w.cheats("an unknown submission is called not run") && err != nil {
		err = rpc.Errorf(rpc.Expired, rpc.NotRun, "a lie")
	}
	u.w.jobs.verdict(u.w, "Submit", m.ID, m.Keyed, err)
	return &ticket{id: m.ID, text: token.String(), to: to, keyed: m.Keyed}, err == nil
}

// watch starts a goroutine that follows a job, on this node or another one.
func (u *user) watch(t *ticket) {
	v := &user{w: u.w, r: u.w.RNG(fmt.Sprintf("watcher %d %d", u.no, u.id())), home: u.home}
	if draw.Chance(u.r, 0.3) {
		v.home = u.w.Nodes[u.r.IntN(len(u.w.Nodes))]
	}
	if v.life = v.home.Live(); v.life == nil {
		return
	}
	cancels := draw.Chance(u.r, 0.15)
	u.w.callers.Go(func() {
		token, err := actor.Redeem[Made](v.life.Sys, t.text)
		if err != nil {
			v.w.truth.Bad("the token of job %x cannot be redeemed: %v", t.id, err)
			return
		}
		for range v.r.IntN(4) {
			v.poll(t, token.Poll)
			time.Sleep(draw.Span(v.r, 0, time.Second))
		}
		if cancels {
			v.poll(t, token.Cancel)
		}
		v.await(t, token)
		if draw.Chance(v.r, 0.3) {
			time.Sleep(draw.Span(v.r, 0, 2*min(v.w.plan.tokenLife(), 20*time.Second)))
			v.poll(t, token.Poll)
		}
	})
}

// rankOf orders the states of a job, which never go back.
func rankOf(s rpc.JobState) int {
	switch {
	case s == rpc.JobUnknown:
		return 5
	case s == rpc.JobExpired:
		return 4
	case s.Over():
		return 3
	}
	return int(s)
}

func (u *user) poll(t *ticket, ask func(context.Context) (rpc.JobStatus, error)) {
	ctx, cancel, due := u.brief(time.Millisecond, 10*time.Second)
	defer cancel()
	u.w.jobs.mu.Lock()
	rank, progress := t.rank, t.progress
	u.w.jobs.mu.Unlock()
	st, err := ask(ctx)
	u.w.inTime(fmt.Sprintf("a poll of job %x", t.id), due)
	u.w.truth.Note("  job %x is %v %d/%d %v, %v", t.id, st.State, st.Done, st.Total, st.Err, err)
	if err != nil {
		u.w.typed("a poll", err)
		if rpc.CodeOf(err) == rpc.Denied {
			u.w.truth.Bad("a poll of job %x was denied: %v", t.id, err)
		}
		return
	}
	if u.home == t.to && u.life != t.to.Live() {
		return // it asked its own start, which has ended: a process that is dead for all others, which ask the next one
	}
	now := rankOf(st.State)
	if u.w.cheats("a job goes back") && rank > 1 {
		now = 1
	}
	if u.w.cheats("progress goes back") && progress > 0 {
		st.Done = 0
	}
	switch both := u.w.plan.twoOfOneName(); {
	case now < rank && !(rank >= 4 && (both || u.w.plan.clerkDurable(t.to.Name))) && !(both && !u.w.plan.clerkDurable(t.to.Name)):
		u.w.truth.Bad("job %x is %v, and was further on before (%d)", t.id, st.State, rank)
	case now == rank && now == 2 && st.Done < progress && !both:
		u.w.truth.Bad("job %x has done %d, and had done %d before", t.id, st.Done, progress)
	}
	if st.State == rpc.JobFailed || st.State == rpc.JobCancelled {
		u.w.jobs.verdict(u.w, "Poll", t.id, t.keyed, st.Err)
	}
	u.w.jobs.mu.Lock()
	t.rank, t.progress = max(t.rank, now), max(t.progress, st.Done)
	u.w.jobs.mu.Unlock()
}

// twoOfOneName reports whether two processes with one name may be reachable at the same time.
func (p plan) twoOfOneName() bool {
	for _, f := range p.Faults {
		if f == "usurp" || f == "leave" || f == "flap" || f == "deploy" {
			return true
		}
	}
	return false
}

func (u *user) await(t *ticket, token rpc.Token[Made]) {
	var made Made
	var err error
	if draw.Chance(u.r, 0.5) {
		ctx, cancel, due := u.brief(0, 30*time.Second)
		made, err = token.Await(ctx)
		cancel()
		u.w.inTime(fmt.Sprintf("an Await of job %x", t.id), due)
	} else {
		ctx, stop := u.open()
		made, err = token.Await(ctx)
		if u.w.cheats("an Await hangs") {
			<-ctx.Done()
		}
		if !stop() {
			u.w.truth.Bad("an Await of job %x did not return for %v after the last fault", t.id, patience)
			return
		}
	}
	switch {
	case u.w.cheats("a result is another job's"):
		made.ID++
	case u.w.cheats("a lost job is called failed") && rpc.Ran(err) == rpc.Unknown:
		err = rpc.NewError("lie", "a lie")
	case u.w.cheats("a job that runs is called refused") && err != nil:
		err = rpc.Errorf(rpc.Unavailable, rpc.NotRun, "a lie")
	case u.w.cheats("two results for one token"):
		u.w.jobs.mu.Lock()
		if u.w.jobs.awaited++; t.run != 0 {
			made.Run++
		}
		u.w.jobs.mu.Unlock()
	}
	u.w.truth.Note("  job %x gave %v, %v", t.id, made, err)
	if err != nil {
		if errors.Is(err, context.Canceled) && rpc.CodeOf(err) == 0 {
			return
		}
		u.w.jobs.verdict(u.w, "Await", t.id, t.keyed, err)
		return
	}
	u.w.jobs.mu.Lock()
	defer u.w.jobs.mu.Unlock()
	ran := false
	for _, r := range u.w.jobs.runs[t.id] {
		ran = ran || r.no == made.Run
	}
	switch {
	case made.ID != t.id:
		u.w.truth.Bad("the token of job %x gave the result of %x", t.id, made.ID)
	case t.run != 0 && t.run != made.Run:
		u.w.truth.Bad("the token of job %x gave the results of runs %d and %d", t.id, t.run, made.Run)
	case !ran:
		u.w.truth.Bad("the token of job %x gave the result of a run that there was not: %d", t.id, made.Run)
	}
	t.run = made.Run
}

func (t *jobsTruth) judge(w *world) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, why := range t.never {
		if len(t.runs[id]) > 0 {
			w.truth.Bad("job %x ran on %s, and was said never to run: %v", id, t.runs[id][0].on, why)
		}
	}
}
