package reminder_test

import (
	"errors"
	"flag"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/reminder"
)

var update = flag.Bool("update", false, "write testdata/*.golden again; a changed line breaks what stores hold")

var (
	alice = reminder.Actor{Kind: "bank.account", ID: "alice"}
	noon  = time.Date(2026, 3, 28, 12, 0, 0, 0, time.UTC)
)

func note(when reminder.When) reminder.Reminder {
	return reminder.Reminder{Actor: alice, Name: "n", When: when, Message: reminder.Message{Type: "bank.Note", Body: []byte("hi")}}
}

func set(t *testing.T, when reminder.When, now time.Time) reminder.Entry {
	t.Helper()
	e, err := reminder.Entry{}.Set(note(when), reminder.ID{1}, now)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// When the firings of a reminder are due, what they tell, and when the next one is due.
func TestTimes(t *testing.T) {
	const s, m, h, d = time.Second, time.Minute, time.Hour, 24 * time.Hour
	for _, c := range []struct {
		what     string
		when     reminder.When
		due      time.Duration // since noon, when it is set
		handed   time.Duration
		missed   uint64
		answered time.Duration
		next     time.Duration // 0: there is none
		skipped  uint64
	}{
		{"once", reminder.At(noon.Add(h)), h, h, 0, h, 0, 0},
		{"once, of the past", reminder.At(noon.Add(-h)), -h, s, 0, s, 0, 0},
		{"once, by a clock that is behind", reminder.At(noon.Add(h)), h, h - s, 0, h - s, 0, 0},
		{"in time", reminder.Every(10 * s), 10 * s, 10 * s, 0, 11 * s, 20 * s, 0},
		{"answered when the next one is due", reminder.Every(10 * s), 10 * s, 10 * s, 0, 20 * s, 30 * s, 1},
		{"answered late", reminder.Every(10 * s), 10 * s, 10 * s, 0, 45 * s, 50 * s, 3},
		{"handed out late", reminder.Every(10 * s), 10 * s, 45 * s, 3, 46 * s, 50 * s, 0},
		{"both late", reminder.Every(10 * s), 10 * s, 45 * s, 3, 65 * s, 70 * s, 2},
		{"by a clock that is behind", reminder.Every(10 * s), 10 * s, 5 * s, 0, 6 * s, 20 * s, 0},
		{"down for a year", reminder.Every(s), s, 365 * d, reminder.MaxMissed, 365 * d, 365*d + s, 0},
		{"down for a year, by cron", reminder.Cron("* * * * *", ""), m, 365 * d, reminder.MaxMissed, 365*d + s, 365*d + m, 0},
		{"every night", reminder.Cron("30 2 * * *", "Europe/Berlin"), 13 * h, 13 * h, 0, 14 * h, 36*h + 30*m, 0}, // the first night has no 2:30
		{"down for some nights", reminder.Cron("30 4 * * *", "Europe/Berlin"), 14*h + 30*m, 3 * d, 2, 3 * d, 3*d + 14*h + 30*m, 0},
		{"the last one", reminder.Cron("0 0 31 12 *", ""), 277*d + 12*h, 277*d + 12*h, 0, (reminder.LastYear - 2026 + 1) * 366 * d, 0, 0},
	} {
		t.Run(c.what, func(t *testing.T) {
			e := set(t, c.when, noon)
			if got := e.Due.Sub(noon); got != c.due || e.Number != 1 {
				t.Fatalf("it is due after %v, want %v", got, c.due)
			}
			f, err := e.Firing(noon.Add(c.handed), 3)
			if err != nil || f.Missed != c.missed || f.Late != max(0, noon.Add(c.handed).Sub(e.Due)) || !f.Due.Equal(e.Due) || f.Attempt != 3 || f.Number != 1 {
				t.Fatalf("got %+v, %v", f, err)
			}
			next, ok, err := e.Answered(&f, noon.Add(c.answered))
			switch {
			case err != nil || !ok:
				t.Fatal(ok, err)
			case c.next == 0 && (!next.Ended() || !reflect.DeepEqual(next.Changes, e.Changes) || next.Name != "n" || next.Actor != alice):
				t.Fatalf("it is not at its end: %+v", next)
			case c.next != 0 && (next.Due.Sub(noon) != c.next || next.Number != 2 || next.Skipped != c.skipped || next.Generation != e.Generation):
				t.Fatalf("then it is due after %v, %+v", next.Due.Sub(noon), next)
			}
			if _, ok, err := next.Answered(&f, noon.Add(c.answered)); ok || err != nil {
				t.Fatalf("answered again: %v, %v", ok, err)
			}
		})
	}
}

// What a Set and a Forget leave, and by what they are recognised.
func TestChanges(t *testing.T) {
	e := set(t, reminder.Every(time.Hour), noon)
	first := e
	f, err := e.Firing(noon.Add(time.Hour), 1)
	if err != nil {
		t.Fatal(err)
	}
	for i := byte(2); i < 2+reminder.MaxChanges; i++ {
		if !e.Has(reminder.ID{1}) || !e.Follows(&first) || !e.Follows(&e) {
			t.Fatalf("change %d: %v", i, e.Changes)
		}
		if i%2 == 0 {
			e, err = e.Forget(alice, "n", reminder.ID{i})
		} else {
			e, err = e.Set(note(reminder.Every(time.Minute)), reminder.ID{i}, noon)
		}
		if err != nil || e.Changes[0] != (reminder.ID{i}) || e.Ended() != (i%2 == 0) {
			t.Fatalf("got %+v, %v", e, err)
		}
		if _, ok, err := e.Answered(&f, noon.Add(time.Hour)); ok || err != nil {
			t.Fatalf("the firing of an earlier Set was answered: %v, %v", ok, err)
		}
	}
	if e.Has(reminder.ID{1}) || e.Follows(&first) || len(e.Changes) != reminder.MaxChanges {
		t.Errorf("got %v", e.Changes)
	}
	none := reminder.Entry{}
	if !none.Follows(&none) || !first.Follows(&none) || e.Follows(&none) {
		t.Error("of what was nothing before")
	}
}

// At each limit, and beyond it.
func TestLimits(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	with := func(change func(r *reminder.Reminder)) reminder.Reminder {
		r := note(reminder.Every(time.Hour))
		change(&r)
		return r
	}
	size := func(n int) reminder.Reminder {
		e := set(t, reminder.Every(time.Hour), noon)
		return with(func(r *reminder.Reminder) {
			r.Message.Body = make([]byte, n-e.Size()+len(r.Message.Body)-(reminder.MaxChanges-1)*len(reminder.ID{}))
		})
	}
	last := time.Date(reminder.LastYear+1, 1, 1, 0, 0, 0, 0, time.UTC)
	for what, c := range map[string][2]reminder.Reminder{
		"kind":     {with(func(r *reminder.Reminder) { r.Actor.Kind = x(reminder.MaxName) }), with(func(r *reminder.Reminder) { r.Actor.Kind = x(reminder.MaxName + 1) })},
		"id":       {with(func(r *reminder.Reminder) { r.Actor.ID = x(reminder.MaxName) }), with(func(r *reminder.Reminder) { r.Actor.ID = x(reminder.MaxName + 1) })},
		"name":     {with(func(r *reminder.Reminder) { r.Name = x(reminder.MaxName) }), with(func(r *reminder.Reminder) { r.Name = x(reminder.MaxName + 1) })},
		"no kind":  {with(func(r *reminder.Reminder) { r.Actor.Kind = "x" }), with(func(r *reminder.Reminder) { r.Actor.Kind = "" })},
		"no id":    {with(func(r *reminder.Reminder) { r.Actor.ID = "x" }), with(func(r *reminder.Reminder) { r.Actor.ID = "" })},
		"no name":  {with(func(r *reminder.Reminder) { r.Name = "x" }), with(func(r *reminder.Reminder) { r.Name = "" })},
		"type":     {with(func(r *reminder.Reminder) { r.Message.Type = x(reminder.MaxType) }), with(func(r *reminder.Reminder) { r.Message.Type = x(reminder.MaxType + 1) })},
		"no type":  {with(func(r *reminder.Reminder) { r.Message.Type = "x" }), with(func(r *reminder.Reminder) { r.Message.Type = "" })},
		"headers":  {with(func(r *reminder.Reminder) { r.Message.Headers = make([]reminder.Header, reminder.MaxHeaders) }), with(func(r *reminder.Reminder) { r.Message.Headers = make([]reminder.Header, reminder.MaxHeaders+1) })},
		"key":      {with(func(r *reminder.Reminder) { r.Message.Headers = []reminder.Header{{Key: x(reminder.MaxHeader)}} }), with(func(r *reminder.Reminder) { r.Message.Headers = []reminder.Header{{Key: x(reminder.MaxHeader + 1)}} })},
		"value":    {with(func(r *reminder.Reminder) { r.Message.Headers = []reminder.Header{{Value: x(reminder.MaxHeader)}} }), with(func(r *reminder.Reminder) { r.Message.Headers = []reminder.Header{{Value: x(reminder.MaxHeader + 1)}} })},
		"size":     {size(reminder.MaxSize), size(reminder.MaxSize + 1)},
		"often":    {note(reminder.Every(reminder.MinEvery)), note(reminder.Every(reminder.MinEvery - 1))},
		"seldom":   {note(reminder.Every(reminder.MaxEvery)), note(reminder.Every(reminder.MaxEvery + 1))},
		"early":    {note(reminder.At(time.Unix(0, 1))), note(reminder.At(time.Unix(0, 0)))},
		"late":     {note(reminder.At(last.Add(-1))), note(reminder.At(last))},
		"no when":  {note(reminder.Cron("0 0 1 1 *", "")), note(reminder.When{})},
		"cron":     {note(reminder.Cron("0 0 29 2 *", "")), note(reminder.Cron("0 0 30 2 *", ""))}, // which never comes
		"fields":   {note(reminder.Cron("0 0 1 1 *", "UTC")), note(reminder.Cron("0 0 1 1 * *", "UTC"))},
		"zone":     {note(reminder.Cron("0 0 1 1 *", "Europe/Berlin")), note(reminder.Cron("0 0 1 1 *", "Europe/Nowhere"))},
		"local":    {note(reminder.Cron("0 0 1 1 *", "Asia/Tokyo")), note(reminder.Cron("0 0 1 1 *", "Local"))},
		"a zone":   {note(reminder.Every(time.Hour)), note(reminder.Cron("", "Europe/Berlin"))},
		"negative": {note(reminder.Every(time.Minute)), note(reminder.Every(-time.Minute))},
	} {
		e, err := reminder.Entry{}.Set(c[0], reminder.ID{1}, noon)
		if err != nil {
			t.Errorf("%s, at its limit: %v", what, err)
			continue
		}
		if got, err := reminder.ParseEntry(e.Append(nil)); err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%s: got %+v, %v", what, got, err)
		}
		if _, err := (reminder.Entry{}.Set(c[1], reminder.ID{1}, noon)); !errors.Is(err, reminder.ErrInvalid) || !errors.Is(err, reminder.ErrNotStored) {
			t.Errorf("%s, beyond its limit: %v", what, err)
		}
	}
	for _, name := range []string{"", x(reminder.MaxName + 1)} {
		if _, err := (reminder.Entry{}.Forget(alice, name, reminder.ID{1})); !errors.Is(err, reminder.ErrInvalid) {
			t.Errorf("forget a name of %d bytes: %v", len(name), err)
		}
	}
}

