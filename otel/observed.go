package tandemotel

import (
	"cmp"
	"slices"

	"go.opentelemetry.io/otel/attribute"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/inspect"
)

// The metrics that are recorded as things happen.
var (
	clientMessages = Metric{"tandem.client.messages", counter, "{message}", []string{"node", "pattern", "service", "message", "code", "ran"}, "Messages that were sent, when their outcome was known."}
	clientDuration = Metric{"tandem.client.duration", histogram, "s", []string{"node", "pattern", "service", "message"}, "Time from the sending of a message to its outcome."}
	serverMessages = Metric{"tandem.server.messages", counter, "{message}", []string{"node", "pattern", "kind", "message", "code", "ran"}, "Messages that actors have handled."}
	serverDuration = Metric{"tandem.server.duration", histogram, "s", []string{"node", "pattern", "kind", "message"}, "Time in which a handler has handled a message."}
	storeDuration  = Metric{"tandem.store.duration", histogram, "s", []string{"node", "store", "operation", "result"}, "Time that a store has taken."}
	events         = Metric{"tandem.events", counter, "{event}", []string{"node", "event"}, "Events of the system."}
)

const (
	counter   = "counter"
	gauge     = "gauge"
	histogram = "histogram"
)

// observable is a metric that is read from a snapshot of the system when metrics are collected.
type observable struct {
	Metric
	value func(*actor.Stats) float64
}

// labelled is an observable with a value for each value of a label.
type labelled struct {
	Metric
	label  attribute.Key
	values func(*snapshot) map[string]float64
}

func count(name, unit, about string, value func(*actor.Stats) uint64) observable {
	return observable{Metric{name, counter, unit, []string{"node"}, about}, func(s *actor.Stats) float64 { return float64(value(s)) }}
}

func level[N int | int64](name, unit, about string, value func(*actor.Stats) N) observable {
	return observable{Metric{name, gauge, unit, []string{"node"}, about}, func(s *actor.Stats) float64 { return float64(value(s)) }}
}

