//go:build unix

package procs

import (
	"context"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/reminder"
)

// Some transfers have a reminder set, with their effect: most of these one that comes once, soon after, others the one
// reminder of the account that comes again and again, and some have that forgotten.
const (
	tickEvery = reminder.MinEvery
	tickName  = "tick"

	// firingWait is how long a server of NATS waits until it gives another host what one that has died has in hand.
	// It is 15 s by default, which is too long to wait for after each death.
	firingWait = 2 * time.Second
	// strayFor is how long a reminder must be silent in the end that was forgotten.
	strayFor = 2 * tickEvery
)

// ringing is what a transfer has to do with reminders.
type ringing uint8

const (
	noRinging ringing = iota
	ringOnce
	ringOften
	ringNever // it is forgotten
)

func ringingOf(op uint64) ringing {
	switch n := countOf(op); {
	case verbOf(op) == reading:
	case n%8 == 2:
		return ringOnce
	case n%64 == 4:
		return ringOften
	case n%256 == 36:
		return ringNever
	}
	return noRinging
}

// Chime is the message of a reminder that comes once, and Tick that of one which comes again and again. ID is the transfer that has
// set it.
type (
	Chime struct{ ID uint64 }
	Tick  struct{ ID uint64 }
)

// Rung is what an account knows of its reminders. All of it is stored with the rest.
type Rung struct {
	Once    map[uint64]uint64 // how often the reminder of each transfer has come
	Ticking uint64            // the transfer that has set the present tick; 0: there is none
	Ticks   uint64            // the number of its latest firing
	Total   uint64            // firings of all of them that were handled
	Twice   uint64            // of these, those that had been handled before
	Skipped uint64            // firings before one that was handled which had not been
	Stray   uint64            // firings of what had been forgotten, or replaced
	Dropped uint64            // firings of what a handler has set that has failed
}

// remind does with reminders what a transfer is to do.
func (a *account) remind(ctx *actor.Context, op uint64) error {
	k := &a.kept.Rung
	switch ringingOf(op) {
	case ringOnce:
		if a.host.role.Cheat == dishonest && countOf(op)%cheatEvery == 10 {
			return nil
		}
		return actor.Remind(ctx, fmt.Sprintf("%x", op), reminder.At(time.Now().Add(time.Duration(countOf(op)*37%1500)*time.Millisecond)), Chime{op})
	case ringOften:
		k.Ticking, k.Ticks = op, 0
		return actor.Remind(ctx, tickName, reminder.Every(tickEvery), Tick{op})
	case ringNever:
		k.Ticking, k.Ticks = 0, 0
		return actor.Forget(ctx, tickName)
	}
	return nil
}

func (a *account) chime(_ *actor.Context, m Chime) error {
	k := &a.kept.Rung
	k.Once[m.ID]++
	if verbOf(m.ID) == failing {
		k.Dropped++
	}
	if a.host.role.Cheat == dishonest && countOf(m.ID)%cheatEvery == 2 {
		k.Once[m.ID]++
		k.Dropped++
		k.Skipped++
	}
	return nil
}

func (a *account) tick(ctx *actor.Context, m Tick) error {
	f, _ := ctx.Firing()
	switch k := &a.kept.Rung; {
	case verbOf(m.ID) == failing:
		k.Dropped++
	case m.ID != k.Ticking: // it was on its way when that was written
		k.Stray++
	case f.Number <= k.Ticks:
		k.Total++
		k.Twice++
	default:
		k.Total++
		k.Skipped += f.Number - k.Ticks - 1
		k.Ticks = f.Number
	}
	return nil
}

// records are what the referee has to know of it. The number of a tick is 0 if there is none.
func (k *Rung) records(id int, by who) (all []record) {
	ticks := k.Ticks + 1
	if k.Ticking == 0 {
		ticks = 0
	}
	for sort, n := range map[sort]uint64{ticked: ticks, tolled: k.Total, tolledTwice: k.Twice, skipped: k.Skipped, strayed: k.Stray, dropped: k.Dropped} {
		all = append(all, record{sort: sort, who: by, op: uint64(id), aux: n})
	}
	return all
}

// fatedReminders are a host's way to the store of reminders.
type fatedReminders struct {
	reminder.Store
	fate *fate
}

func (s fatedReminders) Set(ctx context.Context, r reminder.Reminder, id reminder.ID) (e reminder.Entry, err error) {
	s.fate.around(beforeRemind, duringRemind, afterRemind, func() { e, err = s.Store.Set(ctx, r, id) })
	return e, err
}

func (s fatedReminders) Follow(ctx context.Context, handle func(context.Context, reminder.Firing) reminder.Outcome) error {
	return s.Store.Follow(ctx, func(ctx context.Context, f reminder.Firing) (out reminder.Outcome) {
		s.fate.around(beforeFiring, duringFiring, afterFiring, func() { out = handle(ctx, f) })
		return out
	})
}

// soon has the servers of NATS not wait for long for hosts that have died with a firing, or with what is to be set.
func (s *storedRun) soon() error {
	nc, js, err := s.role.bus()
	if err != nil {
		return err
	}
	defer nc.Close()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	for have := 0; have < 2; time.Sleep(20 * time.Millisecond) { // each stream gets its consumer when the first host follows
		have = 0
		for _, name := range []string{"_reminders", "_alarms"} {
			stream, err := js.Stream(ctx, s.role.cluster()+name)
			if err != nil {
				return err
			}
			list := stream.ListConsumers(ctx)
			for c := range list.Info() {
				cfg := c.Config
				cfg.AckWait = firingWait
				if _, err := js.UpdateConsumer(ctx, stream.CachedInfo().Config.Name, cfg); err != nil {
					return err
				}
				have++
			}
			if list.Err() != nil {
				return list.Err()
			}
		}
	}
	return nil
}
