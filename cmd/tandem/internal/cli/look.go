package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/inspect"
)

// at is what one node has answered.
type at[R any] struct {
	Node  string
	Reply R
}

func replies[R any](answers []admin.Answer[R]) []at[R] {
	all := make([]at[R], len(answers))
	for i, a := range answers {
		all[i] = at[R]{a.Node, a.Reply}
	}
	return all
}

// look are the commands that show what nodes have.
func (a *app) look() []*cobra.Command {
	var actors struct {
		admin.Actors
		stage string
	}
	var events admin.Events
	list := &cobra.Command{Use: "actors", Short: "List actors: those first whose oldest message is oldest", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		actors.Stage = inspect.Stage(actors.stage)
		all, err := each(c.Context(), a, actors.Actors)
		if err != nil {
			return err
		}
		return a.show(replies(all), func(t *table) {
			t.head = []string{"ACTOR", "KIND", "STAGE", "HANDLES", "FOR", "WAITING", "HANDLED", "FAILED", "RESTARTS"}
			for _, r := range all {
				for _, i := range r.Reply.Actors {
					t.row(i.Name+"@"+r.Node, i.Kind, i.Stage, i.Running, i.For, i.Waiting, i.Handled, alarming(i.Failed), i.Restarts)
				}
			}
		})
	}}
	f := list.Flags()
	f.StringVar(&actors.By, "by", "busy", "order of each node's actors: busy, waiting, failed or name")
	f.StringVar(&actors.Kind, "kind", "", "only this kind")
	f.StringVar(&actors.Prefix, "prefix", "", "only names that begin so")
	f.StringVar(&actors.stage, "stage", "", "only in this stage")
	f.IntVar(&actors.Limit, "limit", 50, "how many of each node")
	f.StringVar(&actors.After, "after", "", "begin after this name, with --by name")

	happened := &cobra.Command{Use: "events", Short: "List what has happened", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		all, err := each(c.Context(), a, events)
		if err != nil {
			return err
		}
		return a.show(replies(all), func(t *table) {
			t.head = []string{"TIME", "NODE", "EVENT", "ABOUT", "ERROR"}
			type line struct {
				node string
				admin.EventInfo
			}
			var lines []line
			for _, r := range all {
				for _, e := range r.Reply.Events {
					lines = append(lines, line{r.Node, e})
				}
			}
			slices.SortStableFunc(lines, func(x, y line) int { return x.Time.Compare(y.Time) })
			for _, l := range lines {
				t.row(l.Time, l.node, l.Type, strings.Join(strings.Fields(strings.Join([]string{l.Service, l.Actor, l.Peer, l.Road}, " ")), " "), l.Error)
			}
		})
	}}
	happened.Flags().IntVar(&events.Limit, "limit", 100, "how many of each node")
	happened.Flags().Uint64Var(&events.After, "after", 0, "only those after this number")

	return []*cobra.Command{
		lists(a, "nodes", "List the nodes, and how they are", admin.Node{}, []string{"NODE", "VERSION", "ZONE", "UP", "ACTORS", "HANDLED", "ASKED", "SERVED", "REPLAYED", "WAITING", "PANICS", "DEAD LETTERS", "HEAP", "LOG"},
			func(t *table, node string, i admin.NodeInfo) {
				s := i.Stats
				t.row(node, i.Version, i.Zone, time.Since(i.Started).Round(time.Second), s.Actors, s.Handled, s.RPC.Requests, s.RPC.Served, s.RPC.Replayed, s.RPC.Outstanding, alarming(s.Panics), alarming(uint64(s.LettersKept)), size(i.Heap), i.Level)
			}),
		lists(a, "peers", "List the nodes that each node has links with, and by which road it sends", admin.Peers{Limit: admin.MaxPage}, []string{"NODE", "PEER", "ROAD", "LINKS", "RTT", "WAITING", "UNRESOLVED", "REQUESTS", "TELLS", "STATE"},
			func(t *table, node string, i admin.PeersInfo) {
				for _, p := range i.Peers {
					t.row(node, p.Node, p.Road, roads(p), rtt(p), p.Outstanding, alarming(uint64(p.Unresolved)), p.Requests, p.Tells, peerState(p))
				}
			}),
		lists(a, "services", "List services, and what each node knows of their instances", admin.Services{Limit: admin.MaxPage}, []string{"SERVICE", "SEEN BY", "INSTANCE", "VERSION", "ZONE", "LATENCY", "WAITING", "STATE"},
			func(t *table, node string, i admin.ServicesInfo) {
				for _, s := range i.Services {
					for _, in := range s.Instances {
						t.row(s.Name, node, in.Address, in.Version, in.Zone, in.Latency, in.Outstanding, instanceState(s, in))
					}
				}
			}),
		list,
		&cobra.Command{Use: "inspect ACTOR", Short: "Show one actor, and what it does now", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
			name, node, err := a.address(args[0])
			if err != nil {
				return err
			}
			i, err := one(c.Context(), a, node, admin.Actor{Name: name})
			if err != nil {
				return err
			}
			return a.show(i, func(t *table) { inspected(t, i) })
		}},
		lists(a, "sessions", "List the sessions that nodes have opened at each other", admin.Sessions{Limit: admin.MaxPage}, []string{"NODE", "SESSION", "FROM", "PRINCIPAL", "PROVED", "ROADS", "RECORDS", "SERVED", "SEALED"},
			func(t *table, node string, i admin.SessionsInfo) {
				for _, s := range i.Sessions {
					t.row(node, s.ID, s.Node, s.Principal, yes(s.Proved), strings.Join(s.Roads, ","), s.Records, s.Served, yes(s.Sealed))
				}
			}),
		lists(a, "dedup", "Show what the tables of requests did: copies that did not run again, and what they keep", admin.Node{}, []string{"NODE", "SERVED", "REPLAYED", "ATTACHED", "REFUSED", "RECORDS", "KEYS", "SESSIONS LOST", "HELD"},
			func(t *table, node string, i admin.NodeInfo) {
				s := i.Stats.RPC
				t.row(node, s.Served, s.Replayed, s.Attached, s.Refused, s.Records, s.Keys, alarming(s.Lost), size(s.HeldBytes))
			}),
		lists(a, "topics", "List what actors have subscribed to", admin.Topics{Limit: admin.MaxPage}, []string{"NODE", "PATTERN", "GROUP", "MESSAGE", "SUBSCRIBERS"},
			func(t *table, node string, i admin.TopicsInfo) {
				for _, p := range i.Topics {
					t.row(node, p.Pattern, p.Group, p.Type, p.Subscribers)
				}
			}),
		lists(a, "tokens", "List jobs, by the beginning of their tokens", admin.Jobs{Limit: admin.MaxPage}, []string{"NODE", "TOKEN", "FOR", "ACTOR", "MESSAGE", "STATE", "DONE", "DURABLE", "ERROR"},
			func(t *table, node string, i admin.JobsInfo) {
				for _, j := range i.Jobs {
					done := ""
					if j.Total > 0 {
						done = fmt.Sprintf("%d/%d", j.Done, j.Total)
					}
					t.row(node, j.ID+"…", j.Principal, j.Actor, j.Type, j.State, done, yes(j.Durable), j.Error)
				}
			}),
		happened,
	}
}

