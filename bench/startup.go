package main

import (
	"context"
	"strconv"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
)

const startGroup = "start of a system until it is ready"

// startups measures how long a system takes to start.
func startups(e *env, tries int) []figure {
	return []figure{
		startup("local", tries, func(try int) (*actor.System, func(), error) {
			sys, err := actor.NewSystem(actor.Config{Logger: quiet})
			return sys, func() {}, err
		}),
		startup("with TCP", tries, func(try int) (*actor.System, func(), error) {
			sys, err := nodeNamed("n"+strconv.Itoa(try), tcpRoad()(), static.New())
			return sys, func() {}, err
		}),
		startup("with NATS, connecting included", tries, func(try int) (*actor.System, func(), error) {
			return natsNode(e, "n"+strconv.Itoa(try), static.New())
		}),
		firstAsk("TCP, and the first ask of a node there", tries, func(name string, names registry.Registry) (*actor.System, func(), error) {
			sys, err := nodeNamed(name, tcpRoad()(), names)
			return sys, func() {}, err
		}),
		firstAsk("NATS, and the first ask of a node there", tries, func(name string, names registry.Registry) (*actor.System, func(), error) {
			return natsNode(e, name, names)
		}),
	}
}

// startup times start; what it returns to be closed is closed outside of the time.
func startup(name string, tries int, start func(try int) (*actor.System, func(), error)) figure {
	return repeat(startGroup, name, "ms", tries, func(try int) (float64, error) {
		begin := time.Now()
		sys, disconnect, err := start(try)
		took := time.Since(begin)
		if err != nil {
			return 0, err
		}
		down(sys)()
		disconnect()
		return took.Seconds() * 1e3, nil
	})
}

// firstAsk is startup until an actor on a node that was there before has answered.
func firstAsk(name string, tries int, join func(name string, names registry.Registry) (*actor.System, func(), error)) figure {
	names, asked := static.New(), new(tally)
	server, disconnect, err := join("server", names)
	if err != nil {
		return found(startGroup, name, "ms", nil, err)
	}
	defer disconnect()
	defer down(server)()
	kind := actor.Define("bench.far", func() *far { return &far{asked: asked} }, actor.Answer((*far).echo))
	if _, err := server.Spawn("far", kind); err != nil {
		return found(startGroup, name, "ms", nil, err)
	}
	return startup(name, tries, func(try int) (*actor.System, func(), error) {
		sys, disconnect, err := join("client"+strconv.Itoa(try), names)
		if err == nil {
			_, err = actor.Call(context.Background(), sys.Ref("far@server"), echo{Data: make([]byte, 64)})
		}
		return sys, disconnect, err
	})
}

// nodeNamed starts a system with one road.
func nodeNamed(name string, road transport.Transport, names registry.Registry) (*actor.System, error) {
	return actor.NewSystem(actor.Config{Name: name, Transports: []transport.Transport{road}, Registry: names, Logger: quiet})
}

func natsNode(e *env, name string, names registry.Registry) (*actor.System, func(), error) {
	url, err := e.natsURL()
	if err != nil {
		return nil, nil, err
	}
	nc, err := natsbus.Connect(context.Background(), url)
	if err != nil {
		return nil, nil, err
	}
	sys, err := nodeNamed(name, natsbus.New(nc, natsbus.Config{}), names)
	return sys, nc.Close, err
}
