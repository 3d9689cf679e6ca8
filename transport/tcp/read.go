package tcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// Read buffers grow with the traffic between these sizes. They are never reused,
// because the envelopes parsed from them refer to them.
const (
	minBuffer = 4 << 10
	maxBuffer = 64 << 10
	minRoom   = 512 // with less room than this a fresh buffer is taken
)

// reader cuts a connection's bytes into frames. One goroutine uses it.
type reader struct {
	conn  net.Conn
	stall time.Duration

	buf   []byte // buf[r:w] is what was read and not yet cut off
	r, w  int
	size  int // of the next buffer
	reads int // into the present buffer

	since time.Time // when the frame that is there in part began to be; zero: there is none
	limit time.Time // the read deadline that is set; zero: none
}

// read receives envelopes until the link ends and returns why it did.
func (l *link) read() error {
	rd := reader{conn: l.conn, stall: l.t.cfg.StallTimeout, size: minBuffer}
	var e transport.Envelope
	for {
		if err := rd.fill(); err != nil {
			return err
		}
		for {
			frame, err := rd.next()
			if err != nil {
				return err
			}
			if frame == nil {
				break
			}
			if err := e.Parse(frame); err != nil {
				return err
			}
			if e.Verb >= transport.VerbChunk {
				if whole, err := l.large.Receive(&e, l.out); err != nil {
					return err
				} else if !whole {
					continue
				}
			}
			l.recv.Receive(&e)
			if l.over() {
				return l.cause
			}
		}
		if err := rd.arm(); err != nil {
			return err
		}
	}
}

// next cuts off the next frame, nil if it is not there yet.
func (rd *reader) next() ([]byte, error) {
	n, err := rd.frameSize()
	if err != nil || n == 0 || rd.w-rd.r < n {
		return nil, err
	}
	frame := rd.buf[rd.r+4 : rd.r+n : rd.r+n]
	rd.r += n
	rd.since = time.Time{}
	return frame, nil
}

// frameSize returns the size of the frame that begins at r with its length, zero
// while the length is not there.
func (rd *reader) frameSize() (int, error) {
	if rd.w-rd.r < 4 {
		return 0, nil
	}
	n := binary.BigEndian.Uint32(rd.buf[rd.r:])
	if n > transport.MaxFrame {
		return 0, fmt.Errorf("%w: frame of %d bytes", transport.ErrProtocol, n)
	}
	return 4 + int(n), nil
}

// fill reads more bytes; it returns once there are some.
func (rd *reader) fill() error {
	rd.makeRoom()
	for {
		n, err := rd.conn.Read(rd.buf[rd.w:])
		rd.w += n
		rd.reads++
		if rd.w == len(rd.buf) {
			rd.size = min(2*rd.size, maxBuffer)
		}
		switch {
		case n > 0: // an error comes again with the next Read
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded) && rd.since.IsZero():
			// Left over from a frame that was completed: idle links may be quiet.
			rd.limit = time.Time{}
			if err := rd.conn.SetReadDeadline(rd.limit); err != nil {
				return fmt.Errorf("%w: %w", transport.ErrClosed, err)
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("%w: %d bytes of a frame, and no more for %v", transport.ErrStalled, rd.w-rd.r, rd.stall)
		case errors.Is(err, io.EOF):
			return fmt.Errorf("%w by the peer", transport.ErrClosed)
		case err != nil:
			return fmt.Errorf("%w: %w", transport.ErrClosed, err)
		}
	}
}

// makeRoom takes a fresh buffer if the present one cannot hold the rest of the
// frame, or holds little more. The part that is there moves along.
func (rd *reader) makeRoom() {
	need, _ := rd.frameSize() // next has seen this length and let it pass
	if need > 0 && rd.r+need <= len(rd.buf) || need == 0 && len(rd.buf)-rd.w >= minRoom {
		return
	}
	if rd.reads > 64 { // little traffic: a body that is kept should not hold much memory
		rd.size = max(rd.size/2, minBuffer)
	}
	fresh := make([]byte, max(rd.size, need))
	rd.w = copy(fresh, rd.buf[rd.r:rd.w])
	rd.buf, rd.r, rd.reads = fresh, 0, 0
}

// arm sees to it that a frame which is there in part must be complete in time. The
// deadline is set with a reserve and serves many frames, because setting it for
// every one would cost more than parsing them.
func (rd *reader) arm() error {
	if rd.r == rd.w || !rd.since.IsZero() {
		return nil
	}
	rd.since = time.Now()
	if rd.limit.Sub(rd.since) >= rd.stall {
		return nil
	}
	rd.limit = rd.since.Add(rd.stall + rd.stall/4)
	if err := rd.conn.SetReadDeadline(rd.limit); err != nil {
		return fmt.Errorf("%w: %w", transport.ErrClosed, err)
	}
	return nil
}
