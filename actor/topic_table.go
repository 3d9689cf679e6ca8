package actor

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/topic"
)

// topicTable holds the subscriptions of a node's actors.
type topicTable struct {
	sys *System

	mu    sync.RWMutex // guards what follows
	index topic.Index[*audience]
	all   map[audienceKey]*audience
	types map[uint64]*messageType // of messages that actors have subscribed to, by id
	size  int                     // registry.TopicSize of what other nodes have to know of
}

type audienceKey struct {
	pattern, group string
	typ            reflect.Type
}

// audience is the subscribers of one pattern, group and type of messages.
type audience struct {
	audienceKey
	mt   *messageType
	live int             // how many have not ended
	far  int             // how many of them other nodes have to know of
	list []*subscription // also those that have ended lately. It is appended to or replaced, so that others may read what they have got of it
}

// subscription is one actor's.
type subscription struct {
	by   *cell
	to   *audience
	full topic.Full
	far  bool        // messages of other nodes arrive, too
	over atomic.Bool // it has ended
}

// Errors of messages that found the mailbox of a subscriber full.
var (
	errSlow      = rpc.Errorf(rpc.Overloaded, rpc.NotRun, "the mailbox of the subscriber is full")
	errSlowEnded = rpc.Errorf(rpc.Overloaded, rpc.NotRun, "the mailbox of the subscriber is full, and its subscription has ended")
)

// add makes a subscription in the place of old, which may be nil.
func (t *topicTable) add(c *cell, at topicAt, set topic.Settings, old *subscription) (*subscription, error) {
	k := audienceKey{at.pattern, set.Group, at.typ}
	fresh := &subscription{by: c, full: set.Full, far: !c.localOnly() && t.sys.cfg.Registry != nil}
	news, err := t.enter(k, fresh, old)
	if err != nil {
		return nil, err
	}
	if news {
		t.sys.members.topicsChanged()
	}
	return fresh, nil
}

// enter enters a subscription, and removes old. It reports whether other nodes have to know.
func (t *topicTable) enter(k audienceKey, fresh, old *subscription) (news bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.all[k]
	size := registry.TopicSize(k.pattern, k.group)
	news = fresh.far && (a == nil || a.far == 0)
	if news && t.size+size > registry.MaxTopics {
		return false, rpc.Errorf(rpc.Overloaded, rpc.NotRun, "subscribe to %s: this node's subscriptions would have size %d in its record, the limit is %d", k.pattern, t.size+size, registry.MaxTopics)
	}
	if a == nil {
		a = &audience{audienceKey: k, mt: t.sys.types.get(k.typ)}
		if err := t.index.Add(k.pattern, a); err != nil {
			return false, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%w", err)
		}
		if t.all == nil {
			t.all, t.types = map[audienceKey]*audience{}, map[uint64]*messageType{}
		}
		if t.all[k] = a; a.mt.err == nil {
			t.types[a.mt.id] = a.mt
		}
	}
	fresh.to = a
	a.list = append(a.list, fresh)
	a.live++
	if fresh.far {
		a.far++
	}
	if news {
		t.size += size
	}
	return t.remove(old) || news, nil
}

// end ends subscriptions.
func (t *topicTable) end(subs ...*subscription) {
	news := false
	t.mu.Lock()
	for _, s := range subs {
		news = t.remove(s) || news
	}
	t.mu.Unlock()
	if news {
		t.sys.members.topicsChanged()
	}
}

// remove removes a subscription, unless it is nil or was removed. It reports whether other nodes
// have to know. t.mu is held.
func (t *topicTable) remove(s *subscription) (news bool) {
	if s == nil || s.over.Swap(true) {
		return false
	}
	a := s.to
	a.live--
	if s.far {
		a.far--
		if news = a.far == 0; news {
			t.size -= registry.TopicSize(a.pattern, a.group)
		}
	}
	if a.live == 0 {
		a.list = nil
		t.index.Remove(a.pattern, a)
		delete(t.all, a.audienceKey)
	} else if len(a.list) > 2*a.live+16 {
		left := make([]*subscription, 0, a.live)
		for _, s := range a.list {
			if !s.over.Load() {
				left = append(left, s)
			}
		}
		a.list = left
	}
	return news
}

