package actor

import (
	"reflect"
	"unsafe"

	"github.com/tandem-go/tandem/rpc/codec"
)

// reusableValues hold the value of the current message and of its reply, each in a codec.Reusable.
// One request after another is decoded into them and encoded from them, because putting each
// value into an interface of its own would cost an allocation.
type reusableValues struct{ message, reply any }

// maxReusable is the size, in bytes, of the largest values whose memory is kept.
const maxReusable = 1 << 10

// isValue reports whether messages of type M are worth a codec.Reusable. Pointers and the like are not,
// because an interface holds them without an allocation; nor are interfaces, because a
// handler is chosen by the type of the value in the interface.
func isValue[M any]() bool {
	switch reflect.TypeFor[M]().Kind() {
	case reflect.Interface, reflect.Pointer, reflect.Map, reflect.Chan, reflect.Func, reflect.UnsafePointer:
		return false
	}
	return unsafe.Sizeof(*new(M)) <= maxReusable
}

// reusableIn returns the codec.Reusable for values of type T that is in place. If place holds
// none, or one for another type, it puts a new one there.
func reusableIn[T any](place *any) *codec.Reusable[T] {
	b, ok := (*place).(*codec.Reusable[T])
	if !ok {
		b = codec.NewReusable[T]()
		if unsafe.Sizeof(b.V) <= maxReusable {
			*place = b
		}
	}
	return b
}

// reusable is implemented by every *codec.Reusable[T].
type reusable interface {
	Type() reflect.Type
	TakeValue() any
}

// valueOf returns a message that came either directly or in a codec.Reusable, which it empties.
func valueOf[M any](msg any) M {
	if b, ok := msg.(*codec.Reusable[M]); ok {
		return b.Take()
	}
	return msg.(M)
}

// plainValue is valueOf for a message whose type is not known statically.
func plainValue(msg any) any {
	if b, ok := msg.(reusable); ok {
		return b.TakeValue()
	}
	return msg
}

// typeOf is the type of a message that came either directly or in a codec.Reusable.
func typeOf(msg any) reflect.Type {
	if b, ok := msg.(reusable); ok {
		return b.Type()
	}
	return reflect.TypeOf(msg)
}
