package outbox_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/outbox"
	"github.com/tandem-go/tandem/rpc"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func box(t testing.TB, cfg outbox.Config) *outbox.Box[int] {
	t.Helper()
	cfg, err := cfg.WithDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return outbox.New[int](cfg, "box")
}

// kept adds a message and says that it is stored.
func kept(t testing.TB, b *outbox.Box[int], to string, until time.Time) *outbox.Message[int] {
	t.Helper()
	m, err := b.Add(to, 0, until, 0)
	if err != nil {
		t.Fatal(err)
	}
	b.Stored(m)
	return m
}

var (
	handled     = outbox.Outcome{Verdict: rpc.HasRun}
	failed      = outbox.Outcome{Verdict: rpc.HasRun, Code: rpc.Failed}
	away        = outbox.Outcome{Verdict: rpc.NotRun, Code: rpc.Unavailable}
	missing     = outbox.Outcome{Verdict: rpc.NotRun, Code: rpc.NotFound}
	denied      = outbox.Outcome{Verdict: rpc.NotRun, Code: rpc.Denied}
	unhandled   = outbox.Outcome{Verdict: rpc.NotRun, Code: rpc.Unhandled}
	silence     = outbox.Outcome{Verdict: rpc.Unknown, Code: rpc.Expired}
	cannotTell  = outbox.Outcome{Verdict: rpc.Unknown, Code: rpc.OutcomeUnknown}
	restartSeen = cannotTell
	keeper      = outbox.Outcome{Verdict: rpc.Unknown, Code: rpc.OutcomeUnknown, Kept: true}
)

// What becomes of a message after its attempts.
func TestSettle(t *testing.T) {
	again := func(n int) (all []outbox.Fate) { return slices.Repeat([]outbox.Fate{outbox.Again}, n) }
	for _, c := range []struct {
		name     string
		outcomes []outbox.Outcome
		fate     outbox.Fate // after the last; Again after the others
		verdict  rpc.Verdict
	}{
		{"handled", []outbox.Outcome{handled}, outbox.Handled, 0},
		{"its handler failed", []outbox.Outcome{failed}, outbox.Handled, 0},
		{"away", []outbox.Outcome{away, away, missing, handled}, outbox.Handled, 0},
		{"away for ever", []outbox.Outcome{away, away, away, away, away, away, away, away, away, away, away, away, away}, outbox.Again, 0},
		{"denied", []outbox.Outcome{away, denied}, outbox.GivenUp, rpc.NotRun},
		{"no handler", []outbox.Outcome{unhandled}, outbox.GivenUp, rpc.NotRun},
		{"denied when asked again", []outbox.Outcome{silence, denied}, outbox.GivenUp, rpc.Unknown},
		{"silence", []outbox.Outcome{silence, silence, silence, handled}, outbox.Handled, 0},
		{"restarted, and it knows", []outbox.Outcome{restartSeen, handled}, outbox.Handled, 0},
		{"restarted, and it cannot know", []outbox.Outcome{restartSeen, cannotTell, cannotTell}, outbox.GivenUp, rpc.Unknown},
		{"restarted again when asked", []outbox.Outcome{restartSeen, restartSeen, handled}, outbox.Handled, 0},
		{"restarted whenever it is asked, and it keeps its record", []outbox.Outcome{keeper, keeper, keeper, keeper, keeper, handled}, outbox.Handled, 0},
		{"an answer in between", []outbox.Outcome{silence, cannotTell, away, cannotTell}, outbox.Again, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := box(t, outbox.Config{})
			m := kept(t, b, "x", time.Time{})
			if !b.Serve("x") || b.Serve("x") {
				t.Error("not served once")
			}
			var fates []outbox.Fate
			var d outbox.Decision
			for i, o := range c.outcomes {
				if got := b.Next("x", start.Add(time.Duration(i)*time.Second)); got != m {
					t.Fatalf("attempt %d is at %v", i, got)
				}
				d = b.Settle(m, o, start.Add(time.Duration(i)*time.Second+time.Millisecond), 0.5)
				fates = append(fates, d.Fate)
				if d.Fate == outbox.Again && (d.Pause < 10*time.Millisecond || d.Pause > 5*time.Second) {
					t.Errorf("a pause of %v", d.Pause)
				}
			}
			if want := append(again(len(c.outcomes)-1), c.fate); !slices.Equal(fates, want) || d.Verdict != c.verdict {
				t.Errorf("fates %v, verdict %v; want %v, %v", fates, d.Verdict, want, c.verdict)
			}
			if n, _, _ := b.Len(); (n == 1) != (c.fate == outbox.Again) {
				t.Errorf("%d messages are left", n)
			}
		})
	}
}

