package actortest_test

import (
	"errors"
	"testing"

	"github.com/tandem-go/tandem/actortest"
	"github.com/tandem-go/tandem/topic"
	"github.com/tandem-go/tandem/topic/topictest"
)

func TestTopics(t *testing.T) {
	topictest.Run(t, func(*testing.T) topic.Store { return new(actortest.Topics) })
}

// What was lost is refused until the loss is accepted, and then readers go on with what is new.
func TestTopicsLose(t *testing.T) {
	actortest.Bubble(t, func(t *testing.T) {
		store := new(actortest.Topics)
		rd, err := store.Open(t.Context(), topic.Reading{Pattern: ">", Name: "n", TypeID: 1})
		if err != nil {
			t.Fatal(err)
		}
		m := topic.Message{ID: "1", Topic: "a", TypeID: 1}
		first, _ := store.Publish(t.Context(), m)
		store.Lose()
		_, published := store.Publish(t.Context(), m)
		_, opened := store.Open(t.Context(), topic.Reading{Pattern: ">"})
		_, read := rd.Next(t.Context())
		for _, err := range []error{published, opened, read} {
			if !errors.Is(err, topic.ErrGone) {
				t.Error(err)
			}
		}
		if no := (*topic.NotStoredError)(nil); !errors.As(published, &no) {
			t.Error(published)
		}
		store.Accept()
		if at, err := store.Publish(t.Context(), m); at != first || err != nil {
			t.Errorf("position %d, %v", at, err)
		}
		if got, err := rd.Next(t.Context()); got.ID != "1" || err != nil {
			t.Errorf("%+v, %v", got, err)
		}
	})
}