// typeOf returns the type of that id, if an actor has subscribed to messages of it, or nil.
func (t *topicTable) typeOf(id uint64) *messageType {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.types[id]
}

// interest is what other nodes have to know: the groups by pattern.
func (t *topicTable) interest() map[string][]string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var all map[string][]string
	for _, a := range t.all {
		if a.far == 0 || slices.Contains(all[a.pattern], a.group) {
			continue
		}
		if all == nil {
			all = map[string][]string{}
		}
		all[a.pattern] = append(all[a.pattern], a.group)
	}
	for _, groups := range all {
		slices.Sort(groups)
	}
	return all
}

// crowd is an audience as a message finds it.
type crowd struct {
	group string
	list  []*subscription
}

// find returns the audiences of a message.
func (t *topicTable) find(name string, mt *messageType) (found []crowd) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.index.Len() == 0 {
		return nil
	}
	var space [8]*audience
	for _, a := range t.index.Append(space[:0], name) {
		if a.mt == mt {
			found = append(found, crowd{a.group, a.list})
		}
	}
	return found
}

// groups returns the groups that have members in this node.
func (t *topicTable) groups(name string, mt *messageType) (groups []string) {
	for _, c := range t.find(name, mt) {
		if c.group != "" && !slices.Contains(groups, c.group) {
			groups = append(groups, c.group)
		}
	}
	return groups
}

// issue is a message that is handed out to subscribers of this node.
type issue struct {
	name     string
	mt       *messageType
	far      bool     // it comes from another node
	all      bool     // it is for those without a group
	groups   []string // it is for one member of each
	unserved []string // groups that have no member here
	meta     *meta
	msg      any        // nil: it was not decoded yet
	body     parcel     // the message as it travels; only if far, or with CopyLocal
	refusal  *rpc.Error // it cannot be decoded
	seen     *meta      // meta for subscribers with interceptors; nil: there was none yet
}

// issue hands out a message, and returns how many subscribers were to get it.
func (t *topicTable) issue(is *issue) (n int) {
	found := t.find(is.name, is.mt)
	if is.all {
		n = t.toAll(is, found)
	}
	for _, g := range is.groups {
		if t.toOne(is, g, found) {
			n++
		} else {
			is.unserved = append(is.unserved, g)
		}
	}
	return n
}

// toAll hands a message to all subscribers without a group, once to each actor.
func (t *topicTable) toAll(is *issue, found []crowd) (n int) {
	crowds := 0
	for _, c := range found {
		if c.group == "" {
			crowds++
		}
	}
	var seen map[*cell]bool
	if crowds > 1 {
		seen = map[*cell]bool{}
	}
	for _, c := range found {
		if c.group != "" {
			continue
		}
		for _, s := range c.list {
			if !s.wants(is) || seen[s.by] {
				continue
			}
			if seen != nil {
				seen[s.by] = true
			}
			n++
			t.hand(is, s)
		}
	}
	return n
}

// toOne hands a message to one member of a group: to one that has room for it, if there is one. It returns
// false if the group has no member here.
func (t *topicTable) toOne(is *issue, group string, found []crowd) bool {
	var members []*subscription
	for _, c := range found {
		if c.group != group {
			continue
		}
		if members == nil {
			members = c.list
		} else {
			members = slices.Concat(members, c.list)
		}
	}
	var first *subscription
	for i, start := 0, rand.IntN(len(members)+1); i < len(members); i++ {
		s := members[(start+i)%len(members)]
		if !s.wants(is) {
			continue
		}
		if first == nil {
			first = s
		}
		if it, ok := t.item(is, s); !ok || s.push(it) {
			return true
		}
	}
	if first == nil {
		return false
	}
	t.hand(is, first)
	return true
}

