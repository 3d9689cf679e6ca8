package transport

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/tandem-go/tandem/internal/bufpool"
	"github.com/tandem-go/tandem/internal/longcopy"
)

// Assembly is the receiving end of large messages: it puts their chunks together. It has no
// lock, clock or I/O, and belongs to a link's reader.
type Assembly struct {
	largest int  // bytes of one message
	lossy   bool // chunks may be lost, duplicated or reordered

	holder      Holder      // nil: nobody counts
	rows        RowReceiver // nil: one-way messages are received one by one
	compression Compression // nil: nothing is inflated
	met         bool        // both were asked for
	open        map[uint64]*assembly
	newest      uint64        // the latest message to have begun
	bytes       int           // of the open ones, as announced
	unsaid      int           // bytes that have come and were not acknowledged
	looked      time.Duration // the holder's clock when the open ones were looked at
}

// Holder is a Receiver that counts the memory that its peer makes the link hold: incomplete
// large messages, and answers that the peer does not read. Its methods may be called
// concurrently, and under locks of the link. When the link ends, the Holder frees the rest by
// itself.
type Holder interface {
	// Hold counts n bytes, or reports that there is no room for them. In that case an
	// incomplete message whose header is there is received at once, as Cut, and the rest of
	// it is dropped; an answer is refused by Outbox.Append.
	Hold(n int) bool
	// Force counts n bytes for which there may be no room.
	Force(n int)
	// Free ends the counting of n bytes.
	Free(n int)
	// Part is called when a part of a message has come, with the number of incomplete
	// messages that began before it. It returns a clock with a resolution of a few seconds.
	Part(open int) time.Duration
}

// PartPatience is how long an incomplete message may receive nothing.
const PartPatience = 2 * time.Minute

// assembly is one incomplete message.
type assembly struct {
	total int           // 0: nothing of it has come
	have  int           // bytes that have come
	parts [][]byte      // them
	room  int           // bytes of the latest part that are free
	held  int           // bytes of all parts, as far as they are counted
	cut   bool          // there was no room: they were dropped
	at    time.Duration // the holder's clock when the last bytes came
	asked bool          // the missing chunks were requested, and nothing has come since
	said  int           // how much of it was acknowledged
}

// answerEvery is how many bytes may come on a link before they are acknowledged.
const answerEvery = 32 << 10

// The first part of a message has room for firstPart bytes, and each further part for as many
// bytes as have come, up to maxPart. So at most twice the bytes that have come are held,
// whatever size was announced. Nothing is copied until everything has come.
const (
	firstPart = 64 << 10
	maxPart   = 1 << 20
)

// NewAssembly returns an Assembly for messages of at most largest encoded bytes. lossy says
// that chunks may be lost or duplicated.
func NewAssembly(largest int, lossy bool) *Assembly {
	return &Assembly{largest: largest, lossy: lossy, open: make(map[uint64]*assembly)}
}

// Receive handles e, which is a chunk of a large message or an answer to chunks. Answers go to
// out. It reports whether e has become a message to be received: a complete one, or one that
// is Cut. An error ends the link: it wraps ErrProtocol or ErrVersion, or is one of Append's.
func (a *Assembly) Receive(e *Envelope, out *Outbox) (whole bool, err error) {
	if e.Verb == VerbChunked {
		if e.Code == codeAgain && !a.lossy {
			return false, fmt.Errorf("%w: chunks were lost on a road that loses none", ErrProtocol)
		}
		return false, out.acked(e.Seq, e.Mark.Below, e.Code == codeAgain)
	}
	number := e.Seq
	message, answer, err := a.add(e)
	if err != nil {
		return false, err
	}
	if answer.Verb != 0 {
		if _, err := out.Append(&answer); err != nil {
			return false, err
		}
	}
	if message == nil {
		return false, nil
	}
	cut := e.Cut
	if err := e.Parse(message); err != nil {
		return false, err
	}
	if e.Verb >= VerbChunk {
		return false, fmt.Errorf("%w: large message %d is a %v", ErrProtocol, number, e.Verb)
	}
	e.Owned, e.Cut = !cut, cut
	return true, nil
}

// maxHead is the largest size of a header with its options.
const maxHead = headerSize + math.MaxUint16

// head returns the header and the options of an envelope that begins with b; nil if b does
// not have all of them.
func head(b []byte) []byte {
	if len(b) < headerSize {
		return nil
	}
	if n := headerSize + int(binary.BigEndian.Uint16(b[4:])); n <= len(b) {
		return b[:n]
	}
	return nil
}

