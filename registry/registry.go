// Package registry says which nodes of a cluster run, under which epochs, at which addresses,
// which services they expose, which topics their actors subscribe to, and which kinds of virtual
// actors they host.
//
// [Registry] is the interface. Package registry/static serves a fixed list, and registry/dns one that it
// finds in DNS. Packages registry/natskv, registry/etcd and registry/redis keep the records in a JetStream key-value
// bucket, in etcd and in Redis, with leases and a cache that still answers while the server is away.
//
// A node claims its name: while one epoch holds a lease on it, any other gets ErrTaken. The
// package imports only the standard library.
package registry

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// Node is the record of one running node.
type Node struct {
	Name     string              `json:"name"`               // unique in the cluster
	Epoch    string              `json:"epoch"`              // random id of this start of the node
	Addrs    map[string]string   `json:"addrs,omitempty"`    // road name → address on that road
	Services map[string][]string `json:"services,omitempty"` // service → names of the actors exposed under it
	Topics   map[string][]string `json:"topics,omitempty"`   // pattern of topics that actors subscribe to → names of their groups; "" stands for those without a group
	Kinds    map[string]string   `json:"kinds,omitempty"`    // kind of virtual actors that the node hosts → the kind's version there; the version may be empty
	Stored   []string            `json:"stored,omitempty"`   // those of Kinds whose actors keep their state, in order
	Version  string              `json:"version,omitempty"`  // of the program that the node runs
	Zone     string              `json:"zone,omitempty"`     // where it runs: a rack, a data centre
	Weight   int                 `json:"weight,omitempty"`   // share of a service's requests, relative to others; 0 means the default, 1
	Proof    *Proof              `json:"proof,omitempty"`    // proves later that the node's process is dead; nil if nothing can

	// Principal is the principal that a peer must have to be this node, as package rpc
	// maps principals; empty: the default of package rpc.
	Principal string `json:"principal,omitempty"`
}

// Proof names the process that runs a node, so that another process of the same machine can
// find out that it is dead. It is of no use on another machine.
type Proof struct {
	Boot      string `json:"boot"`    // this run of the operating system's kernel
	Namespace string `json:"ns"`      // within which PID is counted
	PID       int    `json:"pid"`     // of the process
	Started   uint64 `json:"started"` // when the process was started, in the kernel's own unit since its boot
}

// Clone returns a copy that shares nothing with n.
func (n Node) Clone() Node {
	n.Addrs = maps.Clone(n.Addrs)
	services := make(map[string][]string, len(n.Services))
	for s, actors := range n.Services {
		services[s] = slices.Clone(actors)
	}
	n.Services = services
	if n.Topics != nil {
		topics := make(map[string][]string, len(n.Topics))
		for p, groups := range n.Topics {
			topics[p] = slices.Clone(groups)
		}
		n.Topics = topics
	}
	n.Kinds = maps.Clone(n.Kinds)
	n.Stored = slices.Clone(n.Stored)
	if n.Proof != nil {
		p := *n.Proof
		n.Proof = &p
	}
	return n
}

