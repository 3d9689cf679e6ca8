package natsapi

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/rpc"
)

// anonymous is the token of clients whom nobody confines to one of their own.
const anonymous = "-"

// jobs is where jobs are asked about, in place of a target.
const jobs = "jobs"

// Escape returns the id of an actor as it stands in a subject: each byte that is not a letter, a digit, "-", "_" or "~" is "%"
// and two hexadecimal digits. So "eu.ann" is "eu%2Eann".
func Escape(id string) string {
	var b strings.Builder
	for i := range len(id) {
		switch c := id[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_', c == '~':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// subjectOf is the subject of an endpoint, for all principals and ids.
func subjectOf(prefix string, e *gateway.Endpoint) string {
	s := prefix + ".*." + e.Target
	if e.Many {
		s += ".*"
	}
	return s + "." + e.Name
}

// tokens returns the principal's token and the id in the subject of a request to an endpoint; many says that there is an id.
// A subject is not always that of the endpoint: what JetStream delivers has the one under which it was stored.
func tokens(prefix, subject string, many bool) (token, id string, err error) {
	rest, ok := strings.CutPrefix(subject, prefix+".")
	parts := strings.Split(rest, ".")
	if !ok || len(parts) != 3 && !many || len(parts) != 4 && many {
		return "", "", rpc.Errorf(rpc.Invalid, rpc.NotRun, "the subject is not one of a request")
	}
	if !many {
		return parts[0], "", nil
	}
	id, err = url.PathUnescape(parts[2])
	if err != nil {
		return "", "", rpc.Errorf(rpc.Invalid, rpc.NotRun, `in the id of an actor "%%" must be before two hexadecimal digits`)
	}
	return parts[0], id, nil
}

// validSubject reports whether text can begin subjects: its parts, between dots, are not empty, and have no wildcards.
func validSubject(text string) bool {
	for part := range strings.SplitSeq(text, ".") {
		if part == "" || strings.ContainsAny(part, "*> \t\r\n") {
			return false
		}
	}
	return true
}
