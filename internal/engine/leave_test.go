package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// While a node joins, requests and one-way messages to it wait at their senders.
func TestJoiningNodeAnswersNothing(t *testing.T) {
	for _, roads := range [][]string{direct, bus, twoRoads} {
		t.Run(fmt.Sprint(roads), func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				a := r.start("a", "a1", roads)
				b := r.join("b", "b1", roads)
				f, _ := a.send(request("b", "x", patience))
				sent := make(chan error, 1)
				go func() { sent <- a.Client.Tell(t.Context(), request("b", "y", patience)) }()
				time.Sleep(5 * time.Second)
				if f.Done() != nil && isDone(f.Done()) || len(sent) > 0 || b.Stats().SessionsOpened > 0 {
					t.Fatalf("it was answered while the node joined: %+v", b.Stats())
				}
				began := time.Now()
				b.Serve()
				if got, err := f.Await(t.Context()); got != "x" || err != nil {
					t.Errorf("%q, %v", got, err)
				}
				if err := <-sent; err != nil {
					t.Error(err)
				}
				synctest.Wait()
				if d := time.Since(began); d > 0 || !slices.Equal(b.received(), []string{"y"}) {
					t.Errorf("after %v, arrived: %q", d, b.received())
				}
			})
		})
	}
}

// isDone reports whether a channel is closed.
func isDone(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// join starts a node that does not serve yet.
func (r *rig) join(name, epoch string, roads []string, change ...func(*Config)) *site {
	r.t.Helper()
	b := r.make(name, epoch, roads, change...)
	if err := b.TakeOver(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	addrs := map[string]string{}
	for _, direct := range []bool{true, false} {
		more, err := b.Listen(r.t.Context(), direct)
		if err != nil {
			r.t.Fatal(err)
		}
		maps.Copy(addrs, more)
	}
	r.known(name, client.Place{Epoch: epoch, Addrs: addrs})
	return b
}

// left keeps the last words of nodes, as a registry does.
type left struct {
	mu    sync.Mutex // guards what follows
	words map[string][]byte
	fails int // this many of the first look-ups fail
	looks int
}

func (l *left) config(c *Config) {
	c.LastWord = func(_ context.Context, node, epoch string) ([]byte, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.looks++; l.looks <= l.fails {
			return nil, errors.New("not reachable")
		}
		return l.words[node+"/"+epoch], nil
	}
}

func (l *left) keep(node, epoch string, word []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.words == nil {
		l.words = map[string][]byte{}
	}
	l.words[node+"/"+epoch] = word
}

// leaves makes b shut down as a system does: it finishes its requests, sends its last word,
// which l keeps, and closes.
func (b *site) leaves(l *left) {
	ctx, cancel := context.WithTimeout(b.r.t.Context(), time.Second)
	defer cancel()
	b.AnnounceLeaving(ctx)
	l.keep(b.name, b.cfg.Epoch, b.LastWords(ctx))
	b.r.forget(b.name)
	b.Close()
}

// A node's last word tells a client of each request whether it ran. It comes on a link or, if
// there is none, from the registry. No request ends as Unknown, and those that did not run run
// at the node's next start.
func TestLastWordEndsWhatIsUnderWay(t *testing.T) {
	for _, way := range []string{"on a link", "in the registry", "in the registry, after a while"} {
		for _, roads := range [][]string{direct, bus, twoRoads} {
			t.Run(fmt.Sprint(way, roads), func(t *testing.T) {
				withRig(t, func(t *testing.T, r *rig) { lastWord1(t, r, way, roads) })
			})
		}
	}
}

func lastWord1(t *testing.T, r *rig, way string, roads []string) {
	l := new(left)
	if way == "in the registry, after a while" {
		l.fails = 2
	}
	a, b := r.start("a", "a1", roads, l.config), r.start("b", "b1", roads, l.config)
	a.echoes("b", "warm up")
	b.handle(func(_ *server.Inbound, body string) string { return body })
	r.setTap(func(h hop) fate {
		switch {
		case h.Verb == transport.VerbReply && h.from == "b", h.Verb == transport.VerbProbe,
			h.Verb == transport.VerbRequest && string(h.Body) == "lost on its way":
			return drop
		}
		return pass
	})
	ran, _ := a.send(request("b", "ran", patience))
	lost, _ := a.send(patient("b", "lost on its way"))
	refusing(b, "refused")
	refused, _ := a.send(patient("b", "refused"))
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
	if way != "on a link" {
		r.net.Partition("", "a", "b")
		r.net.Reset("", "a", "b")
	}
	b.leaves(l)
	r.net.Heal("", "a", "b")
	r.setTap(nil)
	time.Sleep(time.Second)
	b2 := r.start("b", "b2", roads, l.config)
	b2.handle(func(_ *server.Inbound, body string) string { return body })
	_, err := ran.Await(t.Context())
	wantErr(t, "what ran", err, rpc.ReplyDropped, rpc.HasRun)
	for name, f := range map[string]*rpc.Future[string]{"lost on its way": lost, "refused": refused} {
		if got, err := f.Await(t.Context()); got != name || err != nil || b.ran(name) != 0 || b2.ran(name) != 1 {
			t.Errorf("%s: %q, %v; ran %d times, and %d at the next start", name, got, err, b.ran(name), b2.ran(name))
		}
	}
	if b.ran("ran") != 1 || b2.ran("ran") != 0 {
		t.Errorf("what ran did so %d times, and %d at the next start", b.ran("ran"), b2.ran("ran"))
	}
}

// patient returns a request that is retried for as long as it has not run.
func patient(to, body string) client.Request {
	r := request(to, body, patience)
	r.Retry = &rpc.Retry{}
	return r
}

// refusing makes b refuse requests with a body, and answer the others.
func refusing(b *site, body string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	serve := b.serve
	b.serve = func(in *server.Inbound) {
		if string(in.Body()) == body {
			in.Fail(rpc.Errorf(rpc.Leaving, rpc.NotRun, "no more"))
			return
		}
		serve(in)
	}
}

// After a node's last word, no request of the session runs. One that waits in a mailbox is
// refused when its turn comes, and a late copy when it arrives. Records are still replayed.
// Whether a request that is still running will finish is unknown.
func TestNothingRunsAfterTheLastWord(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		b := r.start("b", "b1", bus)
		b.handle(func(_ *server.Inbound, body string) string { return body })
		turn, stay := make(chan struct{}), make(chan struct{})
		b.mu.Lock()
		serve := b.serve
		b.serve = func(in *server.Inbound) {
			if string(in.Body()) == "waits" {
				<-turn
			}
			if string(in.Body()) == "runs" {
				in.Start()
				<-stay
				in.Reply(1, 1, nil)
				return
			}
			serve(in)
		}
		b.mu.Unlock()
		c, g := r.openRaw("c", "bus")
		c.say(t, requestIn(g, 1, "done"))
		c.say(t, requestIn(g, 2, "waits"))
		c.say(t, requestIn(g, 3, "runs"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		said := wire.WordIn(b.LastWords(ctx), g)
		if said == nil || said.Judge(1) != rpc.HasRun || said.Judge(2) != rpc.NotRun || said.Judge(3) != rpc.Unknown || said.Judge(4) != rpc.NotRun {
			t.Fatalf("the last word: %+v", said)
		}
		got := c.sayAll(t, func() { close(turn) })
		if e := one(t, got); e.Seq != 2 || rpc.Code(e.Code) != rpc.Leaving || e.Flags&transport.FlagNotRun == 0 || b.ran("waits") != 0 {
			t.Errorf("what waited: %+v, ran %d times", e, b.ran("waits"))
		}
		for _, flags := range []transport.Flags{0, transport.FlagResend, transport.FlagAcked, transport.FlagReceipt} {
			late := requestIn(g, 4, "late")
			late.Flags = flags
			if e := one(t, c.say(t, late)); e.Seq != 4 || rpc.Code(e.Code) != rpc.Leaving || e.Flags&transport.FlagNotRun == 0 || b.ran("late") != 0 {
				t.Errorf("a late copy, flags %v: %+v, ran %d times", flags, e, b.ran("late"))
			}
		}
		if e := one(t, c.say(t, requestIn(g, 1, "done"))); e.Code != 0 || string(e.Body) != "done" {
			t.Errorf("a copy of what is done: %+v", e)
		}
		if e := one(t, c.sayAll(t, func() { close(stay) })); e.Seq != 3 || e.Code != 0 {
			t.Errorf("what ran: %+v", e)
		}
		if got := c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 2}); len(got) != 0 || b.Stats().SessionsOpened != 1 {
			t.Errorf("a new session: %+v", got)
		}
		join := c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 3, Grant: g})
		if len(join) != 2 || join[0].Code != 0 || join[1].Verb != transport.VerbBye || len(join[1].Body) == 0 {
			t.Errorf("joining the session again: %+v", join)
		}
	})
}

