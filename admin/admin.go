// Package admin lets operators see what a node does, and change it: an actor on each node that answers for its own node. What
// shows a cluster to somebody (a command line tool, a page, a program) asks these actors, so a new view needs no new wire.
//
//	cfg.Setup = func(sys *actor.System) error {
//		return admin.Open(sys, admin.Config{Read: []string{"tls:*"}, Operate: []string{"nats:ann"}})
//	}
//
//	cluster := admin.Of(sys)
//	for _, a := range admin.All(ctx, cluster, admin.Queues{}) {
//		fmt.Println(a.Node, a.Reply.Queues, a.Err)
//	}
//
// Package admin/natsadmin opens it to plain NATS with JSON, for those who are no node.
//
// # Who may
//
// A node's own program may everything. Nobody else may anything, unless Config names its principal: Read is to see,
// Operate is to see and to change. The node's access list (actor.Config.Access) counts as well: what it denies is denied.
//
// # What is shown
//
// Never the content of a message, unless somebody who may operate asks for the content of items of a queue; and never what
// would let somebody act for others, as the token of a job or the name of a session. Names of actors, principals and the texts of
// errors are shown to everybody who may read.
//
// # What it costs
//
// A question is answered beside the node's actors, from snapshots under short locks; no actor waits for it. Only queues are asked
// through their mailboxes. What can be long comes in pages of at most MaxPage. At most MaxQuestions are answered at a time, and
// further ones are refused as overloaded, not run.
package admin

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/settings"
)

// Name is the name of the admin actor of each node.
const Name = "admin"

// Limits.
const (
	DefaultPage  = 100  // entries of an answer, if the question does not say how many
	MaxPage      = 1000 // entries of an answer at most
	MaxQuestions = 32   // that a node answers at a time
	MaxEvents    = 1024 // events that a node remembers
)

// Config says who may see and change a node, and what of it there is to see. Its zero value is for the node's own program
// only.
type Config struct {
	Read    []string // principals, as access rules name them: those who may see. A name may end with *
	Operate []string // those who may see, and change

	Settings Watched // what is in force of the settings; nil: they are not shown
	Level    *slog.LevelVar
	Logger   *slog.Logger // gets a line for each change by an operator; default slog.Default()
}

// Watched is what the actor needs of a *settings.Watcher.
type Watched interface {
	Applied() []settings.State
	Away() error
}

// Right is what somebody needs for a question.
type Right uint8

// The rights.
const (
	ToRead Right = iota
	ToOperate
)

// String returns "read" or "operate".
func (r Right) String() string { return [...]string{"read", "operate"}[min(r, ToOperate)] }

// Open starts the admin actor of a system. Call it in actor.Config.Setup, so that it is there before others know the node. The
// error says what is wrong with cfg, or that the system has such an actor.
func Open(sys *actor.System, cfg Config) error {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	d := &desk{sys: sys, cfg: cfg, log: cfg.Logger.With("node", sys.Name()), opened: time.Now(), slots: make(chan struct{}, MaxQuestions)}
	for _, l := range []struct {
		field string
		list  []string
		to    *access.Names
	}{{"Read", cfg.Read, &d.readers}, {"Operate", cfg.Operate, &d.operators}} {
		if len(l.list) == 0 {
			continue // NamesOf would let everybody in
		}
		names, err := access.NamesOf(l.list)
		if err != nil {
			return fmt.Errorf("admin: Config.%s: %w", l.field, err)
		}
		*l.to = names
	}
	d.events.follow(sys)
	if _, err := sys.Spawn(Name, kindOf(d)); err != nil {
		return fmt.Errorf("admin: %w", err)
	}
	return nil
}