// Registry is a cluster's list of nodes. Its methods may be called concurrently. Methods
// that only read answer from a cache if the implementation has one. All errors wrap the
// package's sentinels.
type Registry interface {
	// Register claims n.Name for n.Epoch, or replaces the record that this epoch
	// registered before. ErrTaken: another epoch holds a live lease on the name; the
	// error is a *TakenError then.
	Register(ctx context.Context, n Node) error

	// Update replaces the record of n.Epoch, as Register does, but never claims the name.
	// ErrLost: that epoch does not hold it (any more).
	Update(ctx context.Context, n Node) error

	// Renew extends the lease of what epoch registered as name. ErrLost: the claim
	// is gone, because the lease ran out or someone evicted it; Register again.
	//
	// After nil, and after nil from Register and Update, the claim is not gone, unless someone
	// evicts it, before Lease has passed since the call began. Where Lease is zero, it never is.
	Renew(ctx context.Context, name, epoch string) error

	// Deregister gives up the claim. It returns nil if epoch does not hold it (any more).
	// last is the node's last word, which others can read (see Departed): at most MaxLast
	// bytes, else ErrTooLarge. It may be empty.
	Deregister(ctx context.Context, name, epoch string, last []byte) error

	// Evict removes the claim of an epoch that is known to be dead, without waiting
	// for its lease to end. It returns nil if epoch does not hold it (any more), so a
	// successor's claim is never evicted by mistake.
	Evict(ctx context.Context, name, epoch string) error

	// Lookup returns the record of a node. ErrAway: there is none, but there was one in
	// the last Memory, so that the node may come back; ErrNotFound: there was none.
	Lookup(ctx context.Context, name string) (Node, error)

	// Departed says how the latest epoch that held name, and does not hold it any more,
	// ended, if that was in the last Memory; else ErrNotFound. Another epoch may hold
	// the name by now.
	Departed(ctx context.Context, name string) (Departure, error)

	// Refresh reads the record of name from where it is kept, updates the cache with it,
	// and serves that from then on. It does nothing and returns nil if there is no cache.
	Refresh(ctx context.Context, name string) error

	// Nodes returns all live records, sorted by name.
	Nodes(ctx context.Context) ([]Node, error)

	// Watch reports changes until ctx ends, and then closes the channel. It first reports
	// the records that exist, as Joined. A reader that falls behind loses intermediate
	// states of a node, but never its latest one.
	Watch(ctx context.Context) (<-chan Event, error)

	// Lease returns how long a claim lives without Renew; zero means for ever.
	Lease() time.Duration
}

// Change says what happened to a node.
type Change uint8

const (
	Joined  Change = iota + 1 // a new epoch of the node
	Updated                   // same epoch, another record
	Left                      // deregistered or evicted
	Expired                   // its lease ran out
)

var changeNames = [...]string{"?", "joined", "updated", "left", "expired"}

// String returns the change in lower case.
func (c Change) String() string { return changeNames[min(int(c), len(changeNames)-1)] }

// Event is one change of the cluster. For Left and Expired, Node is the last
// record that was known.
type Event struct {
	Change Change
	Node   Node
}

// Memory is the least time for which a registry remembers that a node has departed.
const Memory = 10 * time.Minute

// Departure is how an epoch of a node ended.
type Departure struct {
	Epoch  string    // empty if it is not known any more
	Change Change    // Left or Expired
	At     time.Time // on the registry's clock
	Last   []byte    // the last word that Deregister was given
}

// Sentinels that errors of every registry wrap.
var (
	ErrInvalid     = errors.New("registry: not a valid record")
	ErrTooLarge    = errors.New("registry: too large")
	ErrNotFound    = errors.New("registry: no such node")
	ErrAway        = errors.New("registry: the node is away")
	ErrTaken       = errors.New("registry: name is taken by another epoch")
	ErrLost        = errors.New("registry: claim is gone")
	ErrUnavailable = errors.New("registry: not reachable")
	ErrClosed      = errors.New("registry: its connection is closed for good") // it wraps ErrUnavailable too
	ErrDenied      = errors.New("registry: not allowed")
	ErrReadOnly    = errors.New("registry: the list is fixed")
)

// TakenError is an ErrTaken with the record of the holder of the name.
type TakenError struct {
	Holder  Node
	Renewed time.Time // when the holder last wrote its record, by the registry's clock; zero if claims have no lease
}

// Error names the holder's epoch.
func (e *TakenError) Error() string { return ErrTaken.Error() + " (" + e.Holder.Epoch + ")" }

// Unwrap returns ErrTaken.
func (e *TakenError) Unwrap() error { return ErrTaken }

// Instance is one actor that a node exposes under a service name.
type Instance struct{ Node, Epoch, Actor string }

// Instances lists the actors exposed as service, sorted by node and actor.
func Instances(nodes []Node, service string) []Instance {
	var out []Instance
	for _, n := range nodes {
		for _, a := range n.Services[service] {
			out = append(out, Instance{n.Name, n.Epoch, a})
		}
	}
	return out
}
