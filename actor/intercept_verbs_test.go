package actor_test

// What interceptors see of each way in which a message comes about, on both sides.

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
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/deadletter"
	"github.com/tandem-go/tandem/intercept"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// TapSum and TapTalk open streams to a tap.
type (
	TapSum  struct{ actor.Collects[int, int] }
	TapTalk struct{ actor.Converses[int, int] }
)

var tapTopic = actor.NewTopic[Tapped]("taps.>")

// allTaps is a kind with handlers of each sort.
func allTaps(log *notes, opts ...actor.KindOption) *actor.Kind {
	items := func(p *tap) *actor.Offer[Tapped] { return p.items }
	return actor.Define("tap", func() *tap { return &tap{log, actor.NewOffer[Tapped](queue.Config{Lease: time.Minute})} },
		actor.Handle((*tap).Tapped), actor.Answer((*tap).Tap), actor.Produce((*tap).list), actor.ServePull(items), actor.ServePush(items),
		actor.Answer(func(_ *tap, ctx *actor.Context, m Run) (string, error) { return m.F(ctx) }),
		actor.Collect(func(p *tap, ctx *actor.Context, m TapSum, in iter.Seq2[int, error]) (func() (int, error), error) {
			p.seen(ctx, "sum")
			return func() (n int, err error) {
				for v, e := range in {
					n, err = n+v, errors.Join(err, e)
				}
				return n, err
			}, nil
		}),
		actor.Converse(func(p *tap, ctx *actor.Context, m TapTalk, in iter.Seq2[int, error]) (iter.Seq2[int, error], error) {
			p.seen(ctx, "talk")
			return in, nil
		})).With(opts...)
}

// watcher is an interceptor that keeps what it sees, and may refuse it. It does not count what
// tests use to have an actor run a function.
type watcher struct {
	mu     sync.Mutex // guards what follows
	seen   []string
	after  []string
	refuse bool
}

var errWatcher = rpc.Errorf(rpc.Denied, rpc.Unknown, "refused by a test")

func (w *watcher) intercept(ctx context.Context, op *intercept.Operation, next func(context.Context) error) error {
	typ, _, _ := strings.Cut(op.Type(), "[")
	typ = typ[strings.LastIndex(typ, ".")+1:]
	if typ == "Run" {
		return next(ctx)
	}
	w.mu.Lock()
	refuse := w.refuse
	before := fmt.Sprintf("%v %v %s to %s", op.Op, op.Cause, typ, op.To())
	if op.Topic != "" {
		before += " on " + op.Topic
	}
	if op.Side == intercept.Incoming {
		before = fmt.Sprintf("%s from %s, %s", before, op.Node, op.Principal)
	}
	w.seen = append(w.seen, before)
	w.mu.Unlock()
	if refuse {
		return errWatcher
	}
	err := next(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.after = append(w.after, fmt.Sprintf("%d attempts, %v", op.Attempts, op.Verdict))
	return err
}

func (w *watcher) set(refuse bool) {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen, w.after, w.refuse = nil, nil, refuse
}

func (w *watcher) want(t testing.TB, what string, seen []string, after ...string) {
	t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.seen, seen) {
		t.Errorf("%s: seen %q, want %q", what, w.seen, seen)
	}
	if !slices.Equal(w.after, after) {
		t.Errorf("%s: afterwards %q, want %q", what, w.after, after)
	}
}

// tapWay is what a way of sending works with: the sender's system and the tap, and the tap's own.
type tapWay struct {
	t      *testing.T
	at, b  *actor.System
	to     actor.Ref
	letter string // the id of a letter that the sender's system keeps
	item   actor.Delivery[Tapped]
}

// inTap runs a function in the tap.
func (w *tapWay) inTap(f func(*actor.Context) error) error {
	_, err := actor.Call(w.t.Context(), w.b.Ref("tap"), run(func(ctx *actor.Context) (string, error) { return "", f(ctx) }))
	time.Sleep(2 * time.Second)
	return err
}

func (w *tapWay) keepLetter() error {
	w.at.DiscardLetters(deadletter.Filter{})
	err := actor.Tell(w.t.Context(), w.at.Ref("nobody"), Tapped{"m"})
	synctest.Wait()
	w.letter = onlyLetter(w.t, w.at).ID
	return err
}

func (w *tapWay) pull() error {
	if err := actor.Push(w.t.Context(), w.to, Tapped{"m"}); err != nil {
		return err
	}
	got, err := actor.Pull[Tapped](w.t.Context(), w.to)
	if err == nil {
		w.item = got[0]
	}
	return err
}

