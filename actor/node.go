package actor

import (
	"context"
	"reflect"
	"strings"

	"github.com/tandem-go/tandem/access"
)

// nodeServerName is the hidden actor of each node by which other nodes ask it about its actors.
const nodeServerName = hidden + "node"

// stopActor asks a node to end one of its actors. It is answered when the actor has ended.
type stopActor struct {
	Returns[bool]
	Name string
	Now  bool
}

func (stopActor) WireName() string            { return "tandem.node.stop" }
func (stopActor) neededOp() (access.Op, bool) { return access.Stop, true }

// nodeServer has no state of its own.
type nodeServer struct{}

var nodeServerKind = Define("tandem.node", func() nodeServer { return nodeServer{} }, Answer(nodeServer.stop)).With(systems())

// stop ends an actor. The answer is put off, so that other requests do not wait for that end.
func (nodeServer) stop(ctx *Context, m stopActor) (bool, error) {
	s := ctx.System()
	if err := ctx.mayUse(m.Name, s.types.get(reflect.TypeFor[stopActor]()).id, access.Stop); err != nil {
		ctx.refuse(err)
		return false, nil
	}
	c := s.refs.live(m.Name)
	if strings.HasPrefix(m.Name, hidden) || c == nil {
		return true, nil
	}
	over := s.refs.whenGone(c)
	later := Defer[bool](ctx)
	c.stop(m.Now)
	go func() { // it ends with the actor, or with the request
		select {
		case <-over:
			_ = later.Answer(true)
		case <-ctx.Done():
			_ = later.Fail(context.Cause(ctx))
		}
	}()
	return false, nil
}

// stopAfar has another node end one of its actors.
func (s *System) stopAfar(ctx context.Context, t *target, now bool) error {
	_, err := Call(ctx, s.Ref(nodeServerName+"@"+t.addr.node), stopActor{Name: t.addr.name, Now: now})
	return err
}

// stop ends the actor, now or behind the messages that wait.
func (c *cell) stop(now bool) {
	if now {
		c.end(nil)
	} else {
		c.seal()
	}
}
