package tcp

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// ErrInsecure says that a listener or a dial lacks a protection which its address requires,
// and that Config.Insecure is not set.
var ErrInsecure = errors.New("tcp: insecure")

// Config describes a Transport. The zero value only dials, without TLS.
type Config struct {
	// Listen is the address to accept links on, as in net.Listen; port 0 chooses a free
	// one. If it is empty, the transport only dials.
	Listen string

	// Advertise is the address that peers dial; if empty, it is the one that is listened on.
	// It is required if Listen names no particular address ("0.0.0.0:7000", ":7000").
	// Port 0 stands for the port that is listened on.
	Advertise string

	// TLS, if not nil, is used on every connection. As a server the transport uses
	// Certificates (or GetCertificate), ClientCAs and ClientAuth: set the latter to
	// tls.RequireAndVerifyClientCert to make peers prove who they are. As a client it uses
	// RootCAs, Certificates and ServerName; an empty ServerName stands for the host of the
	// address that is dialled. A zero MinVersion means TLS 1.3 here.
	//
	// Its functions (GetCertificate, GetClientCertificate, VerifyConnection) are called for
	// each connection, so certificates can change without a restart. A configuration that
	// GetConfigForClient returns must require as much of a client as TLS itself does.
	// Sessions are not resumed.
	TLS *tls.Config

	// Credentials are mutual TLS, or tokens, or both, from files that may change at any time.
	// If they have certificates, they replace TLS. A dialler then verifies the name of the
	// node, which must be among the DNS names of the certificate, and not the host of its
	// address. If IsNode is set, it judges the certificate, and the host is verified.
	Credentials *Credentials

	// Token is a secret that all nodes share, in addition to what TLS requires. Both sides of
	// each connection prove that they know it, and it is never sent itself. Make it long and
	// random, because anybody who sees a proof can test tokens. For the same reason it is
	// used only inside TLS or over loopback, unless Insecure is set.
	Token string

	// MoreTokens are accepted as well as Token, but not used when dialling. To change a token
	// without refusing a link, first give all nodes the new one here, then the new one as
	// Token and the old one here, and then only the new one. The tokens of Credentials come
	// before these.
	MoreTokens []string

	// Insecure allows a listener beyond loopback without protection, and a token outside of
	// TLS. It is for closed networks and tests.
	Insecure bool

	// Principal names the peer of a TLS connection; an empty name refuses it. The peer's
	// principal is "tls:" and that name. The default is the common name of the verified
	// certificate, or its first DNS name. Without such a certificate the principal is "token"
	// if the peer proved that it knows the token, and otherwise transport.Anonymous. If there
	// is a token and only listeners have certificates, all principals are "token", whichever
	// side dialled. A name of more than 255 bytes, or with control characters, is refused. A
	// panic in this function, in IsNode, in Revoked or in a function of TLS refuses the
	// connection and is logged.
	Principal func(tls.ConnectionState) string

	// IsNode reports whether the verified peer of a dialled TLS connection is the node that
	// was wanted. By default its certificate must have the node's name as its common name or
	// among its DNS names. Where certificates name hosts, this function maps them to nodes.
	IsNode func(peer tls.ConnectionState, node string) bool

	// Revoked reports whether a certificate is revoked: a peer's own, or one between it and
	// its authority. It is called at each greeting and, for open links, at each Recheck. It
	// may be called concurrently and should not wait.
	Revoked func(*x509.Certificate) bool

	// Recheck is how often Credentials are read and all links are checked again. So links end
	// within this time after the peer's certificate has expired or was revoked, or its token
	// was removed. Default 1 min.
	Recheck time.Duration

	HandshakeTimeout time.Duration // connecting, TLS and greeting together; default 5 s
	StallTimeout     time.Duration // for the rest of a frame that has begun, and for a write to make progress; default 10 s
	MaxConns         int           // accepted links; default 4096
	MaxConnsPerIP    int           // accepted connections of one address; default 64
	MaxPending       int           // accepted connections that are still greeting; default 128

	// MaxConnsPerPrincipal bounds the accepted links of one principal. The default is a
	// quarter of MaxConns if certificates distinguish principals; otherwise all peers have the
	// same principal, and it is MaxConns.
	MaxConnsPerPrincipal int

	// MaxPendingPerIP bounds the accepted connections of one address, or of one /64 network of
	// IPv6, that are still greeting; default a quarter of MaxPending. When this limit or
	// MaxPending is reached, connections that have been greeting for a fifth of
	// HandshakeTimeout make room, and so do those of addresses that have many connections,
	// for addresses that have few.
	MaxPendingPerIP int
}

// PrincipalPrefix is the beginning of the principals of peers that TLS names.
const PrincipalPrefix = "tls:"

