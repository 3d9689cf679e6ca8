/*
Package rpc is the vocabulary of requests: error codes and verdicts, futures, the options
of a send, retries and the tokens of jobs. The verbs that send are in package actor.

One address, two roads. A retried request never runs twice, and every error tells you
whether it ran.

# A first program

	package main

	import (
		"context"
		"errors"
		"fmt"
		"log"

		"github.com/tandem-go/tandem/actor"
		"github.com/tandem-go/tandem/rpc"
	)

	// ErrFunds is an error of the application. It keeps its identity between nodes.
	var ErrFunds = rpc.NewError("bank.insufficient_funds", "insufficient funds")

	// Withdraw is answered with the balance that is left.
	type Withdraw struct {
		actor.Returns[int]
		Amount int
	}

	type Account struct{ balance int }

	func (a *Account) Withdraw(ctx *actor.Context, m Withdraw) (int, error) {
		if m.Amount > a.balance {
			return 0, fmt.Errorf("%w: there are %d", ErrFunds, a.balance)
		}
		a.balance -= m.Amount
		return a.balance, nil
	}

	var AccountKind = actor.Define("example.account", func() *Account { return &Account{balance: 100} },
		actor.Answer((*Account).Withdraw))

	func main() {
		ctx := context.Background()
		sys, err := actor.NewSystem(actor.Config{})
		if err != nil {
			log.Fatal(err)
		}
		defer sys.Shutdown(ctx)
		ann, err := sys.Spawn("ann", AccountKind)
		if err != nil {
			log.Fatal(err)
		}
		_, err = actor.Call(ctx, ann, Withdraw{Amount: 500})
		fmt.Println(err, "| is ErrFunds:", errors.Is(err, ErrFunds), "| ran:", rpc.Ran(err))

		_, err = actor.Call(ctx, sys.Ref("bob"), Withdraw{Amount: 5})
		fmt.Println(rpc.CodeOf(err), "| ran:", rpc.Ran(err))
	}

# Did it run?

[Ran] gives the verdict on the request that ended with an error:

  - [NotRun]: it provably did not run, and never will. To send it again is safe.
  - [HasRun]: its handler ran, at least in part. Whether to send it again is for the
    application to decide.
  - [Unknown]: it may have run, may be running, or may run yet. To send it again is safe
    only if running twice does no harm.

The part of the system that knows sets the verdict: the node that refused the request, the
handler's node, or the client for what it never sent. It is never derived from the code.
When a handler returns an error that it got from another actor, the handler ran, and the
verdict of the outer error says so.

# What happened?

[CodeOf] gives the [Code], one of a closed set. A code is itself an error, for errors.Is:

	if errors.Is(err, rpc.Overloaded) { ... }

Errors of the application are made with [NewError]. They arrive under [Failed], and
errors.Is finds them on every node, by their name. [Canceled] and [Expired] match
context.Canceled and context.DeadlineExceeded.

# Options of a send

  - [Acked]: a one-way message is confirmed once it is in the receiver's mailbox.
  - [WithRetry] and [Idempotent]: when the request is sent again as a new attempt. [Retry]
    says what the default is.
  - [Hedge]: a second copy takes the other road when the first is slow. It runs once.
  - [Key]: all requests with one key, to one actor and from one principal, run once and get one
    outcome, whichever process sends them.
  - [Affinity]: requests with one key prefer one instance of a service.
  - [LinkWait]: how long the request waits for a link to the node.
  - [WithCodec], [WithHeader], and [WithTrace] for the context.

# Futures and tokens

A [Future] is the reply of an outstanding request. [All], [Any] and [Race] combine
futures and cancel those that are not needed any more. A [Token] names a job: a request
that was accepted and whose result is fetched later.

# Concurrency

Errors are immutable. Futures, tokens and options may be used by any number of goroutines.

# Limits

  - A request that did not run gets up to 4 attempts, with pauses that grow from 50 ms to
    2 s and vary at random. A budget keeps retries from multiplying the load: each costs 1,
    each success earns 0.1, and it holds 100 at most. Waiting for a node that is away is
    bounded only by the request's deadline.
  - A key has 1 to 255 bytes. The outcome of a request with a key is kept for 10 minutes
    after it is done.
  - A reply of up to 256 KiB is kept until the caller has confirmed it, a larger one while
    there is room. A copy of a request whose reply was not kept ends as [ReplyDropped].
  - Sessions and stored outcomes are in memory. When the serving process is lost, what may
    have run there ends as [OutcomeUnknown], except for the requests to durable kinds.
*/
package rpc
