package actor

import (
	"context"
	"maps"
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
func (st *lasting) sortReminders(c *cell, caller string) {
	s := c.self.sys
	if st.sorting || !isReminder(caller) || s.cfg.Reminders == nil {
		return
	}
	n := 0
	for caller := range maps.Keys(st.callers) {
		if isReminder(caller) {
			n++
		}
	}
	if n < manyReminders {
		return
	}
	of := reminder.Actor{Kind: st.key.Kind, ID: st.key.ID}
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
	for caller, last := range st.callers {
		if isReminder(caller) && !s.waiting[caller] && now.Sub(last) > reminderRests {
			st.act.Forget(caller)
			delete(st.callers, caller)
		}
	}
	return nil
}
