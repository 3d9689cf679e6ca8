package transport

import (
	"fmt"
	"strings"
	"unsafe"
)

// Assembly is the receiving end of large messages: it puts their chunks together. It is
// a pure structure, for a link's reader.
type Assembly struct {
	largest int  // bytes of one message
	lossy   bool // chunks may be lost, doubled or overtaken on the way

	open   map[uint64]*assembly
	newest uint64 // the latest message to have begun
	bytes  int    // of the open ones, as announced
	unsaid int    // bytes that have come, and the sender was not told
}

// assembly is one message of which not all has come.
type assembly struct {
	total int             // 0: none of it has come
	buf   strings.Builder // what has; its memory need not be zeroed first
	asked bool            // for what is missing, and nothing has come since
	said  int             // how much of it the sender was told to have come
}

// answerEvery is how many bytes may come on a link before a sender is told.
const answerEvery = 32 << 10

// firstRoom is what the first chunk of a message has allocated for it, and roomFactor
// how much larger the memory is from then on than what has really come, or twice as much.
const (
	firstRoom  = 1 << 20
	roomFactor = 8
)

// NewAssembly returns an Assembly of messages of at most largest encoded bytes. On a
// lossy road chunks may be missing, or come twice.
func NewAssembly(largest int, lossy bool) *Assembly {
	return &Assembly{largest: largest, lossy: lossy, open: make(map[uint64]*assembly)}
}

// Receive handles e, which is about a large message: a chunk, or an answer to one; what is to be said about that goes to out. It reports whether e has become a
// message that has come whole, and is to be received. An error ends the link: it wraps
// ErrProtocol or ErrVersion, or is one of Append's.
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
	if err := e.Parse(message); err != nil {
		return false, err
	}
	if e.Verb >= VerbChunk {
		return false, fmt.Errorf("%w: large message %d is a %v", ErrProtocol, number, e.Verb)
	}
	e.Owned = true
	return true, nil
}

// add takes in a chunk. message is the whole one, if that was the last; answer, if it
// has a verb, is for the sender.
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
	switch {
	case err != nil:
		return nil, Envelope{}, err
	case m == nil || gone: // over already, or now
		if m != nil {
			a.end(e.Seq, m)
		}
		answer.Mark.Below = total
		return nil, answer, nil
	}
	have := uint64(m.buf.Len())
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
		a.unsaid -= m.buf.Len() - m.said
		m.said = m.buf.Len()
		return nil, answer, nil
	}
	m.grow(e.Body[have-from:])
	m.asked = false
	a.unsaid += m.buf.Len() - int(have)
	if m.buf.Len() < m.total && a.unsaid < answerEvery {
		return nil, Envelope{}, nil
	}
	answer.Mark.Below = uint64(m.buf.Len())
	a.unsaid -= m.buf.Len() - m.said
	if m.said = m.buf.Len(); m.said < m.total {
		return nil, answer, nil
	}
	a.end(e.Seq, m)
	return unsafe.Slice(unsafe.StringData(m.buf.String()), m.total), answer, nil
}

// find returns what there is of a message, nil if it came whole or was abandoned.
func (a *Assembly) find(number uint64, total int) (*assembly, error) {
	m := a.open[number]
	switch {
	case m == nil && number <= a.newest && a.lossy && number > 0:
		return nil, nil
	case m == nil && (number <= a.newest || !a.lossy && number > a.newest+1):
		return nil, fmt.Errorf("%w: chunk of large message %d, the latest is %d", ErrProtocol, number, a.newest)
	case m == nil:
		// What a bus has lost the beginning of is open, too.
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
	delete(a.open, number)
	a.bytes -= m.total
	a.unsaid -= m.buf.Len() - m.said
}

// grow appends to what has come.
func (m *assembly) grow(b []byte) {
	if n := m.buf.Len() + len(b); n > m.buf.Cap() {
		sofar := m.buf.String()
		room := max(n, roomFactor*m.buf.Cap(), firstRoom)
		if room > m.total/2 { // not twice for a rest
			room = m.total
		}
		m.buf.Reset()
		m.buf.Grow(room)
		m.buf.WriteString(sofar)
	}
	m.buf.Write(b)
}
