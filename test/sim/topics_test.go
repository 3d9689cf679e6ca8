package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/draw"
	"github.com/tandem-go/tandem/mailbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/topic"
)

// News is what is published. Its ID is the ground truth.
type News struct {
	ID uint64
	By string // the publisher
	N  int    // its place among what that one has published
}

// Join has a reader subscribe to a pattern, Part has it unsubscribe.
type (
	Join struct {
		Pattern string
		Fail    bool // the reader panics afterwards
	}
	Part struct{ Pattern string }
)

var (
	newsTopics = []string{"news.a", "news.b", "news.c.d"}
	newsTopic  = actor.NewTopic[News]("news.>")
)

// The readers of each node.
var newsReaders = []struct {
	name    string
	group   string // on all nodes
	slow    bool   // its mailbox is small, and loses messages
	full    topic.Full
	pattern string // that it subscribes to from the start
}{
	{"reader", "", false, topic.DropNewest, "news.>"},
	{"member", "even", false, topic.DropNewest, "news.>"},
	{"slow", "", true, topic.DropOldest, "news.*"},
	{"busy", "slow", true, topic.DropNewest, "news.a"},
	{"weak", "", true, topic.Unsubscribe, "news.>"},
}

// reader is an actor that subscribes to topics.
type reader struct {
	w       *world
	on      string
	group   string
	slow    bool
	full    topic.Full
	pattern string
	kept    *News // of a cheat
}

func (w *world) spawnReaders(sys *actor.System) error {
	for _, r := range newsReaders {
		kind := actor.Define("sim."+r.name, func() *reader {
			return &reader{w: w, group: r.group, slow: r.slow, full: r.full, pattern: r.pattern}
		}, actor.Handle((*reader).join), actor.Handle((*reader).part), actor.Handle((*reader).read)).With(lively())
		box := mailbox.Config{}
		if r.slow {
			box.Capacity = 3
		}
		if _, err := sys.Spawn(r.name, kind, actor.Mailbox(box)); err != nil {
			return err
		}
	}
	return nil
}

func (k *reader) Started(ctx *actor.Context) error {
	k.on = address(ctx)
	k.w.lives.parts(k.w, k.on, "") // what an earlier incarnation had
	return k.join(ctx, Join{Pattern: k.pattern})
}

func (k *reader) join(ctx *actor.Context, m Join) error {
	w := k.w
	s := w.lives.joins(w, k.on, m.Pattern, k.group, k.slow)
	opts := []topic.Option{topic.WhenFull(k.full)}
	if k.group != "" && !w.cheats("a group gets two") {
		opts = append(opts, topic.Group(k.group))
	}
	if err := ctx.Subscribe(newsTopic.At(m.Pattern), opts...); err != nil {
		w.truth.Bad("%s cannot subscribe to %s: %v", k.on, m.Pattern, err)
	}
	w.lives.joined(w, s)
	if m.Fail {
		panic("a panic was asked for")
	}
	return nil
}

func (k *reader) part(ctx *actor.Context, m Part) error {
	if !k.w.cheats("a subscription does not end") {
		ctx.Unsubscribe(newsTopic.At(m.Pattern))
	}
	k.w.lives.parts(k.w, k.on, m.Pattern)
	return nil
}

func (k *reader) read(ctx *actor.Context, m News) error {
	w := k.w
	if k.slow {
		work(ctx, 50*time.Millisecond, false)
	}
	switch {
	case w.cheats("publications change places") && k.kept == nil:
		k.kept = &m
		return nil
	case k.kept != nil:
		w.lives.reads(w, k.on, k.group, m)
		m, k.kept = *k.kept, nil
	case w.cheats("a publication is lost") && m.ID%8 == 0:
		return nil
	case w.cheats("a publication arrives twice"):
		w.lives.reads(w, k.on, k.group, m)
	}
	w.lives.reads(w, k.on, k.group, m)
	return nil
}

// paper is a publication, and who has got it.
type paper struct {
	id           uint64
	by, on       string // the publisher, and the epoch of its node
	n            int
	name         string // of the topic
	begun, ended moment
	err          error
	last         bool // it was published after the last fault
	got          map[string]int
	byGroup      map[string]int
}

func (p *paper) String() string {
	return fmt.Sprintf("publication %x (%s #%d) on %s, begun at %v", p.id, p.by, p.n, p.name, p.begun.at)
}

// subscription is a reader's.
type subscription struct {
	by, pattern, group string
	slow               bool
	asked, begun, over moment // before and after Subscribe; after its end
}

// joins notes that a reader subscribes. That it does so once more changes nothing.
func (t *livesTruth) joins(w *world, on, pattern, group string, slow bool) *subscription {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &subscription{by: on, pattern: pattern, group: group, slow: slow, asked: t.now(w)}
	if t.subs == nil {
		t.subs = map[string][]*subscription{}
	}
	t.subs[on] = append(t.subs[on], s)
	w.truth.Note("  %s subscribes to %s", on, pattern)
	return s
}

func (t *livesTruth) joined(w *world, s *subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.begun = t.now(w)
}

