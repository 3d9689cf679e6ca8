package actor_test

import (
	"testing"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/deadletter"
	"github.com/tandem-go/tandem/mailbox"
)

// BenchmarkDeadLetter is a one-way message to nobody, kept and not kept; and one that pushes another
// out of a full mailbox.
func BenchmarkDeadLetter(b *testing.B) {
	for name, limits := range map[string]deadletter.Limits{"kept": {}, "not kept": {Letters: -1}} {
		b.Run(name, func(b *testing.B) {
			sys := newSystem(b, actor.Config{Logger: quiet, DeadLetters: limits})
			to := sys.Ref("nobody")
			b.ReportAllocs()
			for b.Loop() {
				tell(b, to, Card{1, "text"})
			}
		})
		b.Run("dropped at a full mailbox, "+name, func(b *testing.B) {
			sys := newSystem(b, actor.Config{Logger: quiet, DeadLetters: limits})
			x := spawn(b, sys, "x", PuppetKind, small(8, mailbox.DropOldest))
			defer plug(b, x)()
			b.ReportAllocs()
			for b.Loop() {
				tell(b, x, Card{1, "text"})
			}
		})
	}
}
