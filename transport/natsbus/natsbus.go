// Package natsbus is the road over NATS: it carries links of Tandem on a *nats.Conn of the
// application, beside its other traffic.
//
//	nc, err := natsbus.Connect(ctx, "nats://bus.example:4222", nats.UserInfo("shop", secret))
//	if err != nil { ... }
//	defer nc.Close()
//	road := natsbus.New(nc, natsbus.Config{Principal: "shop"})
//
// A link is a conversation between two node subjects. Every node subscribes to
// <cluster>.node.<node>.<epoch>.*, and a peer publishes there with its own principal as the
// last token. So the server's permissions decide which principal a peer can have. Allow the
// user "shop", who runs the node "till-1", to
//
//	publish to    <cluster>.node.*.*.shop   <cluster>.find.*.shop
//	subscribe to  <cluster>.node.till-1.*.*   <cluster>.find.till-1.*   <cluster>.gone.till-1.*.*
//
// and nothing more below <cluster> (docs/nats-permissions.md says what other packages need).
//
// Permissions alone do not prove who a peer is, because other parts of NATS, such as
// JetStream, can publish where a user may not. So each node also has an X25519 key
// (Config.Key), whose public half is its address in the registry. The greeting of a link
// proves the keys of both sides, and every packet has a number and a tag that only the other
// end of the link can make. If only a node itself may write its record in the registry, this
// proves that a link leads to the start of the node that the registry names, that the server
// let that node use its principal, and that no packet of the link was forged, changed,
// replayed or reordered. A peer that the registry does not know is transport.Anonymous,
// whatever its subject says. A peer with another key is refused, and so is one whose
// principal is the name of another node. So give each node a NATS user of its name: another
// principal may have been used by any user that may make streams in JetStream.
//
// What is not proved: without a registry, or without a key in a node's record, a peer is who
// the server's permissions let it be, and the log says so once. Without permissions, every
// name on the bus is only a claim. A user that may subscribe to others' subjects can read the
// messages, unless Config.Encrypt is set, and can see who talks to whom and how much. The
// operator of the server can withhold messages. The server's message that a peer is gone has
// no tag; it names the link by an id that only the two ends know.
//
// Envelopes that are ready to be sent travel together in one NATS message, so a busy link
// needs far fewer messages than it carries envelopes. The bus may lose messages. The road
// notices that (by numbered packets, reconnects, drops of a slow consumer and "no
// responders") and tells the receivers, but does not resend anything.
//
// The connection belongs to the application: the package never closes it and installs no
// handler on it. Its reconnect buffer must be off, as [Connect] sets it, because a buffered
// message would be sent late, and its sender could not know whether it was sent.
//
// The limits: a large message travels in chunks, each in a NATS message. Bodies of received
// envelopes share memory with the packet in which they came.
package natsbus

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/internal/natswait"
	"github.com/tandem-go/tandem/transport"
)

// Road is the name of this road.
const Road = "nats"

// Overhead is how many bytes a NATS message has beside its only envelope. An envelope that
// does not fit into the server's max_payload together with it travels in chunks.
const Overhead = dataRoom + frameSize

// Config describes a Transport. Its zero value is the default of every field.
type Config struct {
	Principal            string        // last token of the subjects to which the server lets this connection publish; peers see it with "nats:" in front; default the connection's user, or transport.Anonymous if there is none
	MaxFrame             int           // bytes of one encoded envelope that is not cut into chunks, in both directions; default transport.MaxFrame
	MaxLinks             int           // links that peers may have open to this node at once; default 4096
	MaxLinksPerPrincipal int           // of these, links of one principal; default a quarter of MaxLinks, or all if Principal is transport.Anonymous, so that nothing distinguishes peers
	OpenTimeout          time.Duration // how long Dial waits for the peer, and Start for its own packet, when ctx ends later; default 5 s
	PendingBytes         int           // bytes received and not yet handled before nats.go drops messages; default 64 MiB, at least 2 MiB

	// Key is the node's X25519 key. The registry has its public half, see Address. Default: a
	// new key, which is right if nodes register themselves.
	Key *ecdh.PrivateKey

	// Encrypt encrypts the envelopes, so that only the peer can read them. A peer that is not
	// configured for it is refused, and refuses this node.
	Encrypt bool
}

