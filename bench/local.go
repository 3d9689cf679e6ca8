package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	proto "github.com/asynkron/protoactor-go/actor"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
)

// payload is what travels in the local rows: 64 bytes.
type payload struct{ Data [64]byte }

// question and valueQuestion are a payload that is answered with one.
type question struct {
	actor.Returns[*payload]
	Data [64]byte
}

type valueQuestion struct {
	actor.Returns[payload]
	Data [64]byte
}

// timeout is what every peer that wants one is given for a request.
const timeout = 30 * time.Second

// queue is how many messages a bounded queue between goroutines holds: a mailbox of
// Tandem, and the channels beside it.
const queue = 1024

var quiet = slog.New(slog.DiscardHandler)

func localTell(producers int) scenario {
	tell := func(stop func(), arrived *arrivals, do func(int) error) (rig, error) {
		return &tells{producers: producers, burst: localBurst, arrived: arrived, do: do, stop: stop}, nil
	}
	return scenario{
		name:  fmt.Sprintf("local-tell-%d", producers),
		about: fmt.Sprintf("%d producers, one receiver, one way; the same pointer, or 64 bytes by value", producers),
		peers: []peer{
			{name: "tandem", role: ours, start: func(*env) (rig, error) {
				sys, ref, got, err := localSink(actor.Config{})
				if err != nil {
					return nil, err
				}
				ctx, msg := context.Background(), new(payload)
				return tell(down(sys), got, func(int) error { return actor.Tell(ctx, ref, msg) })
			}},
			{name: "tandem-value", role: variant, start: func(*env) (rig, error) {
				sys, ref, got, err := localSink(actor.Config{})
				if err != nil {
					return nil, err
				}
				ctx, msg := context.Background(), new(payload)
				return tell(down(sys), got, func(int) error { return actor.Tell(ctx, ref, *msg) })
			}},
			{name: "tandem-unbounded", role: variant, note: "the mailbox is unbounded, as protoactor's is by default", start: func(*env) (rig, error) {
				sys, ref, got, err := localSink(actor.Config{}, actor.Mailbox(mailbox.Config{Unbounded: true}))
				if err != nil {
					return nil, err
				}
				ctx, msg := context.Background(), new(payload)
				return tell(down(sys), got, func(int) error { return actor.Tell(ctx, ref, msg) })
			}},
			{name: "tandem-intercepted", role: variant, note: interceptedNote, start: func(*env) (rig, error) {
				sys, ref, got, err := localSink(intercepted())
				if err != nil {
					return nil, err
				}
				ctx, msg := context.Background(), new(payload)
				return tell(down(sys), got, func(int) error { return actor.Tell(ctx, ref, msg) })
			}},
			{name: "protoactor", role: rival, start: func(*env) (rig, error) {
				sys, pid, got := protoSink()
				msg := new(payload)
				return tell(sys.Shutdown, got, func(int) error { sys.Root.Send(pid, msg); return nil })
			}},
			{name: "protoactor-value", role: variant, start: func(*env) (rig, error) {
				sys, pid, got := protoSink()
				msg := new(payload) // a literal would be boxed at compile time
				return tell(sys.Shutdown, got, func(int) error { sys.Root.Send(pid, *msg); return nil })
			}},
			{name: "chan", role: limit, start: func(*env) (rig, error) {
				ch, got, msg := make(chan *payload, queue), newArrivals(), new(payload)
				return tell(drained(ch, got), got, func(int) error { ch <- msg; return nil })
			}},
			{name: "chan-value", role: variant, start: func(*env) (rig, error) {
				ch, got, msg := make(chan payload, queue), newArrivals(), new(payload)
				return tell(drained(ch, got), got, func(int) error { ch <- *msg; return nil })
			}},
		},
	}
}

// drained receives from ch in a goroutine until the returned function is called.
func drained[T any](ch chan T, got *arrivals) (stop func()) {
	go func() {
		for range ch {
			got.add()
		}
	}()
	return func() { close(ch) }
}

