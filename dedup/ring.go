package dedup

import "iter"

// firstRing is how long a ring is at first.
const firstRing = 64

// record is what the table keeps for one request.
type record[V any] struct {
	seq         uint64 // 0: an empty slot
	fingerprint uint64
	state       State
	value       V
}

// store holds the records: recent ones in a ring that is indexed by seq, without
// hashing, and the few whose slot a younger one needs in a map beside it. A
// request that takes long while its session goes on moves to the map once, and
// costs the others nothing.
type store[V any] struct {
	ring    []record[V] // nil, or its length is a power of two; the record of seq is at seq & (len-1)
	side    map[uint64]*record[V]
	count   int // records in both
	maxRing int
}

func (s *store[V]) slot(seq uint64) *record[V] { return &s.ring[seq&uint64(len(s.ring)-1)] }

// find returns the record of seq, which is not 0, or nil.
func (s *store[V]) find(seq uint64) *record[V] {
	if s.count == 0 {
		return nil
	}
	if r := s.slot(seq); r.seq == seq {
		return r
	}
	if len(s.side) == 0 {
		return nil
	}
	return s.side[seq]
}

// insert returns a new, empty record for seq, which has none. Of two records that
// share a slot, the younger is in the ring.
func (s *store[V]) insert(seq uint64) *record[V] {
	if s.ring == nil {
		s.ring = make([]record[V], min(firstRing, s.maxRing))
	}
	r := s.slot(seq)
	for r.seq != 0 && s.count >= len(s.ring)/2 && len(s.ring) < s.maxRing {
		s.grow()
		r = s.slot(seq)
	}
	s.count++
	if r.seq == 0 {
		r.seq = seq
		return r
	}
	if s.side == nil {
		s.side = make(map[uint64]*record[V])
	}
	if r.seq > seq { // a late first copy
		late := &record[V]{seq: seq}
		s.side[seq] = late
		return late
	}
	straggler := *r
	s.side[r.seq] = &straggler
	*r = record[V]{seq: seq}
	return r
}

// grow doubles the ring. Records that did not share a slot do not share one in the
// new ring either.
func (s *store[V]) grow() {
	old := s.ring
	s.ring = make([]record[V], 2*len(old))
	for i := range old {
		if old[i].seq != 0 {
			*s.slot(old[i].seq) = old[i]
		}
	}
}

// remove removes r, and keeps no reference to the caller's value.
func (s *store[V]) remove(r *record[V]) {
	if s.slot(r.seq) == r {
		*r = record[V]{}
	} else {
		delete(s.side, r.seq)
	}
	s.count--
}

// span is how many slots and map entries all has to look at.
func (s *store[V]) span() int { return len(s.ring) + len(s.side) }

// all yields all records. The one that was yielded last may be removed meanwhile.
func (s *store[V]) all() iter.Seq[*record[V]] {
	return func(yield func(*record[V]) bool) {
		for i := range s.ring {
			if s.ring[i].seq != 0 && !yield(&s.ring[i]) {
				return
			}
		}
		for _, r := range s.side {
			if !yield(r) {
				return
			}
		}
	}
}
