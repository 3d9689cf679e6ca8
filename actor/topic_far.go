package actor

import (
	"context"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/topic"
)

// topicServerName is the hidden actor of each node that gets what other nodes publish.
const topicServerName = hidden + "topics"

// publication is a message for the subscribers of another node.
type publication struct {
	Topic  string
	All    bool     // it is for those without a group
	Groups []string // it is for one member of each
	Type   uint64   // id of the type of the message
	Codec  uint8
	Body   []byte
}

func (publication) WireName() string            { return "tandem.topic.publication" }
func (publication) neededOp() (access.Op, bool) { return access.Publish, false }

// topicServer has no state of its own.
type topicServer struct{}

var topicServerKind = Define("tandem.topics", func() topicServer { return topicServer{} }, Handle(topicServer.publish)).With(systems())

// publish hands out a message of another node.
func (topicServer) publish(ctx *Context, p publication) error {
	s := ctx.System()
	if ctx.meta == nil || ctx.meta.arrival == nil {
		return nil
	}
	if err := topic.ValidName(p.Topic); err != nil {
		return err
	}
	a := *ctx.meta.arrival
	a.Target, a.TypeID = p.Topic, p.Type
	mt := s.topics.typeOf(p.Type)
	is := issue{name: p.Topic, mt: mt, far: true, all: p.All, groups: p.Groups, meta: ctx.meta, body: parcel{mt, p.Codec, p.Body}}
	why := s.check(a, matter{topic: p.Topic, typeID: p.Type, op: access.Publish})
	if why == nil {
		if mt != nil { // otherwise nobody can have subscribed to messages of this type
			s.topics.issue(&is)
		} else {
			is.unserved = p.Groups
		}
		if len(is.unserved) == 0 {
			return nil
		}
		why = rpc.Errorf(rpc.NotFound, rpc.NotRun, "topic %s: group %s has no member here", p.Topic, is.unserved[0])
	}
	s.lost(address{p.Topic, s.cfg.Name}, item{msg: p, meta: ctx.meta}, nil, why, "")
	return nil
}

// farTopics is what the other nodes have subscribed to.
type farTopics struct {
	mu    sync.RWMutex // guards what follows
	index topic.Index[*farTopic]
	nodes map[string][]*farTopic
	away  map[string]time.Time // nodes that could not be reached lately, and until when they are left out
}

// farTopic is one pattern of one node. It never changes.
type farTopic struct {
	node, pattern string
	groups        []string // "": those without a group
}

// awayPause is how long a node is left out that could not be reached.
const awayPause = time.Second

// set replaces what a node has subscribed to. Patterns that are not valid are left out.
func (f *farTopics) set(node string, topics map[string][]string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var left []*farTopic
	known := map[string]bool{}
	for _, t := range f.nodes[node] {
		if groups, ok := topics[t.pattern]; ok && slices.Equal(groups, t.groups) {
			known[t.pattern] = true
			left = append(left, t)
		} else {
			f.index.Remove(t.pattern, t)
		}
	}
	for pattern, groups := range topics {
		t := &farTopic{node, pattern, slices.Clone(groups)}
		if !known[pattern] && f.index.Add(pattern, t) == nil {
			left = append(left, t)
		}
	}
	if f.nodes == nil {
		f.nodes, f.away = map[string][]*farTopic{}, map[string]time.Time{}
	}
	if delete(f.nodes, node); len(left) > 0 {
		f.nodes[node] = left
	} else {
		delete(f.away, node)
	}
}

// find returns who else has subscribed to a topic.
func (f *farTopics) find(name string) []*farTopic {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.index.Len() == 0 {
		return nil
	}
	return f.index.Append(nil, name)
}

// isAway reports whether a node could not be reached lately.
func (f *farTopics) isAway(node string, now time.Time) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return now.Before(f.away[node])
}

// reached notes whether a node could be reached.
func (f *farTopics) reached(node string, yes bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if delete(f.away, node); !yes && f.nodes[node] != nil {
		f.away[node] = time.Now().Add(awayPause)
	}
}

// outbound is a message on its way to the nodes that have subscribers.
type outbound struct {
	sys     *System
	ctx     context.Context
	from    *Context
	set     *settings
	name    string
	mt      *messageType
	body    parcel
	own     []string            // the groups that this node serves
	nodes   []*parcelFor        // the other nodes that get it
	members map[string][]string // by group: the other nodes that have members and were not tried
	reached bool                // somebody has got it
}

// parcelFor is what one node is to do with the message.
type parcelFor struct {
	node   string
	all    bool
	groups []string
}

