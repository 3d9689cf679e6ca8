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

// The read buffer grows and shrinks with the traffic between these sizes, and beyond
// for the time of a larger frame.
const (
	minBuffer = 4 << 10
	maxBuffer = 64 << 10
	lookEvery = 256 // reads after which a buffer that was never half full is halved
)

// reader cuts a connection's bytes into frames. One goroutine uses it.
type reader struct {
	conn  net.Conn
	stall time.Duration

	buf   []byte // buf[r:w] is what was read and not yet cut off
	r, w  int
	reads int // since the size of buf was looked at
	most  int // bytes that it held at most since then

	since time.Time // when the frame that is there in part began to be; zero: there is none
	limit time.Time // the read deadline that is set; zero: none
}

// read receives envelopes until the link ends and returns why it did.
func (l *link) read() error {
	rd := reader{conn: l.conn, stall: l.t.cfg.StallTimeout, buf: make([]byte, minBuffer)}
	defer l.recv.Flush()
	var e transport.Envelope
	for {
		l.recv.Flush()
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
			if err := l.large.Deliver(&e, l.out, l.recv); err != nil {
				return err
			}
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
		rd.most = max(rd.most, rd.w)
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

// makeRoom moves what is there in part to the front of the buffer, whose frames have
// all been received, and changes its size where the traffic or the next frame asks for it.
func (rd *reader) makeRoom() {
	size := len(rd.buf)
	switch {
	case size > maxBuffer:
		size = maxBuffer // it was made for one frame
	case rd.most == size:
		size = min(2*size, maxBuffer)
	case rd.reads >= lookEvery && rd.most < size/2:
		size = max(size/2, minBuffer)
	}
	need, _ := rd.frameSize() // next has seen this length and let it pass
	buf := rd.buf
	if size = max(size, need, rd.w-rd.r+1); size != len(buf) {
		buf = make([]byte, size)
	}
	if size != len(rd.buf) || rd.reads >= lookEvery {
		rd.reads, rd.most = 0, 0
	}
	rd.w = copy(buf, rd.buf[rd.r:rd.w])
	rd.buf, rd.r = buf, 0
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
