// Package stored decides, for one activation of a stored virtual actor, which request runs, what a
// commit contains, when a reply may leave, and what a failed commit means.
//
//	switch ad := a.Admit(name, msg, now); ad.Decision {
//	case stored.Run:    // run the handler, and encode the state that it leaves behind
//		fate, joined := a.Handled(msg, ad.Request, result) // Leaves: reply now. Waits: do nothing
//	case stored.Replay: // reply with ad.Outcome
//	case stored.Join:   // do nothing: the reply comes with that of the earlier copy
//	default:            // refuse
//	}
//	if c, ok := a.Next(now); ok { // make the commit elsewhere, and say in the actor's turn how it went:
//		done := a.Committed(rev) // send done.Replies, and then done.Send
//		failure := a.Failed(err) // Again, GoBack or GiveUp
//	}
//
// The promise. A commit has the state, the outcomes that callers still need, and the messages that were
// not sent yet. So a named request has its effect at most once, whichever activations its copies reach,
// and exactly once if a reply to it tells of an effect; all such replies are the same; and its messages
// leave once, each under one name (Since, Index), in their order. A message of which the activation says
// that it has not run (a refusal by Handled, [Failure].NotRun) has left no trace, and never will. That
// is about this attempt: the name is free again, and a further attempt may run.
//
// Group commit. One commit is under way at a time. What is handled meanwhile is in the next one. A reply
// waits for the commit that has everything that its handler has seen; that of a handler that only reads,
// too, but it waits for nothing else. A handler that fails is undone before Handled is called, so what it
// has seen is all that its reply waits for.
//
// The fence. An activation that finds the record of a lower token replaces it by the same content under
// its own before anything is answered: after that no commit of its predecessors succeeds. What is handled
// before Next is called is in this first commit, too. Without a record there is nothing to be replaced;
// but a predecessor that has read the same nothing can make the first commit, and answer, until somebody
// else has made one. So the fence is needed then, too, if there may be such a predecessor
// ([Loaded].Contested), and is left out if the claim was free.
//
// Requests that change nothing. Nothing is written for them. Their outcomes are remembered in memory,
// and are in the next commit that is made for another reason. So a copy that runs again, at a successor,
// after an activation has crashed, finds the state as the first one has found it, or that outcome, unless
// somebody else has changed the state since. Three rules keep that last case away, and they are not this
// package's: a reply leaves only while the lease of its node is not over; a caller takes the reply that
// nothing was changed only from the activation that it has sent the request to last; and a node knows a
// late copy of what its session has answered. Replies that tell of an effect need none of them. A request under a
// key has several callers, which do not know of one another, so its outcome is always committed before
// its reply leaves; the first caller says when the key expires, and its late copies say the same, so that they
// are refused then. A handler that may end in another way at the same state, because it looks at the
// clock, say, and whose refusal must hold for ever, has to change the state.
//
// Failures. Each error of a store has one consequence:
//
//	unknown                  Again: the same commit is made under the same ID; nothing leaves meanwhile
//	full, too large, others  GoBack: the state is that of the last commit; all that has waited is NotRun,
//	  that are proofs          with rpc.Overloaded, rpc.TooLarge or rpc.Unavailable; the activation goes on
//	conflict, fenced         GiveUp: all that has waited is NotRun, with rpc.Moved or rpc.Unavailable
//	lost, and any other      GiveUp: what was in the commit is Unknown (rpc.OutcomeUnknown), the rest NotRun
//
// A message that makes the record too large (TooLarge), or for whose reply or messages there is no room
// (Crowded: rpc.Overloaded), fails alone, before its commit.
//
// Duties of the shell. It makes one call at a time, and does not call Failed while a handler runs, since that may
// take back the state that the handler works on. It refuses copies of callers that it has told to Forget, and
// tells soon, because each caller that has asked takes a place in every record: an ack mark and an outcome of
// about 120 bytes together, and the body. It decides when a node's lease is over, how long to pause
// before the same commit is made again, and when sent messages are removed without another commit (Stale,
// Flush). Encodings of one state need not be equal, but each difference costs a commit.
//
// The limits. Outcomes are bounded by [Config], for each caller and in all, in number and bytes, with one ack mark
// for each caller; those that callers still need are never dropped while the caller has its lease, or the key
// its time: new requests are refused (Full). Further copies that Join are not bounded here. There is no lock,
// clock, goroutine or I/O in this package.
package stored
