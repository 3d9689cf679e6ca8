package actor

import (
	"reflect"
	"testing"

	"github.com/tandem-go/tandem/rpc/codec"
)

// TestHashSchemas: the hash depends on each name and each schema, and on where one ends and the next begins.
func TestHashSchemas(t *testing.T) {
	seen := map[schemaHash]int{}
	for i, h := range []schemaHash{
		hashSchemas(namedSchema{"m", "int"}, namedSchema{}), hashSchemas(namedSchema{"m", "int64"}, namedSchema{}), hashSchemas(namedSchema{"n", "int"}, namedSchema{}),
		hashSchemas(namedSchema{"m", "int"}, namedSchema{"r", "int"}), hashSchemas(namedSchema{"m", "int"}, namedSchema{"r", "string"}), hashSchemas(namedSchema{"m", "int"}, namedSchema{"s", "int"}),
		hashSchemas(namedSchema{"mi", "nt"}, namedSchema{}), hashSchemas(namedSchema{"m", "in"}, namedSchema{"t", ""}), hashSchemas(namedSchema{"m", "int\n\"r\""}, namedSchema{"", "int"}),
	} {
		if other, taken := seen[h]; taken {
			t.Errorf("%d and %d have the same hash", other, i)
		}
		seen[h] = i
	}
}

// TestSchemasThatCollide: the whole hash is compared, and of two pairs whose first 64 bits are equal only one is agreed upon.
func TestSchemasThatCollide(t *testing.T) {
	c := &compacts{byID: map[uint64]*schemaPair{}}
	one, other := &schemaPair{hash: schemaHash{1, 2, 3, 4, 5, 6, 7, 8, 9}}, &schemaPair{hash: schemaHash{1, 2, 3, 4, 5, 6, 7, 8, 10}}
	one.id, other.id = one.hash.id(), other.hash.id()
	if one.id != other.id || one.hash.equals(other.hash[:]) || one.hash.equals(one.hash[:8]) || one.hash.equals(nil) || !one.hash.equals(one.hash[:]) {
		t.Error("the hashes are not compared whole")
	}
	first, again := c.agree(one), c.agree(one)
	if !first || !again || c.agree(other) || c.find(one.id) != one {
		t.Error("two pairs of schemas have one id")
	}
	if c.agree(&schemaPair{}) {
		t.Error("types without a schema were agreed upon")
	}
	for i := range uint64(maxAgreed - 1) {
		if p := (&schemaPair{id: 1<<32 + i}); !c.agree(p) {
			t.Fatalf("no room for pair %d", i)
		}
	}
	if c.agree(&schemaPair{id: 1}) {
		t.Errorf("more than %d pairs", maxAgreed)
	}
}

// TestCompactAnswer: a node agrees to the hash of its own types only, if it has one type of each name.
func TestCompactAnswer(t *testing.T) {
	type ( // twins of one name
		one struct{ A int }
		two struct{ A int64 }
	)
	sys, err := NewSystem(Config{Name: "answers"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sys.Shutdown(t.Context()) }()
	c := &sys.compacts
	msg, reply := sys.types.get(reflect.TypeFor[stopActor]()), sys.types.get(reflect.TypeFor[watched]())
	p := c.pair(pairTypes{msg, reply})
	ask := func(m, r uint64, hash []byte) [2]bool {
		known, same := c.answer(agreeSchemas{Message: m, Reply: r, Hash: hash})
		return [2]bool{known, same}
	}
	if got := ask(msg.id, reply.id, p.hash[:]); got != [2]bool{true, true} {
		t.Errorf("its own types: %v", got)
	}
	for what, got := range map[string][2]bool{
		"half of the hash": ask(msg.id, reply.id, p.hash[:16]), "no reply": ask(msg.id, 0, p.hash[:]), "another reply": ask(msg.id, msg.id, p.hash[:]), "no hash": ask(msg.id, reply.id, nil),
	} {
		if got != [2]bool{true, false} {
			t.Errorf("%s: %v", what, got)
		}
	}
	if got := ask(1, reply.id, p.hash[:]); got != [2]bool{} {
		t.Errorf("an unknown type: %v", got)
	}
	msg.recorded.Store(true)
	if got := ask(msg.id, reply.id, p.hash[:]); got != [2]bool{true, false} {
		t.Errorf("a message of which records are kept: %v", got)
	}
	a, b := sys.types.get(reflect.TypeFor[one]()), sys.types.get(reflect.TypeFor[two]())
	sys.types.mu.Lock()
	sys.types.byID[a.id] = append(sys.types.byID[a.id], b)
	sys.types.mu.Unlock()
	if q := c.pair(pairTypes{a, nil}); ask(a.id, 0, q.hash[:]) != [2]bool{true, false} {
		t.Error("there are two types of that name, and one was agreed upon")
	}
	if c.codec.ID() != codec.IDCompact {
		t.Error("the codec's id")
	}
}
