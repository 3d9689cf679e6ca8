package route

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func crew(loads ...int) []Worker {
	all := make([]Worker, len(loads))
	for i, load := range loads {
		all[i] = Worker{Number: i + 1, Load: load}
	}
	return all
}

func TestOrder(t *testing.T) {
	for _, row := range []struct {
		name    string
		policy  Policy
		turn    int // the worker that got the last message
		workers []Worker
		random  uint64
		want    []int
	}{
		{"nobody", RoundRobin(), 0, nil, 0, nil},
		{"the first turn", RoundRobin(), 0, crew(0, 0, 0), 0, []int{0, 1, 2}},
		{"the next one", RoundRobin(), 1, crew(0, 0, 0), 0, []int{1, 2, 0}},
		{"from the last to the first", RoundRobin(), 3, crew(0, 0, 0), 0, []int{0, 1, 2}},
		{"the last one has gone", RoundRobin(), 9, crew(0, 0), 0, []int{0, 1}},
		{"the one between has gone", RoundRobin(), 2, []Worker{{Number: 1}, {Number: 3}}, 0, []int{1, 0}},
		{"in turn whatever the load", RoundRobin(), 0, crew(7, 0), 0, []int{0, 1}},
		{"by chance", Random(), 2, crew(0, 0, 0), 7, []int{1, 2, 0}},
		{"the least busy", LeastBusy(), 0, crew(2, 0, 1), 0, []int{1, 2, 0}},
		{"equal ones in turn", LeastBusy(), 1, crew(1, 1, 1), 0, []int{1, 2, 0}},
		{"the first of the least busy", FirstOf(2), 0, crew(2, 0, 1), 0, []int{1, 2, 0}},
		{"all", Broadcast(), 2, crew(0, 9, 0), 5, []int{0, 1, 2}},
	} {
		table := Table{Policy: row.policy}
		table.Took(row.turn)
		if got := table.Order(nil, row.workers, "", row.random); !slices.Equal(got, row.want) {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}

func TestPolicy(t *testing.T) {
	p := ByKey(func(m fmt.Stringer) string { return m.String() })
	if _, ok := p.Key(3); ok {
		t.Error("an int has a key")
	}
	if key, ok := p.Key(FirstOf(2)); key != "first of 2" || !ok {
		t.Errorf("the key of a Policy: %q, %v", key, ok)
	}
	for _, q := range []Policy{RoundRobin(), Random(), LeastBusy(), p, Broadcast(), FirstOf(1)} {
		if err := q.Validate(); err != nil {
			t.Errorf("%v: %v", q, err)
		}
	}
	if FirstOf(0).Validate() == nil || FirstOf(-1).Validate() == nil {
		t.Error("FirstOf nobody is valid")
	}
	if FirstOf(3).Races() != 3 || RoundRobin().Races() != 1 {
		t.Error("Races")
	}
}

// When workers come or go, a key moves only to or from those.
func TestKeysStay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		numbers := rapid.SliceOfNDistinct(rapid.IntRange(1, 100), 2, 20, rapid.ID[int]).Draw(t, "workers")
		slices.Sort(numbers)
		key, gone := rapid.String().Draw(t, "key"), rapid.IntRange(0, len(numbers)-1).Draw(t, "gone")
		var all, fewer []Worker
		for i, n := range numbers {
			all = append(all, Worker{Number: n})
			if i != gone {
				fewer = append(fewer, Worker{Number: n})
			}
		}
		table := Table{Policy: ByKey(func(string) string { return "" })}
		before, after := table.Order(nil, all, key, 0), table.Order(nil, fewer, key, 0)
		if len(before) != 1 || len(after) != 1 {
			t.Fatalf("%v and %v may take it, want one each", before, after)
		}
		if before[0] != gone && all[before[0]].Number != fewer[after[0]].Number {
			t.Errorf("the key has moved from %d to %d", all[before[0]].Number, fewer[after[0]].Number)
		}
	})
}

// Keys are spread over the workers about evenly.
func TestKeysSpread(t *testing.T) {
	const keys, workers = 8000, 8
	table, got := Table{Policy: ByKey(func(string) string { return "" })}, [workers]int{}
	for i := range keys {
		got[table.Order(nil, crew(make([]int, workers)...), fmt.Sprint("key", i), 0)[0]]++
	}
	for i, n := range got {
		if n < keys/workers*8/10 || n > keys/workers*12/10 {
			t.Errorf("worker %d got %d of %d keys", i, n, keys)
		}
	}
}

// Every order names each worker once; the first one is the one that the policy promises.
func TestOrderModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		loads := rapid.SliceOfN(rapid.IntRange(0, 3), 1, 12).Draw(t, "loads")
		policy := rapid.SampledFrom([]Policy{RoundRobin(), Random(), LeastBusy(), FirstOf(2), Broadcast()}).Draw(t, "policy")
		table := Table{Policy: policy}
		got := make([]int, len(loads))
		for range 3 * len(loads) {
			order := table.Order(nil, crew(loads...), "", rapid.Uint64().Draw(t, "random"))
			sorted := slices.Sorted(slices.Values(order))
			for i := range loads {
				if len(sorted) != len(loads) || sorted[i] != i {
					t.Fatalf("%v of %d workers", order, len(loads))
				}
			}
			if policy.Loads() && loads[order[0]] != slices.Min(loads) {
				t.Fatalf("%v is not the least busy of %v", order[0], loads)
			}
			got[order[0]]++
			table.Took(order[0] + 1)
		}
		for i, n := range got {
			if policy.kind == inTurn && n != 3 {
				t.Errorf("worker %d got %d of %d in turn", i, n, 3*len(loads))
			}
		}
	})
}
