//go:build unix

package procs

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// What a user waits for, at most.
const (
	stepLimit  = 3 * time.Second  // of a push, a pull, an ack, a submission
	awaitLimit = 30 * time.Second // of a job's result
	cutLimit   = 5 * time.Second  // of a reader, after its producer's node was killed
)

const (
	pushPace = 8 * time.Millisecond
	jobPace  = 25 * time.Millisecond
	lockers  = 64 // tokens of finished jobs that a submitter remembers
)

// user is a goroutine of an application that uses all patterns.
type user struct {
	role    role
	no      uint16
	n       uint32
	sys     *actor.System
	journal journal
	resting context.Context // ends when nothing new is to begin
	ending  context.Context // when consumers are to end too
	r       *rand.Rand
}

// use is a process of users.
func (r role) use(rest, end <-chan struct{}) error {
	j, err := openJournal(r.Dir, askedFile)
	if err != nil {
		return err
	}
	sys, nc, _, err := r.system(nil)
	if err != nil {
		return err
	}
	resting, goOn := context.WithCancel(context.Background())
	ending, live := context.WithCancel(context.Background())
	go func() { <-rest; goOn() }()
	go func() { <-end; goOn(); live() }()
	base := vitals()
	ready("")
	var all sync.WaitGroup
	for i, do := range []func(*user){(*user).push, (*user).push, consume("line@a", inNode), consume("jobs@a", inNATS), consume("jobs@b", inNATS),
		(*user).readOn, (*user).readOn, (*user).read, (*user).submit, (*user).submit, (*user).submit} {
		u := &user{role: r, no: uint16(r.Who)<<8 | uint16(i), sys: sys, journal: j, resting: resting, ending: ending, r: rand.New(rand.NewPCG(r.Seed, uint64(r.Who)<<40|uint64(r.Life)<<16|uint64(i)))}
		all.Go(func() { do(u) })
	}
	all.Wait()
	j.note(r, base)
	return leave(sys, nc)
}

func (u *user) next() uint64 {
	u.n++
	return opID(u.role.Life, u.no, u.n)
}

// begin writes down what is about to be done, and by when it must be over.
func (u *user) begin(s sort, w who, op uint64, within time.Duration) {
	r := record{sort: s, who: w, life: u.role.Life, op: op}
	if within > 0 {
		r.aux = uint64(time.Now().Add(within).UnixNano())
	}
	u.journal.put(r)
}

// untyped stands for the code of an error that has none.
const untyped rpc.Code = 255

// end writes down how it ended.
func (u *user) end(s sort, w who, op, aux uint64, err error) {
	r := record{sort: s, who: w, life: u.role.Life, op: op, verdict: rpc.Ran(err), code: rpc.CodeOf(err), aux: aux}
	if e := (*rpc.Error)(nil); err != nil && !errors.As(err, &e) && !settledElsewhere(err) {
		r.code = untyped
	}
	u.journal.put(r)
}

func settledElsewhere(err error) bool {
	return errors.Is(err, actor.ErrLeaseExpired) || errors.Is(err, actor.ErrDone) || errors.Is(err, actor.ErrForeign)
}

// pause waits until the next; false if there is none.
func (u *user) pause(mean time.Duration) bool {
	select {
	case <-u.resting.Done():
		return false
	case <-time.After(time.Duration(u.r.ExpFloat64() * float64(mean))):
		return true
	}
}

func (u *user) push() {
	for u.pause(pushPace) {
		op, name, q := u.next(), "line@a", inNode
		switch u.r.IntN(3) {
		case 0:
			name, q = "jobs@a", inNATS
		case 1:
			name, q = "jobs@b", inNATS
		}
		ctx, cancel := context.WithTimeout(context.Background(), stepLimit)
		u.begin(pushing, q, op, stepLimit)
		err := actor.Push(ctx, u.sys.Ref(name), Item{op})
		cancel()
		if u.role.Cheat == dishonest && op%16 == 3 {
			err = rpc.Errorf(rpc.Unavailable, rpc.NotRun, "a lie")
		}
		u.end(pushed, q, op, 0, err)
	}
}

// consume makes a consumer, which goes on while others rest.
func consume(name string, q who) func(*user) {
	return func(u *user) {
		for u.ending.Err() == nil {
			u.pull(u.sys.Ref(name), q)
		}
	}
}