// wants reports whether a message may be handed to the subscriber.
func (s *subscription) wants(is *issue) bool {
	return !s.over.Load() && (s.far || !is.far) && !s.by.life.ends()
}

// hand puts a message into a subscriber's mailbox. It never waits.
func (t *topicTable) hand(is *issue, s *subscription) {
	it, ok := t.item(is, s)
	if !ok || s.push(it) {
		return
	}
	c := s.by
	c.sweep()
	switch {
	case s.push(it) || c.life.ends():
	case s.full == topic.DropOldest:
		if p, err := c.box.Displace(it); err == nil {
			c.accepted(p)
		}
	case s.full == topic.Unsubscribe:
		c.forget(s)
		t.end(s)
		t.sys.handBack(c.self.addr, it, errSlowEnded)
	default:
		t.sys.handBack(c.self.addr, it, errSlow)
	}
}

// push puts a message into a mailbox that has room.
func (s *subscription) push(it item) bool {
	wake, ok := s.by.box.Push(it)
	if wake {
		s.by.run()
	}
	return ok
}

// item returns the message as it lies in a mailbox. It is decoded once for all subscribers. If that
// fails, item makes it a dead letter and returns false.
func (t *topicTable) item(is *issue, s *subscription) (item, bool) {
	msg, refusal := is.msg, is.refusal
	if t.sys.cfg.CopyLocal || msg == nil && refusal == nil {
		msg, refusal = is.body.decode(s.by)
		if !t.sys.cfg.CopyLocal && (refusal == nil || refusal.Code != rpc.Unhandled) {
			is.msg, is.refusal = msg, refusal
		}
	}
	if refusal != nil {
		t.sys.lost(s.by.self.addr, item{msg: publication{}, meta: is.meta}, nil, refusal, "")
		return item{}, false
	}
	return item{msg: msg, meta: is.metaFor(s.by)}, true
}

// metaFor is what the message carries to a subscriber.
func (is *issue) metaFor(c *cell) *meta {
	if c.kind.incoming == nil {
		return is.meta
	}
	if is.seen == nil {
		is.seen = is.meta.caused(cause{topic: is.name})
	}
	return is.seen
}

// subscribe makes a subscription of c, or replaces it.
func (c *cell) subscribe(at topicAt, set topic.Settings) error {
	a := c.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	if c.life.now() == gone || strings.HasPrefix(c.self.addr.name, hidden) {
		return errGone
	}
	h := a.hearing()
	i := slices.IndexFunc(h.topics, func(s *subscription) bool { return s.to.pattern == at.pattern && s.to.typ == at.typ })
	var old *subscription
	if i >= 0 {
		if old = h.topics[i]; !old.over.Load() && old.to.group == set.Group && old.full == set.Full {
			return nil
		}
	}
	fresh, err := c.self.sys.topics.add(c, at, set, old)
	if err != nil {
		return err
	}
	if i >= 0 {
		h.topics[i] = fresh
	} else {
		h.topics = append(h.topics, fresh)
	}
	return nil
}

func (c *cell) unsubscribe(at topicAt) {
	a := c.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	h := a.hearing()
	for i, s := range h.topics {
		if s.to.pattern == at.pattern && s.to.typ == at.typ {
			h.topics = slices.Delete(h.topics, i, i+1)
			c.self.sys.topics.end(s)
			return
		}
	}
}

// forget removes a subscription that ends from the list of c.
func (c *cell) forget(s *subscription) {
	a := c.annexed()
	a.mu.Lock()
	defer a.mu.Unlock()
	h := a.hearing()
	h.topics = slices.DeleteFunc(h.topics, func(o *subscription) bool { return o == s })
}

// dropTopics ends all subscriptions of c, because its incarnation ends.
func (c *cell) dropTopics() {
	a := c.annexed()
	a.mu.Lock()
	h := a.hears
	a.hears = nil
	a.mu.Unlock()
	if h == nil {
		return
	}
	for _, f := range h.feeds {
		f.cancel()
	}
	if len(h.topics) > 0 {
		c.self.sys.topics.end(h.topics...)
	}
}
