package stored_test

import (
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/internal/stored"
	"github.com/tandem-go/tandem/state"
)

var start = time.Unix(1e9, 0)

// rig is an activation under test, with the commits that it makes.
type rig struct {
	*testing.T
	*stored.Activation[string]
	seq uint64
}

func newRig(t *testing.T, cfg stored.Config, l stored.Loaded) *rig {
	t.Helper()
	cfg.TypeVersion = 1
	if cfg.MaxRecord == 0 {
		cfg.MaxRecord = 1 << 20
	}
	if l.Token == 0 {
		l.Token, l.None = 1, true
	}
	l.Key = key
	cfg, err := cfg.WithDefaults()
	if err != nil {
		t.Fatal(err)
	}
	a, err := stored.New[string](&cfg, l)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t, a, l.Revision.Seq}
}

// admit admits a request of a caller, and wants that decision.
func (r *rig) admit(n stored.Name, handle string, want stored.Decision) stored.Admission[string] {
	r.Helper()
	ad := r.Admit(n, handle, start)
	if ad.Decision != want {
		r.Fatalf("%s: %v, want %v", handle, ad.Decision, want)
	}
	return ad
}

// does has a handler leave a state behind, "" for the one that it had, and wants that fate.
func (r *rig) does(n stored.Name, handle, data string, want stored.Fate, outbox ...state.Message) {
	r.Helper()
	ad := r.admit(n, handle, stored.Run)
	res := stored.Result{Outcome: stored.Outcome{Body: []byte("did " + handle)}, Outbox: outbox}
	if data != "" {
		res.State = []byte(data)
	}
	if fate, _ := r.Handled(handle, ad.Request, res); fate != want {
		r.Fatalf("%s: %v, want %v", handle, fate, want)
	}
}

// begin begins a commit, and wants that state in it.
func (r *rig) begin(want string) stored.Commit {
	r.Helper()
	c, ok := r.Next(start)
	if !ok || string(c.Record.State) != want {
		r.Fatalf("a commit: %t, with %q; want %q", ok, c.Record.State, want)
	}
	return c
}

// stored has a commit succeed, and wants these replies to leave.
func (r *rig) stored(want ...string) stored.Done[string] {
	r.Helper()
	r.seq++
	d := r.Committed(state.Revision{Seq: r.seq, Token: 1})
	var got []string
	for _, p := range d.Replies {
		got = append(got, p.Handle)
	}
	if !slices.Equal(got, want) {
		r.Fatalf("the replies %q leave, want %q", got, want)
	}
	return d
}

func (r *rig) idle() {
	r.Helper()
	if c, ok := r.Next(start); ok {
		r.Fatalf("a commit with %q, and none is needed", c.Record.State)
	}
}

func (r *rig) state(want string) {
	r.Helper()
	if _, data := r.State(); string(data) != want {
		r.Fatalf("the state is %q, want %q", data, want)
	}
}

func num(counter uint64) stored.Name { return stored.Name{Caller: "c", Counter: counter} }
func tell(to, body string) state.Message {
	return state.Message{Verb: state.Tell, To: to, Body: []byte(body)}
}
func errOf(kind error) error {
	return &state.Error{Op: "commit", Key: key, Kind: kind, ID: state.ID{7}}
}

