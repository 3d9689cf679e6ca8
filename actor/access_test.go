package actor

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/rpc"
)

// A principal that may do one operation may do no other.
func TestWhoMayDoWhat(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		for op := range verbs {
			// One operation is allowed to everybody, so c may do this one and no other.
			g.setAccess(t, access.Rules{Default: access.Deny, List: []access.Rule{
				{Effect: access.Allow, Principals: []string{"by one"}},
				{Effect: access.Allow, Ops: op},
			}})
			for other, do := range verbs {
				if err := do(t.Context(), g.a); err != nil {
					t.Errorf("who may do everything: %v: %v", other, err)
				}
				synctest.Wait()
				g.door.visits()
				before, err := g.b.Stats().Denied, do(t.Context(), g.c)
				denied := g.b.Stats().Denied - before
				if other == op {
					if err != nil || denied != 0 {
						t.Errorf("who may %v: %v, %d denied", op, err, denied)
					}
					continue
				}
				if rpc.CodeOf(err) != rpc.Denied || rpc.Ran(err) != rpc.NotRun || denied != 1 {
					t.Errorf("who may %v and does %v: %v, ran %v, %d denied", op, other, err, rpc.Ran(err), denied)
				}
				synctest.Wait()
				if came := g.door.visits(); len(came) > 0 {
					t.Errorf("who may %v and does %v: %v", op, other, came)
				}
			}
		}
	})
}

// Rules can name messages, actors, kinds and services. They do not apply to messages of the
// actors of the node itself.
func TestAccessByMessage(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		if _, err := g.b.Spawn("porch", doorKind(g.door), Expose("bells")); err != nil {
			t.Fatal(err)
		}
		g.setAccess(t, access.Rules{Default: access.Deny, List: []access.Rule{
			{Effect: access.Deny, Actors: []string{"porch"}, Messages: []string{"test.door.O*"}},
			{Effect: access.Allow, Services: []string{"bells"}},
			{Effect: access.Allow, Kinds: []string{"door"}, Messages: []string{"test.door.Ring"}},
		}})
		time.Sleep(time.Second)
		ring := func(s *System, to string) error { _, err := Call(t.Context(), s.Ref(to), ringDoor{}); return err }
		open := func(s *System, to string) error { _, err := Call(t.Context(), s.Ref(to), openDoor{}); return err }
		for what, err := range map[string]error{"by message": ring(g.a, "door@b"), "by service": ring(g.a, "porch@b"),
			"from the node itself": open(g.b, "door@b"), "and under a key": func() error {
				_, err := Call(t.Context(), g.b.Ref("door@b"), openDoor{}, rpc.Key("k"))
				return err
			}()} {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		wantDenied(t, "another message", open(g.a, "door@b"))
		wantDenied(t, "an exception of a service", open(g.a, "porch@b"))
		wantDenied(t, "who does not exist is not told from who may not be asked", open(g.a, "nobody@b"))
		// A denied request does not eject an instance.
		ejected := g.a.Events(t.Context(), InstanceEjected)
		defer func() {
			synctest.Wait()
			if n := len(ejected); n > 0 {
				t.Errorf("%d instances were left out for refusals", n)
			}
		}()
		for range 20 {
			_, err := Call(t.Context(), g.a.Service("bells"), openDoor{})
			wantDenied(t, "at a service", err)
		}
		if _, err := Call(t.Context(), g.a.Service("bells"), ringDoor{}); err != nil {
			t.Errorf("after denials the service is %v", err)
		}
	})
}

