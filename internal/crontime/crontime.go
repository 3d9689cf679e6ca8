// Package crontime says when the times of a cron expression come in a time zone. It reads no clock.
//
// An expression has five fields: minute, hour, day of the month, month, day of the week. They are
// matched with what a clock on the wall of the zone shows. When that clock is set forward or back,
//
//   - a time that the clock skips comes at the moment at which it is set forward, and several such
//     times come as one;
//   - a time that the clock shows twice comes once, when it is shown first. But if the hour field
//     begins with an asterisk, it comes twice, so that what is due every 15 minutes stays so.
package crontime

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/adhocore/gronx"
)

// Errors of Parse.
var (
	ErrExpression = errors.New("not a cron expression")
	ErrZone       = errors.New("not a time zone")
)

// Schedule is a cron expression in a time zone. It is immutable.
type Schedule struct {
	fields string
	zone   *time.Location
	hourly bool // the hour field begins with an asterisk
}

// Parse reads an expression, and the name of a zone from the IANA database, as in
// time.LoadLocation. Empty is UTC. The error wraps ErrExpression or ErrZone.
func Parse(expression, zone string) (*Schedule, error) {
	fields := strings.Fields(expression)
	if len(fields) != 5 {
		return nil, fmt.Errorf("%w: %q has %d fields instead of 5", ErrExpression, clip(expression), len(fields))
	}
	s := &Schedule{fields: strings.Join(fields, " "), hourly: fields[1][0] == '*'}
	if len(s.fields) > maxLen || !gronx.IsValid(s.fields) {
		return nil, fmt.Errorf("%w: %q", ErrExpression, clip(expression))
	}
	var err error
	if s.zone, err = time.LoadLocation(zone); err != nil {
		return nil, fmt.Errorf("%w: %q", ErrZone, clip(zone))
	}
	return s, nil
}

// maxLen is how long an expression may be, in bytes.
const maxLen = 1000

func clip(s string) string { return s[:min(len(s), 100)] }

// Next returns the first time after t. It is zero if there is none within the next years.
func (s *Schedule) Next(t time.Time) time.Time {
	t = t.In(s.zone)
	from := wall(t)
	if since, _ := t.ZoneBounds(); !since.IsZero() && !s.hourly {
		if shown := wall(since.Add(-1)); shown.After(from) { // t is within the second showing
			from = shown
		}
	}
	for range 10 { // changes of the clock before the next time; most zones have two a year
		next := s.after(from)
		if next.IsZero() {
			return next
		}
		_, change := t.ZoneBounds()
		_, offset := t.Zone()
		at := next.Add(-time.Duration(offset) * time.Second)
		if change.IsZero() || at.Before(change) {
			return at.In(s.zone)
		}
		before := wall(change.Add(-1)).Add(1) // what the clock would show if it were not set
		now := wall(change)
		switch {
		case now.After(before) && next.Before(now): // it is skipped
			return change
		case now.Before(before) && !s.hourly: // it is not shown a second time
			now = before
		}
		t, from = change.In(s.zone), now.Add(-1)
	}
	return time.Time{}
}

// wall returns what a clock on the wall shows at t, as if it were in UTC.
func wall(t time.Time) time.Time {
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// after returns the next time on the wall after from.
func (s *Schedule) after(from time.Time) time.Time {
	minute := from.Truncate(time.Minute)
	next, err := gronx.NextTickAfter(s.fields, minute.Add(time.Minute), true)
	if err != nil {
		return time.Time{}
	}
	return next
}