const (
	defaultMaxLinks     = 4096
	defaultOpenTimeout  = 5 * time.Second
	defaultPendingBytes = 64 << 20
	pendingMessages     = 512 << 10 // packets received and not yet handled before nats.go drops them
	maxGreetings        = 8         // answers to one open that wait to be judged before the next is dropped
	maxAnswers          = 256       // answers waiting to be published before the next is dropped
	closeGrace          = time.Second
)

func (c Config) withDefaults(nc *nats.Conn) Config {
	if c.Principal == "" {
		c.Principal = userOf(nc)
	}
	if c.MaxFrame <= 0 {
		c.MaxFrame = transport.MaxFrame
	}
	if c.MaxLinks <= 0 {
		c.MaxLinks = defaultMaxLinks
	}
	if c.MaxLinksPerPrincipal <= 0 {
		c.MaxLinksPerPrincipal = max(c.MaxLinks/4, 1)
		if c.Principal == transport.Anonymous {
			c.MaxLinksPerPrincipal = c.MaxLinks
		}
	}
	if c.OpenTimeout <= 0 {
		c.OpenTimeout = defaultOpenTimeout
	}
	if c.PendingBytes <= 0 {
		c.PendingBytes = defaultPendingBytes
	}
	if c.Key == nil {
		c.Key = newKey()
	}
	c.PendingBytes = max(c.PendingBytes, 2*maxPacket) // nats.go drops a message that is over the limit alone
	return c
}

// userOf returns the user name of nc, from nats.UserInfo or its URL, if it can be a
// principal. Usually it is also the common name of the node's certificate, so that the node
// has one principal on both roads.
func userOf(nc *nats.Conn) string {
	if nc == nil {
		return transport.Anonymous
	}
	user := nc.Opts.User
	if u, err := url.Parse(nc.ConnectedUrl()); err == nil && user == "" {
		if _, secret := u.User.Password(); secret { // otherwise the user's name is a token
			user = u.User.Username()
		}
	}
	if transport.ValidName("principal", user) != nil {
		return transport.Anonymous
	}
	return user
}

// Errors of Start. Each says how to correct the mistake.
var (
	ErrReconnectBuffer = errors.New("natsbus: the connection's reconnect buffer is on: connect with nats.ReconnectBufSize(-1), or with natsbus.Connect")
	ErrNoEcho          = errors.New("natsbus: the connection does not hear what it publishes itself: connect without nats.NoEcho")
	ErrNotConnected    = errors.New("natsbus: no connection to NATS")
	ErrKey             = errors.New("natsbus: Config.Key is of another curve: make it with ecdh.X25519()")
	ErrPermissions     = errors.New("natsbus: the server does not let this connection hear what it publishes to itself: check the user's permissions against Config.Principal and docs/nats-permissions.md")
)

// Transport is the bus road of one system. Its methods may be called concurrently.
type Transport struct {
	nc  *nats.Conn
	cfg Config

	// Set by Start before anything can be received, constant from then on.
	local  transport.Local
	accept func(transport.Link) transport.Receiver
	names  subjects
	subs   []*nats.Subscription
	exited []chan struct{} // one a subscription: closed when its callback will not run again
	node   *nats.Subscription
	status chan nats.Status
	nonce  [nonceSize]byte // of the node's callback
	probe  linkID          // names the packet that Start sends to itself
	heard  chan struct{}   // closed when that packet came back

	room    atomic.Int64    // the server's max_payload when last asked
	answers chan answer     // packets that callbacks want to publish
	stop    chan struct{}   // closed by Close: links write what they have and end
	stopped chan struct{}   // closed when all links have ended
	ctx     context.Context // ends with stop
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	links   linkTable
	buffers sync.Pool // *[]byte for packets: a link must not keep the memory of its largest
	counters
	greeting    sync.Mutex // held for the arithmetic of one greeting: a flood of opens takes one core at most
	closeOnce   sync.Once
	heardOnce   sync.Once
	keylessOnce sync.Once
}

