package inspect

import (
	"strings"
	"time"
)

// Side says which part a node had in a request.
type Side string

// The sides.
const (
	Client Side = "client" // it has sent the request
	Server Side = "server" // it handles the request
	OfJob  Side = "job"    // it has the job
	Record Side = "record" // what its tables and its store have of the request now
)

// Request is what a node knows of one attempt of a request to another node, or of a request that took
// a road within its node. It never has the content of a message, nor a secret.
type Request struct {
	ID        string // as rpc.RequestID.String; both nodes have the same one. Of a job it is empty
	Node      string // whose view it is
	Side      Side
	Peer      string // the other node
	Principal string // who sent it; empty on the client's side
	Target    string // the actor's name
	Type      string // of the message, by its name on the wire
	Key       string // rpc.Key; of a long one, the beginning
	Trace     string // the trace id of its W3C trace context, in hexadecimal digits; empty: it has none
	Job       string // stands for the token of the job that it is about, which is a secret; empty: none is known

	First, Last time.Time // when its first and its last step were
	What        What      // its last step
	Code        string    // the last one of a step; empty: there was no error
	Ran         string    // the verdict with that code: "ran", "not run" or "unknown"
	Unusual     bool      // more became of it than that it was sent once, ran and was answered
	Steps       int       // how many steps are known
	Number      uint64    // in the order in which the node took notice of requests: later ones have higher ones
}

// What is what happened in a step.
type What string

// What happens on the client's side.
const (
	Asked       What = "asked"          // the caller made the request
	Sent        What = "sent"           // its first copy was given to a link
	Resent      What = "sent again"     // a further copy, because an earlier one may have been lost
	Hedged      What = "hedged"         // a further copy on a second road, because no answer had come
	Probed      What = "probed"         // the server was asked whether it had come, because no answer came for long
	Heard       What = "probe answered" // the server has said whether it had come
	LinkLost    What = "link lost"      // the link that had its latest copy closed
	SessionGone What = "session gone"   // its session ended before an answer came
	Inquired    What = "inquired"       // the next start of the node was asked what became of it
	Answered    What = "answered"       // its outcome came
	GotRecorded What = "answered again" // its outcome came, and it is the recorded one of an earlier copy or request
	GaveUp      What = "gave up"        // its caller waited no longer, or its deadline passed
	RetriedAs   What = "retried as"     // it was made again, as the request Other
	RetryOf     What = "retry of"       // it is the attempt after the request Other
	Ended       What = "failed"         // its caller was told that it has failed
)

// What happens on the server's side.
const (
	Received   What = "received"       // its first copy came, and was let in
	Copied     What = "copy came"      // a further copy came, and waits for the outcome, too
	Questioned What = "probe came"     // its client asked whether it had come, before there was an outcome
	Refused    What = "copy refused"   // a copy was refused, which says nothing about other copies
	WaitsFor   What = "waits for"      // it gets the outcome of the request Other, which has the same key
	Started    What = "started"        // its handler was called
	PutBack    What = "put back"       // it waits for another turn
	Canceled   What = "given up"       // its client has given it up
	Decided    What = "decided"        // it got its outcome
	Recorded   What = "decided before" // it got the outcome that is recorded of an earlier request
	Replied    What = "replied"        // the outcome was given to a link
	Replayed   What = "replayed"       // the recorded outcome was given to a link, for a further copy
	Acked      What = "acked"          // its client needs it no more
	Recalled   What = "recalled"       // its client asked what became of it at an earlier start of the node
	Unanswered What = "lease ran out"  // its session ended, and its record with it
)

// Kept is not a step: a node has something of the request in its tables or in its store, which Step.Detail tells.
const Kept What = "kept"

// What happens to a job.
const (
	Accepted What = "accepted"        // it has its token
	Running  What = "started"         // its handler was called
	Over     What = "has its outcome" // a result, or an error
	Fetched  What = "told"            // somebody who asked was told its outcome
	Stopped  What = "cancelled"       // somebody cancelled it
)

// Step is one step in the life of a request.
type Step struct {
	Time                       time.Time // by the clock of Node; zero: it is not known
	About                      bool      // it was later than Time, and less than a heartbeat: a busy node does not read its clock for each request
	Node                       string
	Side                       Side
	What                       What
	Request                    string // the request's ID
	Peer                       string // the other node
	Target                     string
	Type                       string
	Road                       string // empty: none has to do with it
	Code                       string // of the error; empty: there is none
	Ran                        string // the verdict with Code, or of Decided
	Other                      string // the ID of another request
	Principal, Key, Trace, Job string // as in Request
	Detail                     string // of Kept: where, and how far the request has come
	Left                       int    // steps of this request before this one that were not kept
}

// RequestFilter says which requests to list. Its zero value lists all.
type RequestFilter struct {
	Target  string // only those to actors whose names begin with it
	Type    string // only those with messages of this type
	Peer    string // only those from or to this node
	Side    Side
	Unusual bool          // only those that are unusual
	Code    string        // only those with this code
	Slower  time.Duration // only those of which the last step came so long after the first one, or later
}

// Match reports whether the filter lets r through.
func (f RequestFilter) Match(r Request) bool {
	return strings.HasPrefix(r.Target, f.Target) && (f.Type == "" || f.Type == r.Type) && (f.Peer == "" || f.Peer == r.Peer) && (f.Side == "" || f.Side == r.Side) &&
		(!f.Unusual || r.Unusual) && (f.Code == "" || f.Code == r.Code) && r.Last.Sub(r.First) >= f.Slower
}

// Life is one request's life over all nodes.
type Life struct {
	Steps   []Step    // in the order in which they happened, as far as that can be told from several clocks
	Unasked []Unasked // nodes that may know more
	More    bool      // there are more steps than MaxSteps
}

// Unasked is a node that could not be asked, and why.
type Unasked struct{ Node, Reason string }

// MaxSteps is how many steps System.Why returns at most, of each node.
const MaxSteps = 1000