func inspected(t *table, i inspect.Actor) {
	t.head = []string{"WHAT", "IS"}
	for _, r := range []struct {
		what string
		is   any
	}{{"actor", i.Name + "@" + i.Node}, {"kind", i.Kind}, {"stage", i.Stage}, {"parent", i.Parent}, {"behaviour", i.Behaviour}, {"handles", i.Running}, {"for", i.For}, {"waiting", i.Waiting}, {"put aside", i.Stashed},
		{"handled", i.Handled}, {"failed", alarming(i.Failed)}, {"restarts", i.Restarts}, {"children", i.Children}, {"watchers", i.Watchers}, {"topics", i.Topics}, {"timers", i.Timers}} {
		if s := fmt.Sprint(r.is); s != "" && s != "0" && s != "0s" && s != "{0 }" {
			t.row(r.what, r.is)
		}
	}
	if d := i.Details; d != nil {
		for _, n := range d.Children {
			t.row("child", n)
		}
		for _, n := range d.Watching {
			t.row("watches", n)
		}
		for _, s := range d.Topics {
			t.row("subscribed", s.Pattern+" "+s.Group)
		}
	}
}

// alarming is a number that should be zero.
func alarming[N uint64 | int](n N) cell {
	if n == 0 {
		return cell{text: "0"}
	}
	return cell{fmt.Sprint(n), red}
}

func roads(p inspect.Peer) string {
	var all []string
	for _, l := range p.Links {
		if l.Open {
			all = append(all, l.Road)
		}
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

func rtt(p inspect.Peer) time.Duration {
	for _, l := range p.Links {
		if l.Current {
			return l.RTT
		}
	}
	return 0
}

func peerState(p inspect.Peer) cell {
	switch {
	case p.Leaving:
		return cell{"leaving", yellow}
	case !p.Up && p.Outstanding > 0:
		return cell{"cut off", red}
	case !p.Up:
		return cell{"no link", dim}
	}
	return cell{"up", green}
}

func instanceState(s inspect.Service, i inspect.Instance) cell {
	switch {
	case i.Ejected:
		return cell{"left out: " + i.Why, red}
	case i.Probing:
		return cell{"tried again: " + i.Why, yellow}
	case !s.Used:
		return cell{"not used here", dim}
	}
	return cell{"in use", green}
}