var _ transport.Transport = (*Transport)(nil)

// New returns a road over nc. The caller still owns nc, which must outlive the road.
func New(nc *nats.Conn, cfg Config) *Transport {
	ctx, cancel := context.WithCancel(context.Background())
	return &Transport{nc: nc, cfg: cfg.withDefaults(nc), ctx: ctx, cancel: cancel,
		buffers: sync.Pool{New: func() any { return new([]byte) }},
		heard:   make(chan struct{}), answers: make(chan answer, maxAnswers),
		stop: make(chan struct{}), stopped: make(chan struct{})}
}

// Road returns "nats".
func (t *Transport) Road() string { return Road }

// PrincipalPrefix begins the principals of peers that have a token of their own in the
// subjects they publish to.
const PrincipalPrefix = "nats:"

// principalOf returns the principal of a peer that publishes under token.
func principalOf(token string) string {
	if token == transport.Anonymous {
		return token
	}
	return PrincipalPrefix + token
}

// Identity returns the sort of principal that peers have on this road: transport.Anonymous
// if peers have no names of their own, else "nats:".
func (t *Transport) Identity() string {
	if t.cfg.Principal == transport.Anonymous {
		return transport.Anonymous
	}
	return PrincipalPrefix
}

// Direct returns false: messages pass through the server.
func (t *Transport) Direct() bool { return false }

// Addr returns what Start returns: the public half of the node's key.
func (t *Transport) Addr() string {
	if t.cfg.Key.Curve() != ecdh.X25519() {
		return ""
	}
	return Address(t.cfg.Key.PublicKey())
}

// Start subscribes to local's subjects and sends a packet to itself, so that missing
// permissions and a wrong principal are errors now and not silence later. Without a
// connection it waits until ctx ends, or for DefaultStartWait if ctx has no deadline. The
// address is that of Addr. Besides ErrReconnectBuffer, ErrNoEcho, ErrNotConnected,
// ErrPermissions and ErrKey, errors are those of nats.go.
func (t *Transport) Start(ctx context.Context, local transport.Local, accept func(transport.Link) transport.Receiver) (string, error) {
	if err := t.check(local); err != nil {
		return "", err
	}
	t.local, t.accept, t.names = local, accept, subjectsOf(local)
	rand.Read(t.probe[:])
	opening := natswait.For{What: "the bus", Try: t.cfg.OpenTimeout, Logger: local.Logger}
	if err := opening.Until(ctx, t.nc, t.open); err != nil {
		if e := (*natswait.Error)(nil); errors.As(err, &e) {
			err = fmt.Errorf("%w: %w", ErrNotConnected, err)
		}
		return "", err
	}
	t.status = t.nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	t.wg.Add(2)
	go t.watch()
	go t.publishAnswers()
	if !t.links.start() {
		t.end()
		return "", fmt.Errorf("natsbus: %w before it was started", transport.ErrClosed)
	}
	if local.Lookup == nil {
		local.Logger.Warn("natsbus: no registry says which key a node has: who peers are is known as far as the NATS server confines its users, and no further")
	}
	return t.Addr(), nil
}

// check returns an error if something is wrong with the configuration or the connection, before
// anything is done with them.
func (t *Transport) check(local transport.Local) error {
	var key error
	if t.cfg.Key.Curve() != ecdh.X25519() {
		key = ErrKey
	}
	return errors.Join(
		key,
		checkConn(t.nc),
		transport.ValidName("cluster", local.Cluster),
		transport.ValidName("node", local.Node),
		transport.ValidName("epoch", local.Epoch),
		transport.ValidName("principal", t.cfg.Principal))
}

