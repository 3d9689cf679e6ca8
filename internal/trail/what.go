package trail

import "time"

// What became of a request, as the client's side knows it.
const (
	Asked       What = iota + 1 // the caller has made it
	Sent                        // its first copy was given to a link
	Resent                      // a further copy, because an earlier one may have been lost
	Hedged                      // a further copy, on a second road, because there was no answer yet
	Probed                      // the server was asked whether the request had come, because there was no answer for long
	Heard                       // the server has said whether it had come
	LinkLost                    // the link that had its latest copy has closed
	SessionGone                 // its session has ended before there was an answer
	Inquired                    // the next start of the node was asked what became of it
	Answered                    // its reply, or an error, came
	Replayed                    // the same, and it is the recorded outcome of an earlier copy or request
	GaveUp                      // its caller did not wait any longer
	RetriedAs                   // it is made again, under the number Other
	RetryOf                     // it is an attempt after that with the number Other
	Ended                       // its caller was told that it has failed
)

// What became of a request, as the server's side knows it.
const (
	Received   What = iota + 32 // its first copy came, and is to run
	Copied                      // a further copy came, which waits for the outcome, too
	Questioned                  // its client asked whether it had come, and did not know the outcome
	Refused                     // a copy was refused without a record
	WaitsFor                    // another request under the same key runs, Other, whose outcome it gets
	Started                     // its handler is called
	PutBack                     // it waits for another turn
	Canceled                    // its client has given it up
	Decided                     // it has its outcome; of a refusal, the verdict is that it has not run
	Earlier                     // it has the outcome that is recorded of an earlier request with its key
	Replied                     // the outcome was given to a link
	Again                       // the recorded outcome was given to a link for a further copy, or for a probe
	Acked                       // its client has the outcome, so its record is gone
	Recalled                    // its client has asked what became of it at an earlier start of this node
	Unanswered                  // its session has ended with no traffic for long, and with it its record
)

// What became of a job.
const (
	Accepted What = iota + 64 // it has its token
	Running                   // its handler is called
	Over                      // it has its result, or an error
	Fetched                   // its result was given out
	Stopped                   // somebody has cancelled it
)

// Every and Pause say which of many ordinary requests are kept: each whose number can be divided by
// Every, and the first one after a Pause in which none was. So both nodes keep the same ones, and of
// few all are kept.
const (
	Every = 64
	Pause = 10 * time.Millisecond
)

// Slow is from when on an ordinary request is unusual.
const Slow = time.Second
