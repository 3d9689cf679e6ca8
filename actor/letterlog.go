package actor

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

const (
	letterPause = 10 * time.Second // between two log lines about the same actor and reason
	faultPause  = time.Second      // likewise, about handlers that fail, and about refusals
	letterKinds = 256              // actors and reasons that are told apart at a time
)

// letterSum is what one log line says: dead letters to one actor, for one reason, since
// the line before. Handlers that fail, and refusals, are summed up in the same way.
type letterSum struct {
	to     string // empty: to more actors than are told apart
	code   rpc.Code
	from   string // of refusals: the principal
	detail string // of the latest: the actor's kind, the node it came from
	count  uint64
	last   string // type of the latest message
	reason error  // its reason
}

// letterKey is what has a line of its own.
type letterKey struct {
	to   string
	code rpc.Code
	from string
}

// othersKey is that of the line about all that have none of their own.
var othersKey = letterKey{}

// tally sums up dead letters. It knows no clock: callers say what time it is.
type tally struct {
	pause  time.Duration // 0: letterPause
	byFrom bool          // senders are told apart
	sums   map[letterKey]*tallied
}

// tallied is one line in the making.
type tallied struct {
	letterSum
	due time.Time // no earlier is the next line
}

// note counts a dead letter, and returns a line if one is due.
func (t *tally) note(now time.Time, d DeadLetter, detail string) (line letterSum, due bool) {
	k := letterKey{to: d.To, code: rpc.CodeOf(d.Reason)}
	if t.byFrom {
		k.from = d.From
	}
	s := t.sums[t.find(now, k)]
	s.count++
	s.last, s.detail, s.reason = d.Type, detail, d.Reason
	return s.take(now, t.between())
}

// between is how long there is no second line about the same.
func (t *tally) between() time.Duration {
	return cmp.Or(t.pause, letterPause)
}

// find returns the key under which k is summed up, and sees to it that there is a sum.
func (t *tally) find(now time.Time, k letterKey) letterKey {
	if t.sums == nil {
		t.sums = map[letterKey]*tallied{}
	}
	if t.sums[k] != nil {
		return k
	}
	if len(t.sums) >= letterKinds {
		t.sweep(now)
	}
	if len(t.sums) >= letterKinds {
		k = othersKey
	}
	if t.sums[k] == nil {
		t.sums[k] = &tallied{letterSum: letterSum{to: k.to, code: k.code, from: k.from}}
	}
	return k
}

// sweep forgets what was logged long ago and has not come again.
func (t *tally) sweep(now time.Time) {
	for k, s := range t.sums {
		if s.count == 0 && !now.Before(s.due) {
			delete(t.sums, k)
		}
	}
}

// take returns the line and begins the next, if it is time and there is something to say.
func (s *tallied) take(now time.Time, pause time.Duration) (letterSum, bool) {
	if s.count == 0 || now.Before(s.due) {
		return letterSum{}, false
	}
	line := s.letterSum
	s.count, s.reason, s.due = 0, nil, now.Add(pause)
	return line, true
}

// flush returns the lines that are due, or all that have something to say, and when the
// next is due: zero if nothing waits.
func (t *tally) flush(now time.Time, all bool) (lines []letterSum, next time.Time) {
	for _, s := range t.sums {
		if all {
			s.due = now
		}
		if line, due := s.take(now, t.between()); due {
			lines = append(lines, line)
		} else if s.count > 0 && (next.IsZero() || s.due.Before(next)) {
			next = s.due
		}
	}
	t.sweep(now)
	return lines, next
}

// letterLog logs dead letters, and the like, in sum. It has a timer while there is something
// to say later, and no goroutine.
type letterLog struct {
	say func(letterSum)

	mu     sync.Mutex // guards what follows
	tally  tally
	timer  *time.Timer // nil: nothing is to be said later
	closed bool
}

// note counts a dead letter, and logs it if that is due. One that comes after close is
// logged by itself.
func (l *letterLog) note(d DeadLetter, detail string) {
	l.mu.Lock()
	line, due := l.tally.note(d.Time, d, detail)
	switch {
	case !due && l.closed:
		lines, _ := l.tally.flush(d.Time, true)
		l.mu.Unlock()
		l.write(lines...)
		return
	case !due && l.timer == nil:
		l.timer = time.AfterFunc(l.tally.between(), l.later)
	}
	l.mu.Unlock()
	if due {
		l.write(line)
	}
}

// later logs what is due.
func (l *letterLog) later() {
	now := time.Now()
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	lines, next := l.tally.flush(now, false)
	l.timer = nil
	if !next.IsZero() {
		l.timer = time.AfterFunc(next.Sub(now), l.later)
	}
	l.mu.Unlock()
	l.write(lines...)
}

// close logs the last counts.
func (l *letterLog) close() {
	l.mu.Lock()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	lines, _ := l.tally.flush(time.Now(), true)
	l.mu.Unlock()
	l.write(lines...)
}

func (l *letterLog) write(lines ...letterSum) {
	for _, s := range lines {
		l.say(s)
	}
}

// startLogs says what the logs in sum say.
func (s *System) startLogs() {
	s.sums.say = func(sum letterSum) {
		to, code := sum.to, sum.code.String()
		if to == "" {
			to, code = "others", "several"
		}
		s.log.LogAttrs(context.Background(), slog.LevelWarn, "dead letters", slog.String("actor", to), slog.String("reason", code),
			slog.Uint64("count", sum.count), slog.String("last", sum.last), slog.Any("err", sum.reason))
	}
	s.faults.tally.pause, s.faults.say = faultPause, s.sayFault
	s.audit.tally.pause, s.audit.tally.byFrom, s.audit.say = faultPause, true, s.audited
}

// sayFault logs that handlers have failed: one line a second at most for each actor.
func (s *System) sayFault(sum letterSum) {
	to := cmp.Or(sum.to, "others")
	attrs := []slog.Attr{slog.String("actor", to), slog.String("kind", sum.detail), slog.String("message", sum.last), slog.Uint64("count", sum.count)}
	if p := (*crash)(nil); errors.As(sum.reason, &p) {
		s.log.LogAttrs(context.Background(), slog.LevelError, "handler panicked; the actor restarts with fresh state",
			append(attrs, slog.String("panic", p.text), slog.String("stack", p.stack))...)
		return
	}
	what := "the handler of a one-way message failed"
	if sum.code == rpc.Undecodable {
		what = "the codec of a message or reply panicked"
	}
	s.log.LogAttrs(context.Background(), slog.LevelWarn, what, append(attrs, slog.Any("err", sum.reason))...)
}
