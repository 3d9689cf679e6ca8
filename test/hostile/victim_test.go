//go:build linux && !race

package hostile

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"github.com/tandem-go/tandem/actor"
)

const victimName = "shop"

// What the victim's actors are sent.
type (
	Echo struct {
		actor.Returns[int]
		N   int
		Pad []byte
	}
	Nap  struct{ Pad []byte } // to the slow actor, one way or not
	Fail struct {
		actor.Returns[int]
		Pad []byte
	}
	Report struct{ actor.Returns[[]byte] }
	Boom   struct{ N int }
)

func (Echo) WireName() string   { return "hostile.echo" }
func (Nap) WireName() string    { return "hostile.nap" }
func (Fail) WireName() string   { return "hostile.fail" }
func (Report) WireName() string { return "hostile.report" }
func (Boom) WireName() string   { return "hostile.boom" }

type target struct{}

const (
	errorText  = 60 << 10
	reportSize = 20 << 20
)

// spawnTargets spawns what is attacked, and what the honest client calls.
func (r role) spawnTargets(sys *actor.System) error {
	kinds := map[string]*actor.Kind{
		"echo": actor.Define("hostile.echo", func() target { return target{} },
			actor.Answer(func(_ target, _ *actor.Context, m Echo) (int, error) { return m.N, nil })),
		"slow": actor.Define("hostile.slow", func() target { return target{} },
			actor.Handle(func(_ target, ctx *actor.Context, _ Nap) error { return nap(ctx) })),
		"fails": actor.Define("hostile.fails", func() target { return target{} },
			actor.Answer(func(_ target, _ *actor.Context, _ Fail) (int, error) {
				return 0, errors.New(strings.Repeat("x", errorText))
			})),
		"reports": actor.Define("hostile.reports", func() target { return target{} },
			actor.Answer(func(_ target, _ *actor.Context, _ Report) ([]byte, error) {
				return bytes.Repeat([]byte{1}, reportSize/r.Share), nil
			})),
		"panics": actor.Define("hostile.panics", func() target { return target{} },
			actor.Handle(func(_ target, _ *actor.Context, _ Boom) error { panic("no") })),
	}
	for name, kind := range kinds {
		if _, err := sys.Spawn(name, kind); err != nil {
			return err
		}
	}
	return nil
}

// nap takes long enough that everything else waits.
func nap(ctx *actor.Context) error {
	select {
	case <-time.After(time.Minute):
	case <-ctx.Done():
	}
	return nil
}
