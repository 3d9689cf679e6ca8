package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/transport/tcp"
)

// nodeFlag as the first argument, followed by what the node is made of and by its name,
// makes this program one node of scenario tcp-ask-64-processes. It is not for users.
const nodeFlag = "-node"

// What a node is made of.
const (
	nodeOfTandem = "tandem"
	nodeOfRaw    = "raw"
)

// A clusterNode has one actor, which answers, and can ask those of the other nodes.
type clusterNode interface {
	// record is where others reach it.
	record() registry.Node

	// join links it with all others.
	join(others []registry.Node, callers int) error

	// ask asks one of the others, by its place in what join got. A caller below the number
	// that join got has one request under way.
	ask(other, caller int) error

	// executed counts what its actor has answered.
	executed() *tally
}

// order is what the parent writes to a node, as a line of JSON. The node does what is set,
// and answers each order with one report. Its first report comes unasked.
type order struct {
	Join    []registry.Node `json:"join,omitempty"` // with these; all others of the cluster
	Callers int             `json:"callers,omitempty"`
	Ask     time.Duration   `json:"ask,omitempty"`     // for so long
	Collect bool            `json:"collect,omitempty"` // garbage, before the totals
}

// report is what a node writes.
type report struct {
	Node *registry.Node `json:"node,omitempty"` // in the first report
	Err  string         `json:"err,omitempty"`

	// Of what was asked by this order.
	Sent    uint64         `json:"sent,omitempty"`
	Ops     uint64         `json:"ops,omitempty"`
	Errors  uint64         `json:"errors,omitempty"`
	Elapsed time.Duration  `json:"elapsed,omitempty"`
	Lat     map[int]uint64 `json:"lat,omitempty"` // buckets of a histogram

	// Totals since the start of the process.
	Executed uint64        `json:"executed"`
	CPU      time.Duration `json:"cpu"`
	Allocs   uint64        `json:"allocs"`
	Bytes    uint64        `json:"bytes"`
}

// nodeMain is the main function of a node. The process ends when in does, whatever it is
// doing: then the parent has closed it or is dead.
func nodeMain(args []string, in io.Reader, out io.Writer) {
	orders := make(chan order)
	go func() {
		for dec := json.NewDecoder(in); ; {
			var o order
			if dec.Decode(&o) != nil {
				os.Exit(0)
			}
			orders <- o
		}
	}()
	enc := json.NewEncoder(out)
	w := &worked{}
	first := report{}
	if err := w.start(args); err != nil {
		first.Err = err.Error()
	} else {
		r := w.node.record()
		first.Node = &r
	}
	enc.Encode(first) // if nobody reads it, in ends
	for o := range orders {
		enc.Encode(w.do(o))
	}
}

// worked is a node that obeys orders.
type worked struct {
	node    clusterNode
	callers *asks
}

func (w *worked) start(args []string) (err error) {
	if len(args) != 2 {
		return fmt.Errorf("a node needs what it is made of and a name, not %q", args)
	}
	switch args[0] {
	case nodeOfTandem:
		w.node, err = newTandemNode(args[1])
	case nodeOfRaw:
		w.node, err = newRawNode(args[1])
	default:
		err = fmt.Errorf("no node can be made of %q", args[0])
	}
	return err
}

func (w *worked) do(o order) (r report) {
	if len(o.Join) > 0 {
		if err := w.node.join(o.Join, o.Callers); err != nil {
			r.Err = err.Error()
		}
		n := len(o.Join)
		w.callers = &asks{callers: o.Callers, executed: w.node.executed(), stop: func() {},
			do: func(caller int) error { return w.node.ask(caller%n, caller) }}
	}
	if o.Ask > 0 {
		s := w.callers.measure(o.Ask)
		r.Sent, r.Ops, r.Errors, r.Elapsed, r.Lat = s.sent, s.ops, s.errors, s.elapsed, s.lat.counts()
		if s.err != nil {
			r.Err = s.err.Error()
		}
	}
	if o.Collect {
		runtime.GC()
	}
	c := costsNow()
	r.Executed, r.CPU, r.Allocs, r.Bytes = w.node.executed().n.Load(), c.cpu, c.allocs, c.bytes
	return r
}