// The ways in which a message comes about. Each is seen exactly once on the sides where it is seen.
var tapWays = []struct {
	name    string
	out, in string // the operation, as each side sees it; empty: it does not
	loose   bool   // nobody waits for an answer: what is refused where it arrives is a dead letter
	handled int    // how many messages the application's own handlers get
	before  func(w *tapWay) error
	do      func(w *tapWay) error
}{
	{"Tell", "send sent Tapped to tap@b", "send sent Tapped to tap@b", true, 1, nil, func(w *tapWay) error {
		return actor.Tell(w.t.Context(), w.to, Tapped{"m"})
	}},
	{"Tell, acked", "send sent Tapped to tap@b", "send sent Tapped to tap@b", true, 1, nil, func(w *tapWay) error {
		return actor.Tell(w.t.Context(), w.to, Tapped{"m"}, rpc.Acked())
	}},
	{"Call", "call sent Tap to tap@b", "call sent Tap to tap@b", false, 1, nil, func(w *tapWay) error {
		_, err := actor.Call(w.t.Context(), w.to, Tap{Text: "m"})
		return err
	}},
	{"Call of a service", "call sent Tap to taps@*", "call sent Tap to tap@b", false, 1, nil, func(w *tapWay) error {
		_, err := actor.Call(w.t.Context(), w.at.Service("taps"), Tap{Text: "m"})
		return err
	}},
	{"Ask", "call sent Tap to tap@b", "call sent Tap to tap@b", false, 1, nil, func(w *tapWay) error {
		_, err := actor.Ask(w.t.Context(), w.to, Tap{Text: "m"}).Await(w.t.Context())
		return err
	}},
	{"Submit", "submit sent Tap to tap@b", "submit sent Tap to tap@b", false, 1, nil, func(w *tapWay) error {
		token, err := actor.Submit(w.t.Context(), w.to, Tap{Text: "m"})
		if err == nil {
			_, err = token.Await(w.t.Context())
		}
		return err
	}},
	{"Stream", "stream sent TapList to tap@b", "stream sent TapList to tap@b", false, 1, nil, func(w *tapWay) (err error) {
		for _, e := range actor.Stream(w.t.Context(), w.to, TapList{Text: "m"}) {
			err = errors.Join(err, e)
		}
		return err
	}},
	{"Open", "stream sent TapSum to tap@b", "stream sent TapSum to tap@b", false, 1, nil, func(w *tapWay) error {
		up, err := actor.Open(w.t.Context(), w.to, TapSum{})
		if err == nil {
			_ = up.Send(w.t.Context(), 1)
			_, err = up.CloseAndReceive(w.t.Context())
		}
		return err
	}},
	{"Talk", "stream sent TapTalk to tap@b", "stream sent TapTalk to tap@b", false, 1, nil, func(w *tapWay) error {
		d, err := actor.Talk(w.t.Context(), w.to, TapTalk{})
		if err != nil {
			return err
		}
		_ = d.Send(w.t.Context(), 1)
		_ = d.CloseSend(w.t.Context())
		for _, e := range d.Items() {
			err = errors.Join(err, e)
		}
		return err
	}},
	{"Push", "push sent Tapped to tap@b", "push sent Tapped to tap@b", false, 0, nil, func(w *tapWay) error {
		return actor.Push(w.t.Context(), w.to, Tapped{"m"})
	}},
	{"Pull", "pull sent Dequeue to tap@b", "pull sent Dequeue to tap@b", false, 0, nil, func(w *tapWay) error {
		_, err := actor.Pull[Tapped](w.t.Context(), w.to)
		return err
	}},
	{"Ack", "pull sent Dequeue to tap@b", "pull sent Dequeue to tap@b", false, 0, (*tapWay).pull, func(w *tapWay) error {
		return w.item.Ack(w.t.Context())
	}},
	{"a lease that expires", "", "", false, 0, (*tapWay).pull, func(*tapWay) error {
		time.Sleep(2 * time.Minute)
		return nil
	}},
	{"QueueStats", "manage sent Oversee to tap@b", "manage sent Oversee to tap@b", false, 0, nil, func(w *tapWay) error {
		_, err := actor.QueueStats[Tapped](w.t.Context(), w.to)
		return err
	}},
	{"Publish", "publish sent Tapped to taps.x on taps.x", "publish sent Tapped to tap@b on taps.x", true, 1, nil, func(w *tapWay) error {
		return actor.Publish(w.t.Context(), tapTopic.At("taps.x").Bind(w.at), Tapped{"m"})
	}},
	{"After", "", "send ticked Tapped to tap@b", true, 1, nil, func(w *tapWay) error {
		return w.inTap(func(ctx *actor.Context) error { return second(actor.After(ctx, time.Second, Tapped{"m"})) })
	}},
	{"Pipe", "", "send piped Tapped to tap@b", true, 1, nil, func(w *tapWay) error {
		return w.inTap(func(ctx *actor.Context) error {
			actor.Pipe(ctx, rpc.All[string](), func([]string, error) Tapped { return Tapped{"m"} })
			return nil
		})
	}},
	{"ResendLetter", "send resent Tapped to tap@b", "send sent Tapped to tap@b", true, 1, (*tapWay).keepLetter, func(w *tapWay) error {
		return w.at.ResendLetter(w.t.Context(), w.letter, w.to)
	}},
}

