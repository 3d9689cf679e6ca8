package actor_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/supervise"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Tapped is a message to a tap, which notes what it sees of the context.
type (
	Tapped struct{ Text string }
	Tap    struct {
		actor.Returns[string]
		Text string
	}
	TapList struct {
		actor.Streams[int]
		Text string
	}
)

// tap is an actor whose handlers note what they got.
type tap struct {
	log   *notes
	items *actor.Offer[Tapped]
}

type tapKey struct{}

func (p *tap) seen(ctx *actor.Context, text string) string {
	v, _ := ctx.Value(tapKey{}).(string)
	s := fmt.Sprintf("%s header=%q value=%q", text, ctx.Header("h"), v)
	p.log.add("handler " + s)
	return s
}

func (p *tap) Tapped(ctx *actor.Context, m Tapped) error {
	p.seen(ctx, m.Text)
	if m.Text == "bad" {
		return errors.New("bad")
	}
	return nil
}

func (p *tap) Tap(ctx *actor.Context, m Tap) (string, error) {
	s := p.seen(ctx, m.Text)
	if m.Text == "bad" {
		return "", rpc.NewError("bad", "it is bad")
	}
	return s, nil
}

// notes is a list that several goroutines write.
type notes struct {
	mu   sync.Mutex
	list []string
}

func (n *notes) add(s string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, s)
}

// take returns what was noted since the last take.
func (n *notes) take() []string {
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.list
	n.list = nil
	return list
}