// tandemNode is a node of Tandem, with its defaults.
type tandemNode struct {
	sys   *actor.System
	names *static.Registry // of this process: it hears of the others by join
	self  registry.Node
	asked *tally
	refs  []actor.Ref
	data  []byte
}

func newTandemNode(name string) (clusterNode, error) {
	n := &tandemNode{names: static.New(), asked: new(tally), data: make([]byte, 64)}
	var err error
	if n.sys, err = nodeNamed(name, tcp.New(tcp.Config{Listen: "127.0.0.1:0"}), n.names); err != nil {
		return nil, err
	}
	if _, err := n.sys.Spawn("far", farKind(n.asked, newArrivals())); err != nil {
		return nil, err
	}
	n.self, err = n.names.Lookup(context.Background(), name)
	return n, err
}

func (n *tandemNode) record() registry.Node { return n.self }
func (n *tandemNode) executed() *tally      { return n.asked }

func (n *tandemNode) join(others []registry.Node, _ int) error {
	for _, o := range others {
		if err := n.names.Register(context.Background(), o); err != nil {
			return err
		}
		n.refs = append(n.refs, n.sys.Ref("far@"+o.Name))
	}
	for i := range n.refs {
		if err := n.ask(i, 0); err != nil {
			return err
		}
	}
	return nil
}

func (n *tandemNode) ask(other, _ int) error {
	return reply(actor.Call(context.Background(), n.refs[other], echo{Data: n.data}))
}

// rawNode is a rawActor and callers of others, without anything of Tandem.
type rawNode struct {
	self  registry.Node
	actor *rawActor
	came  chan rawCaller // who has dialled, and has no link yet
	links []*rawLink
	data  []byte
}

// rawCaller is a connection from another node.
type rawCaller struct {
	name string
	conn net.Conn
}

// rawRoad stands for the road in the records of raw nodes.
const rawRoad = "raw"

func newRawNode(name string) (clusterNode, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	n := &rawNode{actor: newRawActor(nil), came: make(chan rawCaller), data: make([]byte, 64),
		self: registry.Node{Name: name, Addrs: map[string]string{rawRoad: ln.Addr().String()}}}
	go n.accept(ln) // as long as the process
	return n, nil
}

// accept takes connections. The first byte of each is the length of its caller's name,
// which follows.
func (n *rawNode) accept(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		length := make([]byte, 1)
		if _, err := io.ReadFull(conn, length); err != nil {
			return
		}
		name := make([]byte, length[0])
		if _, err := io.ReadFull(conn, name); err != nil {
			return
		}
		n.came <- rawCaller{string(name), conn}
	}
}

func (n *rawNode) record() registry.Node { return n.self }
func (n *rawNode) executed() *tally      { return n.actor.asked }

// join makes one connection for each pair of nodes, as Tandem does: a node dials those that
// come after it, and those before it have dialled.
func (n *rawNode) join(others []registry.Node, callers int) error {
	links := map[string]*rawLink{}
	for _, o := range others {
		if o.Name < n.self.Name {
			c := <-n.came
			links[c.name] = newRawLink(c.conn, callers, n.actor)
			continue
		}
		conn, err := net.Dial("tcp", o.Addrs[rawRoad])
		if err != nil {
			return err
		}
		if _, err := conn.Write(append([]byte{byte(len(n.self.Name))}, n.self.Name...)); err != nil {
			return err
		}
		links[o.Name] = newRawLink(conn, callers, n.actor)
	}
	for _, o := range others {
		n.links = append(n.links, links[o.Name])
	}
	return nil
}

func (n *rawNode) ask(other, caller int) error {
	return reply(n.links[other].ask(caller, n.data))
}
