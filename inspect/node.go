package inspect

import "time"

// Member is a node of the cluster as the registry shows it to another one.
type Member struct {
	Name, Epoch string
	Version     string // of its program
	Zone        string
	Principal   string              // who a peer has to be to be this node; empty: it is not recorded
	Addrs       map[string]string   // road → address
	Services    map[string][]string // service → actors
	Kinds       []string            // of virtual actors that it hosts, in order
	LeaseEnded  bool                // its lease has ended although a link to it is open
}

// Peer is another node as the one that is looked at sees it: how it sends requests there.
type Peer struct {
	Node        string
	Epoch       string // of the start with which there is a session; empty: there is none
	Principal   string // who it has proved to be; empty without a session
	Up          bool   // there is a link to send on
	Leaving     bool   // it has said that it shuts down
	Road        string // of the link that is used; empty without one
	Outstanding int    // requests that wait for their answers
	Unresolved  int    // requests to an earlier start of it, whose outcome is not known yet
	Requests    uint64 // sent to it, each counted once
	Replies     uint64
	Tells       uint64 // one-way messages sent to it
	Links       []Link
}

// Link is a link to a peer. Both ends may have opened it.
type Link struct {
	Road    string
	Addr    string        // the other end's, if the road knows one
	Current bool          // requests are sent on it
	Open    bool          // the session is open on it
	Denied  string        // why the peer has refused the session; empty: it has not
	RTT     time.Duration // of the latest heartbeat; 0: there was none yet
	Heard   time.Duration // how long ago a heartbeat was answered; 0: none was yet
}

// Session is one that a peer has opened at the node that is looked at: it sends requests in it.
type Session struct {
	ID        string // tells sessions apart, and begins the ids of their requests. It does not open one
	Node      string // the peer as it names itself
	Epoch     string
	Principal string
	Proved    bool // the peer has proved to be that node
	Roads     []string
	Records   int    // requests of which there is a record
	Served    uint64 // requests that were admitted
	Sealed    bool   // no request starts in it any more
}

// Service is a service as the node that is looked at sees it: whom it sends requests to.
type Service struct {
	Name      string
	Policy    string         // how an instance is chosen
	Weights   map[string]int // shares of versions, see actor.System.SetWeights
	Used      bool           // this node has sent requests to it: otherwise nothing is known of its instances but that they are there
	Instances []Instance
}

// Instance is an actor that serves requests of a service.
type Instance struct {
	Address       string
	Epoch         string
	Version, Zone string
	Weight        int
	Outstanding   int           // requests of this node that it has not answered
	Latency       time.Duration // that a request takes, smoothed; 0: not known
	Ejected       bool          // it gets no requests
	Probing       bool          // it gets one request, which decides whether it is ejected again
	Why           string        // it was ejected
	Until         time.Duration // how long until it is tried again
}

// Job is a job that was submitted to the node that is looked at. Its token is not shown: who has the token may read the result.
type Job struct {
	ID          string // the first characters of the token's secret, which tell jobs apart
	Principal   string // who has submitted it
	Actor       string
	Type        string // of its message; empty: the node does not know it
	State       string // as rpc.JobState
	Done, Total int64  // progress, as the job counts it
	Error       string // of one that has failed
	Durable     bool
}

// Topic is what a node's actors have subscribed to.
type Topic struct {
	Pattern     string
	Group       string // empty: none
	Type        string // of the messages
	Subscribers int
}
