// Package certs makes certificates for tests: authorities, what they sign, and the PEM files
// of both. All certificates are for 127.0.0.1, and are valid from an hour ago for two hours.
package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"testing"
	"time"
)

// Authority is a certificate authority. Its methods may be called concurrently.
type Authority struct {
	Pool *x509.CertPool // has the authority's own certificate, and no other

	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// New returns an authority with a key of its own.
func New(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{Pool: x509.NewCertPool(), key: newKey(t)}
	a.cert = a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte(rand.Text()[:8]),
	}, &a.key.PublicKey)
	a.Pool.AddCert(a.cert)
	return a
}

// Issue returns a certificate for servers and clients, with its key and without its Leaf.
func (a *Authority) Issue(t testing.TB, commonName string, dnsNames ...string) tls.Certificate {
	t.Helper()
	key := newKey(t)
	signed := a.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: commonName}, DNSNames: dnsNames, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, &key.PublicKey)
	return tls.Certificate{Certificate: [][]byte{signed.Raw}, PrivateKey: key}
}

// Mutual returns a configuration for either side of a connection on which both sides show
// certificates of this authority.
func (a *Authority) Mutual(t testing.TB, commonName string) *tls.Config {
	t.Helper()
	return &tls.Config{
		Certificates: []tls.Certificate{a.Issue(t, commonName)},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: a.Pool, RootCAs: a.Pool,
	}
}

// Revoke returns a revocation list, in DER, with the given certificates.
func (a *Authority) Revoke(t testing.TB, revoked ...tls.Certificate) []byte {
	t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(time.Now().UnixNano()), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour)}
	for _, c := range revoked {
		leaf, err := x509.ParseCertificate(c.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: leaf.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// sign completes c and signs it. The first certificate that an authority signs is its own.
func (a *Authority) sign(t testing.TB, c *x509.Certificate, key *ecdsa.PublicKey) *x509.Certificate {
	t.Helper()
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent := a.cert
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key, a.key)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// Write writes a certificate and its key into files.
func Write(t testing.TB, certificate, key string, c tls.Certificate) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, certificate, "CERTIFICATE", c.Certificate...)
	write(t, key, "PRIVATE KEY", der)
}

// WriteAuthorities writes the certificates of authorities into one file.
func WriteAuthorities(t testing.TB, path string, all ...*Authority) {
	t.Helper()
	var ders [][]byte
	for _, a := range all {
		ders = append(ders, a.cert.Raw)
	}
	write(t, path, "CERTIFICATE", ders...)
}

// write writes blocks of one kind into a PEM file.
func write(t testing.TB, path, kind string, ders ...[]byte) {
	t.Helper()
	var b []byte
	for _, der := range ders {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})...)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}
