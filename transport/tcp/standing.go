package tcp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tandem-go/tandem/transport"
)

// Reasons for rejecting a peer that has proved who it is. The errors of Dial, and those
// with which links end, wrap them. Each is a transport.ErrDenied.
var (
	ErrExpired   = fmt.Errorf("%w: the peer's certificate has expired", transport.ErrDenied)
	ErrRevoked   = fmt.Errorf("%w: the peer's certificate is revoked", transport.ErrDenied)
	ErrUntrusted = fmt.Errorf("%w: the peer's certificate is of no authority that is trusted now", transport.ErrDenied)
	ErrOldToken  = fmt.Errorf("%w: the peer proved to know a token that is not accepted any more", transport.ErrDenied)
)

// standing is who a peer is, and with what it proved that.
type standing struct {
	peer    transport.Peer
	dialled bool                  // this side dialled
	certs   []*x509.Certificate   // what the peer showed, its own first
	chains  [][]*x509.Certificate // the verified chains; none if a function of the user's verifies certificates
	token   string                // what both sides proved to know
	under   *loaded               // the credentials that the certificate was verified with
	counted *principal            // for whom an accepted link counts
}

// show records the peer's certificates.
func (w *standing) show(conn net.Conn) {
	if secured, ok := conn.(*tls.Conn); ok {
		state := secured.ConnectionState()
		w.certs, w.chains = state.PeerCertificates, state.VerifiedChains
	}
}

// rules are what a standing is checked against, at one moment. They do no I/O, except for
// what the user's function does.
type rules struct {
	now        time.Time
	unverified bool                         // Config.Insecure: a certificate that was not verified is accepted
	revoked    func(*x509.Certificate) bool // may be nil
	creds      *loaded                      // may be nil
	tokens     []string                     // empty: none is asked for
}

// judge returns why w is rejected; nil if it is accepted.
func (r rules) judge(w *standing) error {
	if len(w.certs) > 0 {
		chains, err := r.chains(w)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(chains, func(chain []*x509.Certificate) bool { return !slices.ContainsFunc(chain, r.isRevoked) }) {
			return ErrRevoked
		}
	}
	if w.token != "" && !slices.Contains(r.tokens, w.token) {
		return ErrOldToken
	}
	return nil
}

// chains returns the chains by which w's certificate is valid now.
func (r rules) chains(w *standing) ([][]*x509.Certificate, error) {
	if r.creds != nil && r.creds.roots != nil && w.under != r.creds {
		chains, err := r.creds.verify(w, r.now)
		if err != nil {
			return nil, err
		}
		w.chains, w.under = chains, r.creds
		return chains, nil
	}
	if len(w.chains) == 0 {
		if r.now.After(w.certs[0].NotAfter) && !r.unverified {
			return nil, ErrExpired
		}
		return [][]*x509.Certificate{w.certs}, nil
	}
	var good [][]*x509.Certificate
	for _, chain := range w.chains {
		if !slices.ContainsFunc(chain, func(c *x509.Certificate) bool { return r.now.After(c.NotAfter) }) {
			good = append(good, chain)
		}
	}
	if len(good) == 0 {
		return nil, ErrExpired
	}
	return good, nil
}

func (r rules) isRevoked(c *x509.Certificate) bool {
	return r.creds.hasRevoked(c) || r.revoked != nil && r.revoked(c)
}

// rules returns the rules that hold now.
func (t *Transport) rules() rules {
	r := rules{now: time.Now(), unverified: t.cfg.Insecure, revoked: t.cfg.Revoked, creds: t.cfg.Credentials.current(), tokens: t.cfg.tokens()}
	if t.cfg.TLS != nil && t.cfg.TLS.Time != nil {
		r.now = t.cfg.TLS.Time()
	}
	return r
}

