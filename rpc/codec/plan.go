package codec

import (
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
)

// A plan is what a codec needs to know about one type of value. It bounds the memory
// that decoding may allocate: 64 KiB of nils decoded into []struct{ A [1024]byte }
// would otherwise take 128 MiB.
type plan struct {
	root    uint64 // bytes allocated for the value itself, whatever it holds
	perItem uint64 // the most that one value in an array may allocate
	perPair uint64 // the most that one entry of a map may allocate
	perMap  uint64 // the most that a map may allocate beside its entries, if it has any

	err    error // the type cannot be carried: wraps ErrUnsupported
	addr   bool  // a type in it encodes itself by pointer: see addressable
	custom bool  // a type in it decodes itself

	// Of msgpack alone.
	typ     reflect.Type
	word    uintptr // what typeWord gives for its values
	inPlace bool    // an interface points to its values, and they are encoded there
	safe    int     // no body of up to so many bytes holds more than the limits allow, but for its depth
	node    *node
	bare    bool  // a scalar, or a struct without fields: it needs neither encoder nor decoder
	elem    *plan // of what a pointer points to, if it can be decoded and is no interface
}

// cost estimates, from above, what decoding a body of shape s allocates. The error of
// floating point does not matter to it, and it cannot overflow.
func (p *plan) cost(s *shape) float64 {
	return float64(p.root) + float64(s.payload) +
		float64(s.items)*float64(p.perItem) + float64(s.pairs)*float64(p.perPair) + float64(s.maps)*float64(p.perMap)
}

// check refuses what may allocate more than the limit and a sixteenth of it: the estimate
// is coarse, and a body within the limit that is nearly all one string must pass. What has
// come beyond the first MiB of a body does not count: its sender has filled as much.
func (p *plan) check(s *shape, lim Limits) error {
	c := p.cost(s) - float64(max(0, s.size-bodyCounted))
	if c > float64(lim.Bytes)*17/16 {
		return fmt.Errorf("%w: decoding may take %.0f bytes, limit %d", ErrLimit, c, lim.Bytes)
	}
	return nil
}

// addressable returns a pointer to a copy of v if v holds values that encode themselves by
// methods of their pointers, which the libraries only find where they can take an address.
func (p *plan) addressable(v any) any {
	if !p.addr {
		return v
	}
	c := reflect.New(reflect.TypeOf(v))
	c.Elem().Set(reflect.ValueOf(v))
	return c.Interface()
}

// plans caches the plan of every type a codec has met. The types are those of the
// program, so it stays small.
type plans struct {
	format *format
	lim    Limits
	cache  sync.Map // reflect.Type → *plan

	// recent is asked before cache: it finds most plans without a hash of their type.
	recent [64]atomic.Pointer[plan]

	compile func(reflect.Type) *node // nil for JSON
}

// ofValue returns the plan of v's type. v must not be nil.
func (ps *plans) ofValue(v any) *plan {
	if p := ps.known(v); p != nil {
		return p
	}
	return ps.find(v)
}

// known is ofValue, but nil if the plan is not among the recent ones. It is inlined.
func (ps *plans) known(v any) *plan {
	word := typeWord(v)
	if p := ps.slot(word).Load(); p != nil && p.word == word {
		return p
	}
	return nil
}

func (ps *plans) slot(word uintptr) *atomic.Pointer[plan] {
	return &ps.recent[word>>6%uintptr(len(ps.recent))]
}

func (ps *plans) find(v any) *plan {
	p := ps.of(reflect.TypeOf(v))
	ps.slot(p.word).Store(p)
	return p
}

// check is Check of the codec.
func (ps *plans) check(t reflect.Type) error {
	if t.Kind() == reflect.Interface && t.NumMethod() == 0 {
		return nil
	}
	return ps.of(t).err
}

func (ps *plans) of(t reflect.Type) *plan {
	if p, ok := ps.cache.Load(t); ok {
		return p.(*plan)
	}
	w := walker{format: ps.format, plan: new(plan), growth: ps.format.growth, seen: make(map[reflect.Type]bool)}
	if w.visit(t); w.library {
		w = walker{format: ps.format, plan: new(plan), growth: libraryGrowth, seen: make(map[reflect.Type]bool)}
		w.visit(t)
	}
	p := w.plan
	if p.err == nil {
		p.root = w.own(t)
	}
	if ps.compile != nil {
		ps.complete(p, t)
	}
	got, _ := ps.cache.LoadOrStore(t, p)
	return got.(*plan)
}

// complete adds to a plan what msgpack needs.
func (ps *plans) complete(p *plan, t reflect.Type) {
	p.typ, p.word, p.inPlace = t, reflect.ValueOf(t).Pointer(), !direct(t) && !p.addr
	if p.err != nil {
		return
	}
	if t.Kind() == reflect.Pointer && t.Elem().Kind() != reflect.Interface {
		if elem := ps.of(t.Elem()); elem.err == nil {
			p.elem = elem
		}
	}
	// Each byte is a value in an array, or half an entry of a map, or less.
	byteCosts := 1 + max(float64(p.perItem), float64(p.perPair+p.perMap)/2)
	p.safe = min(int((float64(ps.lim.Bytes)-float64(p.root))/byteCosts), ps.lim.Elements, ps.lim.Body)
	p.node = ps.compile(t)
	p.bare = p.inPlace && (p.node.scalar() || p.node.kind == kindEmpty)
}
