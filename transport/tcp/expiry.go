package tcp

import (
	"crypto/x509"
	"time"
)

// expiry says how close a certificate is to its expiry.
type expiry uint8

const (
	notSoon expiry = iota
	soon           // a third of its life is left, or less
	lastDay        // a day, or less
	expired        // nothing is left
)

// expiryShare says when the log warns first: when one third of the certificate's life is left.
// Certificates that are renewed automatically are renewed before that.
const expiryShare = 3

// expiryOf judges a certificate at now. If its life is at most three days, lastDay begins when
// less than a sixth of that is left, so that soon comes before lastDay.
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

// expiries remembers what was logged about this node's own certificate. It has no lock, clock or
// I/O.
type expiries struct {
	of   [2]string // issuer and number
	said expiry
}

// judge returns what has to be logged at now about the certificate that this node shows; notSoon
// if there is nothing new.
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

// ownCertificate returns the certificate that this node shows, or nil if that is unknown because
// a function of the user chooses it.
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

// warnOfExpiry logs once that a third of the life of this node's own certificate is left, once
// that a day is left, and once that it has expired. Transport.rechecking is held.
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
