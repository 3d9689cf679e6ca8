package actor

import (
	"fmt"
	"maps"
	"reflect"

	"github.com/tandem-go/tandem/internal/stored"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/state"
)

// Stored has the state of a Virtual kind kept in Config.States. part returns a pointer to what is kept
// of an actor's state, which may be all of it: its exported fields, encoded with msgpack.
//
//	var AccountKind = actor.Define("bank.account", newAccount, actor.Answer((*Account).Deposit), actor.Read((*Account).Balance)).
//		With(actor.Virtual(), actor.Stored(func(a *Account) *Account { return a }))
//
// One write keeps what a handler has changed, its reply, and the messages that it has sent with Tell. The
// reply and the messages leave when that is done. So a request has its effect once, and all its copies
// get the same reply, whatever crashes at whatever moment, and wherever the actor is active next: a
// request whose node has died is made again, under the same name, like one that has not run. Handlers
// go on while a write is under way, and the next write keeps what they all have changed. A handler that
// is made with Read waits for nothing but what it has seen.
//
// A handler that returns an error, or panics, has changed nothing: what is kept is set back to what it was
// before, and its messages are dropped. What the state has besides, and what hooks have changed, is
// set back by nobody. Nothing is kept of a request that has changed nothing and sent nothing, but its
// outcome is known for as long as the activation lasts.
//
// When the store is full, or does not take a record, nothing has run, and the caller is told why. When the
// store cannot be reached, requests wait. When records are lost, actors are not activated, so that
// none begins without its state. A state that cannot be decoded is an error of that actor alone.
//
// What a handler sends with Tell waits for the write; so do Push, Publish on a durable topic, Submit, Remind and Forget. Call,
// Ask and the others take place at once, whatever becomes of the handler. A message of Tell is for one actor, not for a service, and
// arrives at most once as one of TellReliably does, in the order in which the actor has sent them to its receiver, and at
// a stored actor exactly once. An item that is pushed, and a publication, have an id by which the queue and the store know them, and come
// again until these have them: once, for as long as they remember ids, and the publications of an actor in their order. A job is for an actor of one node, and is submitted at most once; its token
// belongs to the node that has submitted it, which may be another one after a move.
// What is refused for good becomes a dead letter and an event, MessageGivenUp.
//
// The answer cannot be put off (Defer), and no message can be put aside (Stash); a stored kind has no behaviours and no streams.
func Stored[S, D any](part func(S) *D) KindOption {
	return func(k *Kind) {
		k.keeps = k.keeps.clone()
		k.keeps.of, k.keeps.typ = reflect.TypeFor[S](), reflect.TypeFor[D]()
		k.keeps.part = func(state any) any { return part(state.(S)) }
	}
}

// Migrate converts what is kept of an actor's state from one version of its type to the next. The first
// version is 1. With a Migrate from each version that the store may still have, the last one to what Stored
// returns, an actor is converted when it is activated. fn must not fail. A node with an older
// version of the kind does not activate an actor that was converted.
func Migrate[Old, New any](from uint32, fn func(Old) New) KindOption {
	return func(k *Kind) {
		k.keeps = k.keeps.clone()
		k.keeps.steps[from] = migration{from: reflect.TypeFor[Old](), to: reflect.TypeFor[New](),
			decode: func(data []byte) (old any, err error) {
				var v Old
				err = records.Decode(data, &v)
				return v, err
			},
			convert: func(old any) any { return fn(old.(Old)) },
		}
	}
}

// Read is Answer for a handler that changes nothing, of a kind that is Stored: nothing is written after it, and its
// reply leaves at once, unless it tells of what is not written yet. At other kinds it is Answer.
func Read[S any, M Question[R], R any](fn func(S, *Context, M) (R, error)) Handler[S] {
	h := Answer(fn)
	h.h.reads = true
	return h
}

// keeping is how the state of a kind is kept. It is immutable.
type keeping struct {
	of    reflect.Type // the state
	typ   reflect.Type // what is kept of it
	part  func(state any) any
	steps map[uint32]migration // by the version that they begin with
}

// version is that of what part returns.
func (k *keeping) version() uint32 { return uint32(len(k.steps)) + 1 }

// bounds are those of the records. All activations of a kind share them.
func (k *keeping) bounds() *stored.Config {
	c, err := stored.Config{TypeVersion: k.version(), MaxRecord: maxStored}.WithDefaults()
	if err != nil { // it is the same for all kinds
		panic(err)
	}
	return &c
}

// migration is one step from a version of what is kept to the next.
type migration struct {
	from, to reflect.Type
	decode   func(data []byte) (old any, err error)
	convert  func(old any) any
}

// clone returns a copy of k, which may be nil, with room for one more migration.
func (k *keeping) clone() *keeping {
	var c keeping
	if k != nil {
		c = *k
	}
	if c.steps = maps.Clone(c.steps); c.steps == nil {
		c.steps = map[uint32]migration{}
	}
	return &c
}

// maxStored is the size of a record beyond which a commit is not even tried: what fits into a message of a NATS
// server that is not configured otherwise.
const maxStored = 1<<20 - 16<<10

// checkStored returns what is wrong with a stored kind, or nil, at a time when all options are there.
func (k *Kind) checkStored() error {
	bad := func(format string, args ...any) error {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "kind %s: "+format, append([]any{k.name}, args...)...)
	}
	keeps := k.keeps
	switch {
	case keeps == nil:
		return nil
	case keeps.part == nil:
		return bad("Migrate is for a kind that is Stored")
	case !k.placed:
		return bad("a Stored kind has to be Virtual")
	case k.stateType != keeps.of:
		return bad("Stored is for a state of type %v, and the state is a %v", keeps.of, k.stateType)
	case len(k.behaviours) > 0 || k.stash > 0:
		return bad("a Stored kind has no behaviours and no stash")
	}
	for _, h := range k.handlers {
		if h.opens {
			return bad("a Stored kind cannot serve streams, and it has a handler of %v that does", h.typ)
		}
	}
	for v := uint32(1); v < keeps.version(); v++ {
		step, ok := keeps.steps[v]
		next := keeps.typ
		if v+1 < keeps.version() {
			next = keeps.steps[v+1].from
		}
		switch {
		case !ok:
			return bad("it has %d migrations, and none from version %d", len(keeps.steps), v)
		case step.to != next:
			return bad("the migration from version %d makes a %v, and the next version is a %v", v, step.to, next)
		}
	}
	return nil
}

// encode returns what is kept of a state.
func (k *keeping) encode(of any) ([]byte, error) { return records.Append(nil, k.part(of)) }

// decode makes what is kept of a state what data says, which is of that version. Version 0 leaves it as it is.
func (k *keeping) decode(version uint32, data []byte, into any) (err error) {
	switch {
	case version == 0:
		return nil
	case version > k.version():
		return fmt.Errorf("%w: it is of version %d, and this program knows up to version %d", state.ErrFormat, version, k.version())
	case version == k.version():
		return records.Decode(data, k.part(into))
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: a migration panicked: %v", state.ErrFormat, r)
		}
	}()
	v, err := k.steps[version].decode(data)
	for ; err == nil && version < k.version(); version++ {
		v = k.steps[version].convert(v)
	}
	if err == nil {
		reflect.ValueOf(k.part(into)).Elem().Set(reflect.ValueOf(v))
	}
	return err
}

// setBack gives what is kept of a state the value that it has in another state.
func (k *keeping) setBack(of, from any) {
	reflect.ValueOf(k.part(of)).Elem().Set(reflect.ValueOf(k.part(from)).Elem())
}
