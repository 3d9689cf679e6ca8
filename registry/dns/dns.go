// Package dns is a registry that finds the nodes of a cluster in DNS, as a headless service of Kubernetes
// shows them. It is for clusters whose nodes talk over TCP only, and needs no server but DNS.
//
//	reg, err := dns.New(ctx, dns.Config{Name: "shop.prod.svc.cluster.local", Port: 7420})
//	if err != nil { ... }
//	defer reg.Close()
//
// With a Port, each address (A, AAAA) of Name is a node that listens there, and has the name that [NodeName]
// makes of its address: 10.0.0.7 is the node 10-0-0-7. Without a Port, Name is that of SRV records,
// as in "_tandem._tcp.shop.prod.svc.cluster.local": each target is a node, whose name is the target's first
// label, as "shop-0" of a StatefulSet. A system must have the name that others find in DNS: give
// NodeName of the pod's address, or the pod's host name, to its Config.
//
// The names are looked up every 5 s. A node that is missing from an answer is listed for 30 s more. A look-up that
// fails changes nothing: trouble of DNS does not count as the death of nodes.
//
// What DNS cannot promise. It keeps no claims: nobody notices that two processes use one name, there are
// no leases, and a node that has died is listed until DNS drops it. It knows addresses only: no
// epochs, services, topics, kinds of virtual actors, zones or weights of nodes in other processes, so
// actors there are found by node and name. It proves nothing about who answers at an address;
// that is for the TCP road's TLS. Records that this process registers are kept in its memory, as those
// of package registry/static, and no other process sees them; a last word neither. Where any of this
// is needed, use registry/natskv, registry/etcd or registry/redis.
package dns

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/registry/static"
)

// Defaults of a Config.
const (
	DefaultEvery     = 5 * time.Second
	DefaultGrace     = 30 * time.Second
	DefaultStartWait = time.Minute
	DefaultMaxNodes  = 4096
)

// Resolver looks names up. A *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// Config describes a Registry. Name must be given; elsewhere the zero value is the default.
type Config struct {
	Name    string // that has the addresses, or the SRV records; end it with a dot if the host's search list is not wanted
	Port    int    // at which each address is a node; 0: Name is that of SRV records, which have ports
	Network string // with a Port: "ip4" or "ip6" where nodes have an address of each; default "ip", both
	Road    string // the road of which nodes are given the address; default "tcp"

	Every     time.Duration // between two look-ups; default DefaultEvery
	Grace     time.Duration // for which a node that is missing from answers is still listed; default DefaultGrace
	StartWait time.Duration // how long New waits for an answer if its ctx has no deadline; default DefaultStartWait
	MaxNodes  int           // that are listed, those first by name; default DefaultMaxNodes

	Resolver Resolver     // default net.DefaultResolver
	Logger   *slog.Logger // default slog.Default()
}

// Registry is a list of nodes from DNS, and what this process has registered. Its methods may be called
// concurrently. It is a [registry.Registry] without leases.
type Registry struct {
	*inMemory
	cfg Config
	log *slog.Logger

	stop context.CancelFunc // ends the goroutine of follow
	done chan struct{}      // closed when that has ended
	ask  chan chan<- error  // to it: look up now, and send what came of it

	list list   // owned by that goroutine
	said string // what was last logged; likewise
}

// inMemory has the methods of a registry.
type inMemory = static.Registry

var _ registry.Registry = (*Registry)(nil)

