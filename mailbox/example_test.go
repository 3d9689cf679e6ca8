package mailbox_test

import (
	"fmt"

	"github.com/tandem-go/tandem/mailbox"
)

func Example() {
	var box mailbox.Box[string]
	box.Init(&mailbox.Config{Capacity: 2, Policy: mailbox.DropOldest})
	for _, m := range []string{"one", "two", "three"} {
		put, err := box.Offer(m)
		if err != nil {
			panic(err)
		}
		if put.Wake {
			fmt.Println("start a consumer")
		}
		if put.HasDropped {
			fmt.Println("dropped", put.Dropped)
		}
	}
	for batch := box.Take(nil); batch != nil; batch = box.Take(batch) {
		fmt.Println("took", batch.Messages())
	}
	// Output:
	// start a consumer
	// dropped one
	// took [two three]
}
