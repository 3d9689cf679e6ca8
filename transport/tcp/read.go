package tcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/tandem-go/tandem/internal/bufpool"
	"github.com/tandem-go/tandem/transport"
)

// The size of the read buffer follows the traffic between these bounds. For a larger frame it
// grows further, as the bytes of the frame come, until the frame is received. It is at most
// growth times as large as what has come, whatever length was announced. What exceeds maxBuffer
// counts in the account of the peer.
const (
	minBuffer = 4 << 10
	maxBuffer = 64 << 10
	growth    = 8
	lookEvery = 256 // number of reads after which a buffer that was never half full is halved
)

// reader cuts a connection's bytes into frames. One goroutine uses it.
type reader struct {
	conn   net.Conn
	stall  time.Duration
	holder transport.Holder // counts memory; nil: nobody does

	buf   []byte // buf[r:w] was read and is not yet returned as a frame
	r, w  int
	reads int // reads since the size of buf was checked
	most  int // the most bytes that it held since then

	since time.Time // when the incomplete frame began; zero: there is none
	limit time.Time // the read deadline that is set; zero: none
}

// read receives envelopes until the link ends and returns why it did.
func (l *link) read() error {
	rd := reader{conn: l.conn, stall: l.t.cfg.StallTimeout, buf: bufpool.Get(minBuffer)[:minBuffer]}
	defer func() { bufpool.Put(rd.buf) }()
	rd.holder, _ = l.recv.(transport.Holder)
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
			if err := l.receive(&e, frame); err != nil {
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

// inTurn is the size of a frame, or of the body that is compressed in it, in bytes, from which on the links of one principal take turns.
const inTurn = 16 << 10

// receive passes the envelopes in a frame on. A large envelope is copied or inflated into new memory, which
// takes some 100 µs on a machine with virtual memory. If twenty links of one principal did that
// at the same time, the reader of another principal's link would wait for a processor behind all
// of them. So the links of one principal do it in turn. Nothing blocks or calls the user's code
// under that lock.
func (l *link) receive(e *transport.Envelope, frame []byte) error {
	if err := e.Parse(frame); err != nil {
		return err
	}
	if len(frame) >= inTurn || e.Size >= inTurn {
		l.turn.Lock()
		defer l.turn.Unlock()
	}
	return l.large.Deliver(e, l.out, l.recv)
}

// next returns the next frame, or nil if it is not complete yet.
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

// frameSize returns the size of the frame at r, including its length; zero while the length is
// not there yet.
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

// fill reads more bytes, and returns once there are some.
func (rd *reader) fill() error {
	rd.makeRoom()
	for {
		n, err := rd.conn.Read(rd.buf[rd.w:])
		rd.w += n
		rd.reads++
		rd.most = max(rd.most, rd.w)
		switch {
		case n > 0: // if there is an error too, the next Read returns it again
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded) && rd.since.IsZero():
			// This is the deadline of a frame that was completed. Idle links have none.
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

// makeRoom moves the incomplete frame to the front of the buffer, whose other frames have all been
// received. It changes the size of the buffer if the traffic or that frame requires it.
func (rd *reader) makeRoom() {
	size := len(rd.buf)
	switch {
	case size > maxBuffer:
		size = maxBuffer // it had grown for one frame
	case rd.most == size:
		size = min(2*size, maxBuffer)
	case rd.reads >= lookEvery && rd.most < size/2:
		size = max(size/2, minBuffer)
	}
	need, _ := rd.frameSize() // next has accepted this length
	need = min(need, max(maxBuffer, growth*(rd.w-rd.r)))
	buf := rd.buf
	if size = max(size, need, rd.w-rd.r+1); size != len(buf) {
		rd.count(max(size-maxBuffer, 0) - max(len(buf)-maxBuffer, 0))
		buf = bufpool.Get(size)[:size]
	}
	if size != len(rd.buf) || rd.reads >= lookEvery {
		rd.reads, rd.most = 0, 0
	}
	rd.w = copy(buf, rd.buf[rd.r:rd.w])
	if len(buf) != len(rd.buf) {
		bufpool.Put(rd.buf)
	}
	rd.buf, rd.r = buf, 0
}

// count tells the holder that the reader holds n bytes. When the link ends, the holder frees what
// is left by itself.
func (rd *reader) count(n int) {
	switch {
	case rd.holder == nil:
	case n > 0:
		rd.holder.Force(n)
	case n < 0:
		rd.holder.Free(-n)
	}
}

// arm sets a read deadline for the rest of an incomplete frame. The deadline has a reserve and
// serves many frames, because setting one for every frame would cost more than parsing it.
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
