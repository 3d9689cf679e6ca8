package watchbook

import (
	"slices"
	"testing"
)

func sorted(ids []uint64) []uint64 {
	ids = slices.Clone(ids)
	slices.Sort(ids)
	return ids
}

// next checks what the book wants to tell.
func next(t *testing.T, b *Book, ids, drop []uint64) Batch {
	t.Helper()
	batch, ok := b.Next(10)
	if !slices.Equal(sorted(batch.IDs), ids) || !slices.Equal(sorted(batch.Drop), drop) || ok != (len(ids)+len(drop) > 0) {
		t.Errorf("%+v, %v, want %v and %v", batch, ok, ids, drop)
	}
	return batch
}

func TestRegistering(t *testing.T) {
	var b Book
	next(t, &b, nil, nil)
	b.Add(1, "x")
	b.Add(2, "y")
	b.Add(3, "z")
	b.Drop(3) // nobody was told of it
	first := next(t, &b, []uint64{1, 2}, nil)
	b.Failed(first)
	b.Drop(2) // the node may know of it
	first = next(t, &b, []uint64{1}, []uint64{2})
	if ended := b.Done(first, "e1", "k1"); len(ended) > 0 || b.Len() != 1 {
		t.Errorf("%v, %d", ended, b.Len())
	}
	next(t, &b, nil, nil)
	if !b.End(1) || b.End(1) || b.End(2) {
		t.Error("an end counts once")
	}
}

func TestCheck(t *testing.T) {
	var b Book
	b.Check() // there is nothing to ask for
	next(t, &b, nil, nil)
	b.Add(1, "x")
	b.Done(next(t, &b, []uint64{1}, nil), "e1", "k1")
	b.Check()
	batch, ok := b.Next(10)
	if !ok || len(batch.IDs) > 0 {
		t.Errorf("%+v, %v", batch, ok)
	}
	b.Done(batch, "e1", "k2") // it knows nothing of earlier watches
	b.Done(next(t, &b, []uint64{1}, nil), "e1", "k2")
	next(t, &b, nil, nil)
}

// What an earlier start kept ends when another one answers, or is in the registry; what no start
// has taken is registered with the next one.
func TestStarts(t *testing.T) {
	var b Book
	b.Add(1, "x")
	b.Done(next(t, &b, []uint64{1}, nil), "e1", "k1")
	b.Add(2, "y")
	b.Failed(next(t, &b, []uint64{2}, nil))
	if ended := b.Now("e1"); len(ended) > 0 || b.Differs("e1") || !b.Differs("e2") || b.Differs("") {
		t.Errorf("%v", ended)
	}
	if ended := b.Now("e2"); !slices.Equal(ended, []uint64{1}) {
		t.Errorf("%v", ended)
	}
	b.Done(next(t, &b, []uint64{2}, nil), "e2", "k2")
	if ended := b.Now("e1"); len(ended) > 0 || b.Differs("e1") { // the registry is late
		t.Errorf("%v", ended)
	}
	b.Add(3, "z")
	if ended := b.Done(next(t, &b, []uint64{3}, nil), "e3", "k3"); !slices.Equal(ended, []uint64{2}) {
		t.Errorf("%v", ended)
	}
	b.Add(4, "z")
	if ended := sorted(b.Gone()); !slices.Equal(ended, []uint64{3, 4}) || b.Len() > 0 || b.Differs("e3") {
		t.Errorf("%v", ended)
	}
	next(t, &b, nil, nil)
}
