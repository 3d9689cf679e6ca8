package codec

import "reflect"

// Value returns a function that decodes bodies as values of type T, which it returns in an
// interface. It allocates a value once, where Decode and a conversion do so twice.
func Value[T any]() func(c Codec, body []byte) (any, error) {
	var zero any = *new(T)
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
		value := zero
		show(&value, v) // nobody else knows v
		return value, err
	}
}

// Reusable is memory for values of type T, one after another, that are to be passed on as
// interface values: a conversion would allocate memory for each. NewReusable makes one. It
// serves one goroutine at a time.
type Reusable[T any] struct {
	V T

	shown any // V as an interface value; nil if a conversion allocates nothing
}

// NewReusable returns a Reusable that holds the zero value.
func NewReusable[T any]() *Reusable[T] {
	r := new(Reusable[T])
	if t := reflect.TypeFor[T](); t.Kind() != reflect.Interface && !direct(t) {
		r.shown = r.V
		show(&r.shown, &r.V)
	}
	return r
}

// Value returns V as an interface value, which changes with V: who gets it must be done
// with it before.
func (r *Reusable[T]) Value() any {
	if r.shown != nil {
		return r.shown
	}
	return r.V
}

// Take returns V, and sets V to the zero value.
func (r *Reusable[T]) Take() T {
	v := r.V
	var none T
	r.V = none
	return v
}

// TakeValue is Take with V as an interface value of its own.
func (r *Reusable[T]) TakeValue() any { return r.Take() }

// Type returns T.
func (r *Reusable[T]) Type() reflect.Type { return reflect.TypeFor[T]() }
