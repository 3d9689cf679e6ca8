package engine

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// A stored reply is replayed only to a principal that may still have it. The error that others
// get says whether the request ran. The same is true of a probe, and of a key under which no
// request waits.
func TestStoredRepliesNeedPermission(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		var barred atomic.Bool
		var mu sync.Mutex
		var said []server.Arrival
		b := r.start("b", "b1", []string{"direct"}, func(c *Config) {
			c.Check = func(a server.Arrival) *rpc.Error {
				if barred.Load() {
					return rpc.Errorf(rpc.Denied, rpc.NotRun, "not any more")
				}
				return nil
			}
			c.OnDenied = func(a server.Arrival, err *rpc.Error) {
				mu.Lock()
				defer mu.Unlock()
				said = append(said, a)
			}
		})
		b.handle(func(_ *server.Inbound, body string) string { return body })
		c := r.dialRaw("c", "direct", "b")
		open := one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1}))
		ask := transport.Envelope{Verb: transport.VerbRequest, Seq: 1, Grant: open.Grant, Target: "t", TypeID: 7, Body: []byte("x")}
		keyed := ask
		keyed.Seq, keyed.Key = 2, "k"
		for _, e := range []transport.Envelope{ask, keyed} {
			if e := one(t, c.say(t, e)); e.Code != 0 || string(e.Body) != "x" {
				t.Fatalf("%+v", e)
			}
		}
		again := keyed
		again.Seq = 3
		barred.Store(true)
		for what, row := range map[string]struct {
			transport.Envelope
			flag transport.Flags
		}{
			"a copy":           {ask, transport.FlagRan},
			"a copy with key":  {keyed, transport.FlagRan},
			"a probe":          {transport.Envelope{Verb: transport.VerbProbe, Seq: 1, Grant: open.Grant}, transport.FlagRan},
			"another attempt":  {again, transport.FlagNotRun},
			"an old session's": {transport.Envelope{Verb: transport.VerbRequest, Flags: transport.FlagRecover, Seq: 9, Grant: transport.Grant{1}, Target: "t", TypeID: 7}, 0},
		} {
			e := one(t, c.say(t, row.Envelope))
			if rpc.Code(e.Code) != rpc.Denied || e.Flags&(transport.FlagRan|transport.FlagNotRun) != row.flag || len(e.Body) > 0 {
				t.Errorf("%s: %+v", what, e)
			}
		}
		synctest.Wait()
		mu.Lock()
		if len(said) != 5 {
			t.Errorf("%d refusals were told", len(said))
		}
		for _, a := range said {
			if a.Target != "t" || a.TypeID != 7 || a.Origin.Node != "c" || a.Origin.Principal != transport.Anonymous || a.Origin.Local || a.Addr.IsValid() {
				t.Errorf("%+v of %+v", a, a.Origin)
			}
		}
		mu.Unlock()
		barred.Store(false)
		for what, e := range map[string]transport.Envelope{"a copy": ask, "a probe": {Verb: transport.VerbProbe, Seq: 1, Grant: open.Grant}} {
			if e := one(t, c.say(t, e)); e.Code != 0 || string(e.Body) != "x" {
				t.Errorf("%s: %+v", what, e)
			}
		}
		if b.ran("x") != 2 {
			t.Errorf("it ran %d times", b.ran("x"))
		}
	})
}
