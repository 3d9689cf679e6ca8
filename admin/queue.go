package admin

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/internal/queuestore"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
)

const (
	queueWait = time.Second // how long a queue is waited for, which answers in its actor's turn
	queueAsks = 16          // queues that are asked at a time for one answer
)

// order is what manages a queue, and report its answer, in JSON. They are the messages behind the verbs of package actor, whose types
// depend on that of the items.
type (
	order struct {
		Op     queuestore.Op
		Max    int
		Tokens [][3]uint64
	}
	report struct {
		Items []struct {
			Token    [3]uint64
			ID       string
			Attempt  int
			Priority int
			Age      time.Duration
			Reason   queue.Reason
			Message  json.RawMessage
		}
		Failed []queuestore.Failure
		Stats  *queue.Stats
		Count  int
	}
)

// queueMessages are the wire names of the messages that the queue of an actor takes, and the type of its items.
type queueMessages struct{ manage, push, pull, item string }

// queueOf returns those of a kind; false: its actors serve no queue.
func (d *desk) queueOf(kind *actor.Kind) (q queueMessages, ok bool) {
	for _, m := range d.sys.Messages(kind) {
		if m.Err != nil {
			continue
		}
		switch m.Op {
		case access.Manage:
			q.manage, ok = m.Name, true
		case access.Pull:
			q.pull = m.Name
		case access.Push:
			q.push = m.Name
			if f, has := m.Type.FieldByName("Item"); has {
				q.item = f.Type.String()
			}
		}
	}
	return q, ok
}

