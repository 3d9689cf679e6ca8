package actor_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Evolving is a message of one name whose content is of another type in each version of a program, and
// Evolved its reply.
type (
	Evolving[T any] struct {
		actor.Returns[Evolved[T]]
		V T
	}
	Evolved[T any] struct{ V T }
)

func (Evolving[T]) WireName() string { return "test.evolving" }
func (Evolved[T]) WireName() string  { return "test.evolved" }

// evolver answers with one value, and keeps what it got.
type evolver[T any] struct{ got, answer T }

func (e *evolver[T]) evolve(_ *actor.Context, m Evolving[T]) (Evolved[T], error) {
	e.got = m.V
	return Evolved[T]{e.answer}, nil
}

// evolution is a case of the table: a node with the content type A asks one with B.
type evolution struct {
	name string
	run  func(t *testing.T, a, b *actor.System)
}

// evolves makes a case: what arrives and what comes back stands there as %+v prints it, or it is the code of the error.
func evolves[A, B any](name string, sends A, arrives string, answers B, returns string) evolution {
	return evolution{name, func(t *testing.T, a, b *actor.System) {
		state := &evolver[B]{answer: answers}
		spawn(t, b, "evolver", actor.Define("evolver", func() *evolver[B] { return state }, actor.Answer((*evolver[B]).evolve)))
		for i := range 3 { // the first one before the nodes have compared their schemas
			var none B
			state.got = none
			r, err := actor.Call(t.Context(), a.Ref("evolver@b"), Evolving[A]{V: sends})
			synctest.Wait()
			got, back := fmt.Sprintf("%+v", state.got), fmt.Sprintf("%+v", r.V)
			var e *rpc.Error
			switch {
			case errors.As(err, &e) && e.Verdict == rpc.NotRun:
				got, back = e.Code.String(), returns
			case errors.As(err, &e):
				back = e.Code.String()
			}
			if got != arrives || back != returns {
				t.Errorf("%d: there arrives %s, want %s; back comes %s, want %s; %v", i, got, arrives, back, returns, err)
			}
		}
	}}
}

// both is evolves from A to B with one value each, which become the other.
func both[A, B any](name string, a A, asB string, b B, asA string) []evolution {
	return []evolution{evolves[A, B](name+", old asks new", a, asB, b, asA), evolves[B, A](name+", new asks old", b, asA, a, asB)}
}

type (
	verA struct {
		ID   int64
		Name string
	}
	verAdded struct {
		ID    int64
		Name  string
		Email string
		Tags  []string
	}
	verReordered struct {
		Name string
		ID   int64
	}
	verRenamed struct {
		ID    int64
		Title string
	}
	verAliased struct {
		ID    int64
		Title string `wire:"Name"`
	}
	numInt    struct{ N int }
	numInt64  struct{ N int64 }
	numInt32  struct{ N int32 }
	numInt8   struct{ N int8 }
	numUint64 struct{ N uint64 }
	numFloat  struct{ N float64 }
	numFloat4 struct{ N float32 }
	text      struct{ N string }
	raw       struct{ N []byte }
	anyN      struct{ N any }
	boolN     struct{ N bool }
	inner     struct{ N verA }
	innerPtr  struct{ N *verAdded }
	sliceN    struct{ N []int32 }
	arrayN    struct{ N [2]int32 }
	mapN      struct{ N map[string]int64 }
	structN   struct{ N struct{ A int64 } }
)

const undecodable = "undecodable"