// Recheck reads Config.Credentials again, and ends the links whose peers are no longer
// accepted, with ErrExpired, ErrRevoked, ErrUntrusted or ErrOldToken. The log says when a
// third of the life of this node's own certificate is left, and when a day is left. The
// transport does this by itself every Config.Recheck. Recheck is for doing it sooner, and may
// be called concurrently with anything. An error says why the files could not be used: then
// those that were read before remain in force.
func (t *Transport) Recheck() error {
	t.rechecking.Lock()
	defer t.rechecking.Unlock()
	_, err := t.cfg.Credentials.Reload()
	t.mu.Lock()
	links := make([]*link, 0, len(t.links))
	for l := range t.links {
		if !l.over() { // otherwise it is ending already
			links = append(links, l)
		}
	}
	t.mu.Unlock()
	r := t.rules()
	t.warnOfExpiry(r.now)
	ended := make(map[error][]*link)
	for _, l := range links {
		var why error
		if t.guarded(func() error { why = r.judge(&l.who); return nil }) != nil || why == nil {
			continue // a function that panics ends no links
		}
		ended[why] = append(ended[why], l)
	}
	for why, links := range ended {
		t.local.Logger.Warn("tcp: links end", "count", len(links), "latest", links[len(links)-1].who.peer.Node, "reason", why)
		for _, l := range links {
			l.Close(why)
		}
	}
	return err
}

// recheckLoop is the goroutine that calls Recheck.
func (t *Transport) recheckLoop() {
	every := time.NewTicker(t.cfg.Recheck)
	defer every.Stop()
	t.rechecking.Lock()
	t.warnOfExpiry(t.rules().now) // at the start too
	t.rechecking.Unlock()
	said := ""
	for {
		select {
		case <-every.C:
		case <-t.ctx.Done():
			return
		}
		switch err := t.Recheck(); {
		case err == nil && said != "":
			said = ""
			t.local.Logger.Info("tcp: the credentials are read again")
		case err != nil && err.Error() != said:
			said = err.Error()
			t.local.Logger.Error("tcp: the credentials cannot be read, and the former ones hold", "error", err)
		}
	}
}

// maxPrincipal is the longest name of a principal, in bytes.
const maxPrincipal = 255

// named returns the principal of the peer on conn; empty if it is anonymous. shown says
// that the peer proved to know the token.
func (t *Transport) named(conn net.Conn, shown bool) (principal string) {
	t.guarded(func() error {
		principal = t.cfg.principal(conn, shown)
		return nil
	})
	if len(principal) > len(PrincipalPrefix)+maxPrincipal || !utf8.ValidString(principal) {
		return ""
	}
	for _, c := range principal {
		if unicode.IsControl(c) {
			return ""
		}
	}
	return principal
}

// isNode returns an error if the peer that was dialled is not the node that was wanted.
func (t *Transport) isNode(conn *tls.Conn, to transport.Endpoint) error {
	state := conn.ConnectionState()
	if t.cfg.IsNode != nil {
		if !t.cfg.IsNode(state, to.Node) {
			return fmt.Errorf("%w: tcp.Config.IsNode says that what answers at %s is not %s", transport.ErrDenied, to.Addr, to.Node)
		}
		return nil
	}
	if len(state.VerifiedChains) == 0 && t.cfg.Insecure || len(state.PeerCertificates) == 0 {
		return nil
	}
	c := state.PeerCertificates[0]
	if c.Subject.CommonName == to.Node || slices.Contains(c.DNSNames, to.Node) {
		return nil
	}
	return fmt.Errorf("%w: at %s is a certificate of %q, %q, and none of %s, which was dialled: a certificate names its node (see tcp.Config.IsNode)",
		transport.ErrDenied, to.Addr, c.Subject.CommonName, c.DNSNames, to.Node)
}

// isExpired reports whether err, from verifying a certificate, is only about time.
func isExpired(err error) bool {
	var invalid x509.CertificateInvalidError
	return errors.As(err, &invalid) && invalid.Reason == x509.Expired
}
