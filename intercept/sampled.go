package intercept

import "context"

// Sampled are interceptors that see only some messages, such as those of a tracer that records one in a
// hundred. For all others they cost no more than the call of Wants: nothing is allocated, and no
// Operation is made for them. They run outside of all other interceptors of the system.
type Sampled struct {
	// Wants says whether they see a message. It is called for each message, where it is sent and where it
	// arrives, concurrently, and must be cheap. ctx is the one that the interceptor would get. nil: they see none.
	Wants func(ctx context.Context, where Where) bool

	Outgoing, Incoming Func // nil: none on that side
}

// Where says where a message was met that a Sampled interceptor may want.
type Where struct {
	Side    Side
	Handler bool  // outgoing: a handler sends the message
	Cause   Cause // incoming
}
