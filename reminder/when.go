package reminder

import (
	"fmt"
	"time"

	"github.com/tandem-go/tandem/internal/crontime"
)

// Limits of times.
const (
	MinEvery = time.Second
	MaxEvery = 10 * 365 * 24 * time.Hour
	LastYear = 2199 // the last one in which a time may be

	// MaxMissed is the most times that are counted as missed. There may have been more.
	MaxMissed = 1000
)

// When says at what times a reminder is due. It is made by At, Every or Cron.
type When struct {
	at    time.Time
	every time.Duration
	cron  string
	zone  string
}

// At returns a single time. If it has passed, the reminder is due at once.
func At(t time.Time) When { return When{at: t.Round(0).UTC()} }

// Every returns the times that are d, twice d, and so on after the reminder was set.
func Every(d time.Duration) When { return When{every: d} }

// Cron returns the times of a cron expression of five fields (minute, hour, day of the month, month,
// day of the week) in a zone of the IANA database, such as "Europe/Berlin"; "" is UTC. If clocks
// there are set forward, a time that they skip comes at that moment. If they are set back, a time
// that they show twice comes once, when it is shown first; but it comes twice if the field of the
// hour begins with an asterisk.
func Cron(expression, zone string) When { return When{cron: expression, zone: zone} }

// Time returns the time of an At, and false for anything else.
func (w When) Time() (time.Time, bool) { return w.at, !w.at.IsZero() }

// Interval returns the interval of an Every, and false for anything else.
func (w When) Interval() (time.Duration, bool) { return w.every, w.every != 0 }

// Expression returns the expression and the zone of a Cron, and false for anything else.
func (w When) Expression() (cron, zone string, ok bool) { return w.cron, w.zone, w.cron != "" }

// String returns a text for people.
func (w When) String() string {
	switch {
	case w.every != 0:
		return "every " + w.every.String()
	case w.cron != "" && w.zone != "":
		return fmt.Sprintf("cron %q in %s", w.cron, w.zone)
	case w.cron != "":
		return fmt.Sprintf("cron %q", w.cron)
	}
	return "at " + w.at.Format(time.RFC3339Nano)
}

// Valid returns nil, or an error that wraps ErrInvalid.
func (w When) Valid() error {
	switch {
	case w.kinds() != 1 || w.zone != "" && w.cron == "":
		return fmt.Errorf("%w: %v: want a time, an interval or a cron expression", ErrInvalid, w)
	case w.every != 0 && (w.every < MinEvery || w.every > MaxEvery):
		return fmt.Errorf("%w: every %v: want %v to %v", ErrInvalid, w.every, MinEvery, MaxEvery)
	case !w.at.IsZero() && (!w.at.After(time.Unix(0, 0)) || w.at.Year() > LastYear):
		return fmt.Errorf("%w: %v: want a year from 1970 to %d", ErrInvalid, w, LastYear)
	case w.zone == "Local":
		return fmt.Errorf("%w: the zone Local is another one on each node", ErrInvalid)
	case w.cron != "":
		if _, err := crontime.Parse(w.cron, w.zone); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
	}
	return nil
}

// kinds returns how many of a time, an interval and an expression w has; it should be one.
func (w When) kinds() (n int) {
	for _, is := range [...]bool{!w.at.IsZero(), w.every != 0, w.cron != ""} {
		if is {
			n++
		}
	}
	return n
}

// first returns the first due time of a reminder that is set at a time; zero: there is none.
func (w When) first(set time.Time) (time.Time, error) {
	if at, ok := w.Time(); ok {
		return at, nil
	}
	next, _, err := w.after(set, set, set)
	return next, err
}

// after returns the first due time that is after both due and now, where due was one, and how many
// others are between due and that: at most MaxMissed. It is zero if there is none.
func (w When) after(set, due, now time.Time) (next time.Time, passed uint64, err error) {
	if now.Before(due) {
		now = due
	}
	switch {
	case w.every != 0:
		n := now.Sub(set) / w.every
		next = set.Add((n + 1) * w.every)
		passed = uint64(min(max(0, next.Sub(due)/w.every-1), MaxMissed))
	case w.cron != "":
		s, err := crontime.Parse(w.cron, w.zone)
		if err != nil {
			return next, 0, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		for t := s.Next(due); !t.IsZero() && !t.After(now) && passed < MaxMissed; t = s.Next(t) {
			passed++
		}
		next = s.Next(now)
	}
	if next.Year() > LastYear {
		next = time.Time{}
	}
	if !next.IsZero() {
		next = next.UTC()
	}
	return next, passed, nil
}
