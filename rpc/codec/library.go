package codec

import (
	"errors"
	"io"
	"reflect"
	"sync"

	"github.com/tandem-go/tandem/internal/longcopy"
	"github.com/vmihailenco/msgpack/v5"
)

// A library encodes and decodes, by github.com/vmihailenco/msgpack, what is not compiled:
// types that encode themselves, or that a program has registered functions for, and structs
// with rare tags.
type library struct {
	encs sync.Pool // of *libraryEncoder
	decs sync.Pool // of *libraryDecoder
}

type libraryEncoder struct {
	enc *msgpack.Encoder
	out sink
}

// append appends v to b, which may be as long as most in the end. It fails like an encoder.
func (l *library) append(b []byte, v reflect.Value, most, depth int) []byte {
	e, _ := l.encs.Get().(*libraryEncoder)
	if e == nil {
		e = &libraryEncoder{enc: msgpack.NewEncoder(nil)}
	}
	lim := Limits{Depth: depth, Elements: maxCount, Body: most - len(b)}
	e.out = sink{b: b, start: len(b), next: len(b) + firstLook, lim: lim}
	e.enc.Reset(&e.out)
	e.enc.SetSortMapKeys(true)
	err := e.enc.EncodeValue(v)
	out, limit := e.out.b, e.out.err
	e.out = sink{}
	var s shape
	if err == nil && limit == nil {
		_, limit = scan(out, len(b), lim, &s)
	}
	switch {
	case limit != nil:
		panic(failure{limit})
	case err != nil:
		fail(ErrUnsupported, "%w", err)
	}
	l.encs.Put(e) // after an error its state is unknown
	return out
}

// firstLook is the length at which a sink first looks at what it was given.
const firstLook = 64 << 10

// A sink appends to a slice. Whenever that has doubled it checks the limits, so that a
// value that contains itself ends in ErrLimit, and not in an overflow of the stack.
type sink struct {
	b     []byte
	start int // of the body in b
	next  int // length of b at which to look again
	lim   Limits
	err   error // the limit that it met; for good
}

func (s *sink) Write(p []byte) (int, error) {
	s.b = longcopy.Append(s.b, p)
	if len(s.b) > s.next {
		return len(p), s.look()
	}
	return len(p), nil
}

func (s *sink) WriteByte(c byte) error {
	s.b = append(s.b, c)
	if len(s.b) > s.next {
		return s.look()
	}
	return nil
}

func (s *sink) look() error {
	n := len(s.b) - s.start
	s.next = s.start + min(2*n, s.lim.Body)
	if s.err == nil {
		s.err = s.lim.checkBody(n)
	}
	if s.err == nil {
		var seen shape
		if _, err := scanPart(s.b, s.start, s.lim, true, &seen); errors.Is(err, ErrLimit) {
			s.err = err
		}
	}
	return s.err
}

type libraryDecoder struct {
	dec *msgpack.Decoder
	in  reader
}

// decode decodes the value at index i of b into v. It returns the index behind the value, and
// how many values it held.
func (l *library) decode(b []byte, i int, v reflect.Value, lim Limits) (next, held int, err error) {
	d, _ := l.decs.Get().(*libraryDecoder)
	if d == nil {
		d = &libraryDecoder{dec: msgpack.NewDecoder(nil)}
	}
	var s shape
	if next, err = scan(b, i, lim, &s); err != nil {
		return 0, 0, err
	}
	d.in = reader{b: b[:next:next], at: i, head: i}
	d.dec.Reset(&d.in)
	d.dec.DisableAllocLimit(true) // scan has checked every length
	err = d.dec.DecodeValue(v)
	if err == nil && d.in.at != next {
		err = errOutOfStep
	}
	d.in = reader{}
	if err == nil && next-i <= keepBody {
		l.decs.Put(d) // after an error its state is unknown
	}
	return next, s.values(), err
}

var errOutOfStep = errors.New("a type that decodes itself did not read exactly one value")

var errInExtension = errors.New("codec: an extension where another value was wanted")

// A reader gives a body to a msgpack decoder, and keeps it in step with the scan.
//
// Where a map is wanted, the decoder skips the header of an extension and takes the
// extension's payload for the header of a map, of a length that no scan has checked:
// eight bytes decoded into a map[string]any ask for 2³² entries. It reads headers byte
// by byte and payloads at once, so a single byte is never given from a payload.
type reader struct {
	b          []byte
	at         int
	head       int // where the next head is, of those behind at
	start, end int // the payload of the last extension before it
}

func (r *reader) Read(p []byte) (int, error) {
	if r.at >= len(r.b) {
		return 0, io.EOF
	}
	n := copy(p, r.b[r.at:])
	r.at += n
	return n, nil
}

func (r *reader) ReadByte() (byte, error) {
	if r.at >= len(r.b) {
		return 0, io.EOF
	}
	for r.head <= r.at { // scan has seen that each is whole
		class, n, next, _ := headAt(r.b, r.head)
		r.head = next
		switch class {
		case extension:
			r.start, r.end = next, next+n
			fallthrough
		case payload, scalar:
			r.head += n
		}
	}
	if r.start <= r.at && r.at < r.end {
		return 0, errInExtension
	}
	c := r.b[r.at]
	r.at++
	return c, nil
}

func (r *reader) UnreadByte() error {
	if r.at == 0 {
		return errors.New("codec: nothing to unread")
	}
	r.at--
	return nil
}
