// Requests whose server died before its reply arrived, and servers that are asked what
// became of them.

package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// lostOutcome makes b run "x" for a and die before its reply arrives. The next start of b is
// not started yet.
func lostOutcome(t *testing.T, r *rig, timeout time.Duration, change ...func(*client.Request)) (a *site, d *disk, f *rpc.Future[string], call *client.Call) {
	t.Helper()
	d = new(disk)
	a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, d.config)
	b.durably(same)
	a.echoesAs(t, "b", "warm up", "got warm up")
	r.setTap(func(h hop) fate {
		if h.Verb == transport.VerbReply {
			return drop
		}
		return pass
	})
	req := request("b", "x", timeout)
	for _, fn := range change {
		fn(&req)
	}
	f, call = a.send(req)
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
	d.unplug()
	b.crash(false)
	r.setTap(nil)
	if b.ran("x") != 1 {
		t.Fatalf("it ran %d times", b.ran("x"))
	}
	return a, d, f, call
}

// isQuestion reports whether a message asks what became of a request.
func isQuestion(h hop) bool {
	return h.Verb == transport.VerbRequest && h.Flags&transport.FlagRecover != 0
}

// with returns what a node has with a peer.
func (s *site) with(node string) client.PeerView {
	for _, v := range s.Client.View() {
		if v.Node == node {
			return v
		}
	}
	return client.PeerView{}
}

// unresolved waits until so many of a's requests are unresolved.
func (s *site) unresolved(t *testing.T, want int) {
	t.Helper()
	var v client.PeerView
	for range 10_000 {
		synctest.Wait()
		if v = s.with("b"); v.Unresolved == want {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if v.Unresolved != want {
		t.Fatalf("%d requests are unresolved, want %d", v.Unresolved, want)
	}
	if want == 0 && v.Bytes != 0 {
		t.Errorf("%d bytes of bodies are counted, and none is kept", v.Bytes)
	}
}

// until waits until ok returns true.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 100_000 {
		synctest.Wait()
		if ok() {
			return
		}
		time.Sleep(time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}

// lostReply makes a send body to b. b runs it and crashes, and its reply is lost.
func (r *rig) lostReply(a, b *site, body string, change ...func(*client.Request)) *rpc.Future[string] {
	r.setTap(func(h hop) fate {
		if h.Verb == transport.VerbReply {
			return drop
		}
		return pass
	})
	req := request("b", body, patience)
	for _, fn := range change {
		fn(&req)
	}
	f, _ := a.send(req)
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
	if d, ok := b.cfg.Store.(*disk); ok {
		d.unplug()
	}
	b.crash(false)
	r.setTap(nil)
	return f
}