// add adds a chunk. message is the whole message, if the chunk was the last one. If there is
// no room for the chunk, e becomes Cut and message is the header, once. answer, if it has a
// verb, is for the sender.
func (a *Assembly) add(e *Envelope) (message []byte, answer Envelope, err error) {
	total, from, gone := e.Mark.Below, e.TypeID, e.Code == codeAbandoned
	switch {
	case total == 0 || total > uint64(a.largest):
		return nil, answer, fmt.Errorf("%w: message of %d bytes, limit %d", ErrProtocol, total, a.largest)
	case from > total || uint64(len(e.Body)) > total-from:
		return nil, answer, fmt.Errorf("%w: chunk of %d bytes at %d of %d", ErrProtocol, len(e.Body), from, total)
	case len(e.Body) == 0 != gone:
		return nil, answer, fmt.Errorf("%w: chunk of %d bytes with code %d", ErrProtocol, len(e.Body), e.Code)
	}
	answer = Envelope{Verb: VerbChunked, Seq: e.Seq}
	m, err := a.find(e.Seq, int(total))
	if err == nil {
		err = a.stalled()
	}
	switch {
	case err != nil:
		return nil, Envelope{}, err
	case m == nil || gone: // the message has ended before, or ends now
		if m != nil {
			a.end(e.Seq, m)
		}
		answer.Mark.Below = total
		return nil, answer, nil
	}
	have := uint64(m.have)
	if from != have && !a.lossy {
		return nil, Envelope{}, fmt.Errorf("%w: chunk at %d of a message of which %d bytes have come", ErrProtocol, from, have)
	}
	answer.Mark.Below = have
	switch end := from + uint64(len(e.Body)); {
	case from > have && m.asked:
		return nil, Envelope{}, nil
	case from > have:
		m.asked, answer.Code = true, codeAgain
		fallthrough
	case end <= have:
		a.unsaid -= m.have - m.said
		m.said = m.have
		return nil, answer, nil
	}
	if message = a.keep(m, e.Body[have-from:]); message != nil {
		e.Cut = true
	}
	m.asked, m.at = false, a.looked
	a.unsaid += m.have - int(have)
	if m.have < m.total && a.unsaid < answerEvery {
		return message, Envelope{}, nil
	}
	answer.Mark.Below = uint64(m.have)
	a.unsaid -= m.have - m.said
	if m.said = m.have; m.said < m.total {
		return message, answer, nil
	}
	if !m.cut {
		message = m.whole()
	}
	a.end(e.Seq, m)
	return message, answer, nil
}

// whole returns the bytes that have come, which belong to the caller from then on.
func (m *assembly) whole() []byte {
	if len(m.parts) == 1 {
		return m.parts[0]
	}
	all := bufpool.Get(m.total)
	for _, p := range m.parts {
		all = longcopy.Append(all, p)
		bufpool.Put(p)
	}
	m.parts = nil
	return all
}

// maxOther is the largest message of another verb than those that carry bodies of the user's:
// an ack lists at most twice a window. One that is larger is dropped when its first part has come.
const maxOther = maxHead + 64<<10

// mayBeLong reports whether the verb of m, whose first part has come, carries a body of the user's.
func (m *assembly) mayBeLong() bool {
	return Verb(m.parts[0][1]).carries()
}

// beginning returns the first bytes that have come, at most maxHead, followed by b.
func (m *assembly) beginning(b []byte) []byte {
	var first []byte
	for _, p := range m.parts {
		first = append(first, p[:min(len(p), maxHead-len(first))]...)
	}
	return append(first, b...)
}

// stalled returns an error if an incomplete message has received nothing for too long. It
// checks whenever the clock has advanced.
func (a *Assembly) stalled() error {
	if a.holder == nil {
		return nil
	}
	now := a.holder.Part(len(a.open))
	if now == a.looked {
		return nil
	}
	a.looked = now
	for number, m := range a.open {
		if m.at == 0 { // it has just begun, or its beginning was lost
			m.at = now
		} else if now-m.at > PartPatience {
			return fmt.Errorf("%w: nothing more of large message %d came for %v", ErrProtocol, number, PartPatience)
		}
	}
	return nil
}

// find returns an incomplete message; nil if it has been completed or was abandoned.
func (a *Assembly) find(number uint64, total int) (*assembly, error) {
	m := a.open[number]
	switch {
	case m == nil && number <= a.newest && a.lossy && number > 0:
		return nil, nil
	case m == nil && (number <= a.newest || !a.lossy && number > a.newest+1):
		return nil, fmt.Errorf("%w: chunk of large message %d, the latest is %d", ErrProtocol, number, a.newest)
	case m == nil:
		// A message whose beginning a bus has lost is incomplete, too.
		if number-a.newest > uint64(maxUnfinished-len(a.open)) {
			return nil, fmt.Errorf("%w: more than %d unfinished messages", ErrProtocol, maxUnfinished)
		}
		for a.newest < number {
			a.newest++
			m = &assembly{}
			a.open[a.newest] = m
		}
	}
	if m.total == 0 {
		if a.bytes+total > unfinishedFactor*a.largest {
			return nil, fmt.Errorf("%w: unfinished messages of more than %d bytes", ErrProtocol, unfinishedFactor*a.largest)
		}
		m.total = total
		a.bytes += total
	}
	if m.total != total {
		return nil, fmt.Errorf("%w: large message %d of %d bytes, or of %d", ErrProtocol, number, m.total, total)
	}
	return m, nil
}

func (a *Assembly) end(number uint64, m *assembly) {
	if delete(a.open, number); a.holder != nil {
		a.holder.Part(len(a.open))
	}
	a.bytes -= m.total
	a.unsaid -= m.have - m.said
	a.free(m.held)
}

func (a *Assembly) hold(n int) bool { return a.holder == nil || a.holder.Hold(n) }

func (a *Assembly) free(n int) {
	if a.holder != nil && n > 0 {
		a.holder.Free(n)
	}
}

// keep adds the next bytes of m. If there is no room for them, it returns the header of m, if
// that has come.
func (a *Assembly) keep(m *assembly, b []byte) (header []byte) {
	m.have += len(b)
	if m.cut {
		return nil
	}
	for len(b) > 0 {
		if m.room == 0 {
			n := min(max(m.held, firstPart), maxPart, m.total-m.held)
			senseless := m.held > 0 && m.total > maxOther && !m.mayBeLong()
			if senseless || !a.hold(n) {
				if !senseless {
					header = head(m.beginning(b))
				}
				a.free(m.held)
				m.parts, m.held, m.cut = nil, 0, true
				return header
			}
			m.parts = append(m.parts, bufpool.Get(n))
			m.room, m.held = n, m.held+n
		}
		n := min(len(b), m.room)
		last := &m.parts[len(m.parts)-1]
		*last = append(*last, b[:n]...)
		m.room -= n
		b = b[n:]
	}
	return nil
}
