package rpc

import (
	"testing"
	"testing/synctest"
	"time"
)

// What Lapsed has said stays so, and Start ends the request: also if more time is given to
// it in between.
func TestLapsed(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", direct), r.start("b", "b1", direct)
		came := make(chan *Inbound, 1)
		b.serve = func(in *Inbound) { came <- in }
		for what, row := range map[string]struct {
			lapse      func(*Call)
			afterwards Code
		}{
			"deadline": {func(*Call) {
				r.setTap(func(h hop) fate { // nothing tells b that a has given up
					if h.from == "a" {
						return drop
					}
					return pass
				})
				time.Sleep(time.Second)
			}, Expired},
			"cancelled": {func(c *Call) { c.GiveUp(Canceled, "") }, Canceled},
		} {
			f, call := a.send(request("b", what, time.Second))
			in := <-came
			if in.Lapsed() {
				t.Errorf("%s: lapsed at once", what)
			}
			row.lapse(call)
			synctest.Wait()
			if !in.Lapsed() {
				t.Errorf("%s: not lapsed", what)
			}
			in.extend(b.now() + time.Hour)
			if !in.Lapsed() || in.Start() {
				t.Errorf("%s: it runs after all", what)
			}
			r.setTap(nil)
			_, err := f.Await(t.Context())
			if CodeOf(err) != row.afterwards {
				t.Errorf("%s: %v", what, err)
			}
		}
		f, _ := a.send(request("b", "alive", patience))
		in := <-came
		if !in.Start() || !in.Lapsed() { // it has had its turn
			t.Error("a live one")
		}
		in.Reply(1, 1, nil)
		if _, err := f.Await(t.Context()); err != nil {
			t.Error(err)
		}
		told := &Inbound{}
		if told.Lapsed() {
			t.Error("a one-way message lapsed")
		}
	})
}
