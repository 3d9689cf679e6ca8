package deadletter_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/deadletter"
	"github.com/tandem-go/tandem/rpc"
)

// A letter is taken, and nobody else can take it. It may have arrived, so it can be sent again to
// the same place only, and not for ever.
func Example() {
	store := deadletter.New[string](deadletter.Limits{Letters: 2, Bytes: 2000}, "1a2b-")
	nobody := rpc.Errorf(rpc.NotFound, rpc.NotRun, "no such actor")
	for n := range 3 {
		id := store.Add("", deadletter.Kept{Letter: deadletter.Letter{To: "x@a", Type: "int", Reason: nobody}, Size: 520, Message: n}, "headers")
		fmt.Println("added", id)
	}
	fmt.Println(store.Count())
	fmt.Println(store.Largest())
	for _, k := range store.List(deadletter.Filter{NewestFirst: true, Limit: 1}) {
		fmt.Println(k.ID, k.Message, k.State)
	}

	now, keyLife := time.Unix(0, 0), time.Minute
	a, err := store.Take(now, keyLife, "1a2b-3", "")
	fmt.Println(a.Asked, a.Carried, err)
	_, err = store.Take(now, keyLife, "1a2b-3", "")
	fmt.Println(errors.Is(err, deadletter.ErrBusy))

	a.At = a.Asked
	store.Settle(a, rpc.Unknown, true)
	_, err = store.Take(now, keyLife, "1a2b-3", "y@b")
	fmt.Println(errors.Is(err, deadletter.ErrUnclear))
	_, err = store.Take(now.Add(keyLife), keyLife, "1a2b-3", "x@a")
	fmt.Println(rpc.CodeOf(err), errors.Is(err, deadletter.ErrUnclear))
	fmt.Println(store.Discard(deadletter.Filter{}), "discarded")
	// Output:
	// added 1a2b-1
	// added 1a2b-2
	// added 1a2b-3
	// 2 1040 1
	// 2000
	// 1a2b-3 2 undelivered
	// x@a headers <nil>
	// true
	// true
	// rpc: outcome unknown true
	// 2 discarded
}
