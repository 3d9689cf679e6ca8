package actor

import (
	"context"
	"reflect"

	"github.com/tandem-go/tandem/reminder"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/state"
	"github.com/tandem-go/tandem/topic"
)

// What a handler of a stored actor does with Push, Publish, Submit, Remind and Forget is kept with its state, like
// the messages that it has sent with Tell, and is done when that is written.

// push keeps an item for a queue, which knows it by its id however often it comes.
func (t *transaction) push(ctx context.Context, from *Context, q Ref, m any, p push) error {
	to, err := targetOf(q, from)
	switch {
	case err != nil:
		return err
	case to.addr.node == anyNode:
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "an item that leaves after a write is for one queue, and service %s is many", to.addr.name)
	case p.duplicate != nil:
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "an item leaves after the write, so nobody knows yet whether it is a duplicate")
	}
	return t.keepMessage(ctx, from, state.Push, to, m, reflect.TypeOf(m), nil)
}

// submit keeps a job, and returns its id.
func (t *transaction) submit(ctx context.Context, from *Context, to *target, m any, typ reflect.Type, set *settings) (string, error) {
	switch {
	case to.addr.routed():
		return "", rpc.Errorf(rpc.Invalid, rpc.NotRun, "a job that is submitted after a write is for an actor of one node, because its token names the node, and %v may be anywhere", to.addr)
	case set.IsKeyed():
		return "", rpc.Errorf(rpc.Invalid, rpc.NotRun, "a job that is submitted after a write has a name of its own in place of a Key")
	}
	if err := ownOnly(set, "a job that is submitted after a write"); err != nil {
		return "", err
	}
	s := to.sys
	job, err := s.encodedJob(to, m, typ, set)
	if err != nil {
		return "", err
	}
	kept := keptJob{Target: job.Target, TypeID: job.TypeID, Codec: job.Codec, Body: job.Body, ID: jobID(jobNameOf(""))}
	jobs, err := s.jobServer(to.addr.node)
	if err != nil {
		return "", err
	}
	return kept.ID, t.keepMessage(ctx, from, state.Submit, jobs.to, kept, reflect.TypeFor[keptJob](), nil)
}

// publish keeps a message for a durable topic. The store knows it by its id.
func (t *transaction) publish(m topic.Message) error {
	body, err := records.Append(nil, m)
	if err != nil {
		return bodyError(err, rpc.NotRun, "the message on topic "+m.Topic)
	}
	return t.keep(state.Message{Verb: state.Publish, To: m.Topic, Body: body})
}

// publishes makes p the publication of a message that was kept.
func (p *parked) publishes(kept []byte) error {
	var m topic.Message
	if err := records.Decode(kept, &m); err != nil {
		return err
	}
	p.typeName, p.TypeID, p.Codec, p.Body = m.Type, m.TypeID, m.Codec, m.Body
	p.perform = func(ctx context.Context, s *System) error {
		if s.cfg.Topics == nil {
			return rpc.Errorf(rpc.Unavailable, rpc.NotRun, "a message of a stored actor is for durable topic %s, and the system has no Config.Topics", m.Topic)
		}
		return s.publishStored(ctx, m)
	}
	return nil
}

// remind keeps a change of a reminder. The store knows it by its id.
func (t *transaction) remind(verb state.Verb, changed reminder.Entry) error {
	return t.keep(state.Message{Verb: verb, To: changed.Name, Body: changed.Append(nil)})
}

// reminds makes p a change of a reminder that was kept.
func (p *parked) reminds(verb state.Verb, kept []byte) error {
	e, err := reminder.ParseEntry(kept)
	if err == nil && len(e.Changes) != 1 {
		err = rpc.Errorf(rpc.Undecodable, rpc.NotRun, "a change of reminder %q has %d names", e.Name, len(e.Changes))
	}
	if err != nil {
		return err
	}
	p.typeName, p.Codec, p.Body = e.Message.Type, e.Message.Codec, e.Message.Body
	p.perform = func(ctx context.Context, s *System) error {
		return s.changeReminder(ctx, verb, e)
	}
	return nil
}
