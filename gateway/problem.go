package gateway

import (
	"net/http"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// Problem is an error as clients of all gateways get it: problem details of RFC 9457. Retries are safe if Ran is "no", or if
// the request has a key.
type Problem struct {
	Type       string  `json:"type"`
	Title      string  `json:"title"`
	Status     int     `json:"status"` // as HTTP has it
	Detail     string  `json:"detail,omitempty"`
	Code       string  `json:"code"`                 // see CodeName
	Ran        string  `json:"ran"`                  // see Ran
	User       string  `json:"user,omitempty"`       // the name of the application's own error
	RetryAfter float64 `json:"retryAfter,omitempty"` // seconds before which no attempt should come
}

// statuses are those of the codes whose status does not depend on more.
var statuses = map[rpc.Code]int{
	rpc.Invalid: http.StatusBadRequest, rpc.Denied: http.StatusForbidden,
	rpc.NotFound: http.StatusNotFound, rpc.Unhandled: http.StatusNotFound,
	rpc.TooLarge: http.StatusRequestEntityTooLarge, rpc.IDReused: http.StatusUnprocessableEntity,
	rpc.Overloaded:     http.StatusTooManyRequests,
	rpc.OutcomeUnknown: http.StatusBadGateway,
	rpc.Unavailable:    http.StatusServiceUnavailable, rpc.Leaving: http.StatusServiceUnavailable, rpc.Moved: http.StatusServiceUnavailable,
	rpc.SessionLost: http.StatusServiceUnavailable, rpc.Stale: http.StatusServiceUnavailable,
	rpc.Expired: http.StatusGatewayTimeout, rpc.Canceled: http.StatusGatewayTimeout,
	rpc.Cycle: http.StatusLoopDetected,
}

// statusOf is the status for an error.
func statusOf(e *rpc.Error) int {
	switch {
	case e.Code == rpc.Undecodable && e.Verdict == rpc.NotRun:
		return http.StatusBadRequest
	case e.Code == rpc.Failed && e.User != "":
		return http.StatusUnprocessableEntity
	}
	if s := statuses[e.Code]; s != 0 {
		return s
	}
	return http.StatusInternalServerError
}

// ProblemOf is the problem for an error. What the error says of the inside of the cluster stays there: of errors that are not
// the client's concern it has the code only.
func ProblemOf(err error) Problem {
	e := ErrorOf(err)
	p := Problem{Type: "about:blank", Status: statusOf(e), Code: CodeName(e.Code), Ran: Ran(e.Verdict), User: e.User}
	p.Title = http.StatusText(p.Status)
	if p.Status < 500 || e.User != "" {
		p.Detail = e.Message
	}
	if p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable {
		p.RetryAfter = max(e.RetryAfter, 100*time.Millisecond).Seconds()
	}
	return p
}