// A denied message is not decoded and does not enter a mailbox, so a full mailbox does not
// delay the refusal.
func TestDeniedBeforeTheBody(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		g.setAccess(t, byOne)
		block := func() error { _, err := Call(t.Context(), g.a.Ref("door@b"), slowJob{}); return err }
		done := make(chan error, 1)
		go func() { done <- block() }()
		synctest.Wait()
		decoded.Lock()
		decoded.n = 0
		decoded.Unlock()
		_, err := Call(t.Context(), g.c.Ref("door@b"), touchy{Secret: secret{"x"}})
		wantDenied(t, "while the actor is busy", err)
		dead := g.b.DeadLetters(t.Context())
		if err := Tell(t.Context(), g.c.Ref("door@b"), touchy{Secret: secret{"x"}}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if d := <-dead; rpc.CodeOf(d.Reason) != rpc.Denied || d.To != "door@b" {
			t.Errorf("a one-way message: %+v", d)
		}
		if _, err := Submit(t.Context(), g.c.Ref("door@b"), touchy{Secret: secret{"x"}}); rpc.CodeOf(err) != rpc.Denied {
			t.Error(err)
		}
		decoded.Lock()
		if decoded.n != 0 {
			t.Errorf("%d bodies were decoded", decoded.n)
		}
		decoded.Unlock()
		g.door.finish <- struct{}{}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Actors that are local only cannot be reached from other nodes, even without rules. With
// ExposedOnly, only exposed actors can be reached.
func TestLocalAndExposedActors(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		for name, spawned := range map[string]func() (Ref, error){
			"mine": func() (Ref, error) { return g.b.Spawn("mine", doorKind(g.door), LocalOnly()) },
			"kept": func() (Ref, error) { return g.b.Spawn("kept", doorKind(g.door).With(KeptLocal())) },
		} {
			ref, err := spawned()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := Call(t.Context(), ref, openDoor{}); err != nil {
				t.Errorf("%s from its own node: %v", name, err)
			}
			if _, err := Call(t.Context(), ref, openDoor{}, rpc.Key("k")); err != nil {
				t.Errorf("%s from its own node: %v", name, err)
			}
			_, err = Call(t.Context(), g.a.Ref(name+"@b"), openDoor{})
			wantDenied(t, name, err)
			_, err = Call(t.Context(), g.a.Ref(name+"@b"), openDoor{}, rpc.Key("k"))
			wantDenied(t, name+" under a key", err)
			_, err = Submit(t.Context(), g.a.Ref(name+"@b"), openDoor{})
			wantDenied(t, name+" by a job", err)
			wantDenied(t, name+" one-way", Tell(t.Context(), g.a.Ref(name+"@b"), knock{}, rpc.Acked()))
		}
		for what, try := range map[string]func() (Ref, error){
			"an option": func() (Ref, error) { return g.b.Spawn("both", doorKind(g.door), LocalOnly(), Expose("s")) },
			"the kind":  func() (Ref, error) { return g.b.Spawn("both", doorKind(g.door).With(KeptLocal()), Expose("s")) },
		} {
			if _, err := try(); rpc.CodeOf(err) != rpc.Invalid {
				t.Errorf("exposed and kept local, by %s: %v", what, err)
			}
		}
		if _, err := g.b.Spawn("shown", doorKind(g.door), Expose("s")); err != nil {
			t.Fatal(err)
		}
		g.setAccess(t, access.Rules{ExposedOnly: true})
		if _, err := Call(t.Context(), g.a.Ref("shown@b"), openDoor{}); err != nil {
			t.Error(err)
		}
		_, err := Call(t.Context(), g.a.Ref("door@b"), openDoor{})
		wantDenied(t, "not exposed", err)
	})
}

// If a node may not expose a service, calls to the service stop going to that node as soon as
// the rules are set. One log line says why.
func TestWhoMayExpose(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		other := &door{finish: make(chan struct{})}
		for sys, d := range map[*System]*door{g.a: g.door, g.c: other} {
			if _, err := sys.Spawn("gate", doorKind(d), Expose("gates")); err != nil {
				t.Fatal(err)
			}
		}
		calls := func() {
			t.Helper()
			synctest.Wait()
			for range 40 {
				if _, err := Call(t.Context(), g.b.Service("gates"), openDoor{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		calls()
		if len(other.visits()) == 0 {
			t.Error("an instance that everybody may expose was not called")
		}
		g.setAccess(t, access.Rules{List: []access.Rule{{Name: "gates are a's", Effect: access.Deny, Principals: []string{rpc.NodePrincipal("c")}, Services: []string{"gates"}, Ops: access.Expose}}})
		calls()
		if n := len(other.visits()); n != 0 {
			t.Errorf("%d calls went where the service may not be exposed", n)
		}
		if lines := g.log.About("gates are a's"); len(lines) != 1 || !strings.Contains(lines[0], "gate@c") {
			t.Errorf("%q", lines)
		}
		if n := g.b.Stats().Denied; n == 0 {
			t.Error("it is not counted")
		}
	})
}

// Refusals are summed up: there is one line and one event a second for each principal and
// actor, with the number of refusals. All of them are counted.
func TestRefusalsAreSummedUpInTheLog(t *testing.T) {
	withGuests(t, func(t *testing.T, g guests) {
		g.setAccess(t, byOne)
		events := g.b.Events(t.Context(), AccessDenied)
		for n := range 1000 {
			_, err := Call(t.Context(), g.c.Ref("door@b"), openDoor{})
			wantDenied(t, "a call", err)
			if strings.Contains(err.Error(), "default") {
				t.Fatal("its caller learns of the rule: ", err)
			}
			if n == 0 {
				_, err := Call(t.Context(), g.c.Ref("jobs@b"), openDoor{})
				wantDenied(t, "of another actor", err)
			}
		}
		time.Sleep(2 * faultPause)
		if got := g.b.Stats().Denied; got != 1001 {
			t.Errorf("%d denied", got)
		}
		lines := g.log.About("access denied")
		if len(lines) < 3 || len(lines) > 8 {
			t.Errorf("%d lines: %s", len(lines), strings.Join(lines, "\n"))
		}
		for _, want := range []string{"principal=by two", "peer=c", "actor=door@b", "op=call", "rule=default", "last=test.door.Open", "count=1"} {
			if !strings.Contains(lines[0], want) {
				t.Errorf("no %s in %s", want, lines[0])
			}
		}
		total := uint64(0)
		for n := 0; n < len(lines); n++ {
			e := <-events
			total += e.Count
			if e.Peer != "c" || rpc.CodeOf(e.Err) != rpc.Denied {
				t.Errorf("%+v", e)
			}
		}
		if total != 1001 || len(events) != 0 {
			t.Errorf("%d refusals in %d events", total, len(lines))
		}
	})
}
