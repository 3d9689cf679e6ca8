package queue

import (
	"container/list"
	"iter"
)

// heap is a binary heap. Each element knows its index, so that any one can be removed.
type heap[E any] struct {
	less  func(a, b E) bool
	index func(E) *int
	s     []E
}

func (h *heap[E]) len() int { return len(h.s) }
func (h *heap[E]) first() E { return h.s[0] }

func (h *heap[E]) push(e E) {
	h.s = append(h.s, e)
	*h.index(e) = len(h.s) - 1
	h.up(len(h.s) - 1)
}

func (h *heap[E]) remove(i int) {
	last := len(h.s) - 1
	h.swap(i, last)
	h.s[last] = *new(E)
	h.s = h.s[:last]
	if i < last {
		h.fix(i)
	}
}

// fix restores the order after the element at i has changed.
func (h *heap[E]) fix(i int) {
	if !h.down(i) {
		h.up(i)
	}
}

func (h *heap[E]) swap(i, j int) {
	if i != j {
		h.s[i], h.s[j] = h.s[j], h.s[i]
		*h.index(h.s[i]), *h.index(h.s[j]) = i, j
	}
}

func (h *heap[E]) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(h.s[i], h.s[parent]) {
			return
		}
		h.swap(i, parent)
		i = parent
	}
}

func (h *heap[E]) down(i int) (moved bool) {
	for {
		child := 2*i + 1
		if child >= len(h.s) {
			return moved
		}
		if right := child + 1; right < len(h.s) && h.less(h.s[right], h.s[child]) {
			child = right
		}
		if !h.less(h.s[child], h.s[i]) {
			return moved
		}
		h.swap(i, child)
		i, moved = child, true
	}
}

// fifo is a map that remembers in which order its keys were added. Its zero value is empty.
type fifo[K comparable, V any] struct {
	order list.List // of *pair[K, V]
	by    map[K]*list.Element
}

type pair[K comparable, V any] struct {
	key K
	v   V
}

func (f *fifo[K, V]) len() int { return len(f.by) }

// add adds a key that is not there yet, at the end.
func (f *fifo[K, V]) add(key K, v V) {
	if f.by == nil {
		f.by = map[K]*list.Element{}
	}
	f.by[key] = f.order.PushBack(&pair[K, V]{key, v})
}

// get returns the value of a key, or the zero value.
func (f *fifo[K, V]) get(key K) (v V) {
	if e := f.by[key]; e != nil {
		return e.Value.(*pair[K, V]).v
	}
	return v
}

func (f *fifo[K, V]) has(key K) bool { return f.by[key] != nil }

func (f *fifo[K, V]) remove(key K) {
	if e := f.by[key]; e != nil {
		f.order.Remove(e)
		delete(f.by, key)
	}
}

// firstKey and first return the key that was added first, and its value. There must be one.
func (f *fifo[K, V]) firstKey() K { return f.order.Front().Value.(*pair[K, V]).key }
func (f *fifo[K, V]) first() V    { return f.order.Front().Value.(*pair[K, V]).v }

func (f *fifo[K, V]) all() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		for e := f.order.Front(); e != nil; e = e.Next() {
			if p := e.Value.(*pair[K, V]); !yield(p.key, p.v) {
				return
			}
		}
	}
}
