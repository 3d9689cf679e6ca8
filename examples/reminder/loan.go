package main

import (
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/reminder"
)

type (
	// Lend lends a book until a time. The reply says when the first letter is written if it does not come back.
	Lend struct {
		actor.Returns[time.Time]
		Reader string
		Until  time.Time
	}
	// GiveBack ends the loan.
	GiveBack struct{ actor.Returns[bool] }
	// Overdue is what a loan is reminded of, at its end and then every so often.
	Overdue struct{}
	// Letters asks for the letters that were written.
	Letters struct{ actor.Returns[[]Letter] }
)

// Letter is a letter to a reader who has not given a book back.
type Letter struct {
	Number int
	Late   time.Duration // how long after its time it was written
	Missed uint64        // how many other times there were, at which nobody could write
}

// loan is the state of a book's actor. All of it is kept.
type loan struct {
	Reader  string
	Letters []Letter
}

const letterEvery = time.Second // for a library that is in a hurry

// lend has a reminder set when the loan is written, and not before.
func (l *loan) lend(ctx *actor.Context, m Lend) (time.Time, error) {
	l.Reader = m.Reader
	return m.Until, actor.Remind(ctx, "end", reminder.At(m.Until), Overdue{})
}

func (l *loan) giveBack(ctx *actor.Context, _ GiveBack) (bool, error) {
	l.Reader = ""
	if err := actor.Forget(ctx, "end"); err != nil {
		return false, err
	}
	return true, actor.Forget(ctx, "again")
}

func (l *loan) overdue(ctx *actor.Context, _ Overdue) error {
	if l.Reader == "" { // the book is back: this message was on its way when the reminder was forgotten
		return nil
	}
	f, _ := ctx.Firing()
	l.Letters = append(l.Letters, Letter{len(l.Letters) + 1, f.Late, f.Missed})
	if f.Name == "end" {
		return actor.Remind(ctx, "again", reminder.Every(letterEvery), Overdue{})
	}
	return nil
}

func (l *loan) letters(*actor.Context, Letters) ([]Letter, error) { return l.Letters, nil }

var loanKind = actor.Define("library.loan", func() *loan { return new(loan) },
	actor.Answer((*loan).lend), actor.Answer((*loan).giveBack), actor.Handle((*loan).overdue), actor.Read((*loan).letters)).
	With(actor.Virtual(), actor.Stored(func(l *loan) *loan { return l }), actor.Idle(time.Minute))

func (Lend) WireName() string     { return "library.lend" }
func (GiveBack) WireName() string { return "library.give_back" }
func (Overdue) WireName() string  { return "library.overdue" }
func (Letters) WireName() string  { return "library.letters" }
func (Letter) WireName() string   { return "library.letter" }
