package rpc

import (
	"fmt"
	"strconv"
	"strings"
)

// RequestID names one attempt of a request to another node, for people and for logs: both nodes know
// it, and actor.System.Why finds by it what became of the request. It is no secret, and proves nothing:
// Session stands for the session that the request was sent in, and does not tell its grant. The zero
// value names nothing: messages within a node have no such name.
type RequestID struct {
	Session uint64 // stands for the session
	Seq     uint64 // the request's number in it
}

// IsZero reports whether id names nothing.
func (id RequestID) IsZero() bool { return id == RequestID{} }

// String returns the name as text, which ParseRequestID reads: "9f86d081884c7d65-17". It is empty for the
// zero value.
func (id RequestID) String() string {
	if id.IsZero() {
		return ""
	}
	return fmt.Sprintf("%016x-%d", id.Session, id.Seq)
}

// ParseRequestID is the inverse of RequestID.String. The error for another text has the code Invalid.
func ParseRequestID(text string) (id RequestID, err error) {
	session, seq, _ := strings.Cut(text, "-")
	id.Session, err = strconv.ParseUint(session, 16, 64)
	if err == nil {
		id.Seq, err = strconv.ParseUint(seq, 10, 64)
	}
	if err != nil || id.IsZero() || id.String() != text {
		return RequestID{}, Errorf(Invalid, NotRun, "%.60q is not the id of a request", text)
	}
	return id, nil
}
