package check

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
)

// probeToken stands in for wildcards of subjects that are tried.
const probeToken = "tandem-check"

// refused finds the subject in the server's words.
var refused = regexp.MustCompile(`(?i)permissions violation for (publish|subscription) to "([^"]+)"`)

// permissions tries each subject on a connection of its own. Nothing comes of what it publishes: no stream takes it, since it
// asks for another one, and no API does, since it is no JSON.
func (c *checks) permissions() {
	var mu sync.Mutex
	var missing []string
	closed := make(chan struct{})
	nc, err := c.Connect(nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }), // it is called after the handler of all errors
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if m := refused.FindStringSubmatch(err.Error()); m != nil {
				mu.Lock()
				defer mu.Unlock()
				missing = append(missing, strings.ToLower(m[1])+" "+m[2])
			}
		}))
	if err != nil {
		c.add("permissions", Failed, "look at the error", "%v", err)
		return
	}
	for _, s := range c.Permissions.Subscribe {
		if _, err = nc.SubscribeSync(s); err != nil {
			break
		}
	}
	for _, s := range c.Permissions.Publish {
		m := nats.NewMsg(concrete(s))
		m.Header.Set("Nats-Expected-Stream", probeToken)
		m.Data = []byte("tried by tandem check")
		if err == nil {
			err = nc.PublishMsg(m)
		}
	}
	if err == nil {
		err = nc.FlushTimeout(c.Timeout)
	}
	nc.Close()
	<-closed
	mu.Lock()
	defer mu.Unlock()
	if err != nil {
		c.add("permissions", Failed, "look at the error", "%v", err)
		return
	}
	slices.Sort(missing)
	missing = slices.Compact(missing)
	all := len(c.Permissions.Publish) + len(c.Permissions.Subscribe)
	if len(missing) > 0 {
		c.add("permissions", Failed, fmt.Sprintf("add them to the user: tandem perms --cluster %s --node %s --use %s", c.Cluster, c.Node, strings.Join(c.Use, ",")),
			"%d of %d are missing: %s", len(missing), all, strings.Join(missing, ", "))
		return
	}
	c.add("permissions", OK, "", "all %d that %s needs for %s", all, c.Node, strings.Join(c.Use, ", "))
}

// concrete returns a subject that a pattern matches.
func concrete(pattern string) string {
	tokens := strings.Split(pattern, ".")
	for i, t := range tokens {
		if t == "*" || t == ">" {
			tokens[i] = probeToken
		}
	}
	return strings.Join(tokens, ".")
}