// observed are the metrics of actor.Stats.
func observed() []observable {
	return []observable{
		{Metric{"tandem.node.ready", gauge, "", []string{"node"}, "1 while the node serves: it has started, and does not shut down."}, func(s *actor.Stats) float64 {
			if s.Serving {
				return 1
			}
			return 0
		}},
		level("tandem.actors", "{actor}", "Actors that live.", func(s *actor.Stats) int { return s.Actors }),
		level("tandem.actors.running", "{actor}", "Actors that handle messages now.", func(s *actor.Stats) int { return s.Running.Actors }),
		level("tandem.mailbox.messages", "{message}", "Messages that wait in the mailboxes of actors that handle messages now.", func(s *actor.Stats) int { return s.Running.Waiting }),
		{Metric{"tandem.mailbox.oldest", gauge, "s", []string{"node"}, "How long the actor that has had its messages in hand for longest has had them. No message in the mailbox of a running actor is older."},
			func(s *actor.Stats) float64 { return s.Running.Oldest.Seconds() }},
		count("tandem.handled", "{message}", "Messages that run loops have taken out of mailboxes.", func(s *actor.Stats) uint64 { return s.Handled }),
		count("tandem.panics", "{panic}", "Handlers that have panicked.", func(s *actor.Stats) uint64 { return s.Panics }),
		count("tandem.failures", "{message}", "One-way messages whose handlers have failed.", func(s *actor.Stats) uint64 { return s.Failed }),
		count("tandem.denied", "{message}", "Messages that access rules have refused.", func(s *actor.Stats) uint64 { return s.Denied }),
		count("tandem.limited", "{message}", "Messages that limits have refused.", func(s *actor.Stats) uint64 { return s.Limited }),

		count("tandem.dead_letters", "{message}", "One-way messages that reached nobody.", func(s *actor.Stats) uint64 { return s.DeadLetters }),
		level("tandem.dead_letters.kept", "{message}", "Dead letters that are kept with their messages.", func(s *actor.Stats) int { return s.LettersKept }),
		level("tandem.dead_letters.size", "By", "Memory that the kept dead letters take.", func(s *actor.Stats) int { return s.LetterBytes }),
		count("tandem.dead_letters.dropped", "{message}", "Dead letters that were not kept, or no longer.", func(s *actor.Stats) uint64 { return s.LettersDropped }),

		level("tandem.outbox.messages", "{message}", "Reliable messages that are not handled yet.", func(s *actor.Stats) int { return s.Outbox.Waiting }),
		level("tandem.outbox.size", "By", "Memory that they take.", func(s *actor.Stats) int { return s.Outbox.Bytes }),
		count("tandem.outbox.given_up", "{message}", "Reliable messages that have become dead letters.", func(s *actor.Stats) uint64 { return s.Outbox.GivenUp }),
		count("tandem.outbox.refused", "{message}", "Reliable messages for which there was no room.", func(s *actor.Stats) uint64 { return s.Outbox.Refused }),

		count("tandem.activations", "{actor}", "Activations of virtual actors that have begun.", func(s *actor.Stats) uint64 { return s.Virtual.Begun }),
		count("tandem.activations.failed", "{actor}", "Activations that have come to nothing.", func(s *actor.Stats) uint64 { return s.Virtual.Failed }),
		count("tandem.activations.fenced", "{actor}", "Activations that have ended because the node's lease was not certain.", func(s *actor.Stats) uint64 { return s.Virtual.Fenced }),

		count("tandem.requests.sent", "{request}", "Requests to other nodes, each counted once.", func(s *actor.Stats) uint64 { return s.RPC.Requests }),
		count("tandem.requests.answered", "{request}", "Requests to other nodes that were answered.", func(s *actor.Stats) uint64 { return s.RPC.Replies }),
		count("tandem.requests.unknown", "{request}", "Requests to other nodes that have ended with the verdict Unknown.", func(s *actor.Stats) uint64 { return s.RPC.Unknown }),
		count("tandem.requests.resent", "{copy}", "Further copies of requests, under their numbers.", func(s *actor.Stats) uint64 { return s.RPC.Resent }),
		count("tandem.requests.hedged", "{copy}", "Those of them that took a second road because the first was slow.", func(s *actor.Stats) uint64 { return s.RPC.Hedged }),
		count("tandem.requests.retried", "{attempt}", "Retries of requests, under new numbers.", func(s *actor.Stats) uint64 { return s.RPC.Retries }),
		level("tandem.requests.outstanding", "{request}", "Requests to other nodes that wait for their answers.", func(s *actor.Stats) int { return s.RPC.Outstanding }),
		count("tandem.tells.sent", "{message}", "One-way messages to other nodes.", func(s *actor.Stats) uint64 { return s.RPC.Tells }),

		count("tandem.requests.served", "{request}", "Requests of other nodes that were accepted: the first copy of each.", func(s *actor.Stats) uint64 { return s.RPC.Served }),
		count("tandem.tells.served", "{message}", "One-way messages that have come from other nodes.", func(s *actor.Stats) uint64 { return s.RPC.TellsServed }),
		count("tandem.tells.missed", "{message}", "One-way messages of other nodes that have not come, or too late.", func(s *actor.Stats) uint64 { return s.RPC.TellsMissed }),
		count("tandem.tells.refused", "{message}", "One-way messages of other nodes that were lost for want of memory.", func(s *actor.Stats) uint64 { return s.RPC.TellsRefused }),

		count("tandem.sessions.opened", "{session}", "Sessions that clients have opened here.", func(s *actor.Stats) uint64 { return s.RPC.SessionsOpened }),
		count("tandem.sessions.expired", "{session}", "Sessions of clients that were not heard of any more.", func(s *actor.Stats) uint64 { return s.RPC.SessionsExpired }),
		count("tandem.sessions.lost", "{session}", "Sessions of this node that their server did not know any more.", func(s *actor.Stats) uint64 { return s.RPC.Lost }),
		count("tandem.sessions.refused", "{session}", "Sessions that were refused because there are too many.", func(s *actor.Stats) uint64 { return s.RPC.OpensRefused }),
		count("tandem.joins.denied", "{link}", "Links that presented a session of another principal.", func(s *actor.Stats) uint64 { return s.RPC.JoinsDenied }),
		level("tandem.records", "{record}", "Requests of which there is a record.", func(s *actor.Stats) int { return s.RPC.Records }),
		level("tandem.held", "By", "Memory that peers have this node hold.", func(s *actor.Stats) int64 { return s.RPC.HeldBytes }),
		count("tandem.held.refused", "{refusal}", "How often there was no room in that.", func(s *actor.Stats) uint64 { return s.RPC.HoldsRefused }),
		level("tandem.keys", "{key}", "Keys that are known.", func(s *actor.Stats) int { return s.RPC.Keys }),

		count("tandem.links.lost", "{link}", "Links that were lost.", func(s *actor.Stats) uint64 { return s.RPC.LinksLost }),
		count("tandem.links.foreign", "{link}", "Links whose peer was not the node that it said it was.", func(s *actor.Stats) uint64 { return s.RPC.LinksForeign }),
		count("tandem.roads.changed", "{change}", "How often the traffic to a peer has moved to another link.", func(s *actor.Stats) uint64 { return s.RPC.RoadChanges }),
		count("tandem.feed.lost", "{event}", "Events and dead letters that slow subscribers have lost.", func(s *actor.Stats) uint64 { return s.FeedLost + s.RPC.EventsLost }),
	}
}

