// Package balance chooses an instance of a service for each request.
//
//	p := balance.New(balance.LeastLoaded())
//	p.Set(now, instances)
//	ticket, ok := p.Pick(now, balance.Request{Random: rand.Uint64()})
//	... // send the request to ticket.To
//	p.End(ticket, now, balance.Answered, 0)
//
// The promise: an instance that is not reached, is silent, or refuses what it gets is
// left out (ejected) until a single request, the probe, has shown that it serves again;
// and never are more than half of the instances left out at once, rounded down: of one
// none, of two or three one, of four two. What fails beyond that stays in, and is
// taken, by LeastLoaded, when the others have much more to do.
//
// An instance is silent if a request has been there for much longer than usual and a
// question whether the way to it lives had no answer either. One whose handler is only
// slow answers such questions: it is not ejected, but gets little to do.
//
// The limits: a Picker knows what its own system has sent, and what it is told of load
// and silence ([Signs]); it does not know what other systems have sent to an instance of
// another node. Where there are as many such systems as instances, to choose by load comes
// near to taking turns (TestNearTheOracle prints how near). To carry the load in each reply
// would not help much, because a reply is old when the next request goes to the same
// instance: with 16 systems and 16 instances, 80% busy, the p99 is 2.3 times that of an
// oracle that knows all queues, and would be 2.1 times. Only questions ahead of each request
// would bring it nearer (four of them, free of cost and delay: 1.3 to 1.6 times), and they
// would be more work than the request.
//
// A Picker has no lock, clock, goroutine, source of randomness or I/O: time and randomness
// are arguments, and what is to be done is returned. The package imports the standard
// library alone.
package balance
