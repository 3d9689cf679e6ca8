// Package settings changes a system while it runs, by what operators write into a bucket of NATS
// (settings/natskv) or into a file (settings/file): the level of the log, limits, circuit breakers, retries, weights
// and access lists. All nodes watch it.
//
//	level := new(slog.LevelVar)
//	bucket, err := natskv.Open(js, natskv.Config{Cluster: "shop"})
//	...
//	cfg.Setup = func(sys *actor.System) error { // before the node serves others
//		watcher, err = settings.Watch(ctx, bucket, settings.Targets{System: sys, Level: level})
//		return err
//	}
//
// There are sections: log, limits, breakers, retry, weights and access. Each has a value for all nodes, and any node
// can have a value of its own, which stands in place of it as a whole. A section that is not set, or is deleted, is
// as it was when Watch was called: as the node's Config says. docs/settings.md has the form of each section.
//
// # What is promised
//
// A value is checked as a whole before anything of it is applied. One that is wrong is refused: the last good one stays
// in force, and there is one line in the log and one event, Refused, that says what is wrong and who wrote it. A
// value that is applied is an event, too, Changed. Both name the section, the author and the revision.
//
// The newest revision wins. An older one never comes into force after a newer one, whatever way it comes.
//
// While the source is away, the last good values stay in force; a line and an event (Away, Back) say when it is lost
// and when it is back. What was missed is then applied. A node that starts while the source is away
// starts with its Config, or with Targets.Required it does not start.
//
// No message waits for a change: values are compiled before they are put in force.
//
// # The limits
//
// Who can write the source rules the cluster. The author is what the writer says; only NATS's permissions restrict who
// writes (permissions.Node.Settings and WriteSettings). If a bad value was written so often that the bucket does not remember
// a good one, a node that has not seen that one uses its Config.
package settings
