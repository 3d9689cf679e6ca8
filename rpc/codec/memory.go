package codec

import (
	"reflect"
	"unsafe"
)

// This is the only file of the package that imports unsafe, and this is its invariant:
//
// An addr that goes with a node is the address of a live value of the node's type, or of
// the first of as many as the caller says. Encoders only read through it. Decoders write
// through it what the type may hold, of the same type, so that the collector sees every
// pointer. An addr is never kept beyond the Append or Decode that it was made for.
//
// An addr is a pointer to the collector: what it points to lives for as long as it does.
type addr unsafe.Pointer

// at returns the T at p.
func at[T any](p addr) *T { return (*T)(p) }

// add returns the address that is off bytes behind p, within the same value.
func add(p addr, off uintptr) addr { return addr(unsafe.Add(unsafe.Pointer(p), off)) }

// addrOf returns the address of *v.
func addrOf[T any](v *T) addr { return addr(unsafe.Pointer(v)) }

// addrIn returns what the pointer v points to.
func addrIn(v reflect.Value) addr { return addr(v.UnsafePointer()) }

// valueAt returns the addressable value of type t at p.
func valueAt(t reflect.Type, p addr) reflect.Value { return pointerTo(t, p).Elem() }

// pointerTo returns a *t which points to p.
func pointerTo(t reflect.Type, p addr) reflect.Value { return reflect.NewAt(t, unsafe.Pointer(p)) }

// bytesAt returns the n bytes at p.
func bytesAt(p addr, n int) []byte { return unsafe.Slice((*byte)(p), n) }

// sliceAt returns the address of the first element, and the length, of the slice at p,
// whatever the type of its elements is.
func sliceAt(p addr) (first addr, n int) {
	s := *at[[]struct{}](p)
	return addr(unsafe.Pointer(unsafe.SliceData(s))), len(s)
}

// resize makes the slice of type t at p n elements long and returns the address of the
// first one. Elements for which it has room already keep what they hold, as in the library.
func resize(t reflect.Type, p addr, n int) addr {
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

// wordOf returns the word of v that stands beside its type: the address of its value, which
// must not be written to, or the value itself if its type is direct.
func wordOf(v any) addr { return (*[2]addr)(unsafe.Pointer(&v))[1] }

// typeWord returns what tells the type of v from all others. Types are never moved, and
// those that a plan is kept for are never freed.
func typeWord(v any) uintptr { return (*[2]uintptr)(unsafe.Pointer(&v))[0] }

// direct reports whether an interface may hold values of type t in its own word. These are
// the types that consist of one pointer; to all others an interface holds a pointer.
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

// show makes shown, which holds a T that is not direct, hold *v itself instead of a copy.
func show[T any](shown *any, v *T) {
	(*[2]unsafe.Pointer)(unsafe.Pointer(shown))[1] = unsafe.Pointer(v)
}