// sayAll calls do and returns all envelopes that come until everything is idle.
func (c *raw) sayAll(t *testing.T, do func()) []transport.Envelope {
	t.Helper()
	synctest.Wait()
	c.mu.Lock()
	c.got = nil
	c.mu.Unlock()
	do()
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got)
}

// A client sends no new requests to a node that leaves. Those that may run elsewhere are sent
// there at once, the others wait for the node's next start, and outstanding ones are answered.
func TestLeavingNodeIsAskedForNothingNew(t *testing.T) {
	for _, roads := range [][]string{direct, bus, twoRoads} {
		t.Run(fmt.Sprint(roads), func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				l := new(left)
				a, b, c := r.start("a", "a1", roads, l.config), r.start("b", "b1", roads, l.config), r.start("c", "c1", roads)
				leave := make(chan struct{})
				b.handle(func(_ *server.Inbound, body string) string { <-leave; return body })
				c.handle(func(_ *server.Inbound, body string) string { return body })
				a.echoes("c", "warm up")
				under, _ := a.send(request("b", "under way", patience))
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began := time.Now()
				if b.AnnounceLeaving(ctx); ctx.Err() != nil || time.Since(began) > 100*time.Millisecond {
					t.Errorf("the announcement took %v", time.Since(began))
				}
				if !a.Client.Leaving("b") || a.Client.Leaving("c") {
					t.Errorf("b is leaving: %v, c: %v", a.Client.Leaving("b"), a.Client.Leaving("c"))
				}
				waits, _ := a.send(patient("b", "waits"))
				moved := request("b", "moves", patience)
				moved.Retry, moved.Rare = &rpc.Retry{}, &client.Rare{Route: to("c")}
				moves, _ := a.send(moved)
				if got, err := moves.Await(t.Context()); got != "moves" || err != nil || c.ran("moves") != 1 || time.Since(began) > 100*time.Millisecond {
					t.Errorf("what may go elsewhere: %q, %v, ran there %d times, after %v", got, err, c.ran("moves"), time.Since(began))
				}
				close(leave)
				if got, err := under.Await(t.Context()); got != "under way" || err != nil {
					t.Errorf("what was under way: %q, %v", got, err)
				}
				if n := b.Stats().Served; n != 1 {
					t.Errorf("%d requests came, want 1", n)
				}
				b.leaves(l)
				b2 := r.start("b", "b2", roads)
				b2.handle(func(_ *server.Inbound, body string) string { return body })
				if got, err := waits.Await(t.Context()); got != "waits" || err != nil || b2.ran("waits") != 1 {
					t.Errorf("what waited: %q, %v", got, err)
				}
				if a.Client.Leaving("b") {
					t.Error("b is there again, and said to be leaving")
				}
			})
		})
	}
}

// A client that closes right after it got an answer still acks it.
func TestClosingClientAcks(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		a.echoes("b", "x")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		a.AnnounceLeaving(ctx)
		a.LastWords(ctx)
		a.Close()
		synctest.Wait()
		if n := b.Server.AwaitAcks(t.Context()); n != 0 {
			t.Errorf("%d records are not acked", n)
		}
	})
}

// to is a Route that leads to one other node.
type to string

func (to) Over(*rpc.Error) {}
func (to) Untried() bool   { return true }

func (n to) Next() (node, target string, err *rpc.Error) { return string(n), "t", nil }
