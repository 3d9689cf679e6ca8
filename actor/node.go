package actor

import (
	"context"
	"errors"
	"reflect"
	"strings"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/rpc"
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

// watchActors asks a node to tell of the ends of some of its actors, and to forget about others.
type watchActors struct {
	Returns[watched]
	Epoch string // of the node that asks
	Key   string // what is told has to have this key
	IDs   []uint64
	Names []string // one for each id
	Drop  []uint64
}

// watched is the answer to watchActors: which start of the node has noted it, and in which memory
// of the watches of the other node.
type watched struct {
	Epoch, Keeper string
	Ended         []actorEnd // those that it does not watch, because there is no such actor, or for another reason
}

// actorsEnded tells a node of the ends of actors that it watches.
type actorsEnded struct {
	Returns[bool]
	Key  string
	Ends []actorEnd
}

// actorEnd says that a watch has ended, and why. Code is 0 if somebody stopped the actor.
type actorEnd struct {
	ID         uint64
	Code       rpc.Code
	Text, User string
}

func (watchActors) WireName() string            { return "tandem.node.watch" }
func (watched) WireName() string                { return "tandem.node.watched" }
func (actorsEnded) WireName() string            { return "tandem.node.ended" }
func (watchActors) neededOp() (access.Op, bool) { return access.Watch, true }
func (actorsEnded) neededOp() (access.Op, bool) { return 0, true } // its key shows that this node has asked for it

// nodeServer has no state of its own.
type nodeServer struct{}

var nodeServerKind = Define("tandem.node", func() nodeServer { return nodeServer{} }, Answer(nodeServer.stop), Answer(nodeServer.watch), Answer(nodeServer.ended),
	Answer(nodeServer.inspect), Answer(nodeServer.list), Answer(nodeServer.find), Answer(nodeServer.schemas),
	Answer(nodeServer.why), Answer(nodeServer.requests)).With(systems())

// watch registers watches of another node.
func (nodeServer) watch(ctx *Context, m watchActors) (watched, error) {
	s := ctx.System()
	if len(m.IDs) != len(m.Names) || m.Key == "" {
		return watched{}, rpc.Errorf(rpc.Invalid, rpc.NotRun, "%d ids for %d actors", len(m.IDs), len(m.Names))
	}
	f := s.keeps.get(ctx, m)
	r := watched{Epoch: s.epoch, Keeper: f.keeper}
	typeID := s.types.get(reflect.TypeFor[watchActors]()).id
	for i, name := range m.Names {
		err := error(nil)
		if refusal := ctx.mayUse(name, typeID, access.Watch); refusal != nil {
			err = refusal
		} else {
			c := s.refs.live(name)
			if strings.HasPrefix(name, hidden) {
				c = nil
			}
			err = f.add(m.IDs[i], name, c)
		}
		if err == errForgotten {
			return watched{}, err // the other node tries again
		}
		if err != nil {
			r.Ended = append(r.Ended, s.endOf(m.IDs[i], err))
		}
	}
	for _, id := range m.Drop {
		f.drop(id)
	}
	s.keeps.forget(f)
	return r, nil
}

// ended takes in what another node tells of its actors. Who does not know the key is not heard.
func (nodeServer) ended(ctx *Context, m actorsEnded) (bool, error) {
	far := &ctx.System().far
	far.mu.Lock()
	f := far.byKey[m.Key]
	far.mu.Unlock()
	if f != nil && f.name == ctx.Node() {
		f.heard(m.Ends)
	}
	return true, nil
}

// shutDown is how ErrShutdown travels.
const shutDown = "actor.shutdown"

// endOf says why a watch has ended, without the text of a panic.
func (s *System) endOf(id uint64, why error) actorEnd {
	if why == nil {
		return actorEnd{ID: id}
	}
	if why == ErrShutdown {
		return actorEnd{ID: id, Code: rpc.Unavailable, User: shutDown}
	}
	e := failure(why)
	if known := (*rpc.Error)(nil); errors.As(why, &known) {
		e = known
	}
	if e.Code == rpc.Panicked && !s.cfg.PanicTexts {
		return actorEnd{id, e.Code, "the handler panicked", ""}
	}
	return actorEnd{id, e.Code, e.Message, e.User}
}

// why is the reason that a node has given.
func (e actorEnd) why(node string) error {
	switch {
	case e.Code == 0:
		return nil
	case e.User == shutDown:
		return ErrShutdown
	}
	return &rpc.Error{Code: e.Code, Verdict: rpc.HasRun, Message: e.Text, User: e.User, Node: node}
}

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
