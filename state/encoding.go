package state

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"
)

// FormatVersion is the first byte of everything that is stored.
const FormatVersion = 1

// flagDeleted marks what a Delete stores. All other flags are reserved.
const flagDeleted = 1

// Sizes in bytes without the texts.
const (
	headSize    = 1 + 1 + 8 + 16 + 8 + 16 + 4 + 4 + 4 + 4 + 4 + 4 // with the lengths and numbers
	outcomeSize = 4 + 8 + 8 + 4
	messageSize = 4 + 8 + 1 + 4 + 4 + 4
	headerSize  = 4 + 4
	sumSize     = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Size is how many bytes Append appends.
func (s *Stored) Size() int {
	n := headSize + len(s.Key.Kind) + len(s.Key.ID) + len(s.State) + sumSize
	for i := range s.Outcomes {
		n += s.Outcomes[i].Size()
	}
	for i := range s.Outbox {
		n += s.Outbox[i].Size()
	}
	return n
}

// Size is how many bytes o takes in an encoded record.
func (o *Outcome) Size() int { return outcomeSize + len(o.Caller) + len(o.Body) }

// Size is how many bytes m takes in an encoded record.
func (m *Message) Size() int {
	n := messageSize + len(m.To) + len(m.Body)
	for _, h := range m.Headers {
		n += headerSize + len(h.Key) + len(h.Value)
	}
	return n
}

// Append appends the encoding of s, which stores keep, to dst. Numbers are big-endian; a text is a
// u32 length and that many bytes:
//
//	u8 version, u8 flags, u64 token, 16 bytes id, u64 seq and 16 bytes id of the commit before,
//	text kind, text id, u32 type version, text state,
//	u32 number of outcomes, each: text caller, u64 counter, u64 milliseconds since 1970, text body,
//	u32 number of messages, each: u32 index, u64 since, u8 verb, text target,
//	    u32 number of headers, each: text key, text value; then text body,
//	u32 CRC-32C of all before it
func (s *Stored) Append(dst []byte) []byte {
	from := len(dst)
	flags := byte(0)
	if s.Deleted {
		flags = flagDeleted
	}
	dst = append(dst, FormatVersion, flags)
	dst = binary.BigEndian.AppendUint64(dst, s.Token)
	dst = append(dst, s.ID[:]...)
	dst = binary.BigEndian.AppendUint64(dst, s.Before.Seq)
	dst = append(dst, s.Before.ID[:]...)
	dst = text(text(dst, s.Key.Kind), s.Key.ID)
	dst = binary.BigEndian.AppendUint32(dst, s.TypeVersion)
	dst = text(dst, s.State)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(s.Outcomes)))
	for i := range s.Outcomes {
		o := &s.Outcomes[i]
		dst = binary.BigEndian.AppendUint64(text(dst, o.Caller), o.Counter)
		ms := uint64(0)
		if !o.Expires.IsZero() {
			ms = uint64(o.Expires.UnixMilli())
		}
		dst = text(binary.BigEndian.AppendUint64(dst, ms), o.Body)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(s.Outbox)))
	for i := range s.Outbox {
		m := &s.Outbox[i]
		dst = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(dst, m.Index), m.Since)
		dst = text(append(dst, byte(m.Verb)), m.To)
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(m.Headers)))
		for _, h := range m.Headers {
			dst = text(text(dst, h.Key), h.Value)
		}
		dst = text(dst, m.Body)
	}
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[from:], castagnoli))
}

func text[T ~string | ~[]byte](dst []byte, s T) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(s))), s...)
}

// ParseStored decodes what Append has encoded. Byte slices of the result share memory with b. The
// error is a *FormatError, whose Data is b.
func ParseStored(b []byte) (Stored, error) {
	bad := func(format string, args ...any) (Stored, error) {
		version := -1
		if len(b) > 0 {
			version = int(b[0])
		}
		return Stored{}, &FormatError{Version: version, Data: b, Why: fmt.Sprintf(format, args...)}
	}
	switch {
	case len(b) == 0:
		return bad("it is empty")
	case b[0] != FormatVersion:
		return bad("this program knows version %d", FormatVersion)
	case len(b) < headSize+sumSize || len(b) > MaxRecord:
		return bad("want %d to %d bytes", headSize+sumSize, MaxRecord)
	}
	end := len(b) - sumSize
	if crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return bad("the checksum is wrong")
	}
	p := parser{b: b[1:end]}
	s := p.stored()
	if p.why == "" && len(p.b) > 0 {
		p.fail("%d bytes too many", len(p.b))
	}
	if p.why == "" {
		if err := s.valid(); err != nil {
			p.fail("%v", err)
		}
	}
	if p.why != "" {
		return bad("%s", p.why)
	}
	return s, nil
}