// plan finds out which nodes have subscribers, and chooses a node for each group.
func (o *outbound) plan() {
	far := o.sys.farTopics.find(o.name)
	own := o.sys.topics.groups(o.name, o.mt)
	if len(far)+len(own) == 0 {
		return
	}
	o.members = map[string][]string{}
	for _, t := range far {
		for _, g := range t.groups {
			if g == "" {
				o.at(t.node).all = true
			} else if !slices.Contains(o.members[g], t.node) {
				o.members[g] = append(o.members[g], t.node)
			}
		}
	}
	for _, g := range own {
		if n := len(o.members[g]); rand.IntN(n+1) == n {
			o.own = append(o.own, g)
			delete(o.members, g)
		}
	}
	for g := range o.members {
		o.choose(g)
	}
}

// at returns the part of a node.
func (o *outbound) at(node string) *parcelFor {
	for _, p := range o.nodes {
		if p.node == node {
			return p
		}
	}
	p := &parcelFor{node: node}
	o.nodes = append(o.nodes, p)
	return p
}

// choose chooses one of the other nodes for a group, one that was reached lately if there is one.
// It returns false if none is left.
func (o *outbound) choose(group string) bool {
	left := o.members[group]
	if len(left) == 0 {
		return false
	}
	start, pick := rand.IntN(len(left)), -1
	for i := range left {
		at := (start + i) % len(left)
		if pick < 0 || !o.sys.farTopics.isAway(left[at], time.Now()) {
			if pick = at; !o.sys.farTopics.isAway(left[at], time.Now()) {
				break
			}
		}
	}
	p := o.at(left[pick])
	p.groups = append(p.groups, group)
	o.members[group] = slices.Delete(slices.Clone(left), pick, pick+1)
	return true
}

// leaves reports whether another node gets the message.
func (o *outbound) leaves() bool { return len(o.nodes) > 0 }

// encode encodes the message, once for all nodes.
func (o *outbound) encode(m any) error {
	if o.mt.err != nil {
		return o.mt.err
	}
	cd := o.sys.codecFor("", o.set)
	body, refusal := encodeMessage(cd, nil, m, o.mt)
	if refusal != nil {
		return refusal
	}
	o.body = parcel{o.mt, cd.ID(), body}
	return nil
}

// send sends the message to the other nodes. If a node cannot be reached, another one with members of
// the same groups gets it.
func (o *outbound) send() error {
	if !o.leaves() {
		return nil
	}
	total, failed := 0, 0
	var first error
	for len(o.nodes) > 0 {
		now := o.nodes
		o.nodes = nil
		var again []string
		for _, p := range now {
			total++
			err := o.sendTo(p)
			o.sys.farTopics.reached(p.node, err == nil || rpc.CodeOf(err) != rpc.Unavailable)
			if err == nil {
				o.reached = true
				continue
			}
			if again = append(again, p.groups...); p.all {
				failed++
				first = firstOf(first, err)
			}
			o.lastly(p.groups, err, &failed, &first)
		}
		for _, g := range again {
			o.choose(g)
		}
	}
	if first == nil {
		return nil
	}
	ran := rpc.NotRun
	if o.reached {
		ran = rpc.Unknown
	}
	return rpc.Errorf(rpc.CodeOf(first), ran, "topic %s: %d of %d nodes or groups have not got the message: %w", o.name, failed, max(total, failed), first)
}

// lastly counts the groups for which no other node is left.
func (o *outbound) lastly(groups []string, err error, failed *int, first *error) {
	for _, g := range groups {
		if len(o.members[g]) == 0 {
			*failed++
			*first = firstOf(*first, err)
		}
	}
}

func firstOf(first, err error) error {
	if first != nil {
		return first
	}
	return err
}

// sendTo sends one node its part.
func (o *outbound) sendTo(p *parcelFor) error {
	s := o.sys
	mt := s.types.get(reflect.TypeFor[publication]())
	body, refusal := encodeMessage(s.control, nil, publication{o.name, p.all, p.groups, o.mt.id, o.body.codec, o.body.body}, mt)
	if refusal != nil {
		return refusal
	}
	r := client.Request{Node: p.node, Target: topicServerName, TypeID: mt.id, Codec: s.control.ID(), Body: body}
	if trace := rpc.TraceOf(o.ctx); o.set != nil || o.from != nil || !trace.IsZero() {
		r.Rare = &client.Rare{Meta: wire.Meta{Trace: trace}}
		if o.set != nil {
			r.Rare.Headers = o.set.Headers
		}
		if o.from != nil {
			r.Rare.Sender = o.from.cell.self.addr.String()
		}
	}
	if done, err := s.node.Client.TellNow(&r); done {
		return err
	}
	if s.farTopics.isAway(p.node, time.Now()) && !s.node.Client.Liveness(p.node).Linked() {
		return rpc.Errorf(rpc.Unavailable, rpc.NotRun, "node %s could not be reached lately", p.node)
	}
	if r.Rare == nil {
		r.Rare = new(client.Rare)
	}
	r.Rare.LinkWait = linkWait
	if r.Timeout = s.timeout(o.ctx); o.from.inTurn() {
		r.Timeout = min(r.Timeout, s.cfg.SendWait)
	}
	return s.node.Client.Tell(o.ctx, r)
}
