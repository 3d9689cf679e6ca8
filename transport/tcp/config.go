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

// ErrInsecure says that a listener or a dial lacks a safeguard which its address
// calls for, and that Config.Insecure does not waive it.
var ErrInsecure = errors.New("tcp: insecure")

// Config is the set-up of a Transport. The zero value dials only, without TLS.
type Config struct {
	// Listen is the address to accept links on, as in net.Listen; port 0 picks a
	// free one. Empty: dial only.
	Listen string

	// Advertise is the address that peers dial; empty is the one listened on. It is
	// required where Listen names no particular address ("0.0.0.0:7000", ":7000").
	// Port 0 stands for the port listened on.
	Advertise string

	// TLS wraps every connection. As a server the transport uses Certificates (or
	// GetCertificate), ClientCAs, and ClientAuth: set it to
	// tls.RequireAndVerifyClientCert to have peers prove who they are. As a client it
	// uses RootCAs, Certificates (what to show) and ServerName; an empty ServerName
	// is the host of the address dialled. An empty MinVersion is TLS 1.3 here.
	//
	// Its functions are called for each connection, so certificates can change without a
	// restart: GetCertificate, GetClientCertificate, VerifyConnection. What GetConfigForClient
	// returns is held to what is asked of TLS itself. Sessions are not resumed.
	TLS *tls.Config

	// Credentials are mutual TLS, or tokens, or both, from files that may change meanwhile.
	// They stand in place of TLS if they have certificates. When dialling, what is verified
	// then is the name of the node, and not the host of its address: the certificate has it
	// among its DNS names (or IsNode judges the certificate, and the host is verified).
	Credentials *Credentials

	// Token is a secret that all nodes share, in addition to what TLS asks for: both sides
	// of each connection prove that they know it, and it does not travel itself. Make it
	// long and random: who sees a proof can try tokens. So it is used only inside TLS or
	// over loopback, unless Insecure.
	Token string

	// MoreTokens are accepted beside Token, but not used when dialling. To change a token
	// with no link refused, give all nodes the new one here, then the new one as Token and the
	// old one here, then the new one alone. With Credentials, their tokens come before these.
	MoreTokens []string

	// Insecure waives what protects a listener beyond loopback and a token on the
	// wire. For closed networks and tests.
	Insecure bool

	// Principal names the peer behind a TLS connection; an empty name refuses it. The peer's
	// principal is "tls:" and that name. Default: the common name of the verified
	// certificate, or its first DNS name; without such a certificate "token" if the peer
	// proved to know the token, else transport.Anonymous. With a token, certificates that
	// only listeners show name nobody: all are "token", whichever side dialled.
	// A name of more than 255 bytes, or with control characters, is nobody's. What panics here,
	// in IsNode, in Revoked or in a function of TLS refuses the connection and is logged.
	Principal func(tls.ConnectionState) string

	// IsNode reports whether the peer that a dialled TLS connection was verified to lead
	// to is the node that was wanted. Default: its certificate has the node's name as its common
	// name or among its DNS names. Where certificates name hosts, this function maps them.
	IsNode func(peer tls.ConnectionState, node string) bool

	// Revoked reports whether a certificate, a peer's own or one between it and its
	// authority, is not good any more. It is asked at each greeting and, for the links that
	// are open, at each Recheck; it may be called concurrently and should not wait.
	Revoked func(*x509.Certificate) bool

	// Recheck is how often Credentials are read again and links judged anew: within this
	// time after its certificate has expired or was revoked, or its token was taken away, a peer has no
	// link here. Default 1 min.
	Recheck time.Duration

	HandshakeTimeout time.Duration // connecting, TLS and greeting together; default 5 s
	StallTimeout     time.Duration // for the rest of a started frame, and for a write to move on; default 10 s
	MaxConns         int           // accepted links; default 4096
	MaxConnsPerIP    int           // accepted connections of one address; default 64
	MaxPending       int           // accepted connections still greeting; default 128

	// MaxConnsPerPrincipal bounds the accepted links of one principal. Default: a quarter
	// of MaxConns where certificates tell principals apart; else all are the same, and it is MaxConns.
	MaxConnsPerPrincipal int

	// MaxPendingPerIP bounds the accepted connections of one address, of IPv6 one /64 network,
	// that are still greeting; default a quarter of MaxPending. When one of these limits is
	// met, who has greeted for a fifth of HandshakeTimeout makes room, and
	// addresses that have many connections make room for those that have few.
	MaxPendingPerIP int
}

// PrincipalPrefix begins the principals of peers that TLS names.
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

// harden returns cfg with what is on here unless it says otherwise.
func (c Config) harden(cfg *tls.Config) *tls.Config {
	cfg = cfg.Clone()
	if cfg.MinVersion == 0 {
		cfg.MinVersion = tls.VersionTLS13
	}
	// A resumed session shows no certificate again, and a link is dialled once in a long time.
	cfg.SessionTicketsDisabled = true
	return cfg
}

// hardened is get, whose answers ask of a client no less than Config.TLS does.
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

// tellsApart reports whether peers that are accepted can have several principals.
func (c Config) tellsApart() bool {
	cfg := c.tls()
	return cfg != nil && (cfg.ClientAuth != tls.NoClientCert || cfg.GetConfigForClient != nil || c.Principal != nil)
}

// tls is what the next connection speaks; nil for none.
func (c Config) tls() *tls.Config {
	if c.TLS != nil {
		return c.TLS
	}
	if now := c.Credentials.current(); now != nil {
		return now.tls
	}
	return nil
}

// tokens are those that are accepted now. The first is used when dialling.
func (c Config) tokens() (all []string) {
	if now := c.Credentials.current(); now != nil {
		all = append(all, now.tokens...)
	}
	if c.Token != "" {
		all = append(all, c.Token)
	}
	return append(all, c.MoreTokens...)
}

// hurry is how long a greeting may take where others wait.
func (c Config) hurry() time.Duration { return c.HandshakeTimeout / 5 }

// rechecks reports whether what a peer proved can lose its worth.
func (c Config) rechecks() bool { return c.TLS != nil || c.Credentials != nil }

// maxToken is the longest token. A secret needs no more.
const maxToken = 1 << 12

// maxTokens is how many are accepted at once: each costs a greeting some time.
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

// check returns the address to bind, nil for none, and all that is wrong.
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
		all = append(all, fmt.Errorf("%w: TLS.InsecureSkipVerify trusts whoever answers", ErrInsecure))
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

// advertised is the address that peers should dial to reach bound.
func (c Config) advertised(bound net.Addr) string {
	if c.Advertise == "" {
		return bound.String()
	}
	if host, port, _ := net.SplitHostPort(c.Advertise); port == "0" {
		return net.JoinHostPort(host, strconv.Itoa(bound.(*net.TCPAddr).Port))
	}
	return c.Advertise
}

// principal names the peer behind conn. shown says that it proved to know the token.
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

// commonName is the name in the peer's certificate, if that was verified.
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

// mutual reports whether both sides of a connection show certificates, as far as this
// side can tell.
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

// Identity is the sort of principal that peers have on this road at best: "anonymous"
// or "token" where nobody has a name of its own, else "tls:".
func (t *Transport) Identity() string {
	switch c := t.cfg; {
	case c.tls() != nil && c.Principal != nil, c.mutual():
		return PrincipalPrefix
	case len(c.tokens()) > 0:
		return transport.TokenHolder
	}
	return transport.Anonymous
}