// What is handled while a commit is under way is in the next one. Who only reads waits for what it has
// seen, and not longer.
func TestGroups(t *testing.T) {
	r := newRig(t, stored.Config{}, stored.Loaded{})
	r.does(num(1), "nothing yet", "", stored.Leaves)
	r.idle()
	r.does(num(2), "first", "1", stored.Waits)
	r.does(num(3), "second", "12", stored.Waits)
	if c := r.begin("12"); len(c.Record.Outcomes) != 3 || c.After != (state.Revision{}) || c.Again {
		t.Errorf("%+v", c)
	}
	r.idle()
	r.does(stored.Name{}, "read", "", stored.Waits)
	r.does(num(4), "third", "123", stored.Waits)
	r.does(stored.Name{}, "read again", "", stored.Waits)
	r.admit(num(3), "copy of second", stored.Join)
	r.admit(num(4), "copy of third", stored.Join)
	r.stored("first", "second", "read", "copy of second")
	r.begin("123")
	r.does(num(5), "no change", "123", stored.Waits)
	r.stored("third", "read again", "copy of third", "no change")
	r.idle()
	r.does(stored.Name{}, "read yet again", "", stored.Leaves)
	o, _, err := stored.Parse(r.admit(num(3), "late copy", stored.Replay).Outcome)
	if string(o.Body) != "did second" || err != nil {
		t.Errorf("%q, %v", o.Body, err)
	}
	if !r.Quiet() {
		t.Error("it is not quiet")
	}
}

// Each error of a store has its consequence.
func TestFailures(t *testing.T) {
	for _, c := range []struct {
		err             error
		want            stored.Consequence
		notRun, unknown string
		state           string
		afterwards      stored.Decision
	}{
		{errOf(state.ErrFull), stored.GoBack, "one read two", "", "0", stored.Run},
		{errOf(state.ErrTooLarge), stored.GoBack, "one read two", "", "0", stored.Run},
		{errOf(state.ErrInvalid), stored.GoBack, "one read two", "", "0", stored.Run},
		{errOf(state.ErrNotStored), stored.GoBack, "one read two", "", "0", stored.Run},
		{errOf(state.ErrUnknown), stored.Again, "", "", "012", stored.Join},
		{&state.Error{Op: "commit", Kind: state.ErrUnknown, ID: state.NewID(), Found: state.Revision{Seq: 9, Token: 99}}, stored.GiveUp, "two", "one read", "0", stored.Ended},
		{errOf(state.ErrConflict), stored.GiveUp, "one read two", "", "0", stored.Ended},
		{errOf(state.ErrFenced), stored.GiveUp, "one read two", "", "0", stored.Ended},
		{errOf(state.ErrLost), stored.GiveUp, "two", "one read", "0", stored.Ended},
		{state.ErrUnknown, stored.GiveUp, "two", "one read", "0", stored.Ended}, // without an ID nobody can find out
		{errors.New("else"), stored.GiveUp, "two", "one read", "0", stored.Ended},
	} {
		r := newRig(t, stored.Config{}, stored.Loaded{})
		r.does(num(1), "zero", "0", stored.Waits, tell("a", "zero"))
		r.begin("0")
		if d := r.stored("zero"); len(d.Send) != 1 || d.Send[0].Since != 1 || d.Send[0].Index != 0 {
			t.Fatalf("%+v", d.Send)
		}
		r.does(num(2), "one", "01", stored.Waits, tell("a", "one"))
		r.begin("01")
		r.does(stored.Name{}, "read", "", stored.Waits)
		r.does(num(3), "two", "012", stored.Waits, tell("a", "two"))
		f := r.Failed(c.err)
		if f.Consequence != c.want || strings.Join(f.NotRun, " ") != c.notRun || strings.Join(f.Unknown, " ") != c.unknown {
			t.Errorf("%v: %+v", c.err, f)
		}
		r.state(c.state)
		r.admit(num(2), "copy", c.afterwards)
		if err := r.Accounts(); err != nil {
			t.Errorf("%v: %v", c.err, err)
		}
		if d := r.Committed(state.Revision{Seq: 9}); d.Replies != nil || r.Failed(c.err).Consequence != 0 {
			t.Errorf("%v: a commit that is not under way has a result", c.err)
		}
		if len(r.Outbox()) != 1 {
			t.Errorf("%v: the outbox is %v", c.err, r.Outbox())
		}
		switch c.want {
		case stored.GoBack:
			if r.idle(); errors.Is(c.err, state.ErrTooLarge) {
				break // see TestTheLargestRecord
			}
			r.does(num(4), "three", "03", stored.Waits)
			if got := r.begin("03"); got.Record.ID != (state.ID{}) || len(got.Record.Outcomes) != 2 || len(got.Record.Outbox) != 1 {
				t.Errorf("%v: then %+v", c.err, got.Record)
			}
		case stored.Again:
			if got := r.begin("01"); !got.Again || got.Record.ID != (state.ID{7}) || len(got.Record.Outbox) != 2 {
				t.Errorf("%v: then %+v", c.err, got)
			}
			if d := r.stored("one", "read", "copy"); len(d.Send) != 1 || string(d.Send[0].Body) != "one" {
				t.Errorf("%v: then %+v is sent", c.err, d.Send)
			}
			r.begin("012")
		case stored.GiveUp:
			r.idle()
			if fate, _ := r.Handled("late", nil, stored.Result{}); fate != stored.Late || r.Quiet() || r.End().NotRun != nil {
				t.Errorf("%v: then a message is %v", c.err, fate)
			}
		}
	}
}

