package natsbus

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/tandem-go/tandem/transport"
)

// addrScheme precedes a node's public key in its address on this road.
const addrScheme = "x25519:"

// Address returns the address on this road, for the registry's record, of a node whose
// Config.Key is the private half of key.
func Address(key *ecdh.PublicKey) string {
	return addrScheme + base64.RawURLEncoding.EncodeToString(key.Bytes())
}

// keyOf returns the public key in an address.
func keyOf(addr string) (*ecdh.PublicKey, error) {
	text, ok := strings.CutPrefix(addr, addrScheme)
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || !ok {
		return nil, fmt.Errorf("natsbus: address %q: want %s and a key in base64url", addr, addrScheme)
	}
	key, err := ecdh.X25519().NewPublicKey(b)
	if err != nil {
		return nil, fmt.Errorf("natsbus: address %q: %w", addr, err)
	}
	if Address(key) != addr {
		return nil, fmt.Errorf("natsbus: address %q should read %s", addr, Address(key))
	}
	return key, nil
}

// newKey returns a new key pair.
func newKey() *ecdh.PrivateKey {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // rand.Reader never fails
	}
	return key
}

// tagSize is the size of the tag at the end of a packet.
const tagSize = 16

// nonceSize is the size of a nonce of AES-GCM.
const nonceSize = 12

// sealer makes the tags of one direction of a link, or checks them: AES-256-GCM over the
// whole packet, with the kind and the number as the nonce, so that no nonce is used for two
// packets. Methods may be called concurrently, each with a nonce buffer of its own.
type sealer struct {
	aead  cipher.AEAD
	hides bool // the payloads of data and close packets are encrypted
}

// seal appends p and its tag to dst, which is empty. nonce is scratch space for a nonce.
func (s *sealer) seal(dst, nonce []byte, p packet) []byte {
	dst = p.append(dst)
	nonceFor(nonce, p)
	if s.hides && p.kind.private() {
		head := len(dst) - len(p.payload)
		return s.aead.Seal(dst[:head], nonce, dst[head:], dst[:head])
	}
	return s.aead.Seal(dst, nonce, nil, dst)
}

// open reports whether p, which was parsed from b, has the tag of its sender, and decrypts
// its payload in place if need be.
func (s *sealer) open(nonce []byte, p *packet, b []byte) bool {
	nonceFor(nonce, *p)
	if s.hides && p.kind.private() {
		head := len(b) - tagSize - len(p.payload)
		clear, err := s.aead.Open(b[head:head], nonce, b[head:], b[:head])
		p.payload = clear
		return err == nil
	}
	_, err := s.aead.Open(nil, nonce, p.tag, b[:len(b)-tagSize])
	return err == nil
}

func nonceFor(nonce []byte, p packet) {
	binary.BigEndian.PutUint32(nonce, uint32(p.kind))
	binary.BigEndian.PutUint64(nonce[4:], p.number)
}

// half is one side's contribution to the keys of a link.
type half struct {
	static, ephemeral *ecdh.PrivateKey
}

// agree returns the sealers of both directions of a link. Only the senders of open and
// welcome, which are the packets' bytes without the tag, can compute them. It is the pattern
// IX of Noise (The Noise Protocol Framework, revision 34, section 7.5), in which both sides
// send their static keys in clear text. HKDF combines three Diffie-Hellman results: of both
// ephemeral keys, of the dialler's ephemeral with the other's static key, and of the
// dialler's static with the other's ephemeral key. A side proves its identity by knowing the
// results in which its static key takes part.
func (h half) agree(dials bool, peer offer, open, welcome []byte, dialler, answerer string, hides bool) (fromDialler, fromAnswerer *sealer, err error) {
	both, err := h.ephemeral.ECDH(peer.ephemeral)
	if err != nil {
		return nil, nil, err
	}
	first, err := h.ephemeral.ECDH(peer.static)
	if err != nil {
		return nil, nil, err
	}
	second, err := h.static.ECDH(peer.ephemeral)
	if err != nil {
		return nil, nil, err
	}
	if !dials {
		first, second = second, first
	}
	secret := slices.Concat(both, first, second)
	hello, answer := sha256.Sum256(open), sha256.Sum256(welcome)
	salt := sha256.Sum256(slices.Concat(hello[:], answer[:]))
	names := " " + dialler + " " + answerer
	if fromDialler, err = newSealer(secret, salt[:], "tandem bus 1 dials"+names, hides); err == nil {
		fromAnswerer, err = newSealer(secret, salt[:], "tandem bus 1 answers"+names, hides)
	}
	return fromDialler, fromAnswerer, err
}

func newSealer(secret, salt []byte, info string, hides bool) (*sealer, error) {
	key, err := hkdf.Key(sha256.New, secret, salt, info, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	return &sealer{aead: aead, hides: hides}, err
}

// offer precedes the greeting in an open or a welcome packet.
type offer struct {
	hides             bool // encrypt the payloads
	ephemeral, static *ecdh.PublicKey
}

const (
	offerHides = 0x01 // flag: encrypt
	keySize    = 32
	offerSize  = 1 + 2*keySize
)

func (h half) offer(hides bool) offer {
	return offer{hides: hides, ephemeral: h.ephemeral.PublicKey(), static: h.static.PublicKey()}
}

func (o offer) append(dst []byte) []byte {
	flags := byte(0)
	if o.hides {
		flags |= offerHides
	}
	return append(append(append(dst, flags), o.ephemeral.Bytes()...), o.static.Bytes()...)
}

// parseOffer returns an offer and what follows it. Errors wrap transport.ErrProtocol.
func parseOffer(b []byte) (o offer, rest []byte, err error) {
	if len(b) < offerSize {
		return o, nil, fmt.Errorf("%w: cut keys", transport.ErrProtocol)
	}
	o.hides = b[0]&offerHides != 0
	if o.ephemeral, err = ecdh.X25519().NewPublicKey(b[1 : 1+keySize]); err == nil {
		o.static, err = ecdh.X25519().NewPublicKey(b[1+keySize : offerSize])
	}
	if err != nil {
		return o, nil, fmt.Errorf("%w: %w", transport.ErrProtocol, err)
	}
	return o, b[offerSize:], nil
}
