package tcp

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Files are the paths of the files with which a node proves its identity and verifies that of
// others. Certificate, Key and Authorities are set together and mean mutual TLS. The others may
// be empty. Each file has at most 1 MiB.
type Files struct {
	Certificate string // PEM: the node's own certificate, followed by those between it and its authority
	Key         string // PEM: the key of the certificate
	Authorities string // PEM: those that sign the certificates of peers; several while one replaces another
	Revoked     string // revocation lists of these authorities, all in PEM or one in DER
	Tokens      string // one token on each line; the first is used when dialling, and all are accepted; see Config.Token
}

// Credentials are read from files, and can be read again while links are open. Load makes them.
// Their methods may be called concurrently. Several transports may share one Credentials.
type Credentials struct {
	files Files
	mu    sync.Mutex // guards read
	read  [5][]byte  // the content of the files
	now   atomic.Pointer[loaded]
}

// loaded is what was read at one moment. It does not change.
type loaded struct {
	tls     *tls.Config // nil without certificates
	roots   *x509.CertPool
	revoked map[serial]struct{}
	tokens  []string
}

// serial names a certificate by its issuer and its number.
type serial struct{ issuer, number string }

// Load reads the files. The error says what is wrong with which file.
func Load(files Files) (*Credentials, error) {
	c := &Credentials{files: files}
	if _, err := c.Reload(); err != nil {
		return nil, err
	}
	return c, nil
}

// Reload reads the files again, and reports whether their content has changed. After an error
// everything that was read before stays in force, so the files may be changed one after the
// other. A transport calls Reload every Config.Recheck. To make it check its links at once as
// well, call Transport.Recheck.
func (c *Credentials) Reload() (changed bool, err error) {
	if c == nil {
		return false, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var read [5][]byte
	f := c.files
	for i, path := range []string{f.Certificate, f.Key, f.Authorities, f.Revoked, f.Tokens} {
		if path == "" {
			continue
		}
		if read[i], err = readFile(path); err != nil {
			return false, fmt.Errorf("tcp: reading credentials: %w", err)
		}
	}
	if c.now.Load() != nil && slices.EqualFunc(read[:], c.read[:], bytes.Equal) {
		return false, nil
	}
	l, err := f.parse(read)
	if err != nil {
		return false, err
	}
	c.read = read
	c.now.Store(l)
	return true, nil
}

func readFile(path string) ([]byte, error) {
	const most = 1 << 20
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && len(b) > most {
		err = fmt.Errorf("%s has more than %d bytes", path, most)
	}
	return b, err
}

// current returns what was read last; nil if c is nil.
func (c *Credentials) current() *loaded {
	if c == nil {
		return nil
	}
	return c.now.Load()
}

func (f Files) parse(read [5][]byte) (*loaded, error) {
	l := new(loaded)
	if given := f.Certificate != ""; given != (f.Key != "") || given != (f.Authorities != "") {
		return nil, errors.New("tcp: credentials: Certificate, Key and Authorities go together")
	}
	var authorities []*x509.Certificate
	if f.Certificate != "" {
		own, err := tls.X509KeyPair(read[0], read[1])
		if err != nil {
			return nil, fmt.Errorf("tcp: credentials: %s and %s: %w", f.Certificate, f.Key, err)
		}
		if time.Now().After(own.Leaf.NotAfter) {
			return nil, fmt.Errorf("tcp: credentials: the certificate in %s has expired on %s", f.Certificate, own.Leaf.NotAfter.Format(time.RFC3339))
		}
		l.roots = x509.NewCertPool()
		err = eachBlock(read[2], "CERTIFICATE", func(der []byte) error {
			ca, err := x509.ParseCertificate(der)
			if err == nil {
				l.roots.AddCert(ca)
				authorities = append(authorities, ca)
			}
			return err
		})
		if err == nil && len(authorities) == 0 {
			err = errors.New("no certificate in it")
		}
		if err != nil {
			return nil, fmt.Errorf("tcp: credentials: %s: %w", f.Authorities, err)
		}
		l.tls = &tls.Config{Certificates: []tls.Certificate{own}, RootCAs: l.roots, ClientCAs: l.roots,
			ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true}
	}
	if f.Revoked != "" {
		l.revoked = make(map[serial]struct{})
		if err := l.revoke(read[3], authorities); err != nil {
			return nil, fmt.Errorf("tcp: credentials: %s: %w", f.Revoked, err)
		}
	}
	if f.Tokens != "" {
		l.tokens = strings.Fields(string(read[4]))
		if len(l.tokens) == 0 {
			return nil, fmt.Errorf("tcp: credentials: %s: no token in it", f.Tokens)
		}
		if err := checkTokens(l.tokens); err != nil {
			return nil, fmt.Errorf("tcp: credentials: %s: %w", f.Tokens, err)
		}
	}
	return l, nil
}

// eachBlock calls f for each PEM block of that kind in b.
func eachBlock(b []byte, kind string, f func(der []byte) error) error {
	for {
		block, rest := pem.Decode(b)
		if block == nil {
			return nil
		}
		if block.Type == kind {
			if err := f(block.Bytes); err != nil {
				return err
			}
		}
		b = rest
	}
}

// revoke adds revocation lists, each of which must be signed by one of authorities.
func (l *loaded) revoke(b []byte, authorities []*x509.Certificate) error {
	take := func(der []byte) error {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(authorities, func(ca *x509.Certificate) bool { return list.CheckSignatureFrom(ca) == nil }) {
			return fmt.Errorf("a list of %s that none of the authorities has signed", list.Issuer)
		}
		for _, e := range list.RevokedCertificateEntries {
			l.revoked[serial{string(list.RawIssuer), e.SerialNumber.String()}] = struct{}{}
		}
		return nil
	}
	if block, _ := pem.Decode(b); block == nil && len(b) > 0 {
		return take(b)
	}
	return eachBlock(b, "X509 CRL", take)
}

// hasRevoked reports whether c is on a revocation list. l may be nil.
func (l *loaded) hasRevoked(c *x509.Certificate) bool {
	if l == nil || len(l.revoked) == 0 {
		return false
	}
	_, on := l.revoked[serial{string(c.RawIssuer), c.SerialNumber.String()}]
	return on
}

// verify returns the chains by which w's certificate is valid at now.
func (l *loaded) verify(w *standing, now time.Time) ([][]*x509.Certificate, error) {
	between := x509.NewCertPool()
	for _, c := range w.certs[1:] {
		between.AddCert(c)
	}
	use := x509.ExtKeyUsageClientAuth
	if w.dialled {
		use = x509.ExtKeyUsageServerAuth
	}
	chains, err := w.certs[0].Verify(x509.VerifyOptions{Roots: l.roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use}})
	switch {
	case isExpired(err):
		return nil, ErrExpired
	case err != nil:
		return nil, ErrUntrusted
	}
	return chains, nil
}