// A message that is to be sent again stays the first one to its receiver, however often.
func TestOrder(t *testing.T) {
	b := box(t, outbox.Config{})
	var all []*outbox.Message[int]
	for range 3 {
		all = append(all, kept(t, b, "r@n", time.Time{}))
	}
	now := start
	for _, want := range all {
		for range 3 {
			now = now.Add(time.Second)
			if m := b.Next("r@n", now); m != want {
				t.Fatalf("the next one is %v, want %v", m, want)
			}
			if d := b.Settle(want, away, now, 0.5); d.Fate != outbox.Again {
				t.Fatalf("after %v: %v", away, d)
			}
		}
		if m := b.Next("r@n", now); m != want {
			t.Fatalf("the next one is %v, want %v", m, want)
		}
		b.Settle(want, handled, now, 0.5)
	}
}

// A message whose time has passed is given up: before it is sent, and after an attempt.
func TestUntil(t *testing.T) {
	b := box(t, outbox.Config{})
	first, second, third := kept(t, b, "x", start.Add(time.Second)), kept(t, b, "x", start.Add(2*time.Second)), kept(t, b, "x", time.Time{})
	b.Serve("x")
	b.Next("x", start)
	if d := b.Settle(first, away, start.Add(900*time.Millisecond), 0); d.Fate != outbox.Again || d.Pause > 100*time.Millisecond {
		t.Errorf("%+v", d)
	}
	b.Next("x", start.Add(time.Second))
	if d, late := b.Expire(first, start.Add(time.Second)); !late || d.Fate != outbox.GivenUp || d.Verdict != rpc.NotRun {
		t.Errorf("%+v, %v", d, late)
	}
	if b.Next("x", start.Add(time.Second)) != second {
		t.Fatal("the second does not follow")
	}
	if _, late := b.Expire(second, start.Add(time.Second)); late {
		t.Error("the second is late too early")
	}
	if d := b.Settle(second, silence, start.Add(3*time.Second), 0); d.Fate != outbox.GivenUp || d.Verdict != rpc.Unknown {
		t.Errorf("%+v", d)
	}
	if b.Next("x", start.Add(time.Hour)) != third {
		t.Fatal("the third does not follow")
	}
	if _, late := b.Expire(third, start.Add(1000*time.Hour)); late {
		t.Error("a message without a limit is late")
	}
}

// Each code says whether a message that has not run because of it may run later.
func TestTransient(t *testing.T) {
	later := map[rpc.Code]bool{
		rpc.Failed: false, rpc.Panicked: false, rpc.NotFound: true, rpc.Unhandled: false, rpc.Undecodable: false, rpc.WrongReply: false, rpc.TooLarge: false,
		rpc.Overloaded: true, rpc.Unavailable: true, rpc.Denied: false, rpc.Canceled: true, rpc.Expired: true, rpc.Stale: true, rpc.IDReused: false,
		rpc.SessionLost: true, rpc.OutcomeUnknown: true, rpc.ReplyDropped: false, rpc.Invalid: false, rpc.Internal: false, rpc.Leaving: true,
		rpc.Cycle: false, rpc.Moved: true,
	}
	for c := rpc.Failed; c <= rpc.Moved; c++ {
		if want, said := later[c]; !said || outbox.Transient(c) != want {
			t.Errorf("%v: %v; %v was said: %v", c, outbox.Transient(c), said, want)
		}
	}
}