// Each key has a text of its own, which is short.
func TestKey(t *testing.T) {
	a := reminder.Key{Actor: alice, Name: "n", Generation: reminder.ID{1}, Number: 1}
	keys := []reminder.Key{a, a, a, a, a, a}
	keys[1].Number, keys[2].Generation[15], keys[3].Name = 2, 1, "nn"
	keys[4].Actor = reminder.Actor{Kind: "bank.accounta", ID: "lice"}
	keys[5].Actor.ID, keys[5].Name = "alicen", ""
	seen := map[string]bool{}
	for _, k := range keys {
		seen[k.String()] = true
		if len(k.String()) != 64 {
			t.Errorf("got %q", k)
		}
	}
	if len(seen) != len(keys) {
		t.Errorf("%d texts of %d keys", len(seen), len(keys))
	}
}

// Random lives of a reminder: the numbers of its firings have no gap, none is early, and together they
// tell of each time that has come, once.
func TestLife(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var e reminder.Entry
		var told, number uint64
		var last time.Time
		now := noon
		every := time.Minute
		r := note(reminder.Every(every))
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				every = time.Duration(rapid.IntRange(1, 100).Draw(t, "every")) * time.Second
				r.When = reminder.Every(every)
				next, err := e.Set(r, reminder.NewID(), now)
				if err != nil || next.Generation == e.Generation || next.Number != 1 || next.Due.Sub(now) != every {
					t.Fatalf("got %+v, %v", next, err)
				}
				e, told, number, last = next, 0, 0, time.Time{}
			},
			"forget": func(t *rapid.T) {
				next, err := e.Forget(alice, "n", reminder.NewID())
				if err != nil || !next.Ended() {
					t.Fatalf("got %+v, %v", next, err)
				}
				e = next
			},
			"wait": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(1, 300_000).Draw(t, "ms")) * time.Millisecond)
			},
			"fire": func(t *rapid.T) {
				if e.Ended() || now.Before(e.Due) {
					t.Skip("not due")
				}
				f, err := e.Firing(now, 1)
				if err != nil || f.Number != number+1 || !f.Due.After(last) || f.Due.Add(f.Late) != now {
					t.Fatalf("after %d at %v: got %+v, %v", number, last, f, err)
				}
				if rapid.Bool().Draw(t, "lost") {
					return
				}
				now = now.Add(time.Duration(rapid.IntRange(0, 200_000).Draw(t, "ms")) * time.Millisecond)
				next, ok, err := e.Answered(&f, now)
				if err != nil || !ok || !next.Due.After(now) || next.Due.Sub(now) > every {
					t.Fatalf("got %+v, %v, %v", next, ok, err)
				}
				e, told, number, last = next, told+1+f.Missed, f.Number, f.Due
			},
			"": func(t *rapid.T) {
				if e.Ended() {
					return
				}
				if came := uint64(e.Due.Sub(e.Since)/every) - 1; told+e.Skipped != came {
					t.Fatalf("%d times have come, %d were told, and %d are left: %+v", came, told, e.Skipped, e)
				}
				if got, err := reminder.ParseEntry(e.Append(nil)); err != nil || !reflect.DeepEqual(got, e) {
					t.Fatalf("got %+v, %v", got, err)
				}
			},
		})
	})
}
