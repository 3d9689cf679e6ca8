package tcp

import (
	"encoding/binary"
	"net"
	"testing"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// tally is a Holder that counts the bytes that a reader holds.
type tally int

func (c *tally) Hold(n int) bool        { c.Force(n); return true }
func (c *tally) Force(n int)            { *c += tally(n) }
func (c *tally) Free(n int)             { *c -= tally(n) }
func (c *tally) Part(int) time.Duration { return 0 }

// Whatever length a frame announces, a reader holds at most growth times the bytes that have come of
// it, and counts them. When the frame is complete, they are freed.
func TestBufferGrowsAsAFrameComes(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	go func() {
		frame := binary.BigEndian.AppendUint32(nil, transport.MaxFrame)
		frame = append(frame, make([]byte, transport.MaxFrame)...)
		for len(frame) > 0 {
			n, err := theirs.Write(frame[:min(len(frame), 10_000)])
			if err != nil {
				return
			}
			frame = frame[n:]
		}
		_, _ = theirs.Write(make([]byte, 1)) // the reader has gone on
	}()
	var counted tally
	rd := reader{conn: ours, holder: &counted, buf: make([]byte, minBuffer)}
	for {
		if err := rd.fill(); err != nil {
			t.Fatal(err)
		}
		if have := rd.w - rd.r; len(rd.buf) > max(maxBuffer, growth*have) {
			t.Fatalf("the buffer has %d bytes when %d have come", len(rd.buf), have)
		}
		if beyond := max(len(rd.buf)-maxBuffer, 0); int(counted) != beyond {
			t.Fatalf("%d bytes are counted, %d are held", counted, beyond)
		}
		frame, err := rd.next()
		if err != nil {
			t.Fatal(err)
		}
		if frame != nil {
			break
		}
	}
	if counted < transport.MaxFrame-maxBuffer {
		t.Errorf("%d bytes are counted while a frame of %d is there", counted, transport.MaxFrame)
	}
	if err := rd.fill(); err != nil {
		t.Fatal(err)
	}
	if counted != 0 || len(rd.buf) > maxBuffer {
		t.Errorf("%d bytes are counted after the frame, the buffer has %d", counted, len(rd.buf))
	}
}
