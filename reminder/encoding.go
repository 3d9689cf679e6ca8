package reminder

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"time"
)

// FormatVersion is the first byte of everything that is stored.
const FormatVersion = 1

// Sizes in bytes without the texts.
const (
	headSize   = 1 + 3*4 + 4 + 16 + 8 + 8 + 8 + 8 // with the lengths of actor, name and changes
	whenSize   = 8 + 8 + 4 + 4
	bodySize   = 4 + 1 + 4 + 4
	headerSize = 4 + 4
	sumSize    = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Size is how many bytes Append appends.
func (e *Entry) Size() int {
	n := headSize + len(e.Actor.Kind) + len(e.Actor.ID) + len(e.Name) + len(e.Changes)*len(ID{}) + sumSize
	if e.Ended() {
		return n
	}
	n += whenSize + len(e.When.cron) + len(e.When.zone) + bodySize + len(e.Message.Type) + len(e.Message.Body)
	for _, h := range e.Message.Headers {
		n += headerSize + len(h.Key) + len(h.Value)
	}
	return n
}

// Append appends the encoding of e, which stores keep, to dst. Numbers are big-endian; a text is a
// u32 length and that many bytes; a time is in u64 nanoseconds since 1970, 0 if there is none:
//
//	u8 version, text kind, text id, text name,
//	u32 number of changes, each: 16 bytes id,
//	16 bytes generation, time since, time due, u64 number of the firing, u64 skipped;
//	if that number is not 0:
//	    time at, u64 nanoseconds between two times, text cron, text zone,
//	    text type, u8 codec, u32 number of headers, each: text key, text value; then text body,
//	u32 CRC-32C of all before it
func (e *Entry) Append(dst []byte) []byte {
	from := len(dst)
	dst = append(dst, FormatVersion)
	dst = text(text(text(dst, e.Actor.Kind), e.Actor.ID), e.Name)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(e.Changes)))
	for _, id := range e.Changes {
		dst = append(dst, id[:]...)
	}
	dst = append(dst, e.Generation[:]...)
	dst = moment(moment(dst, e.Since), e.Due)
	dst = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(dst, e.Number), e.Skipped)
	if !e.Ended() {
		w, m := e.When, &e.Message
		dst = binary.BigEndian.AppendUint64(moment(dst, w.at), uint64(w.every))
		dst = append(text(text(text(dst, w.cron), w.zone), m.Type), m.Codec)
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

func moment(dst []byte, t time.Time) []byte {
	ns := uint64(0)
	if !t.IsZero() {
		ns = uint64(t.UnixNano())
	}
	return binary.BigEndian.AppendUint64(dst, ns)
}

// ParseEntry decodes what Append has encoded. The body of the result shares memory with b. The error
// is a *FormatError, whose Data is b.
func ParseEntry(b []byte) (Entry, error) {
	bad := func(format string, args ...any) (Entry, error) {
		version := -1
		if len(b) > 0 {
			version = int(b[0])
		}
		return Entry{}, &FormatError{Version: version, Data: b, Why: fmt.Sprintf(format, args...)}
	}
	switch {
	case len(b) == 0:
		return bad("it is empty")
	case b[0] != FormatVersion:
		return bad("this program knows version %d", FormatVersion)
	case len(b) < headSize+sumSize || len(b) > MaxSize:
		return bad("want %d to %d bytes", headSize+sumSize, MaxSize)
	}
	end := len(b) - sumSize
	if crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return bad("the checksum is wrong")
	}
	p := parser{b: b[1:end]}
	e := p.entry()
	if len(p.b) > 0 {
		p.fail("%d bytes too many", len(p.b))
	}
	if p.why != "" {
		return bad("%s", p.why)
	}
	return e, nil
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

func (p *parser) entry() (e Entry) {
	e.Actor.Kind, e.Actor.ID, e.Name = string(p.bytes()), string(p.bytes()), string(p.bytes())
	if n := p.count(MaxChanges, len(ID{})); n > 0 {
		e.Changes = make([]ID, n)
	}
	for i := range e.Changes {
		copy(e.Changes[i][:], p.take(len(ID{})))
	}
	copy(e.Generation[:], p.take(len(ID{})))
	e.Since, e.Due = p.moment(), p.moment()
	e.Number, e.Skipped = p.u64(), p.u64()
	valid := e.Reminder // of what has ended, the rest is missing
	valid.When, valid.Message.Type = Every(MinEvery), "-"
	if !e.Ended() {
		p.reminder(&e.Reminder)
		valid = e.Reminder
	}
	if p.why != "" {
		return e
	}
	if valid.When.kinds() == 1 && valid.When.cron != "" {
		valid.When = Every(MinEvery) // its zone may be unknown here and known elsewhere: that is no damage
	}
	switch err := valid.Valid(); {
	case err != nil:
		p.fail("%v", err)
	case e.Ended() && (e.Generation != ID{} || !e.Since.IsZero() || !e.Due.IsZero() || e.Skipped != 0):
		p.fail("it has ended, and has a time")
	case !e.Ended() && (e.Due.IsZero() || e.Since.IsZero()):
		p.fail("it is not due")
	}
	return e
}

func (p *parser) reminder(r *Reminder) {
	r.When.at, r.When.every = p.moment(), time.Duration(p.u64())
	r.When.cron, r.When.zone = string(p.bytes()), string(p.bytes())
	m := &r.Message
	m.Type, m.Codec = string(p.bytes()), p.take(1)[0]
	if n := p.count(MaxHeaders, headerSize); n > 0 {
		m.Headers = make([]Header, n)
	}
	for i := range m.Headers {
		m.Headers[i] = Header{string(p.bytes()), string(p.bytes())}
	}
	m.Body = p.bytes()
}

func (p *parser) moment() time.Time {
	switch ns := p.u64(); {
	case ns == 0:
		return time.Time{}
	case ns > 1<<63-1:
		p.fail("a time after 2262")
		return time.Time{}
	default:
		return time.Unix(0, int64(ns)).UTC()
	}
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

// count returns the next number of elements, each of which has at least size bytes.
func (p *parser) count(most, size int) int {
	n := p.u32()
	if p.why == "" && (uint64(n) > uint64(most) || uint64(n)*uint64(size) > uint64(len(p.b))) {
		p.fail("%d elements of %d bytes or more: %d are allowed, and %d bytes are left", n, size, most, len(p.b))
		return 0
	}
	return int(n)
}
