package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
)

// lifeRow is a row of the table of TestLife.
type lifeRow struct {
	name   string
	guest  bool // it needs the node that can be lost
	topics bool // it needs a store of durable topics
	try    func(s *site)
}

// lifeColumns are where each row is tried. In the last two, in which a road is lost in memory, time is fake,
// so that they check what takes long, too.
var lifeColumns = []lifeColumn{
	{name: "local", local: true, roads: direct},
	{name: "TCP", roads: direct},
	{name: "NATS", roads: bus},
	{name: "TCP lost", roads: direct | bus, lost: direct},
	{name: "NATS lost", roads: direct | bus, lost: bus},
	{name: "direct lost, fake time", fake: true, roads: direct | bus, lost: direct},
	{name: "bus lost, fake time", fake: true, roads: direct | bus, lost: bus},
}

// TestLife tries what an actor's life consists of within a node, over TCP and over NATS, and while
// the road that is in use is lost and the other one takes over. The checks of a row are the same
// everywhere. With -v it prints a table.
func TestLife(t *testing.T) {
	var table strings.Builder
	var notes []string // why some cells mean nothing
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "\n")
	for _, c := range lifeColumns {
		fmt.Fprintf(w, "\t%s", c.name)
	}
	for _, row := range lifeRows() {
		fmt.Fprintf(w, "\n%s", row.name)
		for _, c := range lifeColumns {
			var pointless string
			result := "–" // also if -run leaves it out
			t.Run(row.name+"/"+c.name, func(t *testing.T) {
				defer func() {
					switch {
					case t.Failed():
						result = "FAILED"
					case pointless == "":
						result = "ok"
					}
				}()
				tryLife(t, c, row, &pointless)
			})
			if pointless != "" {
				n := slices.Index(notes, pointless) + 1
				if n == 0 {
					notes = append(notes, pointless)
					n = len(notes)
				}
				result += fmt.Sprintf(" (%d)", n)
			}
			fmt.Fprintf(w, "\t%s", result)
		}
	}
	w.Flush()
	table.WriteString("\n")
	for i, n := range notes {
		fmt.Fprintf(&table, "\n(%d) %s", i+1, n)
	}
	t.Log(table.String())
}
