package admin

import (
	"encoding/json"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/inspect"
	"github.com/tandem-go/tandem/queue"
)

// The questions that are about one node, and their answers. Lists that can be long come in pages: After is where the page
// begins, and the answer's Next is the After of the next page, empty on the last one. Limit is how many entries the page may have;
// 0 is DefaultPage, and more than MaxPage is MaxPage.
type (
	// Node asks what the node itself is.
	Node struct{ actor.Returns[NodeInfo] }

	// Overview asks for all that a page about the whole cluster shows of one node. Lists in it are cut to MaxPage entries; of its
	// actors it has those that have been busy for longest.
	Overview struct{ actor.Returns[OverviewInfo] }

	// Members asks for the nodes that the node knows.
	Members struct {
		actor.Returns[MembersInfo]
		After string // a name
		Limit int
	}

	// Peers asks for the nodes that it has links with, and for the links.
	Peers struct {
		actor.Returns[PeersInfo]
		After string // a name
		Limit int
	}

	// Sessions asks for the sessions that others have opened.
	Sessions struct {
		actor.Returns[SessionsInfo]
		After string // as Next says
		Limit int
	}

	// Services asks for services, and for what the node knows of their instances.
	Services struct {
		actor.Returns[ServicesInfo]
		Name  string // this one only
		After string // a name
		Limit int    // how many instances the services of a page have together; there is always one service
	}

	// Actors asks for actors. Virtual ones have names as ~kind/id.
	Actors struct {
		actor.Returns[ActorsInfo]
		Kind, Prefix string // only these; a prefix of the name
		Stage        inspect.Stage
		By           string // order: "name" (default), "busy" (how long the messages in hand take), "waiting", "failed". By another one than the name there is one page
		After        string // a name
		Limit        int
	}

	// Actor asks for one actor, with what it has to do with.
	Actor struct {
		actor.Returns[inspect.Actor]
		Name string
	}

	// Jobs asks for jobs that the node was given.
	Jobs struct {
		actor.Returns[JobsInfo]
		After string // an id
		Limit int
	}

	// Topics asks for what the node's actors have subscribed to.
	Topics struct {
		actor.Returns[TopicsInfo]
		After string // as Next says
		Limit int
	}

	// Queues asks for the queues that the node's actors serve. They are asked through their mailboxes, for a second.
	Queues struct {
		actor.Returns[QueuesInfo]
		After string // a name
		Limit int
	}

	// QueueItems asks for the first items of a queue that wait, or for its dead letters. With Content the answer has the items
	// themselves, for which one has to have the right to operate.
	QueueItems struct {
		actor.Returns[QueueItemsInfo]
		Queue   string // name of the actor
		Dead    bool
		Limit   int
		Content bool
	}

	// Letters asks for dead letters that are kept, without their messages.
	Letters struct {
		actor.Returns[LettersInfo]
		LetterFilter
		NewestFirst bool
		After       string // an id
		Limit       int
	}

	// Requests asks for requests that the node remembers, those first that it took notice of last, see actor.System.Requests.
	Requests struct {
		actor.Returns[RequestsInfo]
		inspect.RequestFilter
		Before uint64 // as Next says; 0: the first page
		Limit  int
	}

	// Why asks what the node knows of what became of a request, see actor.System.Why: ID is a request's id, a key, a job's token, or
	// a trace id. With Whole the node asks all nodes that are concerned, as far as these let it see.
	Why struct {
		actor.Returns[inspect.Life]
		ID    string
		Whole bool
	}

	// Settings asks for the settings that are in force.
	Settings struct{ actor.Returns[SettingsInfo] }

	// Events asks for events that the node remembers, the latest MaxEvents, in order. If there is none after the number After, it
	// waits for one, for Wait at most and for 20 s at most.
	Events struct {
		actor.Returns[EventsInfo]
		After uint64
		Limit int
		Wait  time.Duration
	}

	// Access asks for the access rules in force, as JSON.
	Access struct{ actor.Returns[AccessInfo] }
)

