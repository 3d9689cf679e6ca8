package cli

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// probeToken stands in subjects that are tried, in place of wildcards, and is a stream that there is not.
const probeToken = "tandem-check"

// probe is a message that nobody takes. A stream refuses it, since it asks for another one. JetStream's own subjects refuse it, since it
// begins as JSON and is none; and there is no reply subject.
func probe(subject string) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Header.Set("Nats-Expected-Stream", probeToken)
	m.Data = []byte("{tandem check tries a permission")
	return m
}

// destructive reports whether a request to a subject could remove or change what is there, if a server reads probe as a request without
// a body. Some versions do: they purge.
func destructive(subject string) bool {
	if !strings.HasPrefix(subject, "$JS.") {
		return false
	}
	return slices.ContainsFunc([]string{"PURGE", "DELETE", "UPDATE", "PAUSE", "RESTORE", "SNAPSHOT", "LEADER", "REMOVE", "UNPIN"}, func(verb string) bool { return slices.Contains(strings.Split(subject, "."), verb) })
}

// tried tries permissions: subscriptions, and messages that nobody takes.
func tried(ctx context.Context, nc *nats.Conn, set permission) (all []finding) {
	try := func(what, subject string, do func() error) {
		err := do()
		if err == nil {
			err = nc.FlushWithContext(ctx) // the server answers after it has refused
		}
		if last := nc.LastError(); err == nil && errors.Is(last, nats.ErrPermissionViolation) && strings.Contains(last.Error(), strconv.Quote(subject)) {
			err = last
		}
		f := finding{Check: what, OK: err == nil, Found: subject}
		if err != nil {
			f.Mend = "Allow the user to " + what + " " + subject + ": tandem perms prints all that the node needs."
		}
		all = append(all, f)
	}
	for _, s := range set.Subscribe {
		try("subscribe", s, func() error {
			sub, err := nc.SubscribeSync(s)
			if err == nil {
				err = sub.Unsubscribe()
			}
			return err
		})
	}
	for _, s := range set.Publish {
		subject := strings.NewReplacer("*", probeToken, ">", probeToken).Replace(s)
		if destructive(subject) {
			all = append(all, finding{Check: "publish", OK: true, Found: subject + ": not tried, because it could change something"})
			continue
		}
		try("publish", subject, func() error { return nc.PublishMsg(probe(subject)) })
	}
	return all
}
