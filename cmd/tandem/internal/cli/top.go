package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/spf13/cobra"

	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/inspect"
)

// top is a live view of the nodes, and of the actors that have been busy for longest.
func (a *app) top() *cobra.Command {
	every, times := 2*time.Second, 0
	c := &cobra.Command{Use: "top", Short: "Watch nodes and busy actors, live", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		if every < 200*time.Millisecond {
			return usage("--every %v: want 200ms or more", every)
		}
		m := topModel{app: a, ctx: c.Context(), every: every, left: times}
		if times > 0 || a.json { // for scripts: one after another, without a terminal
			for i := 0; times == 0 || i < times; i++ {
				if i > 0 {
					select {
					case <-time.After(every):
					case <-c.Context().Done():
						return nil
					}
				}
				look := m.look().(topLook)
				if look.err != nil {
					return look.err
				}
				next, _ := m.Update(look)
				m = next.(topModel)
				if err := a.show(replies(look.nodes), func(*table) { fmt.Fprintln(a.out, m.View()) }); err != nil {
					return err
				}
			}
			return nil
		}
		end, err := tea.NewProgram(m, tea.WithContext(c.Context()), tea.WithInput(a.in), tea.WithOutput(a.out), tea.WithAltScreen()).Run()
		if err != nil {
			return err
		}
		return end.(topModel).err
	}}
	c.Flags().DurationVar(&every, "every", every, "how often to look")
	c.Flags().IntVar(&times, "times", 0, "look so often, print each time, and end")
	return c
}

// topModel is what top shows.
type topModel struct {
	app   *app
	ctx   context.Context
	every time.Duration
	left  int

	nodes, before []admin.Answer[admin.OverviewInfo]
	at, was       time.Time
	err           error // the last look has failed
	height        int
	byWaiting     bool // the order of actors
}

// topLook is the result of a look.
type topLook struct {
	nodes []admin.Answer[admin.OverviewInfo]
	at    time.Time
	err   error
}

// Init implements tea.Model.
func (m topModel) Init() tea.Cmd { return m.look }

func (m topModel) look() tea.Msg {
	quiet := *m.app
	quiet.err = io.Discard // nodes that do not answer are in the table
	nodes, err := each(m.ctx, &quiet, admin.Overview{})
	m.app.nc = quiet.nc
	return topLook{nodes, time.Now(), err}
}

// Update implements tea.Model.
func (m topModel) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case topLook:
		if m.err = msg.err; m.err == nil {
			m.before, m.was, m.nodes, m.at = m.nodes, m.at, msg.nodes, msg.at
		}
		return m, tea.Tick(m.every, func(time.Time) tea.Msg { return m.look() })
	case tea.WindowSizeMsg:
		m.height = msg.Height
	case tea.KeyMsg:
		switch msg.String() {
		case "q", "esc", "ctrl+c":
			m.err = nil
			return m, tea.Quit
		case "w":
			m.byWaiting = true
		case "b":
			m.byWaiting = false
		}
	}
	return m, nil
}

// View implements tea.Model.
func (m topModel) View() string {
	if m.nodes == nil {
		if m.err != nil {
			return text(m.err) + "\nq quits\n"
		}
		return "asking the nodes…\n"
	}
	var out strings.Builder
	var nodes, actors table
	nodes.head = []string{"NODE", "ACTORS", "HANDLED/S", "ASKED/S", "SERVED/S", "WAITING", "REPLAYED", "RETRIES", "DEAD", "GOROUTINES", "HEAP"}
	passed := m.at.Sub(m.was).Seconds()
	for _, n := range m.nodes {
		s, old := n.Reply.Stats, n.Reply.Stats
		i := slices.IndexFunc(m.before, func(b admin.Answer[admin.OverviewInfo]) bool {
			return b.Node == n.Node && b.Reply.Epoch == n.Reply.Epoch
		})
		if i >= 0 {
			old = m.before[i].Reply.Stats
		}
		rate := func(now, before uint64) string {
			if i < 0 || now < before {
				return "-"
			}
			return fmt.Sprintf("%.0f", float64(now-before)/passed)
		}
		nodes.row(n.Node, s.Actors, rate(s.Handled, old.Handled), rate(s.RPC.Requests, old.RPC.Requests), rate(s.RPC.Served, old.RPC.Served), s.RPC.Outstanding, s.RPC.Replayed, s.RPC.Retries, alarming(s.LettersKept), n.Reply.Goroutines, size(n.Reply.Heap))
	}
	nodes.write(&out, m.app.colored())
	out.WriteString("\n")
	var busy []inspect.Actor
	for _, n := range m.nodes {
		busy = append(busy, n.Reply.Busy...)
	}
	slices.SortFunc(busy, func(a, b inspect.Actor) int {
		if m.byWaiting {
			return b.Waiting - a.Waiting
		}
		return int(min(max(b.For-a.For, -1), 1))
	})
	actors.head = []string{"ACTOR", "KIND", "HANDLES", "FOR", "WAITING", "HANDLED", "FAILED"}
	room := 20
	if m.height > 0 {
		room = max(m.height-len(m.nodes)-6, 1)
	}
	for _, b := range busy[:min(len(busy), room)] {
		actors.row(b.Name+"@"+b.Node, b.Kind, b.Running, b.For, b.Waiting, b.Handled, alarming(b.Failed))
	}
	actors.write(&out, m.app.colored())
	if m.err != nil {
		out.WriteString("\n" + text(m.err) + "\n")
	}
	if m.left == 0 {
		out.WriteString("\nb: by the age of messages, w: by what waits, q: quit\n")
	}
	return out.String()
}
