package crontime_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/internal/crontime"
)

const layout = "2006-01-02 15:04 -07"

func at(t *testing.T, s string) time.Time {
	t.Helper()
	v, err := time.Parse(layout, s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestNext(t *testing.T) {
	for _, row := range []struct {
		name, expression, zone, from string
		want                         []string
	}{
		{"each day", "30 9 * * *", "", "2026-01-01 10:00 +00", []string{"2026-01-02 09:30 +00", "2026-01-03 09:30 +00"}},
		{"after, not at", "30 9 * * *", "", "2026-01-01 09:30 +00", []string{"2026-01-02 09:30 +00"}},
		{"a zone", "30 9 * * *", "Europe/Berlin", "2026-01-01 08:29 +00", []string{"2026-01-01 09:30 +01"}},
		{"half an hour off", "0 9 * * *", "Asia/Kolkata", "2026-01-01 00:00 +00", []string{"2026-01-01 03:30 +00"}},
		{"weekdays", "0 9 * * 1-5", "", "2026-01-02 10:00 +00", []string{"2026-01-05 09:00 +00"}},
		{"leap day", "0 0 29 2 *", "", "2026-01-01 00:00 +00", []string{"2028-02-29 00:00 +00"}},
		{"never", "0 0 30 2 *", "", "2026-01-01 00:00 +00", []string{""}},

		// Berlin skips 02:00 to 03:00 on 29 March 2026.
		{"skipped", "30 2 * * *", "Europe/Berlin", "2026-03-28 03:00 +01", []string{"2026-03-29 03:00 +02", "2026-03-30 02:30 +02"}},
		{"skipped, from shortly before", "30 2 * * *", "Europe/Berlin", "2026-03-29 01:59 +01", []string{"2026-03-29 03:00 +02", "2026-03-30 02:30 +02"}},
		{"several skipped", "*/20 * * * *", "Europe/Berlin", "2026-03-29 01:30 +01", []string{"2026-03-29 01:40 +01", "2026-03-29 03:00 +02", "2026-03-29 03:20 +02"}},
		{"skipped, and the hour after", "30 2,3 * * *", "Europe/Berlin", "2026-03-29 01:00 +01", []string{"2026-03-29 03:00 +02", "2026-03-29 03:30 +02"}},
		{"not skipped", "0 4 * * *", "Europe/Berlin", "2026-03-29 01:00 +01", []string{"2026-03-29 04:00 +02"}},
		// Berlin shows 02:00 to 03:00 twice on 25 October 2026.
		{"twice", "30 2 * * *", "Europe/Berlin", "2026-10-25 01:00 +02", []string{"2026-10-25 02:30 +02", "2026-10-26 02:30 +01"}},
		{"twice, from in between", "30 2 * * *", "Europe/Berlin", "2026-10-25 02:45 +02", []string{"2026-10-26 02:30 +01"}},
		{"twice, from within the second hour", "30 2 * * *", "Europe/Berlin", "2026-10-25 02:10 +01", []string{"2026-10-26 02:30 +01"}},
		{"each hour", "30 * * * *", "Europe/Berlin", "2026-10-25 01:40 +02", []string{"2026-10-25 02:30 +02", "2026-10-25 02:30 +01", "2026-10-25 03:30 +01"}},
		// Lord Howe's clock is set by half an hour; Apia had no 30 December 2011.
		{"half an hour skipped", "15 2 * * *", "Australia/Lord_Howe", "2026-10-03 12:00 +00", []string{"2026-10-03 15:30 +00"}},
		{"a day skipped", "0 12 * * *", "Pacific/Apia", "2011-12-29 23:00 -10", []string{"2011-12-31 00:00 +14", "2011-12-31 12:00 +14"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, err := crontime.Parse(row.expression, row.zone)
			if err != nil {
				t.Fatal(err)
			}
			from := at(t, row.from)
			for _, want := range row.want {
				next := s.Next(from)
				if want == "" {
					if !next.IsZero() {
						t.Errorf("%v, want none", next)
					}
				} else if !next.Equal(at(t, want)) {
					t.Fatalf("after %v comes %v, want %s", from, next, want)
				}
				from = next
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	for _, row := range []struct {
		expression, zone string
		want             error
	}{
		{"", "", crontime.ErrExpression},
		{"* * * *", "", crontime.ErrExpression},
		{"* * * * * *", "", crontime.ErrExpression},
		{"@daily", "", crontime.ErrExpression},
		{"TZ=", "", crontime.ErrExpression},
		{"60 * * * *", "", crontime.ErrExpression},
		{"* 24 * * *", "", crontime.ErrExpression},
		{"* * 0 * *", "", crontime.ErrExpression},
		{"* * * 13 *", "", crontime.ErrExpression},
		{"* * * * x", "", crontime.ErrExpression},
		{"*/0 * * * *", "", crontime.ErrExpression},
		{strings.Repeat("1,", 1000) + "1 * * * *", "", crontime.ErrExpression},
		{"* * * * *", "Atlantis/Port", crontime.ErrZone},
		{"* * * * *", "../etc/passwd", crontime.ErrZone},
	} {
		if _, err := crontime.Parse(row.expression, row.zone); !errors.Is(err, row.want) {
			t.Errorf("%.40q in %q: %v, want %v", row.expression, row.zone, err, row.want)
		}
	}
}

// In a zone whose clock is not set, the next time is the first minute that matches.
func TestNextIsTheFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		field := func(name string, low, high int) (string, func(int) bool) {
			switch a, b := rapid.IntRange(low, high).Draw(t, name), rapid.IntRange(low, high).Draw(t, name); rapid.IntRange(0, 4).Draw(t, name) {
			case 0:
				return fmt.Sprint(a), func(v int) bool { return v == a }
			case 1:
				a, b = min(a, b), max(a, b)
				return fmt.Sprintf("%d-%d", a, b), func(v int) bool { return a <= v && v <= b }
			case 2:
				return fmt.Sprintf("%d,%d", a, b), func(v int) bool { return v == a || v == b }
			case 3:
				step := max(2, a)
				return fmt.Sprintf("*/%d", step), func(v int) bool { return (v-low)%step == 0 }
			}
			return "*", func(int) bool { return true }
		}
		minute, isMinute := field("minute", 0, 59)
		hour, isHour := field("hour", 0, 23)
		weekday, isWeekday := field("weekday", 0, 6)
		expression := fmt.Sprintf("%s %s * * %s", minute, hour, weekday)
		s, err := crontime.Parse(expression, "")
		if err != nil {
			t.Fatal(err)
		}
		from := time.Unix(1767225600+rapid.Int64Range(0, 100_000_000).Draw(t, "from"), 0).UTC()
		want := from.Truncate(time.Minute).Add(time.Minute)
		for !isMinute(want.Minute()) || !isHour(want.Hour()) || !isWeekday(int(want.Weekday())) {
			want = want.Add(time.Minute)
		}
		if got := s.Next(from); !got.Equal(want) {
			t.Fatalf("%s: after %v comes %v, want %v", expression, from, got, want)
		}
	})
}

func BenchmarkNext(b *testing.B) {
	for name, expression := range map[string]string{"each-minute": "* * * * *", "weekdays": "0 9 * * 1-5", "leap-day": "0 0 29 2 *"} {
		b.Run(name, func(b *testing.B) {
			s, _ := crontime.Parse(expression, "Europe/Berlin")
			from := time.Unix(1767225600, 0)
			for b.Loop() {
				s.Next(from)
			}
		})
	}
}