// evolutions is what becomes of a message and of its reply if the two ends have different versions of the types.
func evolutions() (all []evolution) {
	a := verA{7, "Ann"}
	for _, pair := range [][]evolution{
		both("a field is added", a, "{ID:7 Name:Ann Email: Tags:[]}", verAdded{8, "Bob", "b@x", []string{"t"}}, "{ID:8 Name:Bob}"),
		both("fields change places", a, "{Name:Ann ID:7}", verReordered{"Bob", 8}, "{ID:8 Name:Bob}"),
		both("a field is renamed", a, "{ID:7 Title:}", verRenamed{8, "Bob"}, "{ID:8 Name:}"),
		{evolves("a field is renamed with an alias, old asks new", a, "{ID:7 Title:Ann}", verAliased{8, "Bob"}, "{ID:8 Name:}"),
			evolves("a field is renamed with an alias, new asks old", verAliased{8, "Bob"}, "{ID:8 Name:}", a, "{ID:7 Title:Ann}")},
		both("int becomes int64", numInt{-5}, "{N:-5}", numInt64{6}, "{N:6}"),
		both("int64 becomes int32, and it fits", numInt64{5}, "{N:5}", numInt32{6}, "{N:6}"),
		{evolves("int64 becomes int32, and it does not fit", numInt64{math.MaxInt32 + 1}, undecodable, numInt32{}, "{N:0}"),
			evolves("int32 is answered with an int64 that does not fit", numInt32{1}, "{N:1}", numInt64{math.MinInt32 - 1}, undecodable),
			evolves("int32 becomes int8, and it does not fit", numInt32{-129}, undecodable, numInt8{}, "{N:0}"),
			evolves("a negative number becomes unsigned", numInt64{-1}, undecodable, numUint64{}, "{N:0}"),
			evolves("uint64 becomes int64, and it does not fit", numUint64{math.MaxUint64}, undecodable, numInt64{}, "{N:0}")},
		both("int becomes a string", numInt{5}, undecodable, text{"x"}, undecodable),
		both("int becomes a bool", numInt{1}, undecodable, boolN{true}, undecodable),
		{evolves("int becomes float64, exactly", numInt{1 << 53}, "{N:9.007199254740992e+15}", numFloat{1}, undecodable),
			evolves("int becomes float64, and would be rounded", numInt64{1<<53 + 1}, undecodable, numFloat{}, undecodable),
			evolves("float64 becomes int", numFloat{1.5}, undecodable, numInt{1}, "{N:1}"),
			evolves("float64 becomes float32", numFloat{0.1}, undecodable, numFloat4{0.5}, "{N:0.5}")},
		{evolves("a large int becomes any", numInt64{math.MaxInt64}, "{N:9223372036854775807}", anyN{int64(math.MinInt64)}, "{N:-9223372036854775808}")},
		both("a string becomes bytes", text{"ab"}, "{N:[97 98]}", raw{[]byte("cd")}, "{N:cd}"),
		{evolves("a struct becomes a pointer to another version of it", inner{a}, "{N:pointer}", innerPtr{&verAdded{ID: 8}}, "{N:{ID:8 Name:}}"),
			evolves("a pointer becomes a struct", innerPtr{&verAdded{ID: 8}}, "{N:{ID:8 Name:}}", inner{a}, "{N:pointer}"),
			evolves("a pointer to nothing becomes a struct", innerPtr{}, "{N:{ID:0 Name:}}", inner{}, "{N:pointer}")},
		both("a slice becomes an array", sliceN{[]int32{1, 2}}, "{N:[1 2]}", arrayN{[2]int32{3, 4}}, "{N:[3 4]}"),
		{evolves("a slice becomes an array that is shorter", sliceN{[]int32{1, 2, 3}}, undecodable, arrayN{}, "{N:[0 0]}")},
		both("a struct becomes a map", structN{struct{ A int64 }{5}}, "{N:map[A:5]}", mapN{map[string]int64{"A": 6, "B": 7}}, "{N:{A:6}}"),
		both("a struct becomes a number", inner{a}, undecodable, numInt{5}, undecodable),
		both("a struct becomes a list", inner{a}, undecodable, sliceN{[]int32{1, 2}}, undecodable),
	} {
		all = append(all, pair...)
	}
	return all
}

func (p innerPtr) String() string {
	if p.N == nil {
		return "{N:nil}"
	}
	return "{N:pointer}"
}

// TestEvolution: one end has version N of a type, the other N-1. What arrives is the same whether the ends would use compact
// bodies or not, because they find that they cannot.
func TestEvolution(t *testing.T) {
	for _, e := range evolutions() {
		for _, compact := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/compact %v", e.name, compact), func(t *testing.T) {
				compactWorld(t, []string{"direct"}, func(t *testing.T, a, b *actor.System, sent map[string]*seenBodies) {
					e.run(t, a, b)
					for node, s := range sent {
						for _, c := range s.take() {
							if c != codec.IDMsgpack {
								t.Errorf("%s has sent a body of codec %d", node, c)
							}
						}
					}
				}, func(cfg *actor.Config) { cfg.Compact = compact })
			})
		}
	}
}

// TestEvolutionOfOneVersion: types of the same schema, whatever they are called in Go, go without names.
func TestEvolutionOfOneVersion(t *testing.T) {
	type twin struct {
		ID   int64
		Name string
	}
	e := evolves("twins", verA{7, "Ann"}, "{ID:7 Name:Ann}", twin{8, "Bob"}, "{ID:8 Name:Bob}")
	compactWorld(t, []string{"direct"}, func(t *testing.T, a, b *actor.System, sent map[string]*seenBodies) {
		e.run(t, a, b)
		if from, to := sent["a"].take(), sent["b"].take(); from[len(from)-1] != codec.IDCompact || to[len(to)-1] != codec.IDCompact {
			t.Errorf("codecs %v there, %v back", from, to)
		}
	})
}

// Hoarder is a message of which a part would stay behind.
type Hoarder struct {
	actor.Returns[int]
	N    int
	held []string
}

func (Hoarder) WireName() string { return "test.hoarder" }

// TestWhatWouldStayBehindIsRefused: within a node such a message may be sent, to another one it may not.
func TestWhatWouldStayBehindIsRefused(t *testing.T) {
	world(t, []string{"direct"}, func(t *testing.T, _ *memnet.Network, a, b *actor.System) {
		kind := actor.Define("hoarder", func() *int { return new(int) }, actor.Answer(func(_ *int, _ *actor.Context, m Hoarder) (int, error) { return len(m.held), nil }))
		near, far := spawn(t, a, "near", kind), spawn(t, b, "far", kind)
		if n, err := actor.Call(t.Context(), near, Hoarder{held: []string{"x"}}); n != 1 || err != nil {
			t.Errorf("within the node: %d, %v", n, err)
		}
		_, err := actor.Call(t.Context(), a.Bind(far), Hoarder{held: []string{"x"}})
		if rpc.CodeOf(err) != rpc.Undecodable || rpc.Ran(err) != rpc.NotRun || !errors.Is(err, codec.ErrUnsupported) || !strings.Contains(err.Error(), "held of actor_test.Hoarder") {
			t.Errorf("to another node: %v", err)
		}
	})
}