// open subscribes, and waits for its own packet. If it fails, it leaves nothing behind.
func (t *Transport) open(ctx context.Context) error {
	if !t.nc.IsConnected() {
		return nats.ErrDisconnected
	}
	t.room.Store(t.nc.MaxPayload())
	before := t.nc.LastError()
	err := t.subscribe()
	if err == nil {
		err = t.checkLoop(ctx, before)
	}
	if err != nil {
		t.unsubscribe()
		if t.nc.IsConnected() {
			return natswait.Stop(err)
		}
	}
	return err
}

func (t *Transport) subscribe() error {
	for subject, callback := range map[string]nats.MsgHandler{
		t.names.inbox(): t.onPacket,
		t.names.find():  t.onFind,
		t.names.gone():  t.onGone,
	} {
		sub, err := t.nc.Subscribe(subject, callback)
		if err != nil {
			return fmt.Errorf("natsbus: subscribing to %s: %w", subject, err)
		}
		exited := make(chan struct{})
		sub.SetClosedHandler(func(string) { close(exited) })
		if !sub.IsValid() { // closed before it could learn of the handler
			return fmt.Errorf("natsbus: subscribing to %s: %w", subject, nats.ErrConnectionClosed)
		}
		t.subs, t.exited = append(t.subs, sub), append(t.exited, exited)
		if err := sub.SetPendingLimits(pendingMessages, t.cfg.PendingBytes); err != nil {
			return fmt.Errorf("natsbus: subscribing to %s: %w", subject, err)
		}
		if subject == t.names.inbox() {
			t.node = sub
		}
	}
	return nil
}

// checkLoop sends a packet to this node's subject under its own principal and waits for it:
// then the server has the subscriptions, and the permissions are sufficient. before is the
// connection's last error before it subscribed.
func (t *Transport) checkLoop(ctx context.Context, before error) error {
	if err := t.nc.Publish(t.names.to(t.local.Node, t.local.Epoch, t.cfg.Principal), packet{kind: packetProbe, link: t.probe}.append(nil)); err != nil {
		return fmt.Errorf("natsbus: %w", err)
	}
	if err := t.nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("natsbus: asking the server: %w", err)
	}
	// The server sends its refusals before it answers the flush.
	if err := t.nc.LastError(); err != before && t.mine(natswait.DeniedSubject(err)) {
		return fmt.Errorf("%w: %w", ErrPermissions, err)
	}
	select {
	case <-t.heard:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrPermissions, ctx.Err())
	}
}

// mine reports whether a subject is one that Start uses.
func (t *Transport) mine(subject string) bool {
	return slices.Contains([]string{t.names.inbox(), t.names.find(), t.names.gone(), t.names.to(t.local.Node, t.local.Epoch, t.cfg.Principal)}, subject)
}

// Close ends all links, each after its queue was handed to the connection or a second has
// passed, tells their peers, and waits for the transport's goroutines. If a write of the
// connection is stuck, it waits until nats.FlusherTimeout. It must not
// be called from a Receiver. The NATS connection stays open.
func (t *Transport) Close() error {
	t.closeOnce.Do(func() {
		if t.links.stop() {
			t.end()
		}
	})
	return nil
}

// end is Close for a transport that was started.
func (t *Transport) end() {
	close(t.stop)
	t.cancel()
	grace := time.AfterFunc(closeGrace, func() { t.links.each(func(l *link) { l.end(errTransportClosed, true) }) })
	t.links.wait()
	grace.Stop()
	close(t.stopped)
	t.unsubscribe()
	t.nc.RemoveStatusListener(t.status)
	t.wg.Wait()
}

var errTransportClosed = fmt.Errorf("%w: transport closed", transport.ErrClosed)

// unsubscribe ends the subscriptions and waits until no callback runs any more.
func (t *Transport) unsubscribe() {
	for i, sub := range t.subs {
		sub.Unsubscribe() // fails if the connection is closed, which ends the subscription too
		<-t.exited[i]
	}
	t.subs, t.exited = nil, nil
}
