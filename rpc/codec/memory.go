package codec

import (
	"reflect"
	"unsafe"
)

// All that is unsafe about the compiled way starts here: a value is known by its type
// and its address. The compiled encoders only read through an address, and stay within
// the value; the compiled decoders write what the type's own fields may hold.

// A holder keeps alive, at an address, what an interface value holds in itself.
type holder struct{ word unsafe.Pointer }

// locate returns the address of the value of type t that v holds. Its content must not
// be written to. The address is good for as long as v and h are.
func (h *holder) locate(v any, t reflect.Type, direct bool) unsafe.Pointer {
	word := wordOf(v)
	if !direct {
		return word // to a copy of the value
	}
	if k := t.Kind(); k == reflect.Pointer || k == reflect.Map {
		h.word = word // the value itself
		return unsafe.Pointer(&h.word)
	}
	c := reflect.New(t) // a struct or array of one pointer: no promise of how it is held
	c.Elem().Set(reflect.ValueOf(v))
	return c.UnsafePointer()
}

// wordOf returns the word of v beside its type: the address of a copy of its value, or the
// value itself if that is direct.
func wordOf(v any) unsafe.Pointer { return (*[2]unsafe.Pointer)(unsafe.Pointer(&v))[1] }

// typeWord returns what tells the type of v from all others. Types are never moved, and
// those that a plan is kept for never freed.
func typeWord(v any) uintptr { return (*[2]uintptr)(unsafe.Pointer(&v))[0] }

// direct reports whether an interface may hold values of type t in its own word: those
// that are one pointer. All others it points to.
func direct(t reflect.Type) bool {
	return t.Size() == unsafe.Sizeof(unsafe.Pointer(nil)) && hasPointers(t)
}

func hasPointers(t reflect.Type) bool {
	switch k := t.Kind(); k {
	case reflect.Struct:
		for i := range t.NumField() {
			if hasPointers(t.Field(i).Type) {
				return true
			}
		}
		return false
	case reflect.Array:
		return t.Len() > 0 && hasPointers(t.Elem())
	default:
		return k < reflect.Bool || k > reflect.Float64
	}
}

// Value returns a function that decodes bodies as values of type T, which it returns in an
// interface. It allocates a value once, where Decode and a conversion do so twice.
func Value[T any]() func(c Codec, body []byte) (any, error) {
	var box any = *new(T)
	if t := reflect.TypeFor[T](); t.Kind() == reflect.Interface || direct(t) {
		return func(c Codec, body []byte) (any, error) {
			v := new(T)
			err := c.Decode(body, v)
			return *v, err
		}
	}
	return func(c Codec, body []byte) (any, error) {
		v := new(T)
		err := c.Decode(body, v)
		boxed := box
		(*[2]unsafe.Pointer)(unsafe.Pointer(&boxed))[1] = unsafe.Pointer(v) // which nobody else knows
		return boxed, err
	}
}

// Box is memory for values of type T, one after another, that are to be passed on as
// interface values: a conversion would allocate memory for each. NewBox makes one. It
// serves one goroutine at a time.
type Box[T any] struct {
	V T

	shown any // V as an interface value; nil if a conversion allocates nothing
}

// NewBox returns an empty box.
func NewBox[T any]() *Box[T] {
	b := new(Box[T])
	if t := reflect.TypeFor[T](); t.Kind() != reflect.Interface && !direct(t) {
		b.shown = b.V
		(*[2]unsafe.Pointer)(unsafe.Pointer(&b.shown))[1] = unsafe.Pointer(&b.V)
	}
	return b
}

// Value returns V as an interface value, which changes with V: who gets it must be done
// with it before.
func (b *Box[T]) Value() any {
	if b.shown != nil {
		return b.shown
	}
	return b.V
}

// Take returns V and empties the box.
func (b *Box[T]) Take() T {
	v := b.V
	var none T
	b.V = none
	return v
}

// TakeValue is Take with V as an interface value of its own.
func (b *Box[T]) TakeValue() any { return b.Take() }

// Type returns T.
func (b *Box[T]) Type() reflect.Type { return reflect.TypeFor[T]() }

// valueAt returns the addressable value of type t at p.
func valueAt(t reflect.Type, p unsafe.Pointer) reflect.Value { return reflect.NewAt(t, p).Elem() }

// sliceAt returns the address of the first element, and the length, of the slice at p,
// whatever the type of its elements.
func sliceAt(p unsafe.Pointer) (first unsafe.Pointer, n int) {
	s := *(*[]struct{})(p)
	return unsafe.Pointer(unsafe.SliceData(s)), len(s)
}

// resize makes the slice of type t at p n elements long and returns the address of the
// first one. Elements that it has room for keep what they hold, as in the library.
func resize(t reflect.Type, p unsafe.Pointer, n int) unsafe.Pointer {
	s := valueAt(t, p)
	switch {
	case n == 0 && s.IsNil():
		s.Set(reflect.MakeSlice(t, 0, 0))
	case n <= s.Cap():
		s.SetLen(n)
	default:
		s.SetLen(s.Cap())
		s.Grow(n - s.Len())
		s.SetLen(n)
	}
	first, _ := sliceAt(p)
	return first
}