func (u *user) pull(from actor.Ref, q who) {
	op, began := u.next(), time.Now()
	ctx, cancel := context.WithTimeout(u.ending, stepLimit)
	defer cancel()
	u.begin(pulling, q, op, stepLimit)
	batch, err := actor.Pull[Item](ctx, from, actor.Max(8), actor.Wait(300*time.Millisecond))
	u.end(pulled, q, op, 0, err)
	if err != nil {
		time.Sleep(20 * time.Millisecond)
	}
	for _, d := range batch {
		if u.role.Cheat == dishonest && d.Message.ID%8 == 0 {
			_ = d.Ack(ctx) // and nobody is told of it
			continue
		}
		// At the time of the pull: it was not acked then.
		u.journal.put(record{sort: handed, who: q, life: u.role.Life, op: d.Message.ID, aux: uint64(d.Attempt), at: began.UnixNano()})
	}
	for _, d := range batch {
		time.Sleep(time.Duration(u.r.IntN(2000)) * time.Microsecond)
		switch u.r.IntN(25) {
		case 0:
			continue // until its lease ends
		case 1:
			_ = d.Nack(u.ending, 10*time.Millisecond)
			continue
		}
		id := d.Message.ID
		u.begin(acking, q, id, stepLimit)
		ctx, cancel := context.WithTimeout(context.Background(), stepLimit)
		err := d.Ack(ctx)
		cancel()
		u.end(acked, q, id, uint64(d.Attempt), err)
		if u.role.Cheat == dishonest && id%16 == 1 {
			u.begin(acking, q, id, stepLimit)
			u.end(acked, q, id, uint64(d.Attempt), nil)
		}
	}
}

// readOn reads streams without end, until they are cut.
func (u *user) readOn() {
	for u.pause(jobPace) {
		u.open(0, 0)
	}
}

// read reads streams that have an end, or leaves them.
func (u *user) read() {
	for u.pause(jobPace) {
		u.open(uint64(1+u.r.IntN(200)), uint64(u.r.IntN(2)*u.r.IntN(100)))
	}
}

// What the reader of a stream found, beside an error.
const (
	wasWhole uint64 = iota
	wasLeft
	wasShort
	wasMixed
)

// open reads one stream of count items, or leaves it after some.
func (u *user) open(count, leave uint64) {
	op := u.next()
	within := time.Duration(0)
	ctx, cancel := u.resting, context.CancelFunc(func() {})
	if count > 0 {
		within = stepLimit
		ctx, cancel = context.WithTimeout(context.Background(), within)
	}
	defer cancel()
	u.begin(opening, u.role.Who, op, within)
	got, found := uint64(0), wasWhole
	var cut error
	for n, err := range actor.Stream(ctx, u.sys.Ref("feeds@a"), Feed{ID: op, Count: count}) {
		if cut = err; err != nil {
			break
		}
		if got++; n != got {
			found = wasMixed
		}
		if got == leave {
			found = max(found, wasLeft)
			break
		}
	}
	if cut == nil && found == wasWhole && got != count {
		found = wasShort
	}
	if u.role.Cheat == dishonest && rpc.CodeOf(cut) == rpc.Unavailable {
		cut, found = nil, wasShort
	}
	u.end(closed, u.role.Who, op, found, cut)
}

// locker is a job that is over.
type locker struct {
	op    uint64
	token string
}

// submit has jobs done, and now and then asks for the result of an old one.
func (u *user) submit() {
	var old []locker
	for u.pause(jobPace) {
		if len(old) > 0 && u.r.IntN(4) == 0 {
			u.redeem(old[u.r.IntN(len(old))])
		}
		op := u.next()
		ctx, cancel := context.WithTimeout(context.Background(), stepLimit)
		u.begin(submitting, u.role.Who, op, stepLimit)
		token, err := actor.Submit(ctx, u.sys.Ref("chores@a"), Chore{ID: op, Work: time.Duration(u.r.IntN(15)) * time.Millisecond})
		cancel()
		u.end(submitted, u.role.Who, op, 0, err)
		if err != nil {
			continue
		}
		ctx, cancel = context.WithTimeout(context.Background(), awaitLimit)
		done, err := token.Await(ctx)
		cancel()
		u.end(finished, u.role.Who, op, done.ID, err)
		if err == nil {
			old = append(old[max(0, len(old)-lockers):], locker{op, token.String()})
		}
	}
}

func (u *user) redeem(l locker) {
	ctx, cancel := context.WithTimeout(context.Background(), awaitLimit)
	defer cancel()
	token, err := actor.Redeem[Done](u.sys, l.token)
	var done Done
	if err == nil {
		done, err = token.Await(ctx)
	}
	u.end(redeemed, u.role.Who, l.op, done.ID, err)
}