// snapshot is what one collection reads.
type snapshot struct {
	stats    actor.Stats
	peers    []inspect.Peer
	services []inspect.Service
	sessions int
	failing  map[string]float64
	down     int // peers to which no road leads
}

// byLabel are the metrics with a label besides the node's.
func byLabel() []labelled {
	return []labelled{
		{Metric{"tandem.double_runs_prevented", counter, "{copy}", []string{"node", "result"}, "Copies of requests that did not run a second time: they got a stored outcome (replayed), wait for the first (attached), or were refused."}, labelResult,
			func(s *snapshot) map[string]float64 {
				r := &s.stats.RPC
				return map[string]float64{"replayed": float64(r.Replayed), "attached": float64(r.Attached), "refused": float64(r.Refused)}
			}},
		{Metric{"tandem.links", gauge, "{link}", []string{"node", "road"}, "Links that are open to send on."}, labelRoad,
			func(s *snapshot) map[string]float64 {
				n := map[string]float64{}
				for _, p := range s.peers {
					for _, l := range p.Links {
						if l.Open {
							n[l.Road]++
						}
					}
				}
				return n
			}},
		{Metric{"tandem.peers", gauge, "{node}", []string{"node", "road"}, "Other nodes, by the road that requests to them take; none: there is no link, for example because nothing was sent there."}, labelRoad,
			func(s *snapshot) map[string]float64 {
				n := map[string]float64{}
				for _, p := range s.peers {
					n[cmp.Or(p.Road, "none")]++
				}
				return n
			}},
		{Metric{"tandem.peers.down", gauge, "{node}", []string{"node"}, "Other nodes to which no road could be opened."}, "",
			func(s *snapshot) map[string]float64 { return map[string]float64{"": float64(s.down)} }},
		{Metric{"tandem.sessions", gauge, "{session}", []string{"node"}, "Sessions of clients at this node."}, "",
			func(s *snapshot) map[string]float64 { return map[string]float64{"": float64(s.sessions)} }},
		{Metric{"tandem.service.instances", gauge, "{actor}", []string{"node", "service"}, "Instances of a service as this node sees them."}, labelService,
			func(s *snapshot) map[string]float64 {
				return byService(s.services, func(i inspect.Instance) bool { return true })
			}},
		{Metric{"tandem.service.ejected", gauge, "{actor}", []string{"node", "service"}, "Those of them that get no requests of this node."}, labelService,
			func(s *snapshot) map[string]float64 {
				return byService(s.services, func(i inspect.Instance) bool { return i.Ejected })
			}},
		{Metric{"tandem.store.failing", gauge, "", []string{"node", "store"}, "1 while a store cannot be reached, or takes nothing."}, labelStore,
			func(s *snapshot) map[string]float64 { return s.failing }},
	}
}

// maxServices is how many services have series of their own; those of the others are counted under Other.
const maxServices = 100

// byService counts the instances that are so, by service.
func byService(all []inspect.Service, is func(inspect.Instance) bool) map[string]float64 {
	n := map[string]float64{}
	all = slices.SortedFunc(slices.Values(all), func(a, b inspect.Service) int { return cmp.Compare(a.Name, b.Name) })
	for i, s := range all {
		name := s.Name
		if i >= maxServices {
			name = Other
		}
		n[name] += 0
		for _, in := range s.Instances {
			if is(in) {
				n[name]++
			}
		}
	}
	return n
}
