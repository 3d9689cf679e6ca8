package topic_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/tandem-go/tandem/topic"
)

func ExampleMatch() {
	fmt.Println(topic.Match("prices.*", "prices.eur"), topic.Match("prices.*", "prices.eur.spot"), topic.Match("prices.>", "prices.eur.spot"))
	// Output: true false true
}

func ExampleIndex() {
	var x topic.Index[string]
	_ = x.Add("prices.*", "all prices")
	_ = x.Add("prices.eur", "the euro")
	fmt.Println(len(x.Append(nil, "prices.eur")), x.Append(nil, "prices.usd"))
	x.Remove("prices.*", "all prices")
	fmt.Println(x.Append(nil, "prices.eur"), x.Len())
	// Output:
	// 2 [all prices]
	// [the euro] 1
}

func ExampleValidName() {
	fmt.Println(errors.Is(topic.ValidName("prices.*"), topic.ErrName), topic.ValidPattern("prices.*"))
	// Output: true <nil>
}

// Options say how an actor subscribes, see actor.Context.Subscribe.
func ExampleSettle() {
	set, err := topic.Settle(topic.Group("archive"), topic.WhenFull(topic.DropOldest))
	fmt.Println(set.Group, set.Full, err)
	_, err = topic.Settle(topic.Group("two.tokens"))
	fmt.Println(errors.Is(err, topic.ErrOption), topic.ValidGroup("archive"))
	// Output:
	// archive drop-oldest <nil>
	// true <nil>
}

// These options are for durable topics: the subscription has a name, which keeps its position.
func ExampleNamed() {
	set, err := topic.Settle(topic.Named("billing"), topic.FromStart(), topic.Attempts(3))
	fmt.Println(set.Name, set.From.Start, set.Attempts, set.IsDurable(), err)
	// Output: billing true 3 true <nil>
}

func ExampleFromTime() {
	set, err := topic.Settle(topic.FromTime(time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)))
	fmt.Println(set.From.Time.Year(), err)
	// Output: 2026 <nil>
}

func ExampleBackoff() {
	fmt.Println(topic.Backoff(1), topic.Backoff(2), topic.Backoff(20))
	// Output: 100ms 200ms 10s
}
