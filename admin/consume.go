package admin

import (
	"context"
	"encoding/json"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/internal/queuestore"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
)

// What operators do as producers and consumers. It is done for the principal that asks, whose access rules count.

// behalf is the option by which a message is sent for who asks.
func (a asked) behalf() []rpc.Option {
	if a.Local() {
		return nil
	}
	return []rpc.Option{rpc.OnBehalfOf(a.who)}
}

func (d *desk) pushItem(a asked, m PushItem) (p Pushed, err error) {
	if len(m.Item) == 0 {
		return p, rpc.Errorf(rpc.Invalid, rpc.NotRun, "there is no item")
	}
	push := struct {
		Item     json.RawMessage
		ID       string        `json:",omitempty"`
		Priority int           `json:",omitempty"`
		Delay    time.Duration `json:",omitempty"`
	}{m.Item, m.ID, m.Priority, m.Delay}
	if err = d.send(a, m.Queue, func(q queueMessages) string { return q.push }, push, &p, invokeWait, a.behalf()...); err == nil {
		d.changed(a, "pushed an item", "queue", m.Queue, "id", m.ID)
	}
	return p, err
}

// consumption is what consumers send, see order.
type consumption struct {
	Op     queuestore.Op
	Max    int           `json:",omitempty"`
	Wait   time.Duration `json:",omitempty"`
	Delay  time.Duration `json:",omitempty"`
	Tokens [][3]uint64   `json:",omitempty"`
}

// consume sends it to the queue of an actor.
func (d *desk) consume(ctx context.Context, a asked, queue string, c consumption) (r report, err error) {
	err = d.send(ctx, queue, func(q queueMessages) string { return q.pull }, c, &r, invokeWait, a.behalf()...)
	return r, err
}

func (d *desk) pullItems(a asked, m PullItems) (p Pulled, err error) {
	c := consumption{Op: queuestore.Pull, Max: min(max(m.Max, 1), MaxPage), Wait: min(max(m.Wait, 0), actor.MaxWait)}
	r, err := d.consume(a, a, m.Queue, c)
	if err != nil {
		return p, err
	}
	for _, it := range r.Items {
		p.Items = append(p.Items, PulledItem{Token: tokenText(it.Token), ID: it.ID, Attempt: it.Attempt, Priority: it.Priority, Lease: it.Age, Item: it.Message})
	}
	d.changed(a, "pulled items", "queue", m.Queue, "items", len(p.Items))
	return p, nil
}

// answers are what consumers say of deliveries.
var answersOf = map[string]queuestore.Op{"ack": queuestore.Ack, "nack": queuestore.Nack, "release": queuestore.Release}

func (d *desk) answerItems(a asked, m AnswerItems) (done QueueDone, err error) {
	op, ok := answersOf[m.Do]
	switch {
	case !ok:
		return done, rpc.Errorf(rpc.Invalid, rpc.NotRun, "Do %q: want ack, nack or release", m.Do)
	case len(m.Tokens) == 0 || len(m.Tokens) > MaxPage:
		return done, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%d tokens: want 1 to %d", len(m.Tokens), MaxPage)
	}
	c := consumption{Op: op, Delay: m.Delay}
	if c.Tokens, err = parseTokens(m.Tokens); err != nil {
		return done, err
	}
	r, err := d.consume(a, a, m.Queue, c)
	if err != nil {
		return done, err
	}
	d.changed(a, "answered deliveries", "queue", m.Queue, "do", m.Do, "items", len(m.Tokens)-len(r.Failed))
	return r.done(m.Tokens), nil
}

func (d *desk) publish(a asked, m PublishMessage) (Done, error) {
	body := m.Body
	if len(body) == 0 {
		body = json.RawMessage("{}")
	}
	if err := (actor.Encoded{Type: m.Type, Codec: codec.IDJSON, Body: body}).Publish(a.Detached(), d.sys, m.Topic); err != nil {
		return Done{}, err
	}
	d.changed(a, "published a message", "topic", m.Topic, "type", m.Type)
	return Done{Count: 1}, nil
}