// New returns a registry once DNS has answered. That there is no such name is an answer: no node is
// ready yet. While DNS fails, New waits until ctx ends, or for Config.StartWait if ctx has no deadline; then its
// error wraps registry.ErrUnavailable. ctx bounds only New.
func New(ctx context.Context, cfg Config) (*Registry, error) {
	cfg.Every, cfg.Grace = cmp.Or(cfg.Every, DefaultEvery), cmp.Or(cfg.Grace, DefaultGrace)
	cfg.StartWait, cfg.MaxNodes = cmp.Or(cfg.StartWait, DefaultStartWait), cmp.Or(cfg.MaxNodes, DefaultMaxNodes)
	cfg.Network, cfg.Road = cmp.Or(cfg.Network, "ip"), cmp.Or(cfg.Road, "tcp")
	switch {
	case cfg.Name == "":
		return nil, errors.New("dns: Config.Name is empty")
	case cfg.Port < 0 || cfg.Port > 65535:
		return nil, fmt.Errorf("dns: port %d", cfg.Port)
	case cfg.Every < 0 || cfg.Grace < 0 || cfg.StartWait < 0 || cfg.MaxNodes < 0:
		return nil, errors.New("dns: a field of Config is negative")
	}
	if cfg.Resolver == nil {
		cfg.Resolver = net.DefaultResolver
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	life, stop := context.WithCancel(context.Background())
	r := &Registry{
		inMemory: static.New(), cfg: cfg, log: cfg.Logger.With("registry", cfg.Name),
		stop: stop, done: make(chan struct{}), ask: make(chan chan<- error),
	}
	go r.follow(life)
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, cfg.StartWait)
		defer cancel()
	}
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, cfg.Every) {
		err := r.Refresh(ctx, "")
		if err == nil {
			return r, nil
		}
		select {
		case <-ctx.Done():
			r.Close()
			return nil, err
		case <-time.After(wait):
		}
	}
}

// Close ends the look-ups, and waits for the last one. What was found is still served. It is idempotent.
func (r *Registry) Close() {
	r.stop()
	<-r.done
}

// Refresh looks all nodes up now. Its error wraps registry.ErrUnavailable.
func (r *Registry) Refresh(ctx context.Context, name string) error {
	found := make(chan error, 1)
	var err error
	select {
	case r.ask <- found:
		select {
		case err = <-found:
		case <-ctx.Done():
			err = ctx.Err()
		case <-r.done:
			err = registry.ErrClosed
		}
	case <-ctx.Done():
		err = ctx.Err()
	case <-r.done:
		err = registry.ErrClosed
	}
	if err != nil {
		return fmt.Errorf("dns: looking up %s: %w: %w", r.cfg.Name, registry.ErrUnavailable, err)
	}
	return nil
}

// follow looks the nodes up, until ctx ends.
func (r *Registry) follow(ctx context.Context) {
	defer close(r.done)
	tick := time.NewTicker(r.cfg.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			_ = r.lookUp(ctx) // it is logged
		case found := <-r.ask:
			found <- r.lookUp(ctx)
		}
	}
}

const lookUpTime = 5 * time.Second // bounds one look-up

// lookUp looks the nodes up once, and lists them.
func (r *Registry) lookUp(life context.Context) error {
	ctx, cancel := context.WithTimeout(life, lookUpTime)
	defer cancel()
	found, err := r.find(ctx)
	var gone *net.DNSError
	if errors.As(err, &gone) && gone.IsNotFound {
		found, err = nil, nil
	}
	switch {
	case err != nil && life.Err() != nil:
		return registry.ErrClosed
	case err != nil:
		r.say("DNS does not answer; its last answer counts", "", err)
		return err
	}
	nodes, left := r.cfg.nodes(found)
	if left != "" {
		r.say("DNS has nodes that are not listed", left, nil)
	} else if r.said != "" {
		r.log.Info("DNS answers as it should again")
		r.said = ""
	}
	r.List(r.list.answer(nodes, time.Now(), r.cfg.Grace)...)
	return nil
}

// say logs what is not as it should be, once until that changes. Texts of errors change all the time.
func (r *Registry) say(what, why string, err error) {
	if r.said != what+why {
		r.log.Warn(what, "why", why, "err", err)
		r.said = what + why
	}
}

// find asks DNS.
func (r *Registry) find(ctx context.Context) ([]place, error) {
	var found []place
	if r.cfg.Port == 0 {
		_, targets, err := r.cfg.Resolver.LookupSRV(ctx, "", "", r.cfg.Name)
		for _, t := range targets {
			found = append(found, ofTarget(t))
		}
		if len(found) > 0 {
			return found, nil // the error is about others, whose names are not valid
		}
		return nil, err
	}
	addrs, err := r.cfg.Resolver.LookupNetIP(ctx, r.cfg.Network, r.cfg.Name)
	for _, a := range addrs {
		found = append(found, place{NodeName(a), netip.AddrPortFrom(a.Unmap(), uint16(r.cfg.Port)).String()})
	}
	return found, err
}