// send sends a message to the queue of an actor, as JSON. which says which of the queue's messages it is.
func (d *desk) send(ctx context.Context, name string, which func(queueMessages) string, m, into any, wait time.Duration, opts ...rpc.Option) error {
	kind := d.sys.KindOf(name)
	if kind == nil {
		return rpc.Errorf(rpc.NotFound, rpc.NotRun, "no actor %q", name)
	}
	q, ok := d.queueOf(kind)
	if !ok || which(q) == "" {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "%s serves no queue", name)
	}
	body, err := json.Marshal(m)
	if err != nil {
		return rpc.Errorf(rpc.Undecodable, rpc.NotRun, "%w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	reply, err := actor.Encoded{Type: which(q), Codec: codec.IDJSON, Body: body}.Call(ctx, d.sys.Ref(name+"@"+d.sys.Name()), opts...)
	if err != nil {
		return err
	}
	return json.Unmarshal(reply.Body, into)
}

// manage sends an order to the queue of an actor, in this node's name.
func (d *desk) manage(ctx context.Context, name string, o order) (r report, err error) {
	err = d.send(ctx, name, func(q queueMessages) string { return q.manage }, o, &r, queueWait)
	return r, err
}

func (d *desk) queues(a asked, m Queues) (i QueuesInfo, _ error) {
	kinds := map[string]*actor.Kind{}
	all := func(yield func(inspect.Actor) bool) {
		d.sys.Actors(inspect.Filter{})(func(at inspect.Actor) bool {
			k, known := kinds[at.Kind]
			if !known {
				if k = d.sys.KindOf(at.Name); k != nil {
					if _, ok := d.queueOf(k); !ok {
						k = nil
					}
				}
				kinds[at.Kind] = k
			}
			return k == nil || at.Name <= m.After || yield(at)
		})
	}
	n := limit(m.Limit)
	found, seen := first(n, all, func(inspect.Actor, inspect.Actor) int { return 0 })
	if seen > n {
		i.Next = found[n-1].Name
	}
	i.Queues = make([]Queue, len(found))
	slots := make(chan struct{}, queueAsks)
	var asking sync.WaitGroup
	for at, f := range found {
		slots <- struct{}{}
		asking.Go(func() {
			defer func() { <-slots }()
			is, _ := d.queueOf(kinds[f.Kind])
			q := Queue{Name: f.Name, Kind: f.Kind, Item: is.item}
			if r, err := d.manage(a, f.Name, order{Op: queuestore.Stats}); err != nil {
				q.Error = err.Error()
			} else if r.Stats != nil {
				q.Stats = *r.Stats
			}
			i.Queues[at] = q
		})
	}
	asking.Wait()
	return i, nil
}

func (d *desk) queueItems(a asked, m QueueItems) (i QueueItemsInfo, err error) {
	if m.Content {
		if err := d.may(a.Context, ToOperate); err != nil {
			return i, rpc.Errorf(rpc.Denied, rpc.NotRun, "the content of items: %w", err)
		}
	}
	o := order{Op: queuestore.Waiting, Max: limit(m.Limit)}
	if m.Dead {
		o.Op = queuestore.Dead
	}
	r, err := d.manage(a, m.Queue, o)
	if err != nil {
		return i, err
	}
	for _, it := range r.Items {
		e := QueueItem{Token: tokenText(it.Token), ID: it.ID, Attempts: it.Attempt, Priority: it.Priority, Age: max(it.Age, 0), Due: max(-it.Age, 0)}
		if m.Dead {
			e.Reason = it.Reason.String()
		}
		if m.Content {
			e.Content = it.Message
		}
		i.Items = append(i.Items, e)
	}
	return i, nil
}

// tokenText is the token of an item as text, and parseToken the reverse.
func tokenText(t [3]uint64) string { return fmt.Sprintf("%x-%016x-%016x", t[0], t[1], t[2]) }

func parseToken(text string) (t [3]uint64, ok bool) {
	parts := strings.Split(text, "-")
	if len(parts) != 3 {
		return t, false
	}
	n, err := fmt.Sscanf(text, "%x-%x-%x", &t[0], &t[1], &t[2])
	return t, n == 3 && err == nil && tokenText(t) == text
}

// parseTokens is parseToken for several.
func parseTokens(texts []string) (all [][3]uint64, _ error) {
	for _, text := range texts {
		t, ok := parseToken(text)
		if !ok {
			return nil, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%q is no token of an item", text)
		}
		all = append(all, t)
	}
	return all, nil
}

// done is the answer to an order about the items of these tokens.
func (r report) done(tokens []string) (d QueueDone) {
	for _, f := range r.Failed {
		if f.Index < 0 || f.Index >= len(tokens) {
			continue // it is no answer to this order
		}
		d.Failed = append(d.Failed, fmt.Sprintf("%s %v", tokens[f.Index], f.Cause()))
	}
	d.Count = len(tokens) - len(r.Failed)
	return d
}

// queueOps are what operators do with queues, and whether that is with items.
var queueOps = map[string]struct {
	op    queuestore.Op
	items bool
}{
	"pause": {queuestore.Pause, false}, "resume": {queuestore.Resume, false}, "purge": {queuestore.Purge, false},
	"cancel": {queuestore.Cancel, true}, "revive": {queuestore.Revive, true}, "discard": {queuestore.Discard, true},
}

func (d *desk) manageQueue(a asked, m ManageQueue) (done QueueDone, err error) {
	op, ok := queueOps[m.Do]
	switch {
	case !ok:
		return done, rpc.Errorf(rpc.Invalid, rpc.NotRun, "Do %q: want pause, resume, purge, cancel, revive or discard", m.Do)
	case op.items != (len(m.Tokens) > 0):
		return done, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%s: want %s", m.Do, map[bool]string{true: "the tokens of items", false: "no tokens"}[op.items])
	case len(m.Tokens) > MaxPage:
		return done, rpc.Errorf(rpc.TooLarge, rpc.NotRun, "%d tokens, limit %d", len(m.Tokens), MaxPage)
	}
	o := order{Op: op.op}
	if o.Tokens, err = parseTokens(m.Tokens); err != nil {
		return done, err
	}
	r, err := d.manage(a, m.Queue, o)
	if err != nil {
		return done, err
	}
	if done = r.done(m.Tokens); !op.items {
		done.Count = r.Count
	}
	d.changed(a, "managed a queue", "queue", m.Queue, "do", m.Do, "count", done.Count)
	return done, nil
}
