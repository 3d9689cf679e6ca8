package tcp

import (
	"cmp"
	"crypto/tls"
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
	TLS *tls.Config

	// Token is a secret that all nodes share, in addition to what TLS asks for: both sides
	// of each connection prove that they know it, and it does not travel itself. Make it
	// long and random: who sees a proof can try tokens. So it is used only inside TLS or
	// over loopback, unless Insecure.
	Token string

	// Insecure waives what protects a listener beyond loopback and a token on the
	// wire. For closed networks and tests.
	Insecure bool

	// Principal names the peer behind a TLS connection; an empty name refuses it. The peer's
	// principal is "tls:" and that name. Default: the common name of the verified
	// certificate, or its first DNS name; without such a certificate "token" if the peer
	// proved to know the token, else transport.Anonymous. With a token, certificates that
	// only listeners show name nobody: all are "token", whichever side dialled.
	Principal func(tls.ConnectionState) string

	HandshakeTimeout time.Duration // connecting, TLS and greeting together; default 5 s
	StallTimeout     time.Duration // for the rest of a started frame, and for a write to move on; default 10 s
	MaxConns         int           // accepted links; default 4096
	MaxConnsPerIP    int           // accepted connections of one address; default 64
	MaxPending       int           // accepted connections still greeting; default 128
}

// PrincipalPrefix begins the principals of peers that TLS names.
const PrincipalPrefix = "tls:"

func (c Config) withDefaults() Config {
	c.HandshakeTimeout = cmp.Or(c.HandshakeTimeout, 5*time.Second)
	c.StallTimeout = cmp.Or(c.StallTimeout, 10*time.Second)
	c.MaxConns = cmp.Or(c.MaxConns, 4096)
	c.MaxConnsPerIP = cmp.Or(c.MaxConnsPerIP, 64)
	c.MaxPending = cmp.Or(c.MaxPending, 128)
	if c.TLS != nil {
		c.TLS = c.TLS.Clone()
		if c.TLS.MinVersion == 0 {
			c.TLS.MinVersion = tls.VersionTLS13
		}
	}
	return c
}

// maxToken is the longest token. A secret needs no more.
const maxToken = 1 << 12

// check returns the address to bind, nil for none, and all that is wrong.
func (c Config) check() (bind *net.TCPAddr, err error) {
	var all []error
	bad := func(format string, args ...any) { all = append(all, fmt.Errorf("tcp: "+format, args...)) }

	if c.HandshakeTimeout < 0 || c.StallTimeout < 0 {
		bad("negative timeout")
	}
	if c.MaxConns < 0 || c.MaxConnsPerIP < 0 || c.MaxPending < 0 {
		bad("negative limit")
	}
	if len(c.Token) > maxToken {
		bad("token of %d bytes, at most %d", len(c.Token), maxToken)
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
	switch {
	case c.TLS == nil:
		all = append(all, fmt.Errorf("%w: listening on %s without TLS", ErrInsecure, addr))
	case c.TLS.ClientAuth != tls.RequireAndVerifyClientCert && c.Token == "":
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
	t := c.TLS
	if c.Listen == "" {
		return len(t.Certificates) > 0 || t.GetClientCertificate != nil
	}
	return t.ClientAuth >= tls.VerifyClientCertIfGiven || t.GetConfigForClient != nil
}

// Identity is the sort of principal that peers have on this road at best: "anonymous"
// or "token" where nobody has a name of its own, else "tls:".
func (t *Transport) Identity() string {
	switch c := t.cfg; {
	case c.TLS != nil && (c.Principal != nil || c.mutual()):
		return PrincipalPrefix
	case c.Token != "":
		return transport.TokenHolder
	}
	return transport.Anonymous
}
