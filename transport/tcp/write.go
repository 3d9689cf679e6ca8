package tcp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// maxWrite is the most bytes of one Write. A peer that reads this much in every StallTimeout is
// slow, but not stalled.
const maxWrite = 256 << 10

// tlsRecord is the most bytes that TLS may have written, in part, without counting them when a
// Write fails.
const tlsRecord = 16 << 10

// write takes what is queued and writes it, until the link ends.
func (l *link) write() {
	defer close(l.written)
	var (
		spare []byte
		limit time.Time   // the write deadline that is set
		stall *time.Timer // made when it is first needed
	)
	for {
		last := l.ending() // checked before Take, because nothing is queued once it is true
		frames, at, drained := l.out.Take(spare)
		spare = frames
		if drained {
			l.recv.Drained()
		}
		if len(frames) > 0 {
			if err := l.writeAll(frames, at, &limit); err != nil {
				l.Close(err)
				return
			}
			runtime.Gosched() // lets other senders append, so that the next batch is larger
			continue
		}
		if last && l.out.Empty() {
			l.closeWrite()
			return
		}
		finishing := l.finishing
		if last { // and the peer does not have all of a large message
			finishing = nil
		}
		var stalled <-chan time.Time // nil unless it is needed, because a timer makes each select slower
		if silence, waiting := l.out.Silence(); silence >= l.t.cfg.StallTimeout {
			l.Close(fmt.Errorf("%w: no word about a large message for %v", transport.ErrStalled, silence))
			return
		} else if waiting {
			if stall == nil {
				stall = time.NewTimer(l.t.cfg.StallTimeout - silence)
				defer stall.Stop()
			} else {
				stall.Reset(l.t.cfg.StallTimeout - silence)
			}
			stalled = stall.C
		}
		select {
		case <-l.out.Wake():
			runtime.Gosched() // the same
		case <-finishing:
		case <-stalled:
		case <-l.done:
			return
		}
	}
}

// writeAll writes b, which begins at the position at in the stream. It keeps l.taken correct: no
// byte behind that position was handed to the network.
func (l *link) writeAll(b []byte, at uint64, limit *time.Time) error {
	for len(b) > 0 {
		// Setting a deadline costs more than reading the clock, so one is set with some
		// reserve and serves many writes.
		if now := time.Now(); limit.Sub(now) < l.t.cfg.StallTimeout {
			*limit = now.Add(l.t.cfg.StallTimeout + l.t.cfg.StallTimeout/4)
			if err := l.conn.SetWriteDeadline(*limit); err != nil {
				return fmt.Errorf("%w: %w", transport.ErrClosed, err)
			}
		}
		part := b[:min(len(b), maxWrite)]
		l.taken.Store(at + uint64(len(part)))
		n, err := l.conn.Write(part)
		if err != nil {
			if _, secured := l.conn.(*tls.Conn); secured {
				n = min(n+tlsRecord, len(part))
			}
			l.taken.Store(at + uint64(n))
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return fmt.Errorf("%w: no room to write for %v", transport.ErrStalled, l.t.cfg.StallTimeout)
			}
			return fmt.Errorf("%w: %w", transport.ErrClosed, err)
		}
		at += uint64(n)
		b = b[n:]
	}
	return nil
}

// closeWrite tells the peer that nothing more comes, and leaves reading open. So bytes that the
// peer sends meanwhile do not reset the connection before it has read everything.
func (l *link) closeWrite() {
	if secured, ok := l.conn.(*tls.Conn); ok {
		secured.CloseWrite()
	}
	if half, ok := l.raw.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}
