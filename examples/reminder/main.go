// Reminder is a library whose books are virtual actors. Each loan reminds itself of its end, and then every second, until
// the book is back. The whole cluster is stopped before the first loan ends, NATS too, and started again when all have
// ended: each reader who is late gets the letter that nobody could write, once, and it says how late it is.
//
//	go run ./examples/reminder
//
// All that is about loans is in loan.go; library.go starts the cluster.
//
// The program fails unless each letter was written once, and none to a reader who has given the book back.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"text/tabwriter"
	"time"

	"github.com/tandem-go/tandem/actor"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("reminder: ")
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

const (
	late     = "Moby-Dick" // the book that is not given back
	punctual = "Emma"
)

func run(ctx context.Context, out io.Writer) (err error) {
	folder, err := os.MkdirTemp("", "library")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	l, err := open(ctx, folder)
	if err != nil {
		return err
	}
	until := time.Now().Add(4 * time.Second)
	for _, title := range []string{late, punctual} {
		if _, err := actor.Call(ctx, l.book(title), Lend{Reader: "Ishmael", Until: until}); err != nil {
			return errors.Join(err, l.close(ctx))
		}
	}
	if err := l.listed(ctx, late); err != nil {
		return errors.Join(err, l.close(ctx))
	}
	_, err = actor.Call(ctx, l.book(punctual), GiveBack{})
	if err = errors.Join(err, l.close(ctx)); err != nil {
		return err
	}
	fmt.Fprintf(out, "Two books are lent, and %s is back. The library and NATS are closed, until a while after the loans have ended.\n", punctual)
	time.Sleep(time.Until(until) + 2*time.Second)
	if l, err = open(ctx, folder); err != nil {
		return err
	}
	err = l.report(ctx, out)
	return errors.Join(err, l.close(ctx))
}

// listed waits until the reminder of a loan is set, which is a moment after the loan was written.
func (l *library) listed(ctx context.Context, title string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for ; ; time.Sleep(20 * time.Millisecond) {
		list, err := l.nodes[1].Reminders(ctx, l.book(title))
		if err != nil || len(list) > 0 {
			return err
		}
	}
}

// report waits for three letters, ends the loan, and prints them.
func (l *library) report(ctx context.Context, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for n := 0; n < 3; time.Sleep(20 * time.Millisecond) {
		letters, err := actor.Call(ctx, l.book(late), Letters{})
		if err != nil {
			return err
		}
		n = len(letters)
	}
	if _, err := actor.Call(ctx, l.book(late), GiveBack{}); err != nil {
		return err
	}
	time.Sleep(2 * letterEvery) // nobody writes any more
	letters, err := actor.Call(ctx, l.book(late), Letters{})
	if err != nil {
		return err
	}
	none, err := actor.Call(ctx, l.book(punctual), Letters{})
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "book\tletter\tlate by\ttimes missed")
	for _, m := range letters {
		fmt.Fprintf(w, "%s\t%d\t%v\t%d\n", late, m.Number, m.Late.Round(100*time.Millisecond), m.Missed)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return check(letters, none)
}

// check returns what is wrong with the letters.
func check(letters, none []Letter) error {
	switch {
	case len(none) > 0:
		return fmt.Errorf("%d letters for a book that was given back", len(none))
	case len(letters) < 3 || len(letters) > 4: // one may have been on its way when the book came back
		return fmt.Errorf("%d letters", len(letters))
	case letters[0].Late < 2*time.Second:
		return fmt.Errorf("the first letter was late by %v, and the library was closed for longer", letters[0].Late)
	case letters[1].Late > time.Second:
		return fmt.Errorf("the second letter was late by %v, though the library was open", letters[1].Late)
	}
	for i, m := range letters {
		if m.Number != i+1 {
			return fmt.Errorf("letter %d is in the place of letter %d", m.Number, i+1)
		}
	}
	return nil
}