// LetterFilter says which dead letters are meant. The zero value means all.
type LetterFilter struct {
	ID    string
	Actor string // a name, or an address
	Type  string
	Code  string // as rpc.Code's String
	Since time.Time
	Until time.Time
}

// What operators do.
type (
	// StopActor ends an actor: behind the messages that wait, or at once.
	StopActor struct {
		actor.Returns[Done]
		Name string
		Now  bool
	}

	// ResendLetters sends dead letters again, all that match, the oldest first, MaxPage at a time: to where they were addressed, or to To.
	ResendLetters struct {
		actor.Returns[Resent]
		LetterFilter
		To string // an address; empty: the letter's own
	}

	// DiscardLetters removes dead letters, all that match.
	DiscardLetters struct {
		actor.Returns[Done]
		LetterFilter
	}

	// ManageQueue changes a queue: Do is "pause", "resume", "purge", or, for the items that Tokens name, "cancel" (waiting ones), "revive" or "discard" (dead ones).
	ManageQueue struct {
		actor.Returns[QueueDone]
		Queue  string
		Do     string
		Tokens []string
	}

	// PushItem adds an item to a queue, for the principal that asks.
	PushItem struct {
		actor.Returns[Pushed]
		Queue    string          // name of the actor
		Item     json.RawMessage // JSON
		ID       string          // see actor.PushID; empty: a random one
		Priority int
		Delay    time.Duration
	}

	// PullItems takes items from a queue, under the queue's lease, for the principal that asks.
	PullItems struct {
		actor.Returns[Pulled]
		Queue string
		Max   int           // default 1, and at most MaxPage
		Wait  time.Duration // if there is none; at most 20 s
	}

	// AnswerItems answers deliveries: Do is "ack", "nack", which counts as a failed attempt, or "release", which does not.
	AnswerItems struct {
		actor.Returns[QueueDone]
		Queue  string
		Do     string
		Tokens []string
		Delay  time.Duration // of nack and release: before the next attempt
	}

	// PublishMessage publishes a message on a topic that is not durable, for the node. An actor of the node has to have subscribed to messages of its type.
	PublishMessage struct {
		actor.Returns[Done]
		Topic string
		Type  string // of the message: its name on the wire
		Body  json.RawMessage
	}

	// Invoke sends a message to an actor, for the principal that asks.
	Invoke struct {
		actor.Returns[Invoked]
		To      string          // an address: name@node, a service as name@*, a virtual actor as kind/id@~
		Type    string          // of the message: its name on the wire
		Body    json.RawMessage // JSON; empty: {}
		How     string          // "call" (default), "tell", which waits until it is in the mailbox, or "submit"
		Key     string          // see rpc.Key; only with "call"
		Timeout time.Duration   // default and at most 1 min
	}

	// Job says what a job is now, waits for its end, or has it end early.
	Job struct {
		actor.Returns[JobState]
		Token string
		Do    string        // "poll" (default), "await" or "cancel"
		Wait  time.Duration // of await; default and at most 20 s
	}

	// SetLevel sets the least level of the node's log, as slog.Level reads it, until the settings change it or the node is started again.
	SetLevel struct {
		actor.Returns[Done]
		Level string
	}
)