func TestConfig(t *testing.T) {
	for _, c := range []outbox.Config{{Messages: -1}, {Bytes: -1}, {TargetMessages: -1}, {TargetBytes: -1}, {Policy: outbox.Wait + 1}, {KeepFor: -1}} {
		if _, err := c.WithDefaults(); !errors.Is(err, outbox.ErrConfig) {
			t.Errorf("%+v: %v", c, err)
		}
	}
	c, err := outbox.Config{}.WithDefaults()
	if err != nil || c.Messages != outbox.DefaultMessages || c.Bytes != outbox.DefaultBytes || c.TargetMessages != c.Messages/4 || c.TargetBytes != c.Bytes/4 {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := box(t, outbox.Config{TargetBytes: 1000}).Add("x", 1000, time.Time{}, 0); !errors.Is(err, outbox.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
}

// Each bound is reached by a message and refuses the next.
func TestBounds(t *testing.T) {
	const message = 10 + 64 // in bytes, as a box counts it
	each := func(i int) string { return fmt.Sprint(i) }
	one := func(int) string { return "x" }
	for _, c := range []struct {
		name     string
		cfg      outbox.Config
		receiver func(i int) string
		fits     int
	}{
		{"messages", outbox.Config{Messages: 3, TargetMessages: 3}, each, 3},
		{"messages to one", outbox.Config{Messages: 9, TargetMessages: 3}, one, 3},
		{"bytes", outbox.Config{Bytes: 3 * message, TargetBytes: 3 * message}, each, 3},
		{"bytes less one", outbox.Config{Bytes: 3*message - 1, TargetBytes: 3*message - 1}, each, 2},
		{"bytes to one", outbox.Config{Bytes: 9 * message, TargetBytes: 3 * message}, one, 3},
		{"bytes to one less one", outbox.Config{Bytes: 9 * message, TargetBytes: 3*message - 1}, one, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := box(t, c.cfg)
			for i := range c.fits {
				if _, err := b.Add(c.receiver(i), 10, time.Time{}, 0); err != nil {
					t.Fatalf("message %d: %v", i+1, err)
				}
			}
			if _, err := b.Add(c.receiver(c.fits), 10, time.Time{}, 0); !errors.Is(err, outbox.ErrFull) {
				t.Errorf("message %d: %v, want %v", c.fits+1, err, outbox.ErrFull)
			}
		})
	}
}

// model is what a Box has to do, said in another way: a list for each receiver.
type model struct {
	lists   map[string][]*outbox.Message[int]
	stored  map[*outbox.Message[int]]bool
	serving map[string]*outbox.Message[int] // nil: between two attempts
	sent    map[string][]uint64             // what was handled, in order
}

// Random steps: the bounds hold, nothing is sent before it is stored, at most one attempt for each receiver
// is under way, and the order is that of Add.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := outbox.Config{Messages: 12, TargetMessages: 5, Bytes: 2000, TargetBytes: 900}
		b := outbox.New[int](cfg, "box")
		m := model{map[string][]*outbox.Message[int]{}, map[*outbox.Message[int]]bool{}, map[string]*outbox.Message[int]{}, map[string][]uint64{}}
		sizes, last, now := map[*outbox.Message[int]]int{}, uint64(0), start
		to := rapid.SampledFrom([]string{"x", "y", "z"})
		count := func() (n, bytes int) {
			for _, l := range m.lists {
				for _, msg := range l {
					n, bytes = n+1, bytes+sizes[msg]
				}
			}
			return n, bytes
		}
		remove := func(msg *outbox.Message[int]) {
			m.lists[msg.To] = slices.DeleteFunc(m.lists[msg.To], func(o *outbox.Message[int]) bool { return o == msg })
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				x, size := to.Draw(t, "to"), rapid.OneOf(rapid.IntRange(0, 20), rapid.IntRange(0, 400)).Draw(t, "size") // small ones reach the bounds of their number
				n, bytes := count()
				bytesX := 0
				for _, msg := range m.lists[x] {
					bytesX += sizes[msg]
				}
				room := n < 12 && len(m.lists[x]) < 5 && bytes+size+64 <= 2000 && bytesX+size+64 <= 900
				msg, err := b.Add(x, size, time.Time{}, 0)
				if (err == nil) != room {
					t.Fatalf("%v, with %d messages of %d bytes, %d and %d for %s", err, n, bytes, len(m.lists[x]), bytesX, x)
				}
				if err != nil {
					return
				}
				if msg.Number <= last {
					t.Fatalf("number %d after %d", msg.Number, last)
				}
				last, sizes[msg] = msg.Number, size+64
				m.lists[x] = append(m.lists[x], msg)
			},
			"stored": func(t *rapid.T) {
				for _, msg := range m.lists[to.Draw(t, "to")] {
					if !m.stored[msg] && rapid.Bool().Draw(t, "this") {
						b.Stored(msg)
						m.stored[msg] = true
					}
				}
			},
			"abandon": func(t *rapid.T) {
				if l := m.lists[to.Draw(t, "to")]; len(l) > 0 {
					msg := l[0]
					b.Abandon(msg)
					if !m.stored[msg] {
						remove(msg)
					}
				}
			},
			"serve": func(t *rapid.T) {
				x := to.Draw(t, "to")
				l := m.lists[x]
				_, served := m.serving[x]
				if got, want := b.Serve(x), !served && len(l) > 0 && m.stored[l[0]]; got != want {
					t.Fatalf("Serve: %v, want %v", got, want)
				} else if want {
					m.serving[x] = nil
				}
			},
			"next": func(t *rapid.T) {
				x := to.Draw(t, "to")
				under, served := m.serving[x]
				if !served || under != nil {
					return
				}
				l := m.lists[x]
				msg := b.Next(x, now)
				switch {
				case msg == nil && len(l) > 0 && m.stored[l[0]]:
					t.Fatal("the first message is not sent")
				case msg == nil:
					delete(m.serving, x)
				case len(l) == 0 || l[0] != msg || !m.stored[msg]:
					t.Fatalf("%d is sent, which is not the first that is stored", msg.Number)
				default:
					m.serving[x] = msg
				}
			},
			"settle": func(t *rapid.T) {
				x := to.Draw(t, "to")
				msg := m.serving[x]
				if msg == nil {
					return
				}
				o := rapid.SampledFrom([]outbox.Outcome{handled, failed, away, missing, denied, silence, cannotTell}).Draw(t, "outcome")
				d := b.Settle(msg, o, now, rapid.Float64Range(0, 0.99).Draw(t, "random"))
				m.serving[x] = nil
				switch {
				case (d.Fate == outbox.Handled) != (o.Verdict == rpc.HasRun):
					t.Fatalf("%v: %v", o, d.Fate)
				case d.Fate == outbox.Handled:
					m.sent[x] = append(m.sent[x], msg.Number)
					remove(msg)
				case d.Fate == outbox.GivenUp:
					if d.Verdict == rpc.NotRun && !msg.SentSince.IsZero() {
						t.Fatal("it may have run")
					}
					remove(msg)
				}
			},
			"": func(t *rapid.T) {
				now = now.Add(time.Second)
				n, bytes := count()
				if gotN, gotBytes, _ := b.Len(); gotN != n || gotBytes != bytes || n > 12 || bytes > 2000 {
					t.Fatalf("%d messages of %d bytes, want %d of %d", gotN, gotBytes, n, bytes)
				}
				for x, sent := range m.sent {
					if !slices.IsSorted(sent) {
						t.Fatalf("handled at %s: %v", x, sent)
					}
				}
			},
		})
	})
}

