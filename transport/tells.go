package transport

import (
	"encoding/binary"
	"fmt"
)

// Consecutive one-way messages to one actor and of one type share a frame and its header,
// because they are small and come faster than anything else. Only links know of this; their
// users see single messages.

const (
	maxTells      = 64      // one-way messages of a frame
	maxTellsFrame = 8 << 10 // bytes of it, so that it still fits where frames are gathered
)

// tells is the frame of one-way messages at the end of a send queue.
type tells struct {
	start, end int    // where in the queue's buffer; end is 0 for none
	count      int    // of them
	next       uint64 // number of the next
	target     string // views of the buffer
	sender     string
	typeID     uint64
	codec      uint8
	grant      Grant
}

// isPlain reports whether e is a small one-way message without rare options.
func (e *Envelope) isPlain() bool {
	return e.Verb == VerbTell && e.Flags == 0 && e.Code == 0 && e.Mark.Below == 0 && len(e.Mark.Except) == 0 &&
		e.Timeout == 0 && e.Sent.IsZero() && e.Trace.IsZero() && len(e.Headers) == 0 && e.Key == "" && e.Behalf == "" && e.After == 0 &&
		e.Message == "" && e.UserCode == "" && e.RetryAfter == 0 && e.Elsewhere == "" && e.Once.Number == 0 && e.Class == 0 && e.Age == 0 && len(e.Waiting) == 0 && !e.Fence && len(e.Body) <= maxTellsFrame/2
}

// takes reports whether e may join the frame, which ends at n bytes of the buffer; a frame has
// at most most bytes.
func (t *tells) takes(e *Envelope, n, most int) bool {
	return t.end == n && n > 0 && t.next == e.Seq && t.count < maxTells &&
		n-t.start-frameSize+binary.MaxVarintLen16+len(e.Body) <= min(most, maxTellsFrame) &&
		t.typeID == e.TypeID && t.codec == e.Codec && t.target == e.Target && t.sender == e.Sender && t.grant == e.Grant
}

// add appends e to the frame that ends buf.
func (t *tells) add(e *Envelope, buf []byte) []byte {
	buf = append(binary.AppendUvarint(buf, uint64(len(e.Body))), e.Body...)
	binary.BigEndian.PutUint32(buf[t.start:], uint32(len(buf)-t.start-frameSize))
	t.end = len(buf)
	t.count++
	t.next++
	return buf
}

// begin appends a frame to buf that holds e and may take more. If err is not nil, it is
// as it was.
func (t *tells) begin(e *Envelope, buf []byte) (_ []byte, err error) {
	start := len(buf)
	head := Envelope{Verb: VerbTells, Codec: e.Codec, Seq: e.Seq, TypeID: e.TypeID, Grant: e.Grant, Target: e.Target, Sender: e.Sender}
	if buf, err = head.Append(append(buf, 0, 0, 0, 0)); err != nil {
		return buf[:start], err
	}
	*t = tells{start: start, next: e.Seq, typeID: e.TypeID, codec: e.Codec, grant: e.Grant}
	// The options stand in the order of their tags, the target before the sender.
	end := len(buf)
	if n := len(e.Sender); n > 0 {
		t.sender = text(buf[end-n : end])
		end -= n + tagSize
	}
	t.target = text(buf[end-len(e.Target) : end])
	return t.add(e, buf), nil
}

// Deliver passes to to what came in e: e itself, or each of the one-way messages in it, or the
// large message that it completes. A large message for which there is no room is passed on
// without its body. Answers to the sender of a large message go to out. An error ends the
// link, as errors of Receive do.
func (a *Assembly) Deliver(e *Envelope, out *Outbox, to Receiver) error {
	if !a.met {
		a.met = true
		if h, counts := to.(Holder); counts {
			a.holder = h
			out.heldBy(h)
		}
		a.rows, _ = to.(RowReceiver)
	}
	switch {
	case e.Verb == VerbTells:
		if a.rows != nil {
			if count := rowLength(e.Body); count > 1 {
				e.Verb = VerbTell
				a.rows.ReceiveRow(e, count)
				return nil
			}
		}
		return e.split(to)
	case e.Verb >= VerbChunk:
		if whole, err := a.Receive(e, out); err != nil || !whole {
			return err
		}
	}
	to.Receive(e)
	return nil
}

// split passes each one-way message of e to to.
func (e *Envelope) split(to Receiver) error {
	rest := e.Body
	e.Verb = VerbTell
	for count := 0; count == 0 || len(rest) > 0; count++ {
		body, after, ok := CutRow(rest)
		if !ok || count == maxTells {
			return fmt.Errorf("%w: one-way message %d in a frame: %d bytes left", ErrProtocol, count, len(rest))
		}
		e.Body, rest = body, after
		to.Receive(e)
		e.Seq++
	}
	return nil
}

// RowReceiver is a Receiver that takes the one-way messages of a frame together, because that
// costs less than one by one.
type RowReceiver interface {
	Receiver

	// ReceiveRow handles count one-way messages, which are 2 or more. It is called like Receive
	// and in its place. e is the first message; the others differ from it in their bodies alone,
	// and their numbers follow that of the first. e.Body has all bodies, for CutRow.
	ReceiveRow(e *Envelope, count int)
}

// CutRow returns the first body of a row of one-way messages, and what follows it. ok is false if
// there is none; in what a RowReceiver got, that is only at the end.
func CutRow(row []byte) (body, rest []byte, ok bool) {
	if len(row) > 0 && row[0] < 0x80 && int(row[0]) < len(row) { // most bodies are that short
		end := 1 + int(row[0])
		return row[1:end:end], row[end:], true
	}
	n, size := binary.Uvarint(row)
	if size <= 0 || n > uint64(len(row)-size) {
		return nil, row, false
	}
	end := size + int(n)
	return row[size:end:end], row[end:], true
}

// rowLength returns how many one-way messages a row has; 0 if it is not a valid one.
func rowLength(row []byte) (count int) {
	for ok := true; len(row) > 0; count++ {
		if _, row, ok = CutRow(row); !ok || count == maxTells {
			return 0
		}
	}
	return count
}
