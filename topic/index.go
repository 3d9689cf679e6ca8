package topic

import "strings"

// Index finds the values whose patterns match a name. The zero Index is empty. It must not be
// changed while others use it.
//
// A look-up takes time by the number of tokens, not of patterns; only patterns with "*" at
// different places, which match the same name, add to it.
type Index[V comparable] struct {
	root level[V]
	n    int
}

// level holds the patterns that have the same first tokens.
type level[V comparable] struct {
	ends []V                  // of patterns that end here
	rest []V                  // of those that end here with ">"
	any  *level[V]            // of those that go on with "*"
	next map[string]*level[V] // of those that go on with another token
}

// Len is the number of values.
func (x *Index[V]) Len() int { return x.n }

// Add adds v under a pattern. A value that is added twice is found twice. The error says that the
// pattern is not valid.
func (x *Index[V]) Add(pattern string, v V) error {
	if err := ValidPattern(pattern); err != nil {
		return err
	}
	l := &x.root
	for rest, more := pattern, true; more; {
		var token string
		if token, rest, more = strings.Cut(rest, "."); token == ">" {
			l.rest = append(l.rest, v)
			x.n++
			return nil
		}
		l = l.make(token)
	}
	l.ends = append(l.ends, v)
	x.n++
	return nil
}

// make returns the level below l for one more token.
func (l *level[V]) make(token string) *level[V] {
	if token == "*" {
		if l.any == nil {
			l.any = new(level[V])
		}
		return l.any
	}
	below := l.next[token]
	if below == nil {
		if l.next == nil {
			l.next = map[string]*level[V]{}
		}
		below = new(level[V])
		l.next[strings.Clone(token)] = below
	}
	return below
}

// Remove removes v from under a pattern. It returns false if v is not there.
func (x *Index[V]) Remove(pattern string, v V) bool {
	removed := x.root.remove(pattern, v)
	if removed {
		x.n--
	}
	return removed
}

func (l *level[V]) remove(pattern string, v V) (removed bool) {
	token, rest, more := strings.Cut(pattern, ".")
	if token == ">" {
		return without(&l.rest, v)
	}
	below := l.next[token]
	if token == "*" {
		below = l.any
	}
	switch {
	case below == nil:
		return false
	case more:
		removed = below.remove(rest, v)
	default:
		removed = without(&below.ends, v)
	}
	if !below.empty() {
		return removed
	}
	if token == "*" {
		l.any = nil
	} else {
		delete(l.next, token)
	}
	return removed
}

func (l *level[V]) empty() bool {
	return len(l.ends) == 0 && len(l.rest) == 0 && l.any == nil && len(l.next) == 0
}

// without removes one v from a list, whose order does not matter.
func without[V comparable](list *[]V, v V) bool {
	for i, have := range *list {
		if have == v {
			last := len(*list) - 1
			(*list)[i] = (*list)[last]
			clear((*list)[last:])
			if *list = (*list)[:last]; last == 0 {
				*list = nil
			}
			return true
		}
	}
	return false
}

// Append appends the values of all patterns that match a valid name to dst, in no particular order.
func (x *Index[V]) Append(dst []V, name string) []V { return x.root.append(dst, name) }

func (l *level[V]) append(dst []V, name string) []V {
	dst = append(dst, l.rest...)
	token, rest, more := strings.Cut(name, ".")
	for _, below := range [...]*level[V]{l.next[token], l.any} {
		switch {
		case below == nil:
		case more:
			dst = below.append(dst, rest)
		default:
			dst = append(dst, below.ends...)
		}
	}
	return dst
}
