package main

import (
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

func natsAsk(callers int) scenario {
	return scenario{
		name:  fmt.Sprintf("nats-ask-%d", callers),
		about: fmt.Sprintf("%d callers over a NATS server in this process, reached over loopback TCP; 64 bytes there and back", callers),
		peers: []peer{
			{name: "tandem", role: ours, note: "dedup on; encodes and decodes, which nats.go does not", start: func(e *env) (rig, error) {
				n, err := overNATS(e)
				if err != nil {
					return nil, err
				}
				return n.asks(callers, 64)
			}},
			{name: "nats.go", role: rival, note: "Request, and Respond from the subscription's callback", start: func(e *env) (rig, error) { return natsRequests(e, callers) }},
			{name: "micro", role: rival, start: func(e *env) (rig, error) { return microRequests(e, callers) }},
		},
	}
}

func natsTell() scenario {
	return scenario{
		name:  "nats-tell-1",
		about: "one producer, one way over a NATS server in this process; 64 bytes",
		peers: []peer{
			{name: "tandem", role: ours, start: func(e *env) (rig, error) {
				n, err := overNATS(e)
				if err != nil {
					return nil, err
				}
				return n.tells()
			}},
			{name: "nats.go", role: rival, note: "Publish", start: natsPublishes},
		},
	}
}

// natsPair is two connections to the run's server.
func natsPair(e *env) (client, server *nats.Conn, err error) {
	url, err := e.natsURL()
	if err != nil {
		return nil, nil, err
	}
	if client, err = nats.Connect(url); err != nil {
		return nil, nil, err
	}
	server, err = nats.Connect(url)
	return client, server, err
}

func natsRequests(e *env, callers int) (rig, error) {
	client, server, err := natsPair(e)
	if err != nil {
		return nil, err
	}
	got := new(tally)
	subject := nats.NewInbox()
	if _, err := server.Subscribe(subject, func(m *nats.Msg) { got.add(); m.Respond(m.Data) }); err != nil {
		return nil, err
	}
	return requests(client, server, subject, got, callers)
}

func microRequests(e *env, callers int) (rig, error) {
	client, server, err := natsPair(e)
	if err != nil {
		return nil, err
	}
	got := new(tally)
	subject := nats.NewInbox()
	service, err := micro.AddService(server, micro.Config{Name: "bench", Version: "1.0.0"})
	if err != nil {
		return nil, err
	}
	err = service.AddEndpoint("echo", micro.HandlerFunc(func(r micro.Request) { got.add(); r.Respond(r.Data()) }), micro.WithEndpointSubject(subject))
	if err != nil {
		return nil, err
	}
	return requests(client, server, subject, got, callers)
}

func requests(client, server *nats.Conn, subject string, got *tally, callers int) (rig, error) {
	data := make([]byte, 64)
	return &asks{callers: callers, executed: got,
		do:   func(int) error { return reply(client.Request(subject, data, timeout)) },
		stop: func() { client.Close(); server.Close() }}, server.Flush()
}

// natsPublishes has its receiver's limits off, so that nats.go drops nothing.
func natsPublishes(e *env) (rig, error) {
	client, server, err := natsPair(e)
	if err != nil {
		return nil, err
	}
	got := newArrivals()
	subject := nats.NewInbox()
	sub, err := server.Subscribe(subject, func(*nats.Msg) { got.add() })
	if err != nil {
		return nil, err
	}
	if err := sub.SetPendingLimits(-1, -1); err != nil {
		return nil, err
	}
	data := make([]byte, 64)
	return &tells{producers: 1, burst: remoteBurst, arrived: got,
		do:   func(int) error { return client.Publish(subject, data) },
		stop: func() { client.Close(); server.Close() }}, server.Flush()
}
