package actor

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/supervise"
)

// brittle is a codec that panics: Append for a string, Decode for a body that contains "bad".
type brittle struct{ codec.Codec }

func (brittle) ID() uint8    { return codec.FirstUserID }
func (brittle) Name() string { return "brittle" }
func (b brittle) Append(dst []byte, v any) ([]byte, error) {
	if fmt.Sprintf("%T", v) == "*string" || fmt.Sprintf("%T", v) == "string" {
		panic("a secret reply")
	}
	return b.Codec.Append(dst, v)
}
func (b brittle) Decode(body []byte, v any) error {
	if strings.Contains(string(body), "bad") {
		panic("a secret body")
	}
	return b.Codec.Decode(body, v)
}

// rash is a type whose own methods panic.
type rash struct {
	Returns[int]
	Text rashText
}
type rashText string

func (rashText) MarshalText() ([]byte, error) { return []byte("bad"), nil }
func (rashText) UnmarshalText([]byte) error   { panic("a secret method") }

type soft struct {
	Returns[int]
	Text string
}

// If a codec, or a method of a message's type, panics, only that message ends. The actor
// keeps its state, and no other node learns the text of the panic.
func TestPanicsInCodecs(t *testing.T) {
	own := brittle{codec.Msgpack(codec.Limits{})}
	withGuests(t, func(t *testing.T, g guests) {
		made := 0
		kind := Define("soft", func() *int { made++; return new(int) },
			Answer(func(n *int, _ *Context, m soft) (int, error) { *n++; return *n, nil }),
			Answer(func(n *int, _ *Context, m rash) (int, error) { *n++; return *n, nil }),
			Answer(func(n *int, _ *Context, m openDoor) (string, error) { *n++; return "x", nil }),
			Handle(func(n *int, _ *Context, m rashText) error { *n++; return nil }))
		if _, err := g.b.Spawn("soft", kind); err != nil {
			t.Fatal(err)
		}
		ref := g.a.Ref("soft@b")
		dead := g.b.DeadLetters(t.Context())
		quiet := func(what string, err error, code rpc.Code, ran rpc.Verdict) {
			t.Helper()
			if rpc.CodeOf(err) != code || rpc.Ran(err) != ran || strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: %v, ran: %v", what, err, rpc.Ran(err))
			}
		}
		for name, c := range map[string]codec.Codec{"own": own, "msgpack": codec.Msgpack(codec.Limits{}), "json": codec.JSON(codec.Limits{})} {
			if name == "own" {
				_, err := Call(t.Context(), ref, soft{Text: "bad"}, rpc.WithCodec(c))
				quiet("a request", err, rpc.Undecodable, rpc.NotRun)
				_, err = Submit(t.Context(), ref, soft{Text: "bad"}, rpc.WithCodec(c))
				quiet("a job", err, rpc.Undecodable, rpc.NotRun)
				_, err = Call(t.Context(), ref, openDoor{}, rpc.WithCodec(c))
				quiet("a reply", err, rpc.Undecodable, rpc.HasRun)
				if err := Tell(t.Context(), ref, soft{Text: "bad"}, rpc.WithCodec(c)); err != nil {
					t.Error(err)
				}
			} else {
				_, err := Call(t.Context(), ref, rash{Text: "x"}, rpc.WithCodec(c))
				quiet(name, err, rpc.Undecodable, rpc.NotRun)
				if err := Tell(t.Context(), ref, rash{Text: "x"}, rpc.WithCodec(c)); err != nil {
					t.Error(err)
				}
			}
			if d := <-dead; rpc.CodeOf(d.Reason) != rpc.Undecodable {
				t.Errorf("%s, one-way: %+v", name, d)
			}
		}
		if n, err := Call(t.Context(), ref, soft{Text: "good"}); err != nil || n != 2 { // the handler whose reply could not be encoded had run
			t.Errorf("afterwards: %d, %v", n, err)
		}
		if made != 1 {
			t.Errorf("the actor was made %d times", made)
		}
		if len(g.log.About("secret")) == 0 {
			t.Error("the log says nothing of the panics")
		}
	}, func(c *Config) { c.Codecs = []codec.Codec{own} })
}