// The end proves as much as is known.
func TestEnd(t *testing.T) {
	r := newRig(t, stored.Config{}, stored.Loaded{})
	r.does(num(1), "one", "1", stored.Waits)
	if f := r.End(); f.Consequence != stored.GiveUp || !slices.Equal(f.NotRun, []string{"one"}) || f.Unknown != nil {
		t.Errorf("%+v", f)
	}
	for _, doubtful := range []bool{false, true} {
		r = newRig(t, stored.Config{}, stored.Loaded{})
		r.does(num(1), "one", "1", stored.Waits)
		r.begin("1")
		r.does(num(2), "two", "12", stored.Waits)
		if doubtful {
			r.Failed(errOf(state.ErrUnknown))
		}
		if f := r.End(); !slices.Equal(f.NotRun, []string{"two"}) || !slices.Equal(f.Unknown, []string{"one"}) {
			t.Errorf("doubtful %t: %+v", doubtful, f)
		}
	}
}

// An activation commits before it answers if there may be somebody else who can commit.
func TestFence(t *testing.T) {
	rec := state.Record{Token: 1, TypeVersion: 1, State: []byte("old")}
	for _, c := range []struct {
		name string
		l    stored.Loaded
		want bool
	}{
		{"new", stored.Loaded{None: true, Token: 2}, false},
		{"new, contested", stored.Loaded{None: true, Token: 2, Contested: true}, true},
		{"deleted", stored.Loaded{None: true, Token: 2, Revision: state.Revision{Seq: 1, Token: 1}}, false},
		{"deleted, contested", stored.Loaded{None: true, Token: 2, Contested: true, Revision: state.Revision{Seq: 1, Token: 1}}, true},
		{"lower token", stored.Loaded{Token: 2, Record: rec, Revision: state.Revision{Seq: 1, Token: 1}}, true},
		{"own token", stored.Loaded{Token: 1, Record: rec, Revision: state.Revision{Seq: 1, Token: 1}, Contested: true}, false},
	} {
		r := newRig(t, stored.Config{}, c.l)
		before := string(c.l.Record.State)
		if !c.want {
			r.idle()
			r.does(stored.Name{}, "read", "", stored.Leaves)
			continue
		}
		r.does(stored.Name{}, "read", "", stored.Waits)
		if got := r.begin(before); got.Record.Token != 2 || got.After != c.l.Revision || got.Record.TypeVersion != c.l.Record.TypeVersion {
			t.Errorf("%s: %+v", c.name, got)
		}
		r.does(stored.Name{}, "read more", "", stored.Waits)
		if f := r.Failed(errOf(state.ErrFull)); f.Consequence != stored.GoBack || len(f.NotRun) != 2 {
			t.Errorf("%s: %+v", c.name, f)
		}
		if r.idle(); r.Quiet() { // until somebody waits
			t.Errorf("%s: it is quiet, and its predecessor can commit", c.name)
		}
		r.does(stored.Name{}, "change", "new", stored.Waits)
		r.begin("new")
		r.stored("change")
		r.does(stored.Name{}, "read", "", stored.Leaves)
	}
	_, err := stored.New[int](&stored.Config{}, stored.Loaded{Key: key, Token: 1, Revision: state.Revision{Seq: 1, Token: 2}})
	if !errors.Is(err, state.ErrFenced) {
		t.Errorf("under a lower token: %v", err)
	}
}

