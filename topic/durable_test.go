package topic_test

import (
	"errors"
	"testing"
	"time"

	"github.com/tandem-go/tandem/topic"
)

func TestDurableOptions(t *testing.T) {
	at := time.Unix(1, 0)
	for _, row := range []struct {
		name    string
		opts    []topic.Option
		durable bool
		bad     bool
	}{
		{"none", nil, false, false},
		{"named", []topic.Option{topic.Named("a")}, true, false},
		{"from the start", []topic.Option{topic.FromStart()}, true, false},
		{"from a time", []topic.Option{topic.FromTime(at)}, true, false},
		{"attempts", []topic.Option{topic.Attempts(1)}, true, false},
		{"no name", []topic.Option{topic.Named("")}, true, true},
		{"a name with a dot", []topic.Option{topic.Named("a.b")}, true, true},
		{"no time", []topic.Option{topic.FromTime(time.Time{})}, false, true},
		{"no attempt", []topic.Option{topic.Attempts(0)}, true, true},
		{"attempts below zero", []topic.Option{topic.Attempts(-1)}, true, true},
	} {
		s, err := topic.Settle(row.opts...)
		if s.IsDurable() != row.durable || errors.Is(err, topic.ErrOption) != row.bad || (err != nil) != row.bad {
			t.Errorf("%s: %+v, %v", row.name, s, err)
		}
	}
}

func TestBackoff(t *testing.T) {
	for n, want := range map[int]time.Duration{-1: 100 * time.Millisecond, 1: 100 * time.Millisecond, 2: 200 * time.Millisecond, 7: 6400 * time.Millisecond, 8: 10 * time.Second, 1 << 40: 10 * time.Second} {
		if d := topic.Backoff(n); d != want {
			t.Errorf("Backoff(%d) is %v, want %v", n, d, want)
		}
	}
}