// parser reads from the front of b. After a failure it returns zero values only.
type parser struct {
	b   []byte
	why string // what is wrong; empty if nothing is
}

func (p *parser) fail(format string, args ...any) {
	if p.why == "" {
		p.why, p.b = fmt.Sprintf(format, args...), nil
	}
}

func (p *parser) stored() (s Stored) {
	flags := p.u8()
	if s.Deleted = flags == flagDeleted; flags > flagDeleted {
		p.fail("unknown flags %x", flags)
	}
	s.Token = p.u64()
	copy(s.ID[:], p.take(len(s.ID)))
	s.Before.Seq = p.u64()
	copy(s.Before.ID[:], p.take(len(s.Before.ID)))
	s.Key.Kind, s.Key.ID = string(p.bytes()), string(p.bytes())
	s.TypeVersion = p.u32()
	s.State = p.bytes()
	if n := p.count(MaxOutcomes, outcomeSize); n > 0 {
		s.Outcomes = make([]Outcome, n)
	}
	for i := range s.Outcomes {
		s.Outcomes[i] = p.outcome()
	}
	if n := p.count(MaxMessages, messageSize); n > 0 {
		s.Outbox = make([]Message, n)
	}
	for i := range s.Outbox {
		s.Outbox[i] = p.message()
	}
	if s.Deleted && (s.TypeVersion != 0 || s.State != nil || s.Outcomes != nil || s.Outbox != nil) {
		p.fail("it is deleted, and has a state")
	}
	return s
}

func (p *parser) outcome() (o Outcome) {
	o.Caller, o.Counter = string(p.bytes()), p.u64()
	if ms := p.u64(); ms > 0 {
		o.Expires = time.UnixMilli(int64(ms)).UTC()
	}
	o.Body = p.bytes()
	return o
}

func (p *parser) message() (m Message) {
	m.Index, m.Since, m.Verb, m.To = p.u32(), p.u64(), Verb(p.u8()), string(p.bytes())
	if n := p.count(MaxHeaders, headerSize); n > 0 {
		m.Headers = make([]Header, n)
	}
	for i := range m.Headers {
		m.Headers[i] = Header{string(p.bytes()), string(p.bytes())}
	}
	m.Body = p.bytes()
	return m
}

// take returns the next n bytes, or n zeros if there are fewer.
func (p *parser) take(n int) []byte {
	if n > len(p.b) {
		p.fail("it ends too early")
		return make([]byte, min(n, 16))
	}
	t := p.b[:n:n]
	p.b = p.b[n:]
	return t
}

func (p *parser) u8() uint8   { return p.take(1)[0] }
func (p *parser) u32() uint32 { return binary.BigEndian.Uint32(p.take(4)) }
func (p *parser) u64() uint64 { return binary.BigEndian.Uint64(p.take(8)) }

// bytes returns the next text, nil if it is empty.
func (p *parser) bytes() []byte {
	n := p.u32()
	switch {
	case p.why != "" || n == 0:
		return nil
	case uint64(n) > uint64(len(p.b)):
		p.fail("a text of %d bytes, and %d are left", n, len(p.b))
		return nil
	}
	return p.take(int(n))
}

// count returns the next number of entries, each of which has at least size bytes.
func (p *parser) count(most, size int) int {
	n := p.u32()
	if p.why == "" && (uint64(n) > uint64(most) || uint64(n)*uint64(size) > uint64(len(p.b))) {
		p.fail("%d entries of %d bytes or more: %d are allowed, and %d bytes are left", n, size, most, len(p.b))
		return 0
	}
	return int(n)
}
