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
	faultPause  = time.Second      // the same for handlers that fail, and for refusals
	letterKinds = 256              // actors and reasons with a summary of their own at a time
)

// logSummary is the content of one log line: the dead letters to one actor, for one reason,
// since the previous line. Failures of handlers, and refusals, are summed up in the same way.
type logSummary struct {
	to     string // empty: the summary is about actors that have none of their own
	code   rpc.Code
	from   string // the principal, for refusals
	detail string // of the latest entry: the actor's kind, or the node that the message came from
	count  uint64
	last   string    // type of the latest message
	reason error     // its reason
	trace  rpc.Trace // the trace context that it belongs to; zero: none
}

// context is the one under which the summary is logged: with the trace context of its latest entry.
func (l *logSummary) context() context.Context {
	if l.trace.IsZero() {
		return context.Background()
	}
	return rpc.WithTrace(context.Background(), l.trace)
}

// summaryKey identifies a summary.
type summaryKey struct {
	to   string
	code rpc.Code
	from string
}

// othersKey is the key of the summary of everything that has none of its own.
var othersKey = summaryKey{}

// summaries sums up dead letters. It has no clock: callers pass the time.
type summaries struct {
	pause  time.Duration // 0: letterPause
	byFrom bool          // each sender has a summary of its own
	sums   map[summaryKey]*runningCount
}

// runningCount is a summary that is not logged yet.
type runningCount struct {
	logSummary
	due time.Time // the next line is logged no earlier
}

// note counts a dead letter, and returns a line if one is due.
func (t *summaries) note(now time.Time, d DeadLetter, detail string, trace rpc.Trace) (line logSummary, due bool) {
	k := summaryKey{to: d.To, code: rpc.CodeOf(d.Reason)}
	if t.byFrom {
		k.from = d.From
	}
	s := t.sums[t.find(now, k)]
	s.count++
	s.last, s.detail, s.reason, s.trace = d.Type, detail, d.Reason, trace
	return s.next(now, t.between())
}

// between is the least time between two lines of one key.
func (t *summaries) between() time.Duration {
	return cmp.Or(t.pause, letterPause)
}

// find returns the key under which k is summed up: k itself, or othersKey if there are too many.
// It makes the summary if there is none.
func (t *summaries) find(now time.Time, k summaryKey) summaryKey {
	if t.sums == nil {
		t.sums = map[summaryKey]*runningCount{}
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
		t.sums[k] = &runningCount{logSummary: logSummary{to: k.to, code: k.code, from: k.from}}
	}
	return k
}

// sweep removes the summaries that have counted nothing since their last line.
func (t *summaries) sweep(now time.Time) {
	for k, s := range t.sums {
		if s.count == 0 && !now.Before(s.due) {
			delete(t.sums, k)
		}
	}
}

// next returns the line and begins a new count, if a line is due and something was counted.
func (s *runningCount) next(now time.Time, pause time.Duration) (logSummary, bool) {
	if s.count == 0 || now.Before(s.due) {
		return logSummary{}, false
	}
	line := s.logSummary
	s.count, s.reason, s.due = 0, nil, now.Add(pause)
	return line, true
}

// flush returns the lines that are due, or with all every line that has counted something, and
// when the next one is due: zero if there is none.
func (t *summaries) flush(now time.Time, all bool) (lines []logSummary, next time.Time) {
	for _, s := range t.sums {
		if all {
			s.due = now
		}
		if line, due := s.next(now, t.between()); due {
			lines = append(lines, line)
		} else if s.count > 0 && (next.IsZero() || s.due.Before(next)) {
			next = s.due
		}
	}
	t.sweep(now)
	return lines, next
}

// summaryLog logs dead letters, and the like, summed up. It has a timer while there is something
// to log later, and no goroutine.
type summaryLog struct {
	log func(logSummary)

	mu        sync.Mutex // guards what follows
	summaries summaries
	timer     *time.Timer // nil: nothing is to be logged later
	closed    bool
}

// note counts a dead letter, and logs a line if one is due. After close it logs every dead letter
// at once.
func (l *summaryLog) note(d DeadLetter, detail string) { l.noteUnder(rpc.Trace{}, d, detail) }

// noteUnder is note for what belongs to a trace.
func (l *summaryLog) noteUnder(trace rpc.Trace, d DeadLetter, detail string) {
	l.mu.Lock()
	line, due := l.summaries.note(d.Time, d, detail, trace)
	switch {
	case !due && l.closed:
		lines, _ := l.summaries.flush(d.Time, true)
		l.mu.Unlock()
		l.write(lines...)
		return
	case !due && l.timer == nil:
		l.timer = time.AfterFunc(l.summaries.between(), l.later)
	}
	l.mu.Unlock()
	if due {
		l.write(line)
	}
}

// later logs what is due.
func (l *summaryLog) later() {
	now := time.Now()
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	lines, next := l.summaries.flush(now, false)
	l.timer = nil
	if !next.IsZero() {
		l.timer = time.AfterFunc(next.Sub(now), l.later)
	}
	l.mu.Unlock()
	l.write(lines...)
}

// close logs what was counted and not logged yet.
func (l *summaryLog) close() {
	l.mu.Lock()
	l.closed = true
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
	lines, _ := l.summaries.flush(time.Now(), true)
	l.mu.Unlock()
	l.write(lines...)
}

func (l *summaryLog) write(lines ...logSummary) {
	for _, s := range lines {
		l.log(s)
	}
}

// startLogs sets what the summary logs write.
func (s *System) startLogs() {
	s.letterLog.log = func(sum logSummary) {
		to, code := sum.to, sum.code.String()
		if to == "" {
			to, code = "others", "several"
		}
		s.log.LogAttrs(sum.context(), slog.LevelWarn, "dead letters", slog.String("actor", to), slog.String("reason", code),
			slog.Uint64("count", sum.count), slog.String("last", sum.last), slog.Any("err", sum.reason))
	}
	s.faults.summaries.pause, s.faults.log = faultPause, s.sayFault
	s.audit.summaries.pause, s.audit.summaries.byFrom, s.audit.log = faultPause, true, s.audited
}

// sayFault logs that handlers have failed, at most one line a second for each actor.
func (s *System) sayFault(sum logSummary) {
	to := cmp.Or(sum.to, "others")
	attrs := []slog.Attr{slog.String("actor", to), slog.String("kind", sum.detail), slog.String("message", sum.last), slog.Uint64("count", sum.count)}
	if p := (*crash)(nil); errors.As(sum.reason, &p) {
		s.log.LogAttrs(sum.context(), slog.LevelError, "handler panicked",
			append(attrs, slog.String("panic", p.text), slog.String("stack", p.stack))...)
		return
	}
	what := "the handler of a one-way message failed"
	switch {
	case sum.code == rpc.Undecodable:
		what = "the codec of a message or reply panicked"
	case sum.last == "Started":
		what = "an actor could not start"
	}
	s.log.LogAttrs(sum.context(), slog.LevelWarn, what, append(attrs, slog.Any("err", sum.reason))...)
}
