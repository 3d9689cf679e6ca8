package actor

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/queue"
	"github.com/tandem-go/tandem/rpc"
)

// MaxWait is how long a Pull waits at a queue before it is answered without items and asks
// again by itself. So a consumer that has vanished delays others no longer than that.
const MaxWait = 20 * time.Second

// tokenCipher makes tokens that nobody can guess. A delivery is identified by the numbers of its
// item and its lease. They are encrypted as one block of 128 bits under a key of the queue's own,
// so a block that was not given out has a chance of 1 in 2^128 to identify a given delivery.
type tokenCipher struct{ block cipher.Block }

func newTokenCipher() tokenCipher {
	var key [16]byte
	rand.Read(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(fmt.Sprintf("actor: %v", err)) // only for a key of a wrong length
	}
	return tokenCipher{block}
}

// encrypt returns a token as consumers get it.
func (s tokenCipher) encrypt(t queue.Token) [3]uint64 {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], t.Item)
	binary.BigEndian.PutUint64(b[8:], t.Lease)
	s.block.Encrypt(b[:], b[:])
	return [3]uint64{t.Queue, binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// decrypt returns the token that a consumer's token stands for. One that this queue did not give
// out yields a token that the queue does not know.
func (s tokenCipher) decrypt(t [3]uint64) queue.Token {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], t[1])
	binary.BigEndian.PutUint64(b[8:], t[2])
	s.block.Decrypt(b[:], b[:])
	return queue.Token{Queue: t[0], Item: binary.BigEndian.Uint64(b[:8]), Lease: binary.BigEndian.Uint64(b[8:])}
}

// wait adds a pull to those that wait. If there are too many, those are removed whose nodes have
// no open link to this one.
func (o *Offer[T]) wait(number uint64, most int, wait time.Duration) error {
	until := time.Now().Add(wait)
	err := o.q.Wait(number, most, until)
	if !errors.Is(err, queue.ErrCrowded) {
		return err
	}
	for n, p := range o.pulls {
		if in, remote := p.later.d.ctx.request().(*server.Inbound); remote && in.Away() {
			o.q.Leave(n)
			delete(o.pulls, n)
			p.unhook()
			_ = p.later.d.end(func(r request) error { r.Fail(errAway); return nil })
		}
	}
	return o.q.Wait(number, most, until)
}

var errAway = rpc.Errorf(rpc.Unavailable, rpc.NotRun, "no link to the consumer's node is open")

// pullRefusal returns why a waiting consumer gets no items any more, or nil. Either there is no
// link to its node, so that nobody would have the items until their leases expire, or it may no
// longer pull.
func (o *Offer[T]) pullRefusal(consumer *Context, s *System) *rpc.Error {
	if in, remote := consumer.request().(*server.Inbound); remote && in.Away() {
		return errAway
	}
	return s.recheck(consumer)
}