func (c Config) withDefaults() Config {
	c.HandshakeTimeout = cmp.Or(c.HandshakeTimeout, 5*time.Second)
	c.StallTimeout = cmp.Or(c.StallTimeout, 10*time.Second)
	c.MaxConns = cmp.Or(c.MaxConns, 4096)
	c.MaxConnsPerIP = cmp.Or(c.MaxConnsPerIP, 64)
	c.MaxPending = cmp.Or(c.MaxPending, 128)
	c.Recheck = cmp.Or(c.Recheck, time.Minute)
	c.MaxPendingPerIP = cmp.Or(c.MaxPendingPerIP, max(c.MaxPending/4, 1))
	if c.TLS != nil {
		c.TLS = c.harden(c.TLS)
		if get := c.TLS.GetConfigForClient; get != nil {
			c.TLS.GetConfigForClient = c.hardened(get)
		}
	}
	share := c.MaxConns
	if c.tellsApart() {
		share = max(c.MaxConns/4, 1)
	}
	c.MaxConnsPerPrincipal = cmp.Or(c.MaxConnsPerPrincipal, share)
	return c
}

// harden returns a copy of cfg with the stricter defaults of this package.
func (c Config) harden(cfg *tls.Config) *tls.Config {
	cfg = cfg.Clone()
	if cfg.MinVersion == 0 {
		cfg.MinVersion = tls.VersionTLS13
	}
	// In a resumed session the peer does not show its certificate again. Besides, links are
	// dialled so rarely that resuming gains nothing.
	cfg.SessionTicketsDisabled = true
	return cfg
}

// hardened wraps get, so that its results require as much of a client as Config.TLS does.
func (c Config) hardened(get func(*tls.ClientHelloInfo) (*tls.Config, error)) func(*tls.ClientHelloInfo) (*tls.Config, error) {
	auth := c.TLS.ClientAuth
	return func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		cfg, err := get(h)
		if err != nil || cfg == nil {
			return nil, err
		}
		if auth == tls.RequireAndVerifyClientCert && cfg.ClientAuth != auth && !c.Insecure {
			return nil, fmt.Errorf("%w: GetConfigForClient asks for less than TLS.ClientAuth", ErrInsecure)
		}
		return c.harden(cfg), nil
	}
}

// tellsApart reports whether accepted peers can have different principals.
func (c Config) tellsApart() bool {
	cfg := c.tls()
	return cfg != nil && (cfg.ClientAuth != tls.NoClientCert || cfg.GetConfigForClient != nil || c.Principal != nil)
}

// tls returns the TLS configuration of the next connection; nil for no TLS.
func (c Config) tls() *tls.Config {
	if c.TLS != nil {
		return c.TLS
	}
	if now := c.Credentials.current(); now != nil {
		return now.tls
	}
	return nil
}

// tokens returns the tokens that are accepted now. The first one is used when dialling.
func (c Config) tokens() (all []string) {
	if now := c.Credentials.current(); now != nil {
		all = append(all, now.tokens...)
	}
	if c.Token != "" {
		all = append(all, c.Token)
	}
	return append(all, c.MoreTokens...)
}

// shortGreeting is how long a greeting may take while other connections need its place.
func (c Config) shortGreeting() time.Duration { return c.HandshakeTimeout / 5 }

// rechecks reports whether what a peer has proved can become invalid.
func (c Config) rechecks() bool { return c.TLS != nil || c.Credentials != nil }

// maxToken is the longest token, in bytes.
const maxToken = 1 << 12

// maxTokens is how many tokens can be accepted at once: each makes a greeting slower.
const maxTokens = 8

func checkTokens(tokens []string) error {
	if len(tokens) > maxTokens {
		return fmt.Errorf("%d tokens, at most %d", len(tokens), maxTokens)
	}
	for _, t := range tokens {
		if t == "" || len(t) > maxToken {
			return fmt.Errorf("token of %d bytes, want 1 to %d", len(t), maxToken)
		}
	}
	return nil
}