// Messages of earlier starts come first, whatever the limits are, and were perhaps sent.
func TestRestoreAndDrain(t *testing.T) {
	b := box(t, outbox.Config{Messages: 1})
	b.Restore("old", 7, "x", 10, time.Time{}, start, 1)
	b.Restore("old", 9, "y", 10, time.Time{}, start, 2)
	if _, err := b.Add("x", 0, time.Time{}, 0); !errors.Is(err, outbox.ErrFull) {
		t.Errorf("the box takes one more: %v", err)
	}
	if got := b.Receivers(); !slices.Equal(got, []string{"x", "y"}) {
		t.Error(got)
	}
	b.Serve("x")
	m := b.Next("x", start.Add(time.Minute))
	if m.Outbox != "old" || m.Number != 7 || m.SentSince != start {
		t.Errorf("%+v", m)
	}
	b.Settle(m, handled, start, 0)
	b.Next("x", start)
	b.Serve("y")
	b.Settle(b.Next("y", start), away, start, 0)
	fresh := box(t, outbox.Config{})
	fresh.Restore("old", 9, "y", 10, time.Time{}, start, 2)
	kept(t, fresh, "z", time.Time{})
	kept(t, fresh, "y", time.Time{})
	var got []string
	for _, m := range fresh.Drain() {
		got = append(got, fmt.Sprint(m.Outbox, m.Number, m.To, m.Verdict()))
	}
	if want := []string{"old9y" + rpc.Unknown.String(), "box1z" + rpc.NotRun.String(), "box2y" + rpc.NotRun.String()}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if n, bytes, targets := fresh.Len(); n+bytes+targets != 0 {
		t.Error("it is not empty")
	}
}
