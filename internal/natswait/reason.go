package natswait

import (
	"context"
	"errors"
	"net"
	"regexp"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Reason is what an error of NATS means to a user who wants to open something.
type Reason struct {
	Why    string // what is missing or wrong
	Do     string // what the operator can do about it; may be empty
	Again  bool   // waiting may cure it
	Denied bool   // the user's permissions do not allow it
}

// Codes of JetStream that the client library does not name.
const (
	codeNotAvailable = 10008 // the cluster has no leader
	codeNoPeers      = 10005 // too few servers for the replicas that are wanted
	codeOffline      = 10118 // the stream's servers are away
	codeResources    = 10023 // out of memory or storage
)

// Explain says what err, from a request over nc, means. before is the connection's last error
// before the request was made: if the server does not allow a request, it does not answer it,
// but reports an error of the connection.
func Explain(nc *nats.Conn, before, err error) Reason {
	if nc != nil {
		if now := nc.LastError(); now != before && errors.Is(now, nats.ErrPermissionViolation) && !isAnswer(err) {
			return Reason{Why: now.Error(), Do: "allow it in the permissions of this connection's user (docs/nats-permissions.md has the list)", Denied: true}
		}
		switch s := nc.Status(); s {
		case nats.CONNECTED:
		case nats.CLOSED:
			return Reason{Why: "the NATS connection is closed", Do: "open a new one, with natsbus.Connect, which reconnects for ever"}
		case nats.DRAINING_SUBS, nats.DRAINING_PUBS:
			return Reason{Why: "the NATS connection is being drained", Do: "open a new one"}
		default:
			return Reason{Why: "no connection to NATS", Do: "see that a NATS server runs where the connection looks for it", Again: true}
		}
	}
	return explain(err)
}

// isAnswer reports whether err is what a server answered.
func isAnswer(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api)
}

func explain(err error) Reason {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, nats.ErrPermissionViolation):
		return Reason{Why: "the user's permissions do not allow it", Do: "allow it (docs/nats-permissions.md has the list)", Denied: true}
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired):
		return Reason{Why: "NATS refuses the user or the password", Do: "check the credentials", Again: true}
	case errors.Is(err, nats.ErrNoServers), isNet(err):
		return Reason{Why: "no NATS server answers", Do: "see that one runs there", Again: true}
	case errors.Is(err, nats.ErrMaxPayload):
		return Reason{Why: "the message is larger than the server takes", Do: "raise max_payload of the NATS servers"}
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrNoStreamResponse):
		return Reason{Why: "JetStream does not serve", Do: "see that JetStream is enabled, and that a majority of its servers is up", Again: true}
	case errors.As(err, &api):
		return answer(api)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return Reason{Why: "JetStream does not answer", Do: "see that a majority of its servers is up", Again: true}
	}
	return Reason{Why: "NATS did not do it", Again: true}
}

func isNet(err error) bool {
	var n net.Error
	return errors.As(err, &n) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, nats.ErrTimeout)
}

// answer explains what JetStream said itself.
func answer(e *jetstream.APIError) Reason {
	switch e.ErrorCode {
	case codeNotAvailable, codeOffline:
		return Reason{Why: "JetStream has no leader yet", Do: "see that a majority of its servers is up", Again: true}
	case jetstream.JSErrCodeStreamNotFound: // of what was just created: a server may hear of it later
		return Reason{Why: "JetStream does not know the stream yet", Do: "see whether it was deleted", Again: true}
	case jetstream.JSErrCodeStreamNameInUse: // two processes make it at once, and it is not visible yet
		return Reason{Why: "another one is making the stream", Do: "see whether a stream of that name is there for something else", Again: true}
	case codeNoPeers:
		return Reason{Why: "JetStream has too few servers for the replicas that are wanted", Do: "start more of them, or ask for fewer replicas", Again: true}
	case codeResources:
		return Reason{Why: "JetStream is out of storage", Do: "give it more, or remove streams", Again: true}
	case jetstream.JSErrCodeJetStreamNotEnabled, jetstream.JSErrCodeJetStreamNotEnabledForAccount:
		return Reason{Why: "JetStream is not enabled", Do: "enable it for this account on the NATS servers", Again: true}
	}
	return Reason{Why: "JetStream refuses it", Again: e.Code >= 500}
}

// quoted is the subject in the server's complaint, as the client library finds it too:
// neither has it otherwise.
var quoted = regexp.MustCompile(`(?:Publish|Subscription) to "(\S+)"`)

// DeniedSubject returns the subject that err, a connection's last error, says the user may
// not publish or subscribe to; empty if it says something else.
func DeniedSubject(err error) string {
	if !errors.Is(err, nats.ErrPermissionViolation) {
		return ""
	}
	if m := quoted.FindStringSubmatch(err.Error()); m != nil {
		return m[1]
	}
	return ""
}
