package actor

import (
	"fmt"
	"reflect"
	"regexp"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/tandem-go/tandem/internal/bufpool"
	"github.com/tandem-go/tandem/internal/longcopy"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// Returns declares the reply type of a message that embeds it:
//
//	type Balance struct{ actor.Returns[int64] }
//
// Call and Ask infer the type from it, and a handler with another result type does
// not compile. For messages that cannot embed it see AnswerAs.
type Returns[R any] struct{}

func (Returns[R]) returns(R) {}

// Question is satisfied by the messages that embed Returns[R].
type Question[R any] interface{ returns(R) }

// question is implemented by every Question, whatever its reply type is.
type question interface{ isQuestion() }

func (Returns[R]) isQuestion() {}

// WireNamer gives a message type its name on the wire. Without it, and if no codec of the system names
// the type (see codec.Namer), the name is the import path and the type's name. A type of package main must have one to be sent
// to another node, because every program has a package main.
type WireNamer interface{ WireName() string }

// messageType is what a system knows about a type of messages or replies.
type messageType struct {
	name  string
	id    uint64
	typ   reflect.Type
	err   error // why it cannot be sent to another node; nil if it can
	wraps bool  // its messages are *wrapped, which say themselves what is in them
	says  bool  // its messages say more of themselves to interceptors: they are withOp, or carriesItem

	recorded atomic.Bool // a kind of which records are kept takes it: its bodies have names

	tells, calls sync.Pool // spare telling and requesting, for messages that pass interceptors

	large atomic.Int64 // bytes for the body of the next message of this type; 0: it will be small
}

const smallBody = 48 // capacity, in bytes, of a new buffer for a body

// storage returns an empty slice for the body of a message: into, unless the body will probably
// not fit there.
func (t *messageType) storage(into []byte) []byte {
	switch n := int(t.large.Load()); {
	case n > cap(into):
		return bufpool.Get(n)
	case cap(into) == 0:
		return make([]byte, 0, smallBody)
	}
	return into
}

// encoded takes note of the size of a body. Only if that of the next one should be another is
// anything written, because all senders share t.
func (t *messageType) encoded(size int) {
	if size <= bufpool.Min {
		size = 0
	}
	if n := int(t.large.Load()); size > n || size < n/2 {
		t.large.Store(int64(size))
	}
}

// fitting returns body, or a copy if most of its memory is unused: a reply is kept until its
// caller has it, and counted by its length.
func fitting(body []byte) []byte {
	if cap(body) <= max(2*len(body), bufpool.Min) {
		return body
	}
	fit := longcopy.Append(bufpool.Get(len(body)), body)
	bufpool.Put(body)
	return fit
}

// typeTable holds the types that a system has seen, by Go type and by id.
type typeTable struct {
	byType sync.Map                         // reflect.Type → *messageType
	recent [256]atomic.Pointer[messageType] // a cache of byType, indexed by the address of the type

	codecs wireNames                // what they call types, by the system's codecs; it does not change
	whole  func(reflect.Type) error // says what of a type would stay behind; nil: nobody knows; it does not change

	mu    sync.Mutex                // guards what follows
	names map[uint64]string         // registered ids
	byID  map[uint64][]*messageType // the types of each id: in a program there may be several of one name
	given map[string]reflect.Type   // the types to which codecs have given names
}

// get returns what is known about a type. It registers a type that it has not seen before.
func (t *typeTable) get(typ reflect.Type) *messageType {
	slot := &t.recent[spread(typeWord(typ))]
	if m := slot.Load(); m != nil && typeWord(m.typ) == typeWord(typ) { // as ==, but without a call
		return m
	}
	return t.find(typ, slot)
}

// find is get for a type that is not in its slot of recent.
func (t *typeTable) find(typ reflect.Type, slot *atomic.Pointer[messageType]) *messageType {
	if m, ok := t.byType.Load(typ); ok {
		slot.Store(m.(*messageType))
		return m.(*messageType)
	}
	name, err := t.codecs.of(typ)
	if err == nil {
		err = t.complete(typ)
	}
	m := &messageType{typ: typ, name: name, id: transport.TypeID(name), err: err}
	m.wraps = typ == reflect.TypeFor[*wrapped]() || typ == reflect.TypeFor[Encoded]()
	m.says = m.wraps || typ.Implements(reflect.TypeFor[withOp]()) || typ.Implements(reflect.TypeFor[carriesItem]())
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.names == nil {
		t.names, t.given, t.byID = map[uint64]string{}, map[string]reflect.Type{}, map[uint64][]*messageType{}
	}
	switch other, taken := t.names[m.id]; {
	case err != nil:
	case t.isGiven(typ, name) != nil:
		m.err = rpc.Errorf(rpc.Invalid, rpc.NotRun, "types %v and %v are both called %q", typ, t.given[name], name)
	case taken && other != name || m.id == 0:
		m.err = rpc.Errorf(rpc.Invalid, rpc.NotRun, "types %q and %q have the same id: give one of them another WireName", name, other)
	default:
		t.names[m.id] = name
	}
	actual, known := t.byType.LoadOrStore(typ, m)
	if !known {
		t.byID[m.id] = append(t.byID[m.id], m)
	}
	return actual.(*messageType)
}

// named returns the types of an id that have been seen.
func (t *typeTable) named(id uint64) []*messageType {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[id]
}

// complete returns an error if values of a type would not arrive as they are, because of what it holds.
func (t *typeTable) complete(typ reflect.Type) error {
	if t.whole == nil || typ.Kind() == reflect.Interface {
		return nil
	}
	if t.codecs != nil {
		if _, ok := t.codecs(typ); ok { // it is the codec's own
			return nil
		}
	}
	if err := t.whole(typ); err != nil {
		return rpc.Errorf(rpc.Undecodable, rpc.NotRun, "type %v cannot be sent to another node: %w", typ, err)
	}
	return nil
}

// isGiven returns another type to which a codec has given the name, or nil. t.mu is held.
func (t *typeTable) isGiven(typ reflect.Type, name string) reflect.Type {
	other := t.given[name]
	if other == nil && t.codecs != nil {
		if _, ok := t.codecs(typ); ok {
			t.given[name] = typ
		}
	}
	if other == typ {
		return nil
	}
	return other
}

// spread maps an address to one of 256 slots, neighbouring addresses to different ones.
func spread(at uintptr) uint8 { return uint8(uint64(at) * 0x9e3779b97f4a7c15 >> 56) }

// typeWord is the address of a type's descriptor, which never moves.
func typeWord(t reflect.Type) uintptr { return (*[2]uintptr)(unsafe.Pointer(&t))[1] }

// known returns the name of a type id, if it has been seen.
func (t *typeTable) known(id uint64) (name string, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	name, ok = t.names[id]
	return name, ok
}

// nameOf returns the name of a type id that has been seen, for error texts.
func (t *typeTable) nameOf(id uint64) string {
	if name, ok := t.known(id); ok {
		return name
	}
	return fmt.Sprintf("unknown type %016x", id)
}

// wireName returns the name of a type on the wire, without what codecs say.
func wireName(t reflect.Type) (string, error) { return wireNames(nil).of(t) }

// wireNames is how types get their names on the wire: first from the codecs, which know types that
// cannot say their names. nil: no codec does.
type wireNames func(reflect.Type) (name string, ok bool)

// derived is a message of this package whose name is made of a word and the name of another type.
type derived interface {
	derivedName() (word string, of reflect.Type)
}

// of returns the name of a type.
func (n wireNames) of(t reflect.Type) (string, error) {
	if n != nil {
		if name, ok := n(t); ok {
			return name, nil
		}
	}
	if t.Kind() != reflect.Pointer {
		switch v := reflect.Zero(t).Interface().(type) {
		case WireNamer:
			return v.WireName(), nil
		case derived:
			word, of := v.derivedName()
			name, _ := n.of(of) // whether one of those can be sent is said where it is
			return fmt.Sprintf("tandem.%s[%s]", word, name), nil
		}
	}
	if t.Name() != "" {
		name := t.Name()
		if t.PkgPath() != "" {
			name = t.PkgPath() + "." + name
		}
		if ofMain.MatchString(name) {
			return name, rpc.Errorf(rpc.Invalid, rpc.NotRun, "type %s is of package main: give it a method WireName() string to send it to another node", name)
		}
		return name, nil
	}
	switch t.Kind() {
	case reflect.Pointer:
		elem, err := n.of(t.Elem())
		return "*" + elem, err
	case reflect.Slice:
		elem, err := n.of(t.Elem())
		return "[]" + elem, err
	case reflect.Array:
		elem, err := n.of(t.Elem())
		return fmt.Sprintf("[%d]%s", t.Len(), elem), err
	case reflect.Map:
		key, err := n.of(t.Key())
		elem, err2 := n.of(t.Elem())
		if err == nil {
			err = err2
		}
		return "map[" + key + "]" + elem, err
	}
	if t.Kind() == reflect.Struct && t.NumField() > 0 {
		return t.String(), rpc.Errorf(rpc.Invalid, rpc.NotRun, "type %v has no name: give it one to send it to another node", t)
	}
	return t.String(), nil
}

// ofMain matches a name that contains a type of package main, also as a type argument.
var ofMain = regexp.MustCompile(`(^|[^A-Za-z0-9_./])main\.`)
