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

// Why a peer that proved who it is is not believed, or not any more: Dial's error wraps
// them, and the error that a link ends with. Each is a transport.ErrDenied.
var (
	ErrExpired   = fmt.Errorf("%w: the peer's certificate has expired", transport.ErrDenied)
	ErrRevoked   = fmt.Errorf("%w: the peer's certificate is revoked", transport.ErrDenied)
	ErrUntrusted = fmt.Errorf("%w: the peer's certificate is of no authority that is trusted now", transport.ErrDenied)
	ErrOldToken  = fmt.Errorf("%w: the peer proved to know a token that is not accepted any more", transport.ErrDenied)
)

// standing is who a peer is, and what it proved that with.
type standing struct {
	peer    transport.Peer
	dialled bool                  // this side dialled
	certs   []*x509.Certificate   // what the peer showed, its own first
	chains  [][]*x509.Certificate // as they were verified; none if that was left to a function of the user's
	token   string                // what both sides proved to know
	under   *loaded               // the credentials that the certificate was verified with
	counted string                // the principal that it counts for
}

// show notes what the peer's certificates say.
func (w *standing) show(conn net.Conn) {
	if secured, ok := conn.(*tls.Conn); ok {
		state := secured.ConnectionState()
		w.certs, w.chains = state.PeerCertificates, state.VerifiedChains
	}
}

// rules are what a standing is judged by, at one moment. They do no I/O, but for what
// the user's function does.
type rules struct {
	now        time.Time
	unverified bool                         // Config.Insecure: a certificate that nobody verified is no reason
	revoked    func(*x509.Certificate) bool // may be nil
	creds      *loaded                      // may be nil
	tokens     []string                     // empty: none is asked for
}

// judge returns why w is not believed; nil if it is.
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

// chains returns those by which w's certificate is good now.
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

// rules returns what holds now.
func (t *Transport) rules() rules {
	r := rules{now: time.Now(), unverified: t.cfg.Insecure, revoked: t.cfg.Revoked, creds: t.cfg.Credentials.current(), tokens: t.cfg.tokens()}
	if t.cfg.TLS != nil && t.cfg.TLS.Time != nil {
		r.now = t.cfg.TLS.Time()
	}
	return r
}

// Recheck reads Config.Credentials again, and ends the links whose peers are not believed
// any more: ErrExpired, ErrRevoked, ErrUntrusted or ErrOldToken is what they end with. The log
// says when a third of the life of this node's own certificate is left, and when a day is. The
// transport does this by itself every Config.Recheck; who wants it sooner calls this,
// concurrently with anything. An error says why the files could not be used: then those
// read before hold, and links are judged by them.
func (t *Transport) Recheck() error {
	t.rechecking.Lock()
	defer t.rechecking.Unlock()
	_, err := t.cfg.Credentials.Reload()
	t.mu.Lock()
	links := make([]*link, 0, len(t.links))
	for l := range t.links {
		if !l.over() { // else it is being told so
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
			continue // a function that panics takes nobody's link away
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

// named returns who the peer on conn is; empty if that is nobody. shown says that it
// proved to know the token.
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

// isNode returns why the peer that was dialled is not the node that was wanted.
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

// isExpired reports whether err, from verifying a certificate, is about time alone.
func isExpired(err error) bool {
	var invalid x509.CertificateInvalidError
	return errors.As(err, &invalid) && invalid.Reason == x509.Expired
}
