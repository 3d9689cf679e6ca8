package natsapi

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/gateway"
)

// counts are what happened at an endpoint.
type counts struct {
	requests, errors, refused, unanswerable atomic.Uint64
	spent                                   atomic.Int64 // nanoseconds
}

// done is for a request that was let in and has been answered.
func (c *counts) done(took time.Duration, err error) {
	c.spent.Add(int64(took))
	if err != nil {
		c.errors.Add(1)
	}
}

// figures are what STATS tells of an endpoint as data: micro's own numbers are those of the handler that only starts the
// work, and know no errors.
type figures struct {
	Requests     uint64  `json:"requests"`
	Errors       uint64  `json:"errors"`       // answered with an error
	Refused      uint64  `json:"refused"`      // because too many were open, or the gateway stopped
	Unanswerable uint64  `json:"unanswerable"` // not served: without an inbox to answer to
	Seconds      float64 `json:"seconds"`      // that the requests took together
	Open         int     `json:"open"`         // requests that are open now, of all endpoints
}

func (c *counts) figures(open int) figures {
	return figures{c.requests.Load(), c.errors.Load(), c.refused.Load(), c.unanswerable.Load(), time.Duration(c.spent.Load()).Seconds(), open}
}

// describe is what INFO tells of an endpoint, with JSON Schemas of the request and of what answers it.
func describe(e *gateway.Endpoint) (map[string]string, error) {
	about := map[string]string{"message": e.Message.Name, "keys": strconv.FormatBool(e.Keys), "answer": "reply"}
	switch {
	case e.Message.Items != nil:
		about["answer"] = "stream"
	case e.Message.Reply == nil:
		about["answer"] = "none"
	}
	asked, err := e.AskedSchema()
	if err != nil {
		return nil, err
	}
	about["request_schema"] = string(asked)
	answered, err := e.AnsweredSchema()
	if err != nil {
		return nil, err
	}
	if answered != nil {
		about["answer_schema"] = string(answered)
	}
	return about, nil
}
