package natskv

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// With lost messages and answers, a write finds out by itself what became of it.
func TestFaultsAreHidden(t *testing.T) {
	t.Parallel()
	f := &servers.Faulty{JetStream: servers.Connect(t, servers.Start(t, embedded.Config{}))}
	c := open(t, f, Config{})
	for i, faults := range [][]servers.Fault{{servers.Lost}, {servers.AckLost}, {servers.Lost, servers.AckLost}, {servers.AckLost, servers.Lost}, {servers.AckLost, servers.AckLost},
		{servers.Late}, {servers.LateAgain}, {servers.LateAgain, servers.Late}, {servers.Busy}, {servers.AckLost, servers.Busy}, {servers.InFlight}, {servers.AckLost, servers.InFlight}} {
		key, first, second := placement.Key{Kind: "k", ID: fmt.Sprint(i)}, by("n"), by("m")
		for range 2 { // the second time, a mark is there
			f.Plan(faults...)
			token := create(t, c, key, first)
			holds(t, c, key, first, token)
			f.Plan(faults...)
			next, err := c.Replace(t.Context(), key, second, token)
			ok(t, err)
			holds(t, c, key, second, next)
			f.Plan(faults...)
			ok(t, c.Release(t.Context(), key, next))
			holds(t, c, key, placement.Claim{}, 0)
		}
	}
}

// The ctx of a write ends while its fate is unknown. It says so, and the same write finds out.
func TestUnknown(t *testing.T) {
	t.Parallel()
	f := &servers.Faulty{JetStream: servers.Connect(t, servers.Start(t, embedded.Config{}))}
	c := open(t, f, Config{})
	for _, what := range []servers.Fault{servers.Lost, servers.AckLost} {
		key, claim := placement.Key{Kind: "k", ID: fmt.Sprint(what)}, by("n")
		short, cancel := context.WithCancel(t.Context())
		f.Plan(what)
		f.After(cancel)
		_, err := c.Create(short, key, claim)
		if cancel(); !errors.Is(err, placement.ErrUnknown) || errors.Is(err, placement.ErrUnavailable) || placement.After(err) != placement.ReadAgain {
			t.Errorf("fault %d: %v", what, err)
		}
		holds(t, c, key, claim, create(t, c, key, claim))
	}
}