// Each way in which a message comes about is seen once by the interceptors of each side where it is seen,
// with what there is to know, and can be refused there: then no handler runs, and a request, or what
// is refused by the sender, ends with NotRun.
func TestInterceptedWays(t *testing.T) {
	for road, roads := range map[string][]string{"local": nil, "direct": {"direct"}, "bus": {"bus"}} {
		t.Run(road, func(t *testing.T) {
			out, in, log := new(watcher), new(watcher), new(notes)
			sender, principal := "a", "at "+road
			if roads == nil {
				sender, principal, roads = "b", "at "+rpc.LoopbackRoad, []string{"direct"}
			}
			world(t, roads, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
				w := &tapWay{t: t, at: b, b: b}
				if w.to = spawn(t, b, "tap", allTaps(log), actor.Expose("taps")); sender == "a" {
					w.at, w.to = a, a.Ref("tap@b")
				}
				inside(t, b.Ref("tap"), func(ctx *actor.Context) error { return ctx.Subscribe(tapTopic) })
				time.Sleep(time.Minute) // until a knows
				for _, row := range tapWays {
					if row.in != "" {
						from := sender + ", " + principal
						if row.out == "" { // it comes from the actor itself
							from = "b, at " + rpc.LoopbackRoad
						}
						row.in += " from " + from
					}
					tapRow(w, out, in, log, row.name, row.out, row.in, row.loose, row.handled, row.before, row.do)
				}
			}, func(cfg *actor.Config) {
				cfg.Principals = func(road string, _ transport.Peer) string { return "at " + road }
				if cfg.Name == sender {
					cfg.Outgoing = []intercept.Func{out.intercept}
				}
				if cfg.Name == "b" {
					cfg.Incoming = []intercept.Func{in.intercept}
				}
			})
		})
	}
}

// tapRow sends a message in one way: as it is, refused by the sender, and refused where it arrives.
func tapRow(w *tapWay, out, in *watcher, log *notes, name, outgoing, incoming string, loose bool, handled int, before, do func(w *tapWay) error) {
	t := w.t
	list := func(s string) []string {
		if s == "" {
			return nil
		}
		return []string{s}
	}
	verdict := rpc.HasRun
	if loose {
		verdict = rpc.Unknown
	}
	try := func(what string, refuseOut, refuseIn bool) error {
		t.Helper()
		if before != nil {
			out.set(false)
			in.set(false)
			if err := before(w); err != nil {
				t.Fatalf("%s, %s: %v", name, what, err)
			}
		}
		out.set(refuseOut)
		in.set(refuseIn)
		log.take()
		err := do(w)
		synctest.Wait()
		return err
	}
	after := func(seen string, s string) []string {
		if seen == "" {
			return nil
		}
		return []string{s}
	}
	if err := try("as it is", false, false); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	out.want(t, name, list(outgoing), after(outgoing, fmt.Sprintf("1 attempts, %v", verdict))...)
	in.want(t, name, list(incoming), after(incoming, "0 attempts, ran")...)
	if n := len(log.take()); n != handled {
		t.Errorf("%s: handled %d times", name, n)
	}
	if outgoing != "" {
		err := try("refused by the sender", true, false)
		wantErr(t, name+", refused by the sender", err, rpc.Denied, rpc.NotRun)
		out.want(t, name, list(outgoing))
		in.want(t, name, nil)
		if n := len(log.take()); n != 0 {
			t.Errorf("%s: refused by the sender, and handled %d times", name, n)
		}
	}
	if incoming != "" {
		dead := letters(t, w.b)
		err := try("refused by the actor", false, true)
		in.want(t, name, list(incoming))
		if n := len(log.take()); n != 0 {
			t.Errorf("%s: refused by the actor, and handled %d times", name, n)
		}
		var mine []actor.DeadLetter
		for _, d := range dead() {
			if d.To == "tap@b" {
				mine = append(mine, d)
			}
		}
		switch {
		case !loose:
			wantErr(t, name+", refused by the actor", err, rpc.Denied, rpc.NotRun)
			if len(mine) > 0 {
				t.Errorf("%s: dead letters %v", name, mine)
			}
		case err != nil || len(mine) != 1 || rpc.Ran(mine[0].Reason) != rpc.NotRun || rpc.CodeOf(mine[0].Reason) != rpc.Denied:
			t.Errorf("%s: %v, dead letters %v", name, err, mine)
		}
	}
	out.set(false)
	in.set(false)
}