// Copies that come while the handler runs get its fate; a caller that acks meanwhile is not in the way.
func TestCopiesOfARunningRequest(t *testing.T) {
	r := newRig(t, stored.Config{}, stored.Loaded{})
	ad := r.admit(num(1), "first", stored.Run)
	r.admit(num(1), "copy", stored.Join)
	r.admit(stored.Name{Caller: "c", Counter: 1, Print: 7}, "other", stored.Reused)
	if fate, joined := r.Handled("first", ad.Request, stored.Result{}); fate != stored.Leaves || !slices.Equal(joined, []string{"copy"}) {
		t.Errorf("%v, %q", fate, joined)
	}
	ad = r.admit(num(2), "first", stored.Run)
	r.admit(num(2), "copy", stored.Join)
	r.Ack("c", 3)
	r.admit(num(2), "late copy", stored.Stale)
	if fate, joined := r.Handled("first", ad.Request, stored.Result{State: []byte("x")}); fate != stored.Waits || joined != nil {
		t.Errorf("%v, %q", fate, joined)
	}
	if c := r.begin("x"); len(c.Record.Outcomes) != 1 || c.Record.Outcomes[0].Counter != 3 { // the mark
		t.Errorf("%+v", c.Record.Outcomes)
	}
	r.stored("first", "copy")
	ad = r.admit(num(3), "first", stored.Run)
	r.admit(num(3), "copy", stored.Join)
	if joined := r.Withdraw(ad.Request); !slices.Equal(joined, []string{"copy"}) || r.Withdraw(nil) != nil {
		t.Errorf("%q", joined)
	}
	ad = r.admit(num(3), "again", stored.Run)
	r.admit(num(3), "copy", stored.Join)
	r.Forget("c")
	r.End()
	if fate, joined := r.Handled("again", ad.Request, stored.Result{}); fate != stored.Late || len(joined) != 1 {
		t.Errorf("%v, %q", fate, joined)
	}
	if err := r.Accounts(); err != nil {
		t.Error(err)
	}
}

// A caller is silent from its latest request on, whatever became of that; those in the record from when it was loaded.
func TestSilentCallers(t *testing.T) {
	before := newRig(t, stored.Config{}, stored.Loaded{})
	before.does(stored.Name{Caller: "old", Counter: 1}, "1", "x", stored.Waits)
	r := newRig(t, stored.Config{}, stored.Loaded{Token: 2, At: start, Record: before.begin("x").Record})
	silent := func(after time.Duration, want ...string) {
		t.Helper()
		got := r.Silent(start.Add(after))
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("since %v: %q, want %q", after, got, want)
		}
	}
	silent(0)
	silent(1, "old")
	ad := r.Admit(stored.Name{Caller: "new", Counter: 1}, "1", start.Add(time.Minute))
	r.Handled("1", ad.Request, stored.Result{})
	silent(time.Minute, "old")
	r.Admit(stored.Name{Caller: "old", Counter: 1}, "1", start.Add(time.Hour))
	silent(time.Hour, "new")
	silent(time.Hour+1, "new", "old")
	r.Forget("new")
	silent(time.Hour+1, "old")
}

