package topic_test

import (
	"errors"
	"fmt"

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