func localAsk(callers int) scenario {
	ask := func(stop func(), executed *tally, do func(int) error) (rig, error) {
		return &asks{callers: callers, executed: executed, do: do, stop: stop}, nil
	}
	return scenario{
		name:  fmt.Sprintf("local-ask-%d", callers),
		about: fmt.Sprintf("%d callers, each waits for its reply; a pointer there and a pointer back", callers),
		peers: []peer{
			{name: "tandem", role: ours, start: func(*env) (rig, error) {
				sys, ref, got, err := localOracle(actor.Config{})
				if err != nil {
					return nil, err
				}
				ctx, msg := context.Background(), new(question)
				return ask(down(sys), got, func(int) error { return reply(actor.Call(ctx, ref, msg)) })
			}},
			{name: "tandem-value", role: variant, start: func(*env) (rig, error) {
				sys, ref, got, err := localOracle(actor.Config{})
				if err != nil {
					return nil, err
				}
				ctx, msg := context.Background(), new(valueQuestion)
				return ask(down(sys), got, func(int) error { return reply(actor.Call(ctx, ref, *msg)) })
			}},
			{name: "tandem-intercepted", role: variant, note: interceptedNote, start: func(*env) (rig, error) {
				sys, ref, got, err := localOracle(intercepted())
				if err != nil {
					return nil, err
				}
				ctx, msg := context.Background(), new(question)
				return ask(down(sys), got, func(int) error { return reply(actor.Call(ctx, ref, msg)) })
			}},
			{name: "protoactor", role: rival, start: func(*env) (rig, error) {
				got, msg := new(tally), new(payload)
				sys := protoSystem()
				pid := sys.Root.Spawn(proto.PropsFromFunc(func(c proto.Context) {
					if m, ok := c.Message().(*payload); ok {
						got.add()
						c.Respond(m)
					}
				}))
				return ask(sys.Shutdown, got, func(int) error { return reply(sys.Root.RequestFuture(pid, msg, timeout).Result()) })
			}},
			{name: "chan-pair", role: limit, start: func(*env) (rig, error) {
				type call struct {
					msg   *payload
					reply chan *payload
				}
				ch, got, msg := make(chan call, queue), new(tally), new(payload)
				go func() {
					for c := range ch {
						got.add()
						c.reply <- c.msg
					}
				}()
				back := make([]chan *payload, callers)
				for i := range back {
					back[i] = make(chan *payload, 1)
				}
				return ask(func() { close(ch) }, got, func(caller int) error {
					ch <- call{msg, back[caller]}
					<-back[caller]
					return nil
				})
			}},
		},
	}
}

func reply[R any](_ R, err error) error { return err }

// down shuts systems down.
func down(systems ...*actor.System) func() {
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		var ended sync.WaitGroup // together: each would wait for the other's acks
		for _, s := range systems {
			ended.Go(func() { s.Shutdown(ctx) })
		}
		ended.Wait()
	}
}

type sink struct{ got *arrivals }

func (s *sink) pointer(*actor.Context, *payload) error { s.got.add(); return nil }
func (s *sink) value(*actor.Context, payload) error    { s.got.add(); return nil }

// localSink is an actor that takes one-way messages.
func localSink(cfg actor.Config, opts ...actor.SpawnOption) (*actor.System, actor.Ref, *arrivals, error) {
	got := newArrivals()
	kind := actor.Define("bench.sink", func() *sink { return &sink{got} },
		actor.Handle((*sink).pointer), actor.Handle((*sink).value))
	sys, ref, err := localActor(cfg, kind, opts...)
	return sys, ref, got, err
}

type oracle struct {
	got    *tally
	answer *payload
}

func (o *oracle) pointer(*actor.Context, *question) (*payload, error) {
	o.got.add()
	return o.answer, nil
}

func (o *oracle) value(_ *actor.Context, q valueQuestion) (payload, error) {
	o.got.add()
	return payload{q.Data}, nil
}

// localOracle is an actor that answers.
func localOracle(cfg actor.Config) (*actor.System, actor.Ref, *tally, error) {
	got := new(tally)
	kind := actor.Define("bench.oracle", func() *oracle { return &oracle{got, new(payload)} },
		actor.Answer((*oracle).pointer), actor.Answer((*oracle).value))
	sys, ref, err := localActor(cfg, kind)
	return sys, ref, got, err
}

func localActor(cfg actor.Config, kind *actor.Kind, opts ...actor.SpawnOption) (*actor.System, actor.Ref, error) {
	cfg.Logger = quiet
	sys, err := actor.NewSystem(cfg)
	if err != nil {
		return nil, actor.Ref{}, err
	}
	ref, err := sys.Spawn("it", kind, opts...)
	return sys, ref, err
}

func protoSystem() *proto.ActorSystem {
	return proto.NewActorSystem(proto.WithLoggerFactory(func(*proto.ActorSystem) *slog.Logger { return quiet }))
}

// protoSink is the same as localSink in protoactor-go, with its default mailbox.
func protoSink() (*proto.ActorSystem, *proto.PID, *arrivals) {
	got, sys := newArrivals(), protoSystem()
	pid := sys.Root.Spawn(proto.PropsFromFunc(func(c proto.Context) {
		switch c.Message().(type) {
		case *payload, payload:
			got.add()
		}
	}))
	return sys, pid, got
}
