package codec

import (
	"bytes"
	"encoding"
	"fmt"

	"github.com/tandem-go/tandem/internal/longcopy"
)

// Raw returns the codec of id 3: the body is the value's bytes. It carries []byte and
// types with encoding.BinaryAppender or BinaryMarshaler and BinaryUnmarshaler; anything
// else is ErrUnsupported. Of the limits only Body applies.
func Raw(l Limits) Codec { return rawCodec{l.WithDefaults()} }

type rawCodec struct{ lim Limits }

func (rawCodec) ID() uint8    { return IDRaw }
func (rawCodec) Name() string { return "raw" }

func (c rawCodec) Append(dst []byte, v any) ([]byte, error) {
	out := dst
	switch v := v.(type) {
	case []byte:
		if err := c.lim.checkBody(len(v)); err != nil {
			return dst, err
		}
		return longcopy.Append(dst, v), nil
	case encoding.BinaryAppender:
		if err := guard(ErrUnsupported, func() (err error) { out, err = v.AppendBinary(dst); return }); err != nil {
			return dst, err
		}
		if len(out) < len(dst) {
			return dst, fmt.Errorf("%w: AppendBinary of %T did not append", ErrUnsupported, v)
		}
	case encoding.BinaryMarshaler:
		var b []byte
		if err := guard(ErrUnsupported, func() (err error) { b, err = v.MarshalBinary(); return }); err != nil {
			return dst, err
		}
		out = longcopy.Append(dst, b)
	default:
		return dst, fmt.Errorf("%w: raw bytes of a %T", ErrUnsupported, v)
	}
	if err := c.lim.checkBody(len(out) - len(dst)); err != nil {
		return dst, err
	}
	return out, nil
}

func (c rawCodec) Decode(body []byte, v any) error {
	if err := c.lim.checkBody(len(body)); err != nil {
		return err
	}
	if _, err := targetOf(v); err != nil {
		return err
	}
	switch v := v.(type) {
	case *[]byte:
		*v = longcopy.Into(*v, body)
		return nil
	case encoding.BinaryUnmarshaler:
		// A copy, so that a type which keeps its argument does no harm.
		return guard(ErrMalformed, func() error { return v.UnmarshalBinary(bytes.Clone(body)) })
	}
	return fmt.Errorf("%w: raw bytes into a %T", ErrUnsupported, v)
}
