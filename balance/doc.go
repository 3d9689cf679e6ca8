// Package balance chooses an instance of a service for each request.
//
//	p := balance.New(balance.LeastLoaded())
//	p.Set(now, instances)
//	ticket, ok := p.Pick(now, balance.Request{Random: rand.Uint64()})
//	... // send the request to ticket.To
//	p.End(ticket, now, balance.Answered, 0)
//
// The promise: an instance that cannot be reached, is silent, or refuses requests is
// ejected: it gets no requests until a single one, the probe, has shown that it serves
// again. At most half of the instances are ejected at once, rounded down: none of one, one
// of two or three, two of four. An instance that fails beyond that is not ejected, and
// LeastLoaded chooses it only when the others have much more to do.
//
// An instance is silent if a request has been there for much longer than usual and a ping
// to its node was not answered either. The node of an instance that is only slow answers
// pings: the instance is not ejected, but gets few requests.
//
// The limits: a Picker knows what its own system has sent, and what it is told about load
// and silence ([Signs]). It does not know what other systems have sent to an instance of
// another node. If there are as many such systems as instances, choosing by load is hardly
// better than round robin (TestNearTheOracle prints by how much). Replies that carry the
// load would not help much, because such a reply is old when the next request goes to the
// same instance: with 16 systems and 16 instances that are 80% busy, the p99 is 2.3 times
// that of an oracle that knows all queues, and would be 2.1 times. Only probes before each
// request would be better (1.3 to 1.6 times with four of them, without cost and delay), and
// they would be more work than the request.
//
// A Picker has no lock, clock, goroutine, source of randomness or I/O: time and randomness
// are arguments, and what the caller must do is returned. The package imports only the
// standard library.
package balance
