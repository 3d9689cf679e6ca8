package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/tandem-go/tandem/actor"
)

// environment is what the program gets from whoever runs it.
type environment struct {
	nats, creds string // NATS_URL, required; NATS_CREDS, a file
	name        string // NODE_NAME; default: the name of the host, which in Kubernetes is that of the pod
	cluster     string // CLUSTER; default "shop"
	zone        string // ZONE
	listen      string // LISTEN, of the road over TCP; default ":7420"
	advertise   string // ADVERTISE, where other nodes reach that; default: found out
	probes      string // PROBES, where /livez and /readyz are; default ":8081"
	debugToken  string // DEBUG_TOKEN, for profiles; empty: nobody gets any
	operators   []string
}

// readEnvironment reads the environment. An error wraps actor.ErrConfig: to start again does not help.
func readEnvironment(get func(string) string, hostname func() (string, error)) (environment, error) {
	or := func(name, otherwise string) string {
		if v := get(name); v != "" {
			return v
		}
		return otherwise
	}
	e := environment{nats: get("NATS_URL"), creds: get("NATS_CREDS"), name: get("NODE_NAME"), cluster: or("CLUSTER", "shop"), zone: get("ZONE"),
		listen: or("LISTEN", ":7420"), advertise: get("ADVERTISE"), probes: or("PROBES", ":8081"), debugToken: get("DEBUG_TOKEN")}
	e.operators = strings.FieldsFunc(get("OPERATORS"), func(r rune) bool { return r == ',' || r == ' ' })
	if e.nats == "" {
		return e, fmt.Errorf("%w: NATS_URL is not set", actor.ErrConfig)
	}
	if e.name == "" {
		host, err := hostname()
		if err != nil {
			return e, fmt.Errorf("%w: NODE_NAME is not set: %w", actor.ErrConfig, err)
		}
		e.name = host
	}
	if e.debugToken != "" && len(e.debugToken) < 16 {
		return e, errors.Join(actor.ErrConfig, errors.New("DEBUG_TOKEN has fewer than 16 bytes"))
	}
	return e, nil
}

// options are those of connections to NATS.
func (e environment) options() []nats.Option {
	all := []nats.Option{nats.Name(e.name)}
	if e.creds != "" {
		all = append(all, nats.UserCredentials(e.creds))
	}
	return all
}
