package mailbox

// list is a FIFO of nodes, which may leave from the middle. A node can be in several lists at a
// time, with links of its own for each of them: which says which ones a list uses, and is always
// the same for one list.
type list[N any, P node[N]] struct{ first, last *N }

// node is what can be in a list.
type node[N any] interface {
	*N
	in(which int) *links[N]
}

// links are the neighbours of a node in one list.
type links[N any] struct{ prev, next *N }

// push adds n at the end.
func (l *list[N, P]) push(which int, n *N) {
	P(n).in(which).prev = l.last
	if l.last == nil {
		l.first = n
	} else {
		P(l.last).in(which).next = n
	}
	l.last = n
}

// remove takes n, which must be in there, out of the list.
func (l *list[N, P]) remove(which int, n *N) {
	at := P(n).in(which)
	if at.prev == nil {
		l.first = at.next
	} else {
		P(at.prev).in(which).next = at.next
	}
	if at.next == nil {
		l.last = at.prev
	} else {
		P(at.next).in(which).prev = at.prev
	}
	*at = links[N]{}
}
