package cli

import (
	"cmp"
	"context"
	"os"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/tandem-go/tandem/admin"
	"github.com/tandem-go/tandem/settings"
	"github.com/tandem-go/tandem/settings/natskv"
)

// settings are the commands about what is changed while nodes run. What is in force is asked of the nodes; what is written goes to the bucket, for which
// the NATS user needs permissions of its own (docs/settings.md).
func (a *app) settings() *cobra.Command {
	all := lists(a, "settings", "Show which settings are in force at each node, and change them", admin.Settings{}, []string{"NODE", "KEY", "REVISION", "AUTHOR", "TIME", "IN FORCE", "VALUE", "REFUSED"},
		func(t *table, node string, i admin.SettingsInfo) {
			if !i.Watched {
				t.row(node, cell{"not watched", dim}, "", "", "", "", "", "")
			}
			if i.Away != "" {
				t.row(node, cell{"cannot be read: " + i.Away, red}, "", "", "", "", "", "")
			}
			for _, s := range i.Sections {
				t.row(node, s.Key, s.Revision, s.Author, s.Time, yes(s.InForce), string(s.Value), cell{s.Refused, red})
			}
		})
	var author, note string
	var expected int64
	writes := func(c *cobra.Command) *cobra.Command {
		c.Flags().StringVar(&author, "author", "", "who changes it (default: the user of the system)")
		c.Flags().StringVar(&note, "note", "", "why")
		c.Flags().Int64Var(&expected, "revision", -1, "the revision that is replaced, 0 for none (default: whatever is there)")
		return c
	}
	// change calls do with the bucket, the key, and the revision that is expected.
	change := func(c *cobra.Command, text string, do func(context.Context, *natskv.Store, settings.Key, uint64) (uint64, error)) error {
		key, err := settings.ParseKey(text)
		if err != nil {
			return usageError{err}
		}
		nc, err := a.connect()
		if err != nil {
			return err
		}
		js, err := jetstream.New(nc)
		if err != nil {
			return err
		}
		store, err := natskv.Open(js, natskv.Config{Cluster: a.cluster})
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(c.Context(), a.timeout)
		defer cancel()
		revision := uint64(max(expected, 0))
		if expected < 0 {
			there, err := store.List(ctx)
			if err != nil {
				return err
			}
			for _, v := range there {
				if v.Key == key {
					revision = v.Revision
				}
			}
		}
		author = cmp.Or(author, os.Getenv("USER"), os.Getenv("USERNAME"))
		if revision, err = do(ctx, store, key, revision); err != nil {
			return err
		}
		return a.say(map[string]any{"Key": key.String(), "Revision": revision}, "%s: revision %d", key, revision)
	}
	all.AddCommand(
		writes(&cobra.Command{Use: "set KEY JSON", Short: "Write a section: for all nodes (limits), or for one (node.till-1.limits)", Args: cobra.ExactArgs(2), RunE: func(c *cobra.Command, args []string) error {
			body, err := a.body(args[1:])
			if err != nil {
				return err
			}
			return change(c, args[0], func(ctx context.Context, s *natskv.Store, k settings.Key, revision uint64) (uint64, error) {
				value, err := settings.ParseValue(k.Section, body)
				if err != nil {
					return 0, err
				}
				return s.Write(ctx, k, settings.Document{Author: author, Note: note, Value: value}, revision)
			})
		}}),
		writes(&cobra.Command{Use: "delete KEY", Short: "Delete a section, so that the nodes' own Config holds", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
			return change(c, args[0], func(ctx context.Context, s *natskv.Store, k settings.Key, revision uint64) (uint64, error) {
				return s.Delete(ctx, k, revision, author)
			})
		}}),
		&cobra.Command{Use: "history KEY", Short: "Show what was written", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
			key, err := settings.ParseKey(args[0])
			if err != nil {
				return usageError{err}
			}
			nc, err := a.connect()
			if err != nil {
				return err
			}
			js, err := jetstream.New(nc)
			if err != nil {
				return err
			}
			store, err := natskv.Open(js, natskv.Config{Cluster: a.cluster})
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context(), a.timeout)
			defer cancel()
			past, err := store.History(ctx, key)
			if err != nil {
				return err
			}
			type entry struct {
				Revision     uint64
				Time         time.Time
				Author, Note string
				Value        string
			}
			entries := make([]entry, len(past))
			for i, v := range past {
				entries[i] = entry{Revision: v.Revision, Time: v.Time, Author: v.Author, Note: v.Note, Value: "deleted"}
				if v.Value != nil {
					if text, err := v.Value.MarshalJSON(); err == nil {
						entries[i].Value = string(text)
					}
				}
			}
			return a.show(entries, func(t *table) {
				t.head = []string{"REVISION", "TIME", "AUTHOR", "NOTE", "VALUE"}
				for _, e := range entries {
					t.row(e.Revision, e.Time, e.Author, e.Note, e.Value)
				}
			})
		}})
	return all
}

// level sets the level of the log of nodes.
func (a *app) level() *cobra.Command {
	return &cobra.Command{Use: "log-level LEVEL", Short: "Set the least level of the log of --node, or of all nodes, until they start again or the settings change it", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		all, err := each(c.Context(), a, admin.SetLevel{Level: args[0]})
		if err != nil {
			return err
		}
		return a.say(replies(all), "%d nodes log from %s on", len(all), args[0])
	}}
}

// stop ends an actor.
func (a *app) stop() *cobra.Command {
	now := false
	c := &cobra.Command{Use: "stop ACTOR", Short: "End an actor, behind the messages that wait", Args: cobra.ExactArgs(1), RunE: func(c *cobra.Command, args []string) error {
		name, node, err := a.address(args[0])
		if err != nil {
			return err
		}
		done, err := one(c.Context(), a, node, admin.StopActor{Name: name, Now: now})
		if err != nil {
			return err
		}
		return a.say(done, "%s@%s has ended", name, node)
	}}
	c.Flags().BoolVar(&now, "now", false, "at once: what waits is handed back")
	return c
}
