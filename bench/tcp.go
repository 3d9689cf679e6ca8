package main

import (
	"fmt"
	"time"
)

func tcpAsk(callers int) scenario {
	s := scenario{
		name:  fmt.Sprintf("tcp-ask-%d", callers),
		about: fmt.Sprintf("%d callers over loopback TCP; 64 bytes there and back, encoded and decoded", callers),
		peers: append(tcpAskers(callers, 64), peer{name: "raw-frames", role: limit, note: "many callers' frames gathered on one socket, answered by its reader; nothing is encoded",
			start: func(*env) (rig, error) { return rawFrames(callers) }}),
	}
	if callers == 64 {
		s.peers = append(s.peers, peer{name: "tandem-intercepted", role: variant, note: interceptedNote, start: func(*env) (rig, error) {
			n, err := overTCPWith(intercepted())
			if err != nil {
				return nil, err
			}
			return n.asks(callers, 64)
		}})
	}
	if callers == 1 {
		s.peers = append(s.peers, peer{name: "raw-pingpong", role: limit, note: "a blocking write and a blocking read",
			start: func(*env) (rig, error) { return rawPingPong() }})
	}
	return s
}

const rawActorNote = "as raw-frames, but the server's reader hands each message to an actor's goroutine and a writer sends its replies; bodies are copied, as by all who let a handler keep them"

// protoMost is the largest body that protoactor-go gets in the bench. It sends what is
// ready as one gRPC message, and the requests of 64 callers with bodies of 64 KiB can be
// more than the 4 MiB that gRPC takes by default: then all of them time out.
const protoMost = 1 << 10

// tcpAskers are those that ask an actor, or a server, with bodies of any size.
func tcpAskers(callers, size int) []peer {
	all := []peer{
		{name: "tandem", role: ours, note: "one link, dedup on", start: func(*env) (rig, error) {
			n, err := overTCP()
			if err != nil {
				return nil, err
			}
			return n.asks(callers, size)
		}},
		{name: "protoactor", role: rival, start: func(*env) (rig, error) { return protoAsks(callers, size) }},
		{name: "grpc", role: rival, start: func(*env) (rig, error) { return grpcAsks(callers, size) }},
		{name: "drpc", role: rival, note: drpcNote, start: func(*env) (rig, error) { return drpcAsks(callers, size) }},
		{name: "raw-actor", role: limit, note: rawActorNote, start: func(*env) (rig, error) { return rawActorAsks(callers, size) }},
	}
	if size > protoMost {
		all = append(all[:1], all[2:]...)
	}
	return all
}

// What a measurement with large bodies takes at least, and the size from which on they are
// so few that each is timed.
const (
	minLarge = 400 * time.Millisecond
	few      = 64 << 10
)

// tcpAskSized is 64 callers with larger bodies.
func tcpAskSized(size int, text string) scenario {
	s := scenario{
		name:  "tcp-ask-64-" + text,
		about: fmt.Sprintf("64 callers over loopback TCP; %d KiB there and back, encoded and decoded", size>>10),
		peers: tcpAskers(64, size),
	}
	if size < few {
		return s
	}
	for i := range s.peers {
		start := s.peers[i].start
		s.peers[i].start = func(e *env) (rig, error) {
			r, err := start(e)
			if a, ok := r.(*asks); ok {
				a.every, a.least = 1, minLarge
			}
			return r, err
		}
	}
	return s
}

// manyActors is over how many actors tcp-ask-64-actors spreads its callers.
const manyActors = 8

// tcpAskActors is 64 callers that ask several actors on one node, and the same with one.
func tcpAskActors() scenario {
	start := func(actors int) func(*env) (rig, error) {
		return func(e *env) (rig, error) {
			c, err := greeted(away(func(*env) (*nodes, error) { return overTCP() }))(e, actors)
			if err != nil {
				return nil, err
			}
			return c.asks(64, 64), nil
		}
	}
	return scenario{
		name:  "tcp-ask-64-actors",
		about: fmt.Sprintf("64 callers over loopback TCP, to %d actors in turn, and to one; 64 bytes there and back", manyActors),
		peers: []peer{
			{name: "tandem", role: ours, note: fmt.Sprintf("%d actors", manyActors), start: start(manyActors)},
			{name: "tandem-one", role: variant, note: "one actor", start: start(1)},
		},
	}
}

func tcpTell() scenario {
	return scenario{
		name:  "tcp-tell-1",
		about: "one producer, one way over loopback TCP; 64 bytes, encoded and decoded",
		peers: []peer{
			{name: "tandem", role: ours, start: func(*env) (rig, error) {
				n, err := overTCP()
				if err != nil {
					return nil, err
				}
				return n.tells()
			}},
			{name: "protoactor", role: rival, start: func(*env) (rig, error) { return protoTells() }},
			{name: "grpc", role: rival, note: "one client stream", start: func(*env) (rig, error) { return grpcTells() }},
			{name: "drpc", role: rival, note: "one client stream", start: func(*env) (rig, error) { return drpcTells() }},
			{name: "raw-actor", role: limit, note: "the producer appends to what a writer writes, and waits at 1 MiB; the server's reader hands each message to an actor's goroutine",
				start: func(*env) (rig, error) { return rawActorTells() }},
			{name: "raw-frames", role: limit, note: "a buffered writer and a buffered reader; nothing is encoded",
				start: func(*env) (rig, error) { return rawTells() }},
		},
	}
}
