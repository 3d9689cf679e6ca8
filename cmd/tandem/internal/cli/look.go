package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/cmd/tandem/internal/show"
	"github.com/tandem-go/tandem/inspect"
)

func (a *app) nodes() *cobra.Command {
	return list[admin.Node, admin.NodeInfo]{
		question: func([]string) (m admin.Node, err error) { return m, nil },
		header:   []string{"VERSION", "ZONE", "UP", "ACTORS", "HANDLED", "PANICS", "DEAD LETTERS", "HEAP", "LOG", "SERVICES"},
		rows: func(r admin.NodeInfo) [][]show.Cell {
			tone := show.Plain
			if r.Stats.Panics > 0 {
				tone = show.Bad
			}
			return [][]show.Cell{{show.T(r.Version), show.T(r.Zone), show.T(show.Duration(time.Since(r.Started).Round(time.Second))), show.T(r.Stats.Actors), show.T(r.Stats.Handled),
				show.In(tone, r.Stats.Panics), show.T(r.Stats.LettersKept), show.T(show.Bytes(r.Heap)), show.T(r.Level), show.T(strings.Join(slices.Sorted(maps.Keys(r.Services)), " "))}}
		},
	}.command(a, "nodes", "What each node is", cobra.NoArgs)
}

func (a *app) peers() *cobra.Command {
	return list[admin.Peers, admin.PeersInfo]{
		question: func([]string) (admin.Peers, error) { return admin.Peers{Limit: admin.MaxPage}, nil },
		next: func(m admin.Peers, r admin.PeersInfo) (admin.Peers, bool) {
			m.After = r.Next
			return m, r.Next != ""
		},
		header: []string{"PEER", "STATE", "ROAD", "RTT", "OUTSTANDING", "UNRESOLVED", "REQUESTS", "TELLS", "PRINCIPAL"},
		rows: func(r admin.PeersInfo) (rows [][]show.Cell) {
			for _, p := range r.Peers {
				state := show.In(show.Bad, "away")
				switch {
				case p.Up && p.Leaving:
					state = show.T("leaving")
				case p.Up:
					state = show.In(show.Good, "up")
				}
				var rtt time.Duration
				for _, l := range p.Links {
					if l.Current {
						rtt = l.RTT
					}
				}
				rows = append(rows, []show.Cell{show.T(p.Node), state, show.T(p.Road), show.T(show.Duration(rtt)), show.T(p.Outstanding), show.T(p.Unresolved), show.T(p.Requests), show.T(p.Tells), show.T(p.Principal)})
			}
			return rows
		},
	}.command(a, "peers", "The roads between nodes", cobra.NoArgs)
}

func (a *app) services() *cobra.Command {
	return list[admin.Services, admin.ServicesInfo]{
		question: func(args []string) (admin.Services, error) {
			m := admin.Services{Limit: admin.MaxPage}
			if len(args) > 0 {
				m.Name = args[0]
			}
			return m, nil
		},
		next: func(m admin.Services, r admin.ServicesInfo) (admin.Services, bool) {
			m.After = r.Next
			return m, r.Next != ""
		},
		header: []string{"SERVICE", "POLICY", "INSTANCE", "VERSION", "ZONE", "STATE", "OUTSTANDING", "LATENCY"},
		rows: func(r admin.ServicesInfo) (rows [][]show.Cell) {
			for _, s := range r.Services {
				for _, i := range s.Instances {
					state := show.In(show.Good, "in use")
					switch {
					case !s.Used:
						state = show.In(show.Faint, "not used")
					case i.Probing:
						state = show.T("on trial")
					case i.Ejected:
						state = show.In(show.Bad, strings.TrimSpace("ejected: "+i.Why))
					}
					rows = append(rows, []show.Cell{show.T(s.Name), show.T(s.Policy), show.T(i.Address), show.T(i.Version), show.T(i.Zone), state, show.T(i.Outstanding), show.T(show.Duration(i.Latency))})
				}
			}
			return rows
		},
	}.command(a, "services [NAME]", "Instances of services, as each node sees them", cobra.MaximumNArgs(1))
}