// fail makes an actor fail in the way that How names.
type fail struct {
	Returns[int]
	How string
}

// failKind is a kind whose handler panics, returns an error, or defers its answer and then
// panics.
func failKind() *Kind {
	return Define("failing", func() int { return 0 },
		Answer(func(_ int, ctx *Context, m fail) (int, error) {
			switch m.How {
			case "later":
				_ = Defer[int](ctx)
			case "error":
				return 0, fmt.Errorf("an error")
			}
			panic("a secret of another caller")
		}))
}

// A caller on another node learns that a handler panicked, but not the text of the panic. A
// caller on the same node learns the text, and so do all callers if the configuration says
// so.
func TestPanicTextsStayAtHome(t *testing.T) {
	for _, texts := range []bool{false, true} {
		withGuests(t, func(t *testing.T, g guests) {
			if _, err := g.b.Spawn("x", failKind()); err != nil {
				t.Fatal(err)
			}
			events := g.b.Events(t.Context(), ActorRestarted)
			check := func(what string, err error, tells bool) {
				t.Helper()
				if rpc.CodeOf(err) != rpc.Panicked || rpc.Ran(err) != rpc.HasRun || strings.Contains(err.Error(), "secret") != tells || !strings.Contains(err.Error(), "panicked") {
					t.Errorf("%s: %v", what, err)
				}
			}
			for _, how := range []string{"now", "later"} {
				_, err := Call(t.Context(), g.a.Ref("x@b"), fail{How: how})
				check("from another node, "+how, err, texts)
				_, err = Call(t.Context(), g.a.Ref("x@b"), fail{How: how}, rpc.Key(how))
				check("under a key, "+how, err, texts)
				_, err = Call(t.Context(), g.b.Ref("x@b"), fail{How: how})
				check("from the same node, "+how, err, true)
				_, err = Call(t.Context(), g.b.Ref("x@b"), fail{How: how}, rpc.Key("own "+how))
				check("from the same node under a key, "+how, err, true)
			}
			tok, err := Submit(t.Context(), g.a.Ref("x@b"), fail{})
			if err != nil {
				t.Fatal(err)
			}
			_, err = tok.Await(t.Context())
			check("a job", err, texts)
			if e := <-events; !strings.Contains(e.Err.Error(), "secret") {
				t.Errorf("the event: %v", e.Err)
			}
			if lines := g.log.About("secret of another"); len(lines) == 0 || !strings.Contains(lines[0], "failKind") {
				t.Errorf("the log has no stack: %v", lines)
			}
		}, func(c *Config) { c.PanicTexts = texts })
	}
}

// 10,000 messages to an actor that panics or fails cause one log line a second, with their
// number.
func TestFailuresAreSummedUpInTheLog(t *testing.T) {
	for how, text := range map[string]string{"panic": "handler panicked", "error": "the handler of a one-way message failed"} {
		withGuests(t, func(t *testing.T, g guests) {
			resumes := Supervise(Strategy{Decide: func(supervise.Failure) supervise.Directive { return supervise.Resume }})
			if _, err := g.b.Spawn("x", failKind().With(resumes)); err != nil {
				t.Fatal(err)
			}
			const each = 1000
			for range 10 {
				for range each {
					if err := Tell(t.Context(), g.a.Ref("x@b"), fail{How: how}); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(300 * time.Millisecond)
			}
			time.Sleep(2 * time.Second)
			synctest.Wait()
			lines := g.log.About(text)
			if len(lines) < 3 || len(lines) > 6 {
				t.Errorf("%d lines: %s", len(lines), strings.Join(lines, "\n"))
			}
			total := 0
			for _, line := range lines {
				var n int
				_, rest, _ := strings.Cut(line, "count=")
				if _, err := fmt.Sscan(rest, &n); err != nil {
					t.Errorf("%s: %v", line, err)
				}
				total += n
			}
			st := g.b.Stats()
			if total != 10*each || st.Panics+st.Failed != 10*each {
				t.Errorf("%d in the log; %d panics, %d failed", total, st.Panics, st.Failed)
			}
		})
	}
}