func (n *notes) want(t testing.TB, what string, want ...string) {
	t.Helper()
	if got := n.take(); !slices.Equal(got, want) {
		t.Errorf("%s: noted\n\t%s\nwant\n\t%s", what, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func (p *tap) list(ctx *actor.Context, m TapList) (iter.Seq2[int, error], error) {
	p.seen(ctx, m.Text)
	if m.Text == "bad" {
		return nil, errors.New("bad")
	}
	return func(yield func(int, error) bool) { yield(1, nil) }, nil
}

func tapKind(log *notes, opts ...actor.KindOption) *actor.Kind {
	return actor.Define("tap", func() *tap { return &tap{log, actor.NewOffer[Tapped](queue.Config{})} },
		actor.Handle((*tap).Tapped), actor.Answer((*tap).Tap), actor.Produce((*tap).list),
		actor.ServePull(func(p *tap) *actor.Offer[Tapped] { return p.items }),
		actor.ServePush(func(p *tap) *actor.Offer[Tapped] { return p.items })).With(opts...)
}

// tapVerbs are the ways to send a tap something.
var tapVerbs = []struct {
	name  string
	op    access.Op
	kind  string // of the message
	loose bool   // nobody tells the sender how it went
	send  func(ctx context.Context, to actor.Ref, text string) error
}{
	{"tell", access.Send, "Tapped", true, func(ctx context.Context, to actor.Ref, text string) error {
		return actor.Tell(ctx, to, Tapped{text})
	}},
	{"tell acked", access.Send, "Tapped", true, func(ctx context.Context, to actor.Ref, text string) error {
		return actor.Tell(ctx, to, Tapped{text}, rpc.Acked())
	}},
	{"call", access.Call, "Tap", false, func(ctx context.Context, to actor.Ref, text string) error {
		_, err := actor.Call(ctx, to, Tap{Text: text})
		return err
	}},
	{"call with key", access.Call, "Tap", false, func(ctx context.Context, to actor.Ref, text string) error {
		_, err := actor.Call(ctx, to, Tap{Text: text}, rpc.Key("k"+text))
		return err
	}},
	{"ask", access.Call, "Tap", false, func(ctx context.Context, to actor.Ref, text string) error {
		_, err := actor.Ask(ctx, to, Tap{Text: text}).Await(ctx)
		return err
	}},
	{"stream", access.Stream, "TapList", false, func(ctx context.Context, to actor.Ref, text string) (err error) {
		for _, e := range actor.Stream(ctx, to, TapList{Text: text}) {
			err = errors.Join(err, e)
		}
		return err
	}},
}

// intercepted runs a test with a tap on b, whose senders are on b itself, and on a over each road. out
// and in are the interceptors of the sender's system and of b.
func intercepted(t *testing.T, out, in []intercept.Func, opts []actor.KindOption, run func(t *testing.T, at *actor.System, to actor.Ref, log *notes)) {
	for road, roads := range map[string][]string{"local": nil, "direct": {"direct"}, "bus": {"bus"}} {
		t.Run(road, func(t *testing.T) {
			sender := "a"
			if roads == nil {
				sender, roads = "b", []string{"direct"}
			}
			world(t, roads, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
				log := new(notes)
				at, to := b, spawn(t, b, "tap", tapKind(log, opts...))
				if sender == "a" {
					to = a.Ref("tap@b")
				}
				run(t, at, to, log)
			}, func(cfg *actor.Config) {
				if cfg.Name == sender {
					cfg.Outgoing = out
				}
				if cfg.Name == "b" {
					cfg.Incoming = in
				}
			})
		})
	}
}

// noting returns an interceptor that notes each operation, and its outcome.
func noting(log *notes, name string) intercept.Func {
	return func(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
		log.add(fmt.Sprintf("%s %v %s %q of %T", name, op.Op, op.Type()[strings.LastIndex(op.Type(), ".")+1:], op.Header("h"), op.Message()))
		err := next(ctx)
		log.add(fmt.Sprintf("%s ended: %v, %v", name, err, op.Verdict))
		return err
	}
}

// tagging returns an interceptor that sets a header, where it can, and a value of the context.
func tagging(value string) intercept.Func {
	return func(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
		op.SetHeader("h", value)
		before, _ := ctx.Value(tapKey{}).(string)
		return next(context.WithValue(ctx, tapKey{}, before+value))
	}
}

// Each verb is seen once on each side, in the order of the lists, the system's interceptors before those of
// the kind. A header gets to the handler, and so does what the receiving side put into the context.
func TestInterceptorsInOrder(t *testing.T) {
	out, in := new(notes), new(notes)
	intercepted(t, []intercept.Func{noting(out, "1"), tagging("x"), tagging("y"), noting(out, "2")}, []intercept.Func{noting(in, "3"), tagging("v")},
		[]actor.KindOption{actor.Incoming(tagging("w")), actor.Incoming(noting(in, "4"))}, func(t *testing.T, _ *actor.System, to actor.Ref, log *notes) {
			for _, v := range tapVerbs {
				if err := v.send(t.Context(), to, "m"); err != nil {
					t.Fatalf("%s: %v", v.name, err)
				}
				what := fmt.Sprintf("%v %s", v.op, v.kind)
				verdict := rpc.HasRun
				if v.loose {
					verdict = rpc.Unknown
				}
				of := " of actor_test." + v.kind
				log.want(t, v.name, `handler m header="x" value="vw"`)
				out.want(t, v.name, "1 "+what+` ""`+of, "2 "+what+` "x"`+of, fmt.Sprint("2 ended: <nil>, ", verdict), fmt.Sprint("1 ended: <nil>, ", verdict))
				in.want(t, v.name, "3 "+what+` "x"`+of, "4 "+what+` "x"`+of, "4 ended: <nil>, ran", "3 ended: <nil>, ran")
			}
		})
}

// What interceptors return, and what becomes of it: on each side, for each verb, over each road.
func TestInterceptorOutcomes(t *testing.T) {
	type fn = func(ctx context.Context, next func(context.Context) error) error
	mine := errors.New("mine")
	for _, row := range []struct {
		name     string
		do       fn
		text     string
		runs     bool
		out, in  rpc.Code // what a request's caller gets, if the interceptor is on that side; 0: no error
		verdict  rpc.Verdict
		contains string
		tells    bool // Tell has an error if the interceptor is the sender's
	}{
		{"refuses", func(context.Context, func(context.Context) error) error { return mine }, "m", false, rpc.Denied, rpc.Denied, rpc.NotRun, "mine", true},
		{"refuses with a code", func(context.Context, func(context.Context) error) error {
			return rpc.Errorf(rpc.TooLarge, rpc.HasRun, "too much")
		}, "m", false, rpc.TooLarge, rpc.TooLarge, rpc.NotRun, "too much", true},
		{"skips", func(context.Context, func(context.Context) error) error { return nil }, "m", false, rpc.Denied, rpc.Denied, rpc.NotRun, "without a call of next", true},
		{"replaces a success", func(ctx context.Context, next func(context.Context) error) error {
			_ = next(ctx)
			return mine
		}, "m", true, rpc.Failed, rpc.Failed, rpc.HasRun, "mine", true},
		{"replaces an error, with a lie", func(ctx context.Context, next func(context.Context) error) error {
			_ = next(ctx)
			return rpc.Errorf(rpc.Failed, rpc.NotRun, "mine")
		}, "bad", true, rpc.Failed, rpc.Failed, rpc.HasRun, "mine", true},
		{"hides an error", func(ctx context.Context, next func(context.Context) error) error {
			_ = next(ctx)
			return nil
		}, "bad", true, rpc.Failed, rpc.Failed, rpc.HasRun, "bad", false},
		{"calls next twice", func(ctx context.Context, next func(context.Context) error) error {
			return errors.Join(next(ctx), next(ctx))
		}, "m", true, rpc.Invalid, rpc.Failed, rpc.HasRun, "next was called before", true},
		{"panics before", func(ctx context.Context, next func(context.Context) error) error { panic("boom") }, "m", false, rpc.Panicked, rpc.Panicked, rpc.NotRun, "panicked", true},
		{"panics after", func(ctx context.Context, next func(context.Context) error) error {
			_ = next(ctx)
			panic("boom")
		}, "m", true, rpc.Panicked, rpc.Panicked, rpc.HasRun, "panicked", true},
	} {
		around := func(ctx context.Context, _ *intercept.Operation, next func(context.Context) error) error {
			return row.do(ctx, next)
		}
		handled := []string{fmt.Sprintf(`handler %s header="" value=""`, row.text)}
		if !row.runs {
			handled = nil
		}
		t.Run(row.name+"/outgoing", func(t *testing.T) {
			intercepted(t, []intercept.Func{around}, nil, nil, func(t *testing.T, at *actor.System, to actor.Ref, log *notes) {
				for _, v := range tapVerbs {
					err := v.send(t.Context(), to, row.text)
					log.want(t, v.name, handled...)
					if v.loose {
						if (err != nil) != row.tells || err != nil && !row.runs && rpc.Ran(err) != rpc.NotRun || err != nil && row.runs && rpc.Ran(err) != rpc.Unknown {
							t.Errorf("%s: %v, ran: %v", v.name, err, rpc.Ran(err))
						}
					} else if rpc.CodeOf(err) != row.out || rpc.Ran(err) != row.verdict || !strings.Contains(fmt.Sprint(err), row.contains) {
						t.Errorf("%s: %v, ran: %v", v.name, err, rpc.Ran(err))
					}
				}
			})
		})
		t.Run(row.name+"/incoming", func(t *testing.T) {
			intercepted(t, nil, []intercept.Func{around}, []actor.KindOption{always(supervise.Resume)}, func(t *testing.T, at *actor.System, to actor.Ref, log *notes) {
				dead := letters(t, at)
				for _, v := range tapVerbs {
					before := len(dead())
					err := v.send(t.Context(), to, row.text)
					log.want(t, v.name, handled...)
					verdict := row.verdict
					if row.in == rpc.Panicked {
						verdict = rpc.HasRun
					}
					switch lost := dead()[before:]; {
					case v.loose && err != nil:
						t.Errorf("%s: %v", v.name, err)
					case !v.loose && (rpc.CodeOf(err) != row.in || rpc.Ran(err) != verdict || !strings.Contains(fmt.Sprint(err), row.contains)):
						t.Errorf("%s: %v, ran: %v", v.name, err, rpc.Ran(err))
					case v.loose && !row.runs && row.in != rpc.Panicked:
						if len(lost) != 1 || rpc.Ran(lost[0].Reason) != rpc.NotRun || !strings.HasSuffix(lost[0].Type, "Tapped") {
							t.Errorf("%s: dead letters %v", v.name, lost)
						}
					case len(lost) > 0:
						t.Errorf("%s: dead letters %v", v.name, lost)
					}
				}
			})
		})
	}
}
