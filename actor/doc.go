/*
Package actor is what applications use of Tandem: actors that send each other typed
messages, within one process and between nodes.

One address, two roads. A retried request never runs twice, and every error tells you
whether it ran.

An actor is a piece of state with a mailbox. It handles one message at a time, so its
state needs no lock. A [Ref] is its address, and stays the same whether the actor is
reached within the process, over a direct TCP link, or over NATS. When a link dies, the
outstanding requests are sent again over the other road, under the same numbers. The server
recognises the number: a copy of a request waits for the outcome of the first, or gets the
stored outcome, and never runs a second time. When it can no longer be known whether a request
ran, its error says so.

# A first program

	package main

	import (
		"context"
		"fmt"
		"log"

		"github.com/tandem-go/tandem/actor"
	)

	// Add is a one-way message. Total is a request: it is answered with an int.
	type Add struct{ N int }
	type Total struct{ actor.Returns[int] }

	// Counter is the state of an actor. Its methods handle one message at a time.
	type Counter struct{ total int }

	func (c *Counter) Add(ctx *actor.Context, m Add) error            { c.total += m.N; return nil }
	func (c *Counter) Total(ctx *actor.Context, m Total) (int, error) { return c.total, nil }

	// CounterKind says how the state of such an actor is made, and what it handles.
	var CounterKind = actor.Define("example.counter", func() *Counter { return new(Counter) },
		actor.Handle((*Counter).Add),
		actor.Answer((*Counter).Total))

	func main() {
		ctx := context.Background()
		sys, err := actor.NewSystem(actor.Config{})
		if err != nil {
			log.Fatal(err)
		}
		defer sys.Shutdown(ctx)
		visits, err := sys.Spawn("visits", CounterKind)
		if err != nil {
			log.Fatal(err)
		}
		if err := actor.Tell(ctx, visits, Add{N: 2}); err != nil {
			log.Fatal(err)
		}
		total, err := actor.Call(ctx, visits, Total{})
		fmt.Println(total, err)
	}

Messages, handlers and results are checked by the compiler: a Call whose result is not
that of the handler does not compile. A system talks to other nodes once its [Config] has
transports and a registry; the rest of the program stays the same. A message type of
package main needs a method WireName to be sent to another node.

# Sending

Each verb takes a context, a ref, a message and options ([rpc.Option]).

  - [Tell] sends a one-way message. On the same node nil means that the message is in the
    mailbox. To another node the message may be lost when a link dies; with [rpc.Acked] nil
    means that it reached the mailbox there. It is never handled twice. Messages of one
    sender to one actor arrive in the order in which they were sent, even when the road
    changes.
  - [TellReliably] keeps a one-way message in the system's outbox until its actor has handled it,
    in order and never twice, whatever happens to roads and nodes meanwhile. What is given up
    becomes a dead letter. Config.Outbox bounds it, and has it kept in Config.Store.
  - [Call] sends a request and waits for the reply. It ends with a reply or an error by its
    deadline, and never runs twice. Calls have no order among each other.
  - [Ask] is Call without waiting: it returns an [rpc.Future]. [Pipe] delivers the result
    of a future to the actor itself, as a message.
  - [Submit] sends a request whose result is fetched later, by an [rpc.Token]. The token
    outlives changes of road and, for a [Durable] kind, the death of the node. [Redeem]
    makes a token of its text, perhaps in another process.
  - [Stream], [Open] and [Talk] open a stream of items from an actor, to an actor, and in
    both directions (server, client and bidirectional streaming). Items arrive in order,
    none twice and none left out, or the stream ends with an error. A slow reader slows
    down the writer of its own stream and nobody else.
  - [Publish] sends a one-way message to all actors that have subscribed to a [Topic]
    ([Context.Subscribe]), on all nodes, and to one member of each group of subscribers. One
    message travels to each node. A subscriber that does not keep up loses messages, and slows
    nobody down. Of a durable topic ([Topic.Durable]) it loses none: they are kept in a store, and
    each one comes until its handler has returned nil.
  - [Push] and [Pull] put items into a queue and take them out under a lease. An item whose
    lease ends without an Ack is delivered again: at least once, and the delivery says
    which attempt it is. Order is by priority, then by age.

A request to [System.Service] goes to one instance of a service, chosen by a policy of
package balance. If it did not run there, it is sent to another instance at once. [Version], [Zone] and
[PreferZone] address some of its instances; [System.SetWeights] gives versions shares of the requests,
and [System.SetMirror] sends copies of them to another version.

# Handling

[Define] makes a [Kind] of handlers: [Handle] for one-way messages, [Answer] for requests,
[Produce], [Collect] and [Converse] for streams, [ServePull] and [ServePush] for a queue inside
an actor that has other handlers too. [QueueKind] makes an actor that is only a queue. [Defer]
lets a handler answer later, after it has returned. [Receiver] is for messages whose type is
not known beforehand.

# One life

An actor lives from [System.Spawn] or [System.GetOrSpawn] until it stops. Its state may have methods
that are called in its turn: Started, Restarting and Stopping, see Spawn. A handler that panics fails
its request as [rpc.Panicked], which is not tried again. The actor is then restarted with fresh state,
after a back-off if it was restarted before; if it fails too often, it stops. [Supervise] gives a kind
another [Strategy].

[Context.Spawn] makes a child, which ends before its parent. [Context.Watch] has the actor get
a [Terminated] when another actor has ended. [System.Stop] ends an actor once it has handled what waits
in its mailbox, [System.StopNow] and [Context.Stop] end it after the message that it is handling.

[Pool] has several workers handle the messages of one ref, see package route; [System.Resize] changes
how many.

[After], [Every] and [Cron] set timers that send the actor a message. They end when the actor ends or
is restarted, so Started is the place for those that it always has. [Idle] has actors stopped that get no message for
a while.

[Behaviour] is a part of Define: other handlers, which an actor has from [Context.Become] to
[Context.Unbecome]. In a kind with [Stash], [Context.Stash] puts a message aside that cannot be handled
yet, and [Context.Unstash] brings all of them back, in order.

# Interceptors

Functions can run around each message: Config.Outgoing around what a system sends, with every verb;
Config.Incoming, and for one kind [Incoming], around what its actors get, also from topics, timers and Pipe. They measure, refuse, add
headers that the handler reads with Context.Header, and put values into the handler's context. See
package intercept.

# Errors and verdicts

Every failed request ends with an [*rpc.Error]. Two questions can be asked of it:

  - [rpc.Ran] says whether the request ran: NotRun (it did not, and never will), HasRun
    (the handler ran, at least in part), or Unknown. After NotRun it is safe to try again,
    whatever the request does.
  - [rpc.CodeOf] says what went wrong, as one of a closed set of codes. errors.Is works
    with codes, with errors that the application defines by [rpc.NewError], and with the
    errors of package context.

A request that did not run because a node was overloaded or could not be reached is retried by
Tandem within its deadline ([rpc.Retry]). A request that ran is not retried. One whose verdict
is Unknown is retried only with [rpc.Idempotent], which permits that it runs twice. [rpc.Key]
gives a request a name of the caller's own, so that even another process cannot make it run
twice.

What a process knows dies with it: after a crash, requests that may have run end as
[rpc.OutcomeUnknown]. A [Durable] kind has its requests recorded before they run and their
replies after. A [Transactional] kind puts the record into the transaction of its effect,
see [Completion].

# Concurrency

A [System], its refs, futures, tokens and deliveries may be used by any number of
goroutines. The state of an actor belongs to the handler that runs; a handler that starts
a goroutine must not let it touch the state. No actor waits for another one unless its
handler does: a handler in Call, or in a stream, keeps its actor waiting. Actors that wait
for each other in a cycle get [ErrCycle] instead of a deadlock, as far as that is found.

Within a system, messages and replies are not copied. What a message refers to is shared
between sender and receiver, and neither may change it afterwards. With Config.CopyLocal
tests find out who does.

# Limits

Every queue has a bound, and a documented behaviour when it is full. These are the defaults;
the fields that are named here, and those of [rpc.Limits] (Config.RPC), set other values.

  - A mailbox holds 1,024 messages. When it is full, senders wait until their context
    ends, handlers for 5 seconds at most ([Mailbox], Config.SendWait). Messages are handled
    in the order of their arrival, unless the kind has classes ([PriorityOf]) or the mailbox
    is fair among senders.
  - A [Stash] holds 1,024 messages; then the message stays in hand ([ErrStashFull]). An actor has
    at most 64 behaviours on top of each other ([MaxBehaviours]).
  - An actor is restarted 10 times a minute at most, and then stops (package supervise).
  - A request without a deadline has one of 30 seconds (Config.Timeout).
  - A message to another node may have 64 MiB of data; a larger one fails as
    [rpc.TooLarge] and did not run.
  - 4,096 requests from one node to another may be outstanding; more wait.
  - Peers may have a node hold 256 MiB, and one principal no more than what is free.
    Beyond that requests fail as [rpc.Overloaded] and did not run; one-way messages are
    lost and counted.
  - A principal may have 1,024 job tokens at a node, and results are kept for 10 minutes
    after the job has ended (Config.Tokens, TokenLife, ResultBytes).
  - A principal may have 1,024 open streams at a node ([MaxStreams]).
  - A queue in memory holds 16,384 items; a delivery has a lease of 30 seconds and an item
    5 attempts before it becomes a dead letter (queue.Config). A Pull takes up to 1,024
    items ([MaxPull]).
  - The outcome of a request with a key is kept for 10 minutes.

[System.Stats], [System.Events] and [System.DeadLetters] show what a system does and what
it could not deliver. The last 1,024 messages that it could not deliver, and 4 MiB of them, are
kept (Config.DeadLetters, package deadletter): [System.KeptLetters] lists them,
[System.ResendLetter] sends one again, to the same actor or to another one, so that it is accepted
once, and [System.DiscardLetters] removes them. [System.Shutdown] ends it without failing the
requests of others.
*/
package actor
