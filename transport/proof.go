package transport

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
)

// Nonce is a random number that is used in one greeting and never again.
type Nonce [16]byte

// NewNonce returns a new random number.
func NewNonce() (n Nonce) {
	rand.Read(n[:]) // it never fails
	return n
}

// Proof is the last message of each side of a greeting, after the Welcome; the dialling side
// sends its proof first. It proves that the side takes part in this very greeting and, if
// there is a token, knows it. Without it, recorded bytes of a link could be replayed.
type Proof struct {
	Status Status
	Reason string   // for people, if Status is not StatusOK
	Sum    [32]byte // see Prove
}

// Prove returns the proof of the side that dials says. hello and welcome are the bytes that
// were exchanged, each with a nonce of its sender. If the token is empty, the proof shows
// only that its sender has read the other side's nonce.
func Prove(token string, dials bool, hello, welcome []byte) Proof {
	side := "answers"
	if dials {
		side = "dials"
	}
	sum := hmac.New(sha256.New, []byte(token))
	for _, part := range [][]byte{[]byte(side), hello, welcome} {
		one := sha256.Sum256(part)
		sum.Write(one[:])
	}
	return Proof{Sum: [32]byte(sum.Sum(nil))}
}

// Check returns nil if p is the proof that Prove returns for the same arguments. An
// error wraps the sentinel of p's status, or ErrDenied.
func (p Proof) Check(token string, dials bool, hello, welcome []byte) error {
	if p.Status != StatusOK {
		return Welcome{Status: p.Status, Reason: p.Reason}.Err()
	}
	want := Prove(token, dials, hello, welcome)
	switch {
	case hmac.Equal(p.Sum[:], want.Sum[:]):
		return nil
	case token != "":
		return fmt.Errorf("%w: the other side does not have this node's token, or sends a recording", ErrDenied)
	}
	return fmt.Errorf("%w: the other side has a token and this node has none, or it sends a recording", ErrDenied)
}

// Append appends the encoded proof to dst.
func (p Proof) Append(dst []byte) []byte {
	return append(appendTexts(append(append(dst, magic...), byte(p.Status)), p.Reason), p.Sum[:]...)
}

// ParseProof decodes a proof. Errors wrap ErrProtocol.
func ParseProof(b []byte) (p Proof, err error) {
	if len(b) < len(magic)+1 || string(b[:len(magic)]) != magic {
		return p, fmt.Errorf("%w: not a proof", ErrProtocol)
	}
	p.Status = Status(b[len(magic)])
	if b, err = parseTexts(b[len(magic)+1:], &p.Reason); err == nil && len(b) < len(p.Sum) {
		err = fmt.Errorf("%w: cut proof", ErrProtocol)
	}
	copy(p.Sum[:], b)
	return p, err
}
