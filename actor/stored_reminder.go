package actor

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/tandem-go/tandem/reminder"
)

// The record of a stored actor has the outcome of the last firing of each of its reminders. It is kept until the
// store of reminders has ended that reminder, whenever that is: until then the firing may come again.

// reminds begins the name under which the firings of a reminder are known, and no other caller's.
const reminds = "~"

const (
	manyReminders = 16          // from so many outcomes on it is looked which reminders have ended
	reminderRests = time.Minute // how long ago its last firing must be: a reader of the store may be behind by seconds
)

func isReminder(caller string) bool {
	return strings.HasPrefix(caller, reminds) && !strings.Contains(caller, "/")
}

// sortReminders has it found out which reminders have ended, if there are many and that of caller is one more.
func (st *lasting) sortReminders(c *cell, caller string, now time.Time) {
	s := c.self.sys
	if st.sorting || !isReminder(caller) || s.cfg.Reminders == nil || len(st.rested(now)) < manyReminders {
		return
	}
	key, _ := activationOf(c.self.addr.name)
	of := reminder.Actor{Kind: key.Kind, ID: key.ID}
	st.sorting = s.services.run(func() {
		ctx, cancel := context.WithTimeout(s.ctx, s.cfg.Timeout)
		defer cancel()
		list, err := s.cfg.Reminders.List(ctx, of)
		waits := sorted{err: err, waiting: map[string]bool{}}
		for _, e := range list {
			waits.waiting[reminds+e.Generation.String()] = true
		}
		c.signal(waits)
	})
}

// sorted is the signal that says which reminders have not ended.
type sorted struct {
	waiting map[string]bool
	err     error
}

func (s sorted) arrive(c *cell) any {
	st, now := c.place().store, time.Now()
	st.sorting = false
	if s.err != nil {
		return nil
	}
	for _, caller := range st.rested(now) {
		if !s.waiting[caller] {
			st.act.Forget(caller)
		}
	}
	return nil
}

// rested are the reminders of which nothing has come for a while.
func (st *lasting) rested(now time.Time) []string {
	return slices.DeleteFunc(st.act.Silent(now.Add(-reminderRests)), func(caller string) bool { return !isReminder(caller) })
}