func (a *app) actors() *cobra.Command {
	var q admin.Actors
	var stage string
	l := list[admin.Actors, admin.ActorsInfo]{
		question: func([]string) (admin.Actors, error) {
			q.Stage = inspect.Stage(stage)
			if q.Limit < 1 || q.Limit > admin.MaxPage {
				return q, usagef("--limit=%d: want 1 to %d", q.Limit, admin.MaxPage)
			}
			return q, nil
		},
		header: []string{"ACTOR", "KIND", "STAGE", "WAITING", "HANDLED", "FAILED", "RESTARTS", "RUNNING", "FOR"},
		rows: func(r admin.ActorsInfo) (rows [][]show.Cell) {
			for _, x := range r.Actors {
				stage, failed := show.T(x.Stage), show.T(x.Failed)
				if x.Stage == inspect.Suspended {
					stage.Tone = show.Bad
				}
				if x.Failed > 0 {
					failed.Tone = show.Bad
				}
				rows = append(rows, []show.Cell{show.T(x.Name), show.T(x.Kind), stage, show.T(x.Waiting), show.T(x.Handled), failed, show.T(x.Restarts), show.T(x.Running), show.T(show.Duration(x.For))})
			}
			return rows
		},
	}
	c := l.command(a, "actors", "Actors, the first of each node", cobra.NoArgs)
	f := c.Flags()
	f.StringVar(&q.Kind, "kind", "", "only of this kind")
	f.StringVar(&q.Prefix, "prefix", "", "only those whose names begin so")
	f.StringVar(&stage, "stage", "", "only in this stage")
	f.StringVar(&q.By, "by", "name", "order: name, busy, waiting or failed")
	f.IntVar(&q.Limit, "limit", admin.DefaultPage, "how many of each node")
	f.StringVar(&q.After, "after", "", "those whose names come after this one")
	_ = c.RegisterFlagCompletionFunc("by", cobra.FixedCompletions([]string{"name", "busy", "waiting", "failed"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("stage", cobra.FixedCompletions([]string{"starting", "working", "suspended", "ending", "closing"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (a *app) inspect() *cobra.Command {
	c := &cobra.Command{Use: "inspect NAME@NODE", Short: "One actor, with what it has to do with", Args: cobra.ExactArgs(1), ValidArgsFunction: cobra.NoFileCompletions}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		name, node, ok := cutLast(args[0], "@")
		if !ok || name == "" || node == "" {
			return usagef("%q is not NAME@NODE", args[0])
		}
		ctx, cancel, cluster, err := a.ask(cmd)
		if err != nil {
			return err
		}
		defer cancel()
		x, err := admin.Ask(ctx, cluster, node, admin.Actor{Name: name})
		if err != nil {
			return err
		}
		p := a.printer()
		if p.JSON {
			return p.Value(x)
		}
		p.Fields("actor", x.Name+"@"+x.Node, "kind", x.Kind, "stage", x.Stage, "behaviour", x.Behaviour, "parent", x.Parent,
			"waiting", x.Waiting, "stashed", x.Stashed, "handled", x.Handled, "failed", x.Failed, "restarts", x.Restarts,
			"running", x.Running, "for", show.Duration(x.For), "timers", x.Timers, "watchers", x.Watchers)
		if d := x.Details; d != nil {
			var topics []string
			for _, t := range d.Topics {
				topics = append(topics, t.Pattern)
			}
			p.Fields("children", strings.Join(d.Children, " "), "watching", strings.Join(d.Watching, " "), "topics", strings.Join(topics, " "))
		}
		return nil
	}
	return c
}

// cutLast is strings.Cut at the last sep.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func (a *app) queues() *cobra.Command {
	return list[admin.Queues, admin.QueuesInfo]{
		question: func([]string) (admin.Queues, error) { return admin.Queues{Limit: admin.MaxPage}, nil },
		next: func(m admin.Queues, r admin.QueuesInfo) (admin.Queues, bool) {
			m.After = r.Next
			return m, r.Next != ""
		},
		header: []string{"QUEUE", "ITEM", "READY", "DELAYED", "IN FLIGHT", "DEAD", "CONSUMERS", "OLDEST", "STATE"},
		rows: func(r admin.QueuesInfo) (rows [][]show.Cell) {
			for _, q := range r.Queues {
				state, dead := show.In(show.Good, "open"), show.T(q.Dead)
				switch {
				case q.Error != "":
					state = show.In(show.Bad, q.Error)
				case q.Paused:
					state = show.T("paused")
				}
				if q.Dead > 0 {
					dead.Tone = show.Bad
				}
				rows = append(rows, []show.Cell{show.T(q.Name), show.T(q.Item), show.T(q.Depth), show.T(q.Delayed), show.T(q.InFlight), dead, show.T(q.Waiting), show.T(show.Duration(q.Oldest)), state})
			}
			return rows
		},
	}.command(a, "queues", "Queues, and what waits in them", cobra.NoArgs)
}

func (a *app) topics() *cobra.Command {
	return list[admin.Topics, admin.TopicsInfo]{
		question: func([]string) (admin.Topics, error) { return admin.Topics{Limit: admin.MaxPage}, nil },
		next: func(m admin.Topics, r admin.TopicsInfo) (admin.Topics, bool) {
			m.After = r.Next
			return m, r.Next != ""
		},
		header: []string{"PATTERN", "GROUP", "TYPE", "SUBSCRIBERS"},
		rows: func(r admin.TopicsInfo) (rows [][]show.Cell) {
			for _, t := range r.Topics {
				rows = append(rows, []show.Cell{show.T(t.Pattern), show.T(t.Group), show.T(t.Type), show.T(t.Subscribers)})
			}
			return rows
		},
	}.command(a, "topics", "What actors have subscribed to", cobra.NoArgs)
}

func (a *app) tokens() *cobra.Command {
	return list[admin.Jobs, admin.JobsInfo]{
		question: func([]string) (admin.Jobs, error) { return admin.Jobs{Limit: admin.MaxPage}, nil },
		next: func(m admin.Jobs, r admin.JobsInfo) (admin.Jobs, bool) {
			m.After = r.Next
			return m, r.Next != ""
		},
		header: []string{"ID", "ACTOR", "MESSAGE", "STATE", "PROGRESS", "DURABLE", "PRINCIPAL", "ERROR"},
		rows: func(r admin.JobsInfo) (rows [][]show.Cell) {
			for _, j := range r.Jobs {
				progress, state := "", show.T(j.State)
				if j.Total > 0 {
					progress = fmt.Sprintf("%d/%d", j.Done, j.Total)
				}
				if j.Error != "" {
					state.Tone = show.Bad
				}
				rows = append(rows, []show.Cell{show.T(j.ID), show.T(j.Actor), show.T(j.Type), state, show.T(progress), show.T(j.Durable), show.T(j.Principal), show.T(j.Error)})
			}
			return rows
		},
	}.command(a, "tokens", "Jobs that were submitted; their tokens are secret", cobra.NoArgs)
}

func (a *app) sessions() *cobra.Command {
	return list[admin.Sessions, admin.SessionsInfo]{
		question: func([]string) (admin.Sessions, error) { return admin.Sessions{Limit: admin.MaxPage}, nil },
		next: func(m admin.Sessions, r admin.SessionsInfo) (admin.Sessions, bool) {
			m.After = r.Next
			return m, r.Next != ""
		},
		header: []string{"PEER", "PRINCIPAL", "PROVED", "ROADS", "RECORDS", "SERVED"},
		rows: func(r admin.SessionsInfo) (rows [][]show.Cell) {
			for _, s := range r.Sessions {
				rows = append(rows, []show.Cell{show.T(s.Node), show.T(s.Principal), show.T(s.Proved), show.T(strings.Join(s.Roads, " ")), show.T(s.Records), show.T(s.Served)})
			}
			return rows
		},
	}.command(a, "sessions", "Sessions that others have opened at each node", cobra.NoArgs)
}

func (a *app) settings() *cobra.Command {
	return list[admin.Settings, admin.SettingsInfo]{
		question: func([]string) (m admin.Settings, err error) { return m, nil },
		header:   []string{"KEY", "REVISION", "STATE", "AUTHOR", "NOTE", "VALUE"},
		rows: func(r admin.SettingsInfo) (rows [][]show.Cell) {
			if !r.Watched {
				return [][]show.Cell{{show.In(show.Faint, "settings are not watched")}}
			}
			for _, s := range r.Sections {
				state := show.In(show.Good, "in force")
				switch {
				case s.Refused != "":
					state = show.In(show.Bad, "refused: "+s.Refused)
				case !s.InForce:
					state = show.T("not used")
				}
				rows = append(rows, []show.Cell{show.T(s.Key), show.T(s.Revision), state, show.T(s.Author), show.T(s.Note), show.T(string(s.Value))})
			}
			if r.Away != "" {
				rows = append(rows, []show.Cell{show.In(show.Bad, "the source is away: "+r.Away)})
			}
			return rows
		},
	}.command(a, "settings", "Settings in force on each node", cobra.NoArgs)
}

func (a *app) events() *cobra.Command {
	return list[admin.Events, admin.EventsInfo]{
		question: func([]string) (admin.Events, error) { return admin.Events{Limit: admin.MaxPage}, nil },
		header:   []string{"TIME", "EVENT", "ABOUT", "COUNT", "ERROR"},
		rows: func(r admin.EventsInfo) (rows [][]show.Cell) {
			for _, e := range r.Events {
				about := strings.TrimSpace(strings.Join([]string{e.Actor, e.Peer, e.Road, e.Service}, " "))
				rows = append(rows, []show.Cell{show.T(e.Time.UTC().Format(time.RFC3339)), show.T(e.Type), show.T(about), show.T(e.Count), show.T(e.Error)})
			}
			return rows
		},
	}.command(a, "events", "What happened on each node lately", cobra.NoArgs)
}