// check returns the address to bind, nil for none, and everything that is wrong with c.
func (c Config) check() (bind *net.TCPAddr, err error) {
	var all []error
	bad := func(format string, args ...any) { all = append(all, fmt.Errorf("tcp: "+format, args...)) }

	if c.HandshakeTimeout < 0 || c.StallTimeout < 0 {
		bad("negative timeout")
	}
	if c.MaxConns < 0 || c.MaxConnsPerIP < 0 || c.MaxPending < 0 || c.MaxConnsPerPrincipal < 0 || c.MaxPendingPerIP < 0 {
		bad("negative limit")
	}
	if c.Recheck < 0 {
		bad("negative Recheck")
	}
	tokens := c.MoreTokens
	if c.Token != "" {
		tokens = append([]string{c.Token}, tokens...)
	}
	if err := checkTokens(tokens); err != nil {
		bad("%w", err)
	}
	if c.TLS != nil && c.Credentials.current() != nil && c.Credentials.current().tls != nil {
		bad("TLS and Credentials with certificates: only one of them can hold")
	}
	if c.Credentials != nil && c.Credentials.current() == nil {
		bad("Credentials that were not loaded: they come from Load")
	}
	if c.Advertise != "" {
		if _, _, err := net.SplitHostPort(c.Advertise); err != nil {
			bad("advertise: %w", err)
		}
	}
	if c.TLS != nil && c.TLS.InsecureSkipVerify && c.TLS.VerifyConnection == nil && c.TLS.VerifyPeerCertificate == nil && !c.Insecure {
		all = append(all, fmt.Errorf("%w: TLS.InsecureSkipVerify trusts everybody who answers", ErrInsecure))
	}
	if c.Listen != "" {
		if bind, err = net.ResolveTCPAddr("tcp", c.Listen); err != nil {
			bad("listen: %w", err)
		} else {
			all = append(all, c.checkListener(bind)...)
		}
	} else if c.Advertise != "" {
		bad("Advertise without Listen")
	}
	return bind, errors.Join(all...)
}

// checkListener returns what is wrong with listening on addr.
func (c Config) checkListener(addr *net.TCPAddr) (all []error) {
	if c.Advertise == "" && (len(addr.IP) == 0 || addr.IP.IsUnspecified()) {
		all = append(all, fmt.Errorf("tcp: listening on %s, which nobody can dial: set Advertise", addr))
	}
	if t := c.TLS; t != nil && t.GetConfigForClient == nil {
		if len(t.Certificates) == 0 && t.GetCertificate == nil {
			all = append(all, errors.New("tcp: TLS without a certificate to serve"))
		}
		if t.ClientAuth >= tls.VerifyClientCertIfGiven && t.ClientCAs == nil {
			all = append(all, errors.New("tcp: TLS.ClientAuth without ClientCAs would trust every public certificate authority"))
		}
	}
	if c.Insecure || addr.IP.IsLoopback() {
		return all
	}
	switch cfg := c.tls(); {
	case cfg == nil:
		all = append(all, fmt.Errorf("%w: listening on %s without TLS", ErrInsecure, addr))
	case cfg.ClientAuth != tls.RequireAndVerifyClientCert && len(c.tokens()) == 0:
		all = append(all, fmt.Errorf("%w: listening on %s with neither client certificates nor a token", ErrInsecure, addr))
	}
	return all
}

// advertised returns the address that peers should dial to reach bound.
func (c Config) advertised(bound net.Addr) string {
	if c.Advertise == "" {
		return bound.String()
	}
	if host, port, _ := net.SplitHostPort(c.Advertise); port == "0" {
		return net.JoinHostPort(host, strconv.Itoa(bound.(*net.TCPAddr).Port))
	}
	return c.Advertise
}

// principal returns the name of the peer on conn. shown says that the peer proved that it knows
// the token.
func (c Config) principal(conn net.Conn, shown bool) string {
	if secured, isTLS := conn.(*tls.Conn); isTLS {
		state := secured.ConnectionState()
		if c.Principal != nil {
			if name := c.Principal(state); name != "" {
				return PrincipalPrefix + name
			}
			return ""
		}
		if name := commonName(state); name != "" && (!shown || c.mutual()) {
			return PrincipalPrefix + name
		}
	}
	if shown {
		return transport.TokenHolder
	}
	return transport.Anonymous
}

// commonName returns the name in the peer's certificate, if the certificate was verified.
func commonName(state tls.ConnectionState) string {
	if len(state.VerifiedChains) == 0 {
		return ""
	}
	leaf := state.VerifiedChains[0][0]
	if leaf.Subject.CommonName == "" && len(leaf.DNSNames) > 0 {
		return leaf.DNSNames[0]
	}
	return leaf.Subject.CommonName
}

// mutual reports whether both sides of a connection show certificates, as far as this side can
// know.
func (c Config) mutual() bool {
	t := c.tls()
	if t == nil {
		return false
	}
	if c.Listen == "" {
		return len(t.Certificates) > 0 || t.GetClientCertificate != nil
	}
	return t.ClientAuth >= tls.VerifyClientCertIfGiven || t.GetConfigForClient != nil
}

// Identity returns the kind of principal that peers can have on this road: "anonymous" or
// "token" if nobody has a name of its own, and otherwise "tls:".
func (t *Transport) Identity() string {
	switch c := t.cfg; {
	case c.tls() != nil && c.Principal != nil, c.mutual():
		return PrincipalPrefix
	case len(c.tokens()) > 0:
		return transport.TokenHolder
	}
	return transport.Anonymous
}
