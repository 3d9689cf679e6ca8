package actor

import (
	"log/slog"
	"sync"
	"time"
)

const (
	crashPause  = time.Second // between two log lines about panics of one actor
	crashActors = 256         // that are told apart at a time
)

// crashLog logs panics: for each actor the first one with its stack, and from then on one a
// second at most, which says how many there were since. Stats.Panics and the events count
// all of them.
type crashLog struct {
	mu  sync.Mutex // guards what follows
	all map[string]*crashes
}

// crashes are an actor's panics that were not logged.
type crashes struct {
	due   time.Duration // node clock: no earlier is the next line
	count int           // since the line before
}

// note counts a panic of an actor. It reports whether it is to be logged, and how many
// were not since the line before.
func (l *crashLog) note(now time.Duration, actor string) (due bool, more int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.all[actor]
	if c == nil {
		if len(l.all) >= crashActors {
			for name, c := range l.all {
				if now >= c.due {
					delete(l.all, name)
				}
			}
		}
		if len(l.all) >= crashActors {
			actor = "" // those beyond share a line
			c = l.all[actor]
		}
	}
	if c == nil {
		if l.all == nil {
			l.all = map[string]*crashes{}
		}
		c = &crashes{due: now}
		l.all[actor] = c
	}
	if now < c.due {
		c.count++
		return false, 0
	}
	more, c.count, c.due = c.count, 0, now+crashPause
	return true, more
}

// logCrash logs a panic, if it is its turn. stack is called if it is.
func (s *System) logCrash(actor, kind, message, reason string, stack func() []byte) {
	due, more := s.crashes.note(s.node.Now(), actor)
	if !due {
		return
	}
	attrs := []any{"actor", actor, "kind", kind, "message", message, "panic", reason}
	if more > 0 {
		attrs = append(attrs, slog.Int("more", more))
	}
	s.log.Error("handler panicked; the actor restarts with fresh state", append(attrs, "stack", string(stack()))...)
}
