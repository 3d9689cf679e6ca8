package main

import (
	proto "github.com/asynkron/protoactor-go/actor"
	"github.com/asynkron/protoactor-go/remote"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// protoNodes is two systems of protoactor-go joined by its remote, with its defaults.
type protoNodes struct {
	client, server   *proto.ActorSystem
	clientR, serverR *remote.Remote
	pid              *proto.PID // as the client sees it
}

func protoJoined(receive proto.ReceiveFunc) (*protoNodes, error) {
	n := &protoNodes{client: protoSystem(), server: protoSystem()}
	n.clientR = remote.NewRemote(n.client, remote.Configure("127.0.0.1", 0))
	n.clientR.Start()
	n.serverR = remote.NewRemote(n.server, remote.Configure("127.0.0.1", 0))
	n.serverR.Start()
	pid, err := n.server.Root.SpawnNamed(proto.PropsFromFunc(receive), "far")
	if err != nil {
		return nil, err
	}
	n.pid = proto.NewPID(n.server.Address(), pid.Id)
	return n, nil
}

// close is not graceful: a graceful end takes protoactor-go ten seconds.
func (n *protoNodes) close() {
	n.clientR.Shutdown(false)
	n.serverR.Shutdown(false)
	n.client.Shutdown()
	n.server.Shutdown()
}

func protoAsks(callers, size int) (rig, error) {
	got := new(tally)
	n, err := protoJoined(func(c proto.Context) {
		if m, ok := c.Message().(*wrapperspb.BytesValue); ok {
			got.add()
			c.Respond(m)
		}
	})
	if err != nil {
		return nil, err
	}
	msg := wrapperspb.Bytes(make([]byte, size))
	ask := func(int) error { return reply(n.client.Root.RequestFuture(n.pid, msg, timeout).Result()) }
	return &asks{callers: callers, executed: got, do: ask, stop: n.close}, ask(0)
}

func protoTells() (rig, error) {
	got := newArrivals()
	n, err := protoJoined(func(c proto.Context) {
		if _, ok := c.Message().(*wrapperspb.BytesValue); ok {
			got.add()
		}
	})
	if err != nil {
		return nil, err
	}
	msg := wrapperspb.Bytes(make([]byte, 64))
	return &tells{producers: 1, burst: remoteBurst, arrived: got,
		do: func(int) error { n.client.Root.Send(n.pid, msg); return nil }, stop: n.close}, nil
}
