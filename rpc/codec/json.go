package codec

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"

	"github.com/tandem-go/tandem/internal/longcopy"
)

// JSON returns the codec of id 2: encoding/json, without the escaping of HTML. Unknown
// fields are skipped.
func JSON(l Limits) Codec {
	l = l.WithDefaults()
	return &jsonCodec{lim: l, plans: plans{format: jsonFormat(), lim: l}}
}

func jsonFormat() *format {
	return &format{
		tag:     "json",
		growth:  40, // a slice grows by a quarter at a time: 1 + 4/5 + (4/5)² + …
		encodes: []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[encoding.TextMarshaler]()},
		decodes: []reflect.Type{reflect.TypeFor[json.Unmarshaler](), reflect.TypeFor[encoding.TextUnmarshaler]()},
	}
}

type jsonCodec struct {
	lim   Limits
	plans plans
	encs  sync.Pool  // of *jsonEncoder
	forms []JSONForm // of types that encoding/json does not know
}

// A jsonEncoder is a JSON encoder with the buffer it writes to.
type jsonEncoder struct {
	enc *json.Encoder
	out jsonSink
}

type jsonSink struct{ b []byte }

func (s *jsonSink) Write(p []byte) (int, error) {
	s.b = longcopy.Append(s.b, p)
	return len(p), nil
}

func (c *jsonCodec) ID() uint8    { return IDJSON }
func (c *jsonCodec) Name() string { return "json" }

// Check returns why values of type t cannot be carried, or nil: see Append's ErrUnsupported.
func (c *jsonCodec) Check(t reflect.Type) error {
	if c.formOf(t) != nil {
		return nil
	}
	return c.plans.check(t)
}

func (c *jsonCodec) Append(dst []byte, v any) ([]byte, error) {
	if f := c.formOf(reflect.TypeOf(v)); f != nil {
		return c.appendForm(f, dst, v)
	}
	p := new(plan) // of a nil
	if v != nil {
		if p = c.plans.of(reflect.TypeOf(v)); p.err != nil {
			return dst, p.err
		}
	}
	e, _ := c.encs.Get().(*jsonEncoder)
	if e == nil {
		e = new(jsonEncoder)
		e.enc = json.NewEncoder(&e.out)
		e.enc.SetEscapeHTML(false)
	}
	e.out.b = dst
	err := guard(ErrUnsupported, func() error { return e.enc.Encode(p.addressable(v)) })
	out := e.out.b
	e.out.b = nil
	if err != nil {
		return dst, err
	}
	c.encs.Put(e)
	out = out[:len(out)-1] // the encoder ends with a new line
	body := out[len(dst):]
	if err := c.lim.checkBody(len(body)); err != nil {
		return dst, err
	}
	s, err := scanJSON(body, c.lim)
	if err == nil {
		err = p.check(&s, c.lim)
	}
	if err != nil {
		return dst, err
	}
	return out, nil
}

func (c *jsonCodec) Decode(body []byte, v any) error {
	if err := c.lim.checkBody(len(body)); err != nil {
		return err
	}
	target, err := targetOf(v)
	if err != nil {
		return err
	}
	f := c.formOf(target.Type().Elem())
	if f == nil {
		f = c.formOf(target.Type()) // what v points to may be overwritten in place
	}
	if f != nil {
		return decodeForm(f, body, v)
	}
	s, err := scanJSON(body, c.lim)
	if err != nil {
		return err
	}
	p := c.plans.of(target.Type().Elem())
	if p.err != nil {
		return p.err
	}
	if err := p.check(&s, c.lim); err != nil {
		return err
	}
	if p.custom {
		body = bytes.Clone(body) // a type that decodes itself is given part of it
	}
	return guard(ErrMalformed, func() error { return json.Unmarshal(body, target.Interface()) })
}

// scanJSON finds the shape of a JSON text and checks the limits, without recursion. It
// does not validate: json.Unmarshal does that before it allocates anything, so for a
// text that is not valid the shape need not be right.
func scanJSON(b []byte, lim Limits) (s shape, err error) {
	var small [defaultDepth]byte // the brackets that are open
	stack := small[:]
	if lim.Depth > len(stack) {
		stack = make([]byte, lim.Depth)
	}
	stack = stack[:lim.Depth]
	depth, elements := 0, 0
	s.size = len(b)
	for i := 0; i < len(b); i++ {
		switch c := b[i]; c {
		case '"':
			n := stringLen(b[i+1:])
			s.payload += n
			i += n + 1
			continue
		case ']', '}':
			if depth == 0 {
				return s, fmt.Errorf("%w: %q at %d", ErrMalformed, c, i)
			}
			depth--
			continue
		case '[', '{':
			if depth == len(stack) {
				return s, fmt.Errorf("%w: deeper than %d", ErrLimit, lim.Depth)
			}
			stack[depth] = c
			depth++
			if emptyBracket(b[i+1:]) {
				continue
			}
			if c == '{' {
				s.maps++
			}
		case ',':
			if depth == 0 {
				return s, fmt.Errorf("%w: %q at %d", ErrMalformed, c, i)
			}
		default:
			continue
		}
		// Another member of the innermost container begins.
		if stack[depth-1] == '[' {
			s.items++
			elements++
		} else {
			s.pairs++
			elements += 2
		}
		if elements > lim.Elements {
			return s, fmt.Errorf("%w: more than %d elements", ErrLimit, lim.Elements)
		}
	}
	return s, nil
}

// stringLen returns the length of a JSON string that begins before b, up to its closing
// quote, or to the end of b if there is none.
func stringLen(b []byte) int {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			return i
		case '\\':
			i++
		}
	}
	return len(b)
}

// emptyBracket reports whether nothing but space comes before the next bracket closes.
func emptyBracket(b []byte) bool {
	for _, c := range b {
		switch c {
		case ' ', '\t', '\r', '\n':
		case ']', '}':
			return true
		default:
			return false
		}
	}
	return true
}
