package actor

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// MaxWait is how long a Pull waits in line at most before it is answered with nothing and
// asks again by itself: so who has vanished is in nobody's way for longer.
const MaxWait = 20 * time.Second

// seal makes tokens that nobody can guess: what names a delivery to the queue, a number and
// that of a lease, is encrypted as one block of 128 bits under a key that nobody else has.
// Another block than one that was given out names, but once in 2^128, none.
type seal struct{ block cipher.Block }

func newSeal() seal {
	var key [16]byte
	rand.Read(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(fmt.Sprintf("actor: %v", err)) // only for a key of another length
	}
	return seal{block}
}

// close is a token as a consumer gets it.
func (s seal) close(t queue.Token) [3]uint64 {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], t.Item)
	binary.BigEndian.PutUint64(b[8:], t.Lease)
	s.block.Encrypt(b[:], b[:])
	return [3]uint64{t.Queue, binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// open is what a consumer's token names; what was made up names nothing.
func (s seal) open(t [3]uint64) queue.Token {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], t[1])
	binary.BigEndian.PutUint64(b[8:], t[2])
	s.block.Decrypt(b[:], b[:])
	return queue.Token{Queue: t[0], Item: binary.BigEndian.Uint64(b[:8]), Lease: binary.BigEndian.Uint64(b[8:])}
}

// Token is what a consumer's token names in the queue. One that this offer did not give out
// names nothing that it has.
func (o *Offer[T]) Token(t [3]uint64) queue.Token { return o.seal.open(t) }

// wait puts a pull in line. Where the line is full, those leave it to whom no link is open.
func (o *Offer[T]) wait(number uint64, most int, wait time.Duration) error {
	until := time.Now().Add(wait)
	err := o.q.Wait(number, most, until)
	if !errors.Is(err, queue.ErrCrowded) {
		return err
	}
	for n, p := range o.pulls {
		if in, remote := p.later.d.ctx.request().(*rpc.Inbound); remote && in.Away() {
			o.q.Leave(n)
			delete(o.pulls, n)
			p.unhook()
			_ = p.later.d.end(func(r request) error { r.Refuse(errAway); return nil })
		}
	}
	return o.q.Wait(number, most, until)
}

var errAway = rpc.Errorf(rpc.Unavailable, rpc.NotRun, "no link to the consumer's node is open")

// barred is why a consumer in line gets nothing any more: its node is away, so that its items
// would be lost for a lease, or it may not pull meanwhile.
func (o *Offer[T]) barred(consumer *Context, s *System) *rpc.Error {
	if in, remote := consumer.request().(*rpc.Inbound); remote && in.Away() {
		return errAway
	}
	return s.still(consumer)
}