// parts notes the end of a reader's subscriptions to a pattern; "" is all.
func (t *livesTruth) parts(w *world, on, pattern string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.subs[on] {
		if !s.over.happened() && (pattern == "" || s.pattern == pattern) {
			s.over = t.now(w)
		}
	}
	w.truth.Note("  %s is no subscriber any more to %q", on, pattern)
}

// reads checks that a reader may get a publication.
func (t *livesTruth) reads(w *world, on, group string, m News) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w.truth.Note("  %s gets publication %x (%s #%d)", on, m.ID, m.By, m.N)
	p := t.news[m.ID]
	if p == nil || p.by != m.By || p.n != m.N {
		w.truth.Bad("%s got a publication that there is not: %+v", on, m)
		return
	}
	if p.got[on]++; p.got[on] > 1 {
		w.truth.Bad("%v arrived twice at %s", p, on)
	}
	if group != "" {
		if p.byGroup[group]++; p.byGroup[group] > 1 {
			w.truth.Bad("%v arrived at two members of group %s, now at %s", p, group, on)
		}
	}
	for _, o := range t.news {
		if o.by == p.by && o.n > p.n && o.got[on] > 0 {
			w.truth.Bad("%v arrived after #%d at %s", p, o.n, on)
			break
		}
	}
	if !slices.ContainsFunc(t.subs[on], func(s *subscription) bool {
		return topic.Match(s.pattern, p.name) && (!s.over.happened() || s.over.no > p.begun.no)
	}) {
		w.truth.Bad("%v arrived at %s, which had unsubscribed before", p, on)
	}
}

// publish publishes something, or has a reader subscribe or unsubscribe.
func (c *caller) publish() {
	switch x := c.r.Float64(); {
	case x < 0.2:
		note(c, c.reader(), Join{Pattern: draw.Pick(c.r, "news.>", "news.a", "news.*"), Fail: draw.Chance(c.r, 0.1)})
	case x < 0.3:
		note(c, c.reader(), Part{Pattern: draw.Pick(c.r, "news.>", "news.a", "news.*")})
	default:
		for range 1 + c.r.IntN(8) {
			ctx, cancel, _ := c.within(draw.Chance(c.r, 0.1))
			c.n++
			c.w.publish(ctx, c.life.Sys, c.stream, c.n, c.id(), draw.Pick(c.r, newsTopics...), false)
			cancel()
		}
	}
}

// reader draws a reader.
func (c *caller) reader() string {
	return draw.Pick(c.r, newsReaders...).name + "@" + c.anyNode().Name
}

// publish publishes one message.
func (w *world) publish(ctx context.Context, sys *actor.System, by string, n int, id uint64, name string, last bool) {
	t := &w.lives
	p := &paper{id: id, by: by, on: sys.Epoch(), n: n, name: name, last: last, got: map[string]int{}, byGroup: map[string]int{}}
	t.mu.Lock()
	p.begun = t.now(w)
	if t.news == nil {
		t.news = map[uint64]*paper{}
	}
	t.news[id] = p
	w.truth.Note("%v", p)
	t.mu.Unlock()
	err := actor.Publish(ctx, newsTopic.At(name).Bind(sys), News{ID: id, By: by, N: n})
	w.typed(p.String(), err)
	if w.cheats("a publication is called refused") && err != nil {
		err = rpc.Errorf(rpc.Unavailable, rpc.NotRun, "a lie")
	}
	w.truth.Note("  end of publication %x: %v", id, err)
	t.mu.Lock()
	defer t.mu.Unlock()
	p.ended, p.err = t.now(w), err
}

// publishLast publishes on a network without faults: each subscriber has to get it.
func (w *world) publishLast() {
	for i, n := range w.Nodes {
		for k, name := range newsTopics {
			w.publish(context.Background(), n.Live().Sys, "last of "+n.Name, k+1, 1<<62|uint64(i)<<8|uint64(k), name, true)
		}
	}
	time.Sleep(10 * time.Second)
	t := &w.lives
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.news {
		groups := map[string]int{} // members
		for on, subs := range t.subs {
			if !w.isUp(on) {
				continue
			}
			for _, s := range subs {
				if s.slow || s.over.happened() || s.begun.no > p.begun.no || !topic.Match(s.pattern, p.name) {
					continue
				}
				if s.group != "" {
					groups[s.group]++
				} else if p.got[on] == 0 && p.mustReach(on) {
					w.truth.Bad("%s, a subscriber to %s, has not got %v, whose end was: %v", on, s.pattern, p, p.err)
				}
			}
		}
		if p.last && p.err != nil {
			w.truth.Bad("%v, after the last fault: %v", p, p.err)
		}
		for g := range groups {
			if p.last && p.byGroup[g] == 0 {
				w.truth.Bad("no member of group %s has got %v", g, p)
			}
		}
	}
}

// mustReach reports whether a subscriber must have got a publication: after the last fault, and
// within a node.
func (p *paper) mustReach(on string) bool {
	return p.last || p.on == epochOf(on) && rpc.Ran(p.err) != rpc.NotRun
}

func (t *livesTruth) judgeNews(w *world) {
	for _, p := range t.news {
		if p.err != nil && rpc.Ran(p.err) == rpc.NotRun && len(p.got) > 0 {
			w.truth.Bad("%v was said to have reached nobody, and has reached %d: %v", p, len(p.got), p.err)
		}
	}
}
