package httpapi

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/rpc"
)

// problem is an error as a client gets it: problem details of RFC 9457.
type problem struct {
	Type       string  `json:"type"`
	Title      string  `json:"title"`
	Status     int     `json:"status"`
	Detail     string  `json:"detail,omitempty"`
	Code       string  `json:"code"`
	Ran        string  `json:"ran"`
	User       string  `json:"user,omitempty"`
	RetryAfter float64 `json:"retryAfter,omitempty"` // seconds
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

// problemOf is the problem for an error. What the error says of the inside of the cluster stays there: of errors that are not
// the client's concern it has the code only.
func problemOf(err error) problem {
	e := gateway.ErrorOf(err)
	p := problem{Status: statusOf(e), Code: gateway.CodeName(e.Code), Ran: gateway.Ran(e.Verdict), User: e.User}
	if p.Status < 500 || e.User != "" {
		p.Detail = e.Message
	}
	if p.Status == http.StatusTooManyRequests || p.Status == http.StatusServiceUnavailable {
		p.RetryAfter = max(e.RetryAfter, 100*time.Millisecond).Seconds()
	}
	return p.complete()
}

// complete adds what follows from the rest.
func (p problem) complete() problem {
	p.Type, p.Title = "about:blank", http.StatusText(p.Status)
	return p
}

// write answers with the problem.
func (p problem) write(w http.ResponseWriter) {
	p = p.complete()
	body, err := json.Marshal(p)
	if err != nil { // it has texts and finite numbers only
		panic(err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set(gateway.HeaderRan, p.Ran)
	h.Set(gateway.HeaderCode, p.Code)
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.RetryAfter))))
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body)
}

// fail answers with an error.
func fail(w http.ResponseWriter, err error) { problemOf(err).write(w) }
