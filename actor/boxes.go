package actor

import (
	"reflect"
	"unsafe"

	"github.com/tandem-go/tandem/rpc/codec"
)

// boxes are for the values of one request after another, which are encoded from them and
// decoded into them: an interface value of its own for each would be an allocation for each.
type boxes struct{ message, reply any }

// maxBox is the size, in bytes, of the largest values whose box is kept.
const maxBox = 1 << 10

// isValue reports whether messages of type M are for a box: an interface holds a pointer
// without an allocation, and of an interface what matters is what it holds.
func isValue[M any]() bool {
	switch reflect.TypeFor[M]().Kind() {
	case reflect.Interface, reflect.Pointer, reflect.Map, reflect.Chan, reflect.Func, reflect.UnsafePointer:
		return false
	}
	return unsafe.Sizeof(*new(M)) <= maxBox
}

// boxIn returns the box for values of type T that is in place; it puts one there if there
// is none, or one for another type.
func boxIn[T any](place *any) *codec.Box[T] {
	b, ok := (*place).(*codec.Box[T])
	if !ok {
		b = codec.NewBox[T]()
		if unsafe.Sizeof(b.V) <= maxBox {
			*place = b
		}
	}
	return b
}

// boxed is what all boxes are.
type boxed interface {
	Type() reflect.Type
	TakeValue() any
}

// unboxed returns a message that comes as it is or in a box, which is empty then.
func unboxed[M any](msg any) M {
	if b, ok := msg.(*codec.Box[M]); ok {
		return b.Take()
	}
	return msg.(M)
}

// asItIs returns a message that comes as it is or in a box, which is empty then, as it is.
func asItIs(msg any) any {
	if b, ok := msg.(boxed); ok {
		return b.TakeValue()
	}
	return msg
}

// typeOf is the type of a message that comes as it is or in a box.
func typeOf(msg any) reflect.Type {
	if b, ok := msg.(boxed); ok {
		return b.Type()
	}
	return reflect.TypeOf(msg)
}
