// How many sessions one principal may open, and how often it may ask about requests of an
// earlier start.

package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/tandem-go/tandem/internal/engine/account"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// Sessions of one principal reserve no memory before they need it. When they did, the 257th
// client was refused everything.
func TestManySessionsOfOnePrincipal(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		r.start("b", "b1", bus, func(c *Config) { c.MemoryBytes = 8 << 20 })
		for i := range 1000 {
			c := r.dialRaw(fmt.Sprint("c", i), "bus", "b")
			grant := c.open(t, 1)
			got := one(t, c.say(t, transport.Envelope{Verb: transport.VerbRequest, Grant: grant, Seq: 1, Target: "t", Body: []byte("x"), Timeout: time.Minute}))
			if got.Code != 0 {
				t.Fatalf("client %d: %+v", i, got)
			}
		}
	})
}

// One principal may open a limited number of sessions at once, and a limited number per second.
// Its sessions leave room for those of others.
func TestOpensAreBounded(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d := new(disk)
		honest, b := attacked(r, d.config, func(c *Config) { c.MaxSessions = 400 })
		c := r.dialRaw("c", "bus", "b")
		const count = 20_000
		got := c.flood(t, count, func(i int) transport.Envelope {
			return transport.Envelope{Verb: transport.VerbOpen, Seq: uint64(i) + 1}
		})
		refused := 0
		for _, e := range got {
			if rpc.Code(e.Code) == rpc.Overloaded {
				refused++
			}
		}
		s := b.Stats()
		if len(got) != count || count-refused != 100 || s.SessionsOpened != 100+1 || s.OpensRefused != count-100 {
			t.Errorf("%d answers, %d of them refuse; %d opened, %d refused", len(got), refused, s.SessionsOpened, s.OpensRefused)
		}
		honest.Close()
		r.start("h", "h1", direct).echoes("b", "opens one beside it")
		before := b.Stats().SessionsOpened
		time.Sleep(time.Second)
		c = r.dialRaw("d", "bus", "b")
		c.flood(t, 100, func(i int) transport.Envelope {
			return transport.Envelope{Verb: transport.VerbOpen, Seq: uint64(i) + 1}
		})
		if n := b.Stats().SessionsOpened - before; n < 6 || n > 8 {
			t.Errorf("a second later %d are opened, want 400/64", n)
		}
	})
	withRig(t, func(t *testing.T, r *rig) { // sessions with a request, which are not dropped
		honest, b := attacked(r, func(c *Config) { c.MaxSessions = 64 })
		b.serve = func(in *server.Inbound) {
			if in.Principal() == "honest" {
				echo(in)
			}
		}
		c := r.dialRaw("c", "bus", "b")
		for i := range uint64(64) {
			e := one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: i + 1}))
			if most := uint64(48); (e.Code == 0) != (i < most) {
				t.Fatalf("session %d: %+v", i+1, e)
			}
			c.say(t, transport.Envelope{Verb: transport.VerbRequest, Grant: e.Grant, Seq: 1, Target: "t", Timeout: time.Hour})
		}
		honest.Close()
		for i := range 5 {
			r.start(fmt.Sprint("h", i), "h1", direct).echoes("b", "opens one beside it")
		}
	})
}

// A client without a session gets no answer about requests of an earlier start, and its
// questions leave no rows in the application's records. Those of a client with a session leave
// a limited number of rows at once, and a limited number per second.
func TestQuestionsOfStrangers(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		d, rows := new(disk), new(countVoids)
		_, b := attacked(r, d.config, func(c *Config) { c.Kinds = []string{"test"} })
		b.mu.Lock()
		b.durability = server.Durability{Known: true, Kind: "test", Completions: rows}
		b.mu.Unlock()
		c := r.dialRaw("c", "bus", "b")
		ask := func(i int) transport.Envelope {
			return transport.Envelope{Verb: transport.VerbRequest, Flags: transport.FlagRecover, Grant: transport.Grant{1}, Seq: uint64(i) + 1, Target: "t", Message: "test"}
		}
		for _, e := range c.flood(t, 500, ask) {
			if rpc.Code(e.Code) != rpc.SessionLost || e.Flags != 0 {
				t.Fatalf("%+v", e)
			}
		}
		if n := rows.n.Load(); n != 0 {
			t.Errorf("a stranger has left %d rows", n)
		}
		c.open(t, 1)
		c.flood(t, account.VoidBurst+1000, ask)
		if n := rows.n.Load(); n != account.VoidBurst {
			t.Errorf("%d rows, want %d at once", n, account.VoidBurst)
		}
		time.Sleep(time.Second)
		c.flood(t, 1000, ask)
		if n := rows.n.Load(); n != account.VoidBurst+account.VoidRate {
			t.Errorf("%d rows a second later", n-account.VoidBurst)
		}
	})
}
