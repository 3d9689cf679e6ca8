package tcp

import (
	"crypto/x509"
	"time"
)

// expiry is what the log says of a certificate that is about to expire.
type expiry uint8

const (
	notSoon expiry = iota
	soon           // a third of its life is left, or less
	lastDay        // a day, or less
	expired        // nothing
)

// expiryShare is the part of its life that a certificate has left when the log first says so:
// who renews certificates by rule does it no later than that.
const expiryShare = 3

// expiryOf judges a certificate at now. One of at most three days has its last day when less
// than a sixth of its life is left, so that the first word comes before the second.
func expiryOf(c *x509.Certificate, now time.Time) expiry {
	life, left := c.NotAfter.Sub(c.NotBefore), c.NotAfter.Sub(now)
	switch {
	case left < 0:
		return expired
	case left <= min(24*time.Hour, life/(2*expiryShare)):
		return lastDay
	case left <= life/expiryShare:
		return soon
	}
	return notSoon
}

// expiries remembers what the log has said of this node's own certificate. Pure.
type expiries struct {
	of   [2]string // issuer and number
	said expiry
}

// judge returns what is to be said at now of the certificate that this node shows; notSoon:
// nothing that was not said.
func (e *expiries) judge(c *x509.Certificate, now time.Time) expiry {
	if of := [2]string{string(c.RawIssuer), c.SerialNumber.String()}; of != e.of {
		*e = expiries{of: of}
	}
	if is := expiryOf(c, now); is > e.said {
		e.said = is
		return is
	}
	return notSoon
}

// ownCertificate returns the one that this node shows, or nil if that is not known: a
// function of the user's chooses it.
func (t *Transport) ownCertificate() *x509.Certificate {
	cfg := t.cfg.TLS
	if l := t.cfg.Credentials.current(); l != nil && l.tls != nil {
		cfg = l.tls
	}
	if cfg == nil || len(cfg.Certificates) == 0 {
		return nil
	}
	own := cfg.Certificates[0]
	if own.Leaf == nil && len(own.Certificate) > 0 {
		own.Leaf, _ = x509.ParseCertificate(own.Certificate[0])
	}
	return own.Leaf
}

// warnOfExpiry says in the log once when a third of the life of this node's own certificate is
// left, once when a day is, and once when it has expired. Transport.rechecking is held.
func (t *Transport) warnOfExpiry(now time.Time) {
	t.mu.Lock()
	log := t.local.Logger
	t.mu.Unlock()
	c := t.ownCertificate()
	if c == nil || log == nil { // not started
		return
	}
	args := []any{"subject", c.Subject.String(), "expires", c.NotAfter.UTC().Format(time.RFC3339)}
	switch t.expiries.judge(c, now) {
	case soon, lastDay:
		log.Warn("tcp: this node's own certificate is about to expire, and its links end then", append(args, "left", c.NotAfter.Sub(now).Round(time.Second))...)
	case expired:
		log.Error("tcp: this node's own certificate has expired: no peer believes it any more", args...)
	}
}
