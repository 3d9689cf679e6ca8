package actor_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/mailbox"
)

// Print is work for a printer, and Skip has it leave out a page that waits.
type (
	Print struct{ Page int }
	Skip  struct{ Page int }
)

// Printer prints pages, one after another.
type Printer struct {
	skipped map[int]bool
	tray    *[]string
	warm    chan struct{} // closed when it is warm
}

func (p *Printer) Print(_ *actor.Context, m Print) error {
	<-p.warm
	if !p.skipped[m.Page] {
		*p.tray = append(*p.tray, fmt.Sprint("page ", m.Page))
	}
	return nil
}

func (p *Printer) Skip(_ *actor.Context, m Skip) error {
	p.skipped[m.Page] = true
	return nil
}

// What is to be left out does not wait behind what is to be printed.
func ExamplePriorityOf() {
	var tray []string
	warm := make(chan struct{})
	kind := actor.Define("example.printer", func() *Printer { return &Printer{map[int]bool{}, &tray, warm} },
		actor.Handle((*Printer).Print), actor.Handle((*Printer).Skip),
	).With(actor.PriorityOf[Skip](mailbox.Urgent))

	ctx, sys := context.Background(), quietSystem()
	printer := must(sys.Spawn("printer", kind))
	for page := range 5 {
		_ = actor.Tell(ctx, printer, Print{page})
	}
	_ = actor.Tell(ctx, printer, Skip{3})
	close(warm)
	_ = sys.Stop(ctx, printer)
	_ = sys.Shutdown(ctx)
	fmt.Println(strings.Join(tray, ", "))
	// Output: page 0, page 1, page 2, page 4
}
