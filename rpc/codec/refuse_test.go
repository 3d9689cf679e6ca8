package codec_test

import (
	"bytes"
	linked "container/list"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/tandem-go/tandem/rpc/codec"
)

type (
	onlyOut      struct{ N int }
	onlyIn       struct{ N int }
	otherwise    struct{ N int }
	level        int
	holds[T any] struct {
		ID   int
		Held []T
	}
	leaves struct {
		mu sync.Mutex //lint:ignore U1000 that it is left out is the case
		N  int
	}
	noFields struct {
		_ int
	}
	omitsAll struct {
		N int `msgpack:"-" json:"-"`
	}
)

func (onlyOut) MarshalText() ([]byte, error)              { return []byte("x"), nil }
func (*onlyIn) UnmarshalBinary([]byte) error              { return nil }
func (otherwise) MarshalText() ([]byte, error)            { return []byte("x"), nil }
func (*otherwise) DecodeMsgpack(d *msgpack.Decoder) error { return d.Skip() }
func (level) MarshalText() ([]byte, error)                { return []byte("high"), nil }

// TestTypesThatWouldNotArriveAreRefused when they are first seen, with the field that is wrong.
func TestTypesThatWouldNotArriveAreRefused(t *testing.T) {
	for _, v := range []any{
		holds[*sync.Map]{}, holds[linked.List]{}, holds[bytes.Buffer]{}, holds[*atomic.Int64]{}, holds[fmt.Stringer]{},
		holds[chan int]{}, holds[map[string]func()]{}, holds[onlyOut]{}, holds[onlyIn]{}, holds[otherwise]{}, holds[level]{},
	} {
		typ := reflect.TypeOf(v)
		for _, c := range []codec.Codec{codec.Msgpack(codec.Limits{}), codec.JSON(codec.Limits{})} {
			if elem := typ.Field(1).Type.Elem(); c.ID() == codec.IDJSON && (elem.Kind() == reflect.Chan || elem.Kind() == reflect.Map || elem.PkgPath() == typ.PkgPath()) {
				continue // it is found out when it is encoded, or it works
			}
			err := c.(interface{ Check(reflect.Type) error }).Check(typ)
			if !errors.Is(err, codec.ErrUnsupported) || !strings.Contains(err.Error(), "field Held") {
				t.Errorf("%s: %s: %v", c.Name(), typ, err)
			}
			if _, err := c.Append(nil, v); !errors.Is(err, codec.ErrUnsupported) {
				t.Errorf("%s: %s is encoded: %v", c.Name(), typ, err)
			}
			if err := c.Decode([]byte("\x80"), reflect.New(typ).Interface()); !errors.Is(err, codec.ErrUnsupported) {
				t.Errorf("%s: %s is decoded: %v", c.Name(), typ, err)
			}
		}
	}
	for _, v := range []any{new(onlyOut), new(onlyIn), new(otherwise), new(level)} {
		if err := codec.Msgpack(codec.Limits{}).Decode([]byte("\x80"), v); !errors.Is(err, codec.ErrUnsupported) {
			t.Errorf("a %T is decoded: %v", v, err)
		}
	}
	for _, v := range []any{&leaves{}, noFields{}, omitsAll{}, holds[any]{}, holds[error]{}, holds[time.Time]{}, holds[struct{}]{}} {
		for _, c := range []codec.Codec{codec.Msgpack(codec.Limits{}), codec.JSON(codec.Limits{})} {
			if err := c.(interface{ Check(reflect.Type) error }).Check(reflect.TypeOf(v)); err != nil {
				t.Errorf("%s: %T: %v", c.Name(), v, err)
			}
		}
	}
}

// TestNilIsTheZeroTime, as nil is zero for other values that cannot be nil.
func TestNilIsTheZeroTime(t *testing.T) {
	c := codec.Msgpack(codec.Limits{})
	at := time.Now()
	if err := c.Decode([]byte{0xc0}, &at); err != nil || !at.IsZero() {
		t.Errorf("got %v, %v", at, err)
	}
	v := struct{ At time.Time }{time.Now()}
	if err := c.Decode([]byte("\x81\xa2At\xc0"), &v); err != nil || !v.At.IsZero() {
		t.Errorf("in a struct: %v, %v", v, err)
	}
}