// The answers.
type (
	// NodeInfo is what a node is.
	NodeInfo struct {
		inspect.Member
		Started    time.Time // when the admin actor was
		GoVersion  string
		CPUs       int
		Goroutines int
		Heap       uint64 // bytes of live and not yet swept objects
		Level      string // least level of the log; empty: it is not known
		Stats      actor.Stats
	}
	// OverviewInfo is a node with what is most worth knowing of it.
	OverviewInfo struct {
		NodeInfo
		Peers    []inspect.Peer
		Services []inspect.Service // that it has instances of, or has sent requests to
		Queues   []Queue
		Busy     []inspect.Actor // at most 20
		Jobs     int             // at most MaxPage are counted
	}
	MembersInfo struct {
		Members []inspect.Member
		Next    string
	}
	PeersInfo struct {
		Peers []inspect.Peer
		Next  string
	}
	SessionsInfo struct {
		Sessions []inspect.Session
		Next     string
	}
	ServicesInfo struct {
		Services []inspect.Service
		Next     string
	}
	ActorsInfo struct {
		Actors []inspect.Actor
		Next   string
		Seen   int // how many there are that match, if the order is not that of names
	}
	JobsInfo struct {
		Jobs []inspect.Job
		Next string
	}
	TopicsInfo struct {
		Topics []inspect.Topic
		Next   string
	}
	QueuesInfo struct {
		Queues []Queue
		Next   string
	}
	// Queue is a queue as its actor sees it.
	Queue struct {
		Name, Kind string
		Item       string // type of its items
		queue.Stats
		Error string // why there are no numbers; empty: there are
	}
	QueueItemsInfo struct{ Items []QueueItem }
	// QueueItem is an item that waits, or a dead one.
	QueueItem struct {
		Token    string // for ManageQueue
		ID       string
		Attempts int
		Priority int
		Age      time.Duration   // how long it has been ready, or dead
		Due      time.Duration   // how long it is still delayed
		Reason   string          // of a dead one
		Content  json.RawMessage `json:",omitempty" msgpack:",omitempty"`
	}
	LettersInfo struct {
		Letters []Letter
		Next    string
	}
	// Letter is a dead letter without its message.
	Letter struct {
		ID       string
		Time     time.Time
		To, From string
		Type     string
		Code     string // of the reason
		Reason   string
		Size     int    // bytes
		State    string // see deadletter.State
	}
	RequestsInfo struct {
		Requests []inspect.Request
		Next     uint64 // 0: there are no more
	}
	SettingsInfo struct {
		Watched  bool // there is a source of settings
		Away     string
		Sections []Section
	}
	// Section is how far the node has come with one key of the settings.
	Section struct {
		Key      string // as settings.Key's String
		Revision uint64 // of the last good one; 0: there is none
		Author   string
		Note     string
		Time     time.Time
		Value    json.RawMessage `json:",omitempty" msgpack:",omitempty"`
		InForce  bool
		Refused  string // why a newer one was refused; empty: none was
	}
	EventsInfo struct {
		Events []EventInfo
		Lost   uint64 // how many after After are not remembered any more
		Next   uint64
	}
	// EventInfo is an event of the node.
	EventInfo struct {
		Number  uint64 // from 1 on
		Time    time.Time
		Type    string
		Actor   string `json:",omitempty"`
		Peer    string `json:",omitempty"`
		Road    string `json:",omitempty"`
		Service string `json:",omitempty"`
		Error   string `json:",omitempty"`
		Count   uint64 `json:",omitempty"`
	}
	AccessInfo struct{ Rules json.RawMessage }

	// Done is the answer to what an operator has done.
	Done struct{ Count int }
	// Resent is what became of letters.
	Resent struct {
		Sent   int
		Failed []LetterError // at most MaxPage
		More   bool          // there are more letters that match: ask again
	}
	LetterError struct{ ID, Code, Ran, Error string }
	QueueDone   struct {
		Count  int
		Failed []string // for which tokens it failed, each with the reason after a space
	}
	Pushed struct{ Duplicate bool } // the queue knew the id
	Pulled struct{ Items []PulledItem }
	// PulledItem is a delivery.
	PulledItem struct {
		Token    string // for AnswerItems
		ID       string
		Attempt  int
		Priority int
		Lease    time.Duration // until it is delivered again
		Item     json.RawMessage
	}

	// Invoked is what became of a message.
	Invoked struct {
		Body     json.RawMessage `json:",omitempty" msgpack:",omitempty"` // the reply
		Type     string          // of the reply
		Replayed bool            // the reply is the recorded one of an earlier attempt
		Token    string          // of a job
		Error    *Failure        `json:",omitempty" msgpack:",omitempty"`
	}
	// Failure is the error of a message that was sent for somebody, as it came.
	Failure struct {
		Code, Ran, User, Message, Node string
	}
	// JobState is what a job is.
	JobState struct {
		State       string
		Done, Total int64
		Result      json.RawMessage `json:",omitempty" msgpack:",omitempty"`
		Error       *Failure        `json:",omitempty" msgpack:",omitempty"`
	}
)
