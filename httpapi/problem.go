package httpapi

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"

	"github.com/tandem-go/tandem/gateway"
)

// problem is an error as a client gets it.
type problem gateway.Problem

func problemOf(err error) problem { return problem(gateway.ProblemOf(err)) }

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
