package actor

import (
	"context"
	"reflect"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// Publish publishes the message on a topic that is not durable, as the function Publish does, for the node's own program. It is decoded
// first, so an actor of this node must have subscribed to messages of the type, on any topic; otherwise the error is
// rpc.Unhandled, not run.
func (m Encoded) Publish(ctx context.Context, sys *System, topic string) error {
	mt := sys.topics.typeOf(transport.TypeID(m.Type))
	if mt == nil {
		return rpc.Errorf(rpc.Unhandled, rpc.NotRun, "publish on %s: no actor of node %s has subscribed to messages %q", topic, sys.cfg.Name, m.Type)
	}
	cd, err := sys.codecs.ByID(m.Codec)
	if err != nil {
		return rpc.Errorf(rpc.Undecodable, rpc.NotRun, "publish on %s: %w", topic, err)
	}
	v := reflect.New(mt.typ)
	if err := cd.Decode(m.Body, v.Interface()); err != nil {
		return rpc.Errorf(rpc.Undecodable, rpc.NotRun, "publish on %s: %w", topic, err)
	}
	at := topicAt{pattern: topic, typ: mt.typ, sys: sys}
	msg := v.Elem().Interface()
	if fns := sys.senders(ctx, nil); len(fns) > 0 {
		return at.publishThrough(ctx, fns, msg, nil)
	}
	return at.publish(ctx, nil, msg, nil)
}