// The outbox is bounded, and messages that were sent leave the record, if need be with a commit of their own.
func TestOutbox(t *testing.T) {
	r := newRig(t, stored.Config{Messages: 2, MessageBytes: 200}, stored.Loaded{})
	r.does(num(1), "three", "", stored.TooLarge, tell("a", "1"), tell("a", "2"), tell("a", "3"))
	r.does(num(1), "large", "", stored.TooLarge, tell("a", strings.Repeat("x", 200)))
	r.does(num(1), "two", "", stored.Waits, tell("a", "1"), tell("b", "2"))
	r.does(num(2), "one", "", stored.Crowded, tell("a", "3"))
	if r.Outbox() != nil && len(r.Outbox()) > 0 || r.Sent(0, 0) || r.Quiet() {
		t.Error("a message that is not stored is to be sent")
	}
	r.begin("")
	r.Flush()
	if d := r.stored("two"); len(d.Send) != 2 || d.Send[1].Since != 1 || d.Send[1].Index != 1 {
		t.Fatalf("%+v", d.Send)
	}
	if r.idle(); r.Stale() || r.Quiet() {
		t.Error("nothing was sent, and it is stale or quiet")
	}
	if !r.Sent(1, 0) || r.Sent(1, 0) || !r.Stale() {
		t.Error("the first message was sent")
	}
	r.does(num(2), "one", "", stored.Waits, tell("a", "3"))
	c := r.begin("")
	if len(c.Record.Outbox) != 2 || c.Record.Outbox[0].Since != 1 || c.Record.Outbox[1].Since != 0 || r.Stale() {
		t.Errorf("%+v", c.Record.Outbox)
	}
	r.Failed(errOf(state.ErrFull))
	if !r.Stale() {
		t.Error("the record has a message that was sent, still")
	}
	r.Flush()
	r.begin("")
	r.Sent(1, 1)
	r.stored()
	if r.idle(); !r.Stale() || len(r.Outbox()) > 0 {
		t.Error("the record has the second message, still")
	}
	r.Flush()
	if c := r.begin(""); len(c.Record.Outbox) != 0 {
		t.Errorf("%+v", c.Record.Outbox)
	}
	r.stored()
	if r.Stale() || !r.Quiet() {
		t.Error("everything is done")
	}
}

// A state of another version, or none, is told apart from one that was changed.
func TestVersions(t *testing.T) {
	l := stored.Loaded{Token: 1, Record: state.Record{TypeVersion: 7, State: []byte("old form")}, Revision: state.Revision{Seq: 3, Token: 1}, State: []byte("new form")}
	r := newRig(t, stored.Config{}, l)
	if v, data := r.State(); v != 7 || string(data) != "old form" {
		t.Errorf("%d, %q", v, data)
	}
	r.does(stored.Name{}, "nothing", "new form", stored.Leaves)
	r.does(stored.Name{}, "something", "newer", stored.Waits)
	if c := r.begin("newer"); c.Record.TypeVersion != 1 {
		t.Errorf("version %d", c.Record.TypeVersion)
	}
	r.Failed(errOf(state.ErrFull))
	if v, data := r.State(); v != 7 || string(data) != "old form" {
		t.Errorf("%d, %q", v, data)
	}
}

func TestConfig(t *testing.T) {
	good := stored.Config{TypeVersion: 1, MaxRecord: 1 << 20}
	if c, err := good.WithDefaults(); err != nil || c.CallerOutcomes != 1024 || c.CallerBytes != 1<<16 || c.Messages != stored.DefaultMessages {
		t.Errorf("%+v, %v", c, err)
	}
	for _, change := range []func(*stored.Config){
		func(c *stored.Config) { c.TypeVersion = 0 }, func(c *stored.Config) { c.MaxRecord = 0 },
		func(c *stored.Config) { c.Outcomes = -1 }, func(c *stored.Config) { c.Messages = state.MaxMessages + 1 },
	} {
		c := good
		change(&c)
		if _, err := c.WithDefaults(); !errors.Is(err, stored.ErrConfig) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

var update = flag.Bool("update", false, "write the golden files")

func TestNames(t *testing.T) {
	for want, got := range map[string]string{
		"join": stored.Join.String(), "ended": stored.Ended.String(), "crowded": stored.Crowded.String(), "go back": stored.GoBack.String(),
		"invalid": stored.Consequence(9).String(), "late": stored.Fate(99).String(),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
