// A client without a Node: it sends exactly the envelopes that a test gives it.

package engine

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/transport"
)

// raw is a client that sends what it is told to, and keeps what it gets.
type raw struct {
	link transport.Link
	mu   sync.Mutex
	got  []transport.Envelope
}

func (c *raw) Receive(e *transport.Envelope) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, *e)
}
func (c *raw) Flush()       {}
func (c *raw) Drained()     {}
func (c *raw) Disturbed()   {}
func (c *raw) Closed(error) {}

// say sends e, and returns all envelopes but pings that come until everything is idle.
func (c *raw) say(t *testing.T, e transport.Envelope) []transport.Envelope {
	t.Helper()
	synctest.Wait()
	c.mu.Lock()
	c.got = nil
	c.mu.Unlock()
	if _, err := c.link.Send(&e); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.got), func(e transport.Envelope) bool { return e.Verb == transport.VerbPing })
}

// dialRaw opens a link to a node for a client called name, without a session.
func (r *rig) dialRaw(name, road, to string) *raw {
	r.t.Helper()
	tr := r.net.Transport(road, road == "direct")
	local := transport.Local{Cluster: "test", Node: name, Epoch: name + "1"}
	c := &raw{}
	if _, err := tr.Start(r.t.Context(), local, func(transport.Link) transport.Receiver { return &raw{} }); err != nil {
		r.t.Fatal(err)
	}
	place, _ := r.resolve(r.t.Context(), to)
	var err error
	c.link, err = tr.Dial(r.t.Context(), transport.Endpoint{Node: to, Epoch: place.Epoch, Addr: place.Addrs[road]},
		func(transport.Link) transport.Receiver { return c })
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { tr.Close() })
	return c
}

// one fails the test unless got is one envelope, and returns it.
func one(t *testing.T, got []transport.Envelope) transport.Envelope {
	t.Helper()
	if len(got) != 1 {
		t.Fatalf("%d answers: %+v", len(got), got)
	}
	return got[0]
}

// open opens a session and returns its grant.
func (c *raw) open(t *testing.T, seq uint64) transport.Grant {
	t.Helper()
	return one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: seq})).Grant
}

// flood sends n envelopes, and returns all envelopes but pings that come until everything is
// idle.
func (c *raw) flood(t *testing.T, n int, e func(i int) transport.Envelope) (got []transport.Envelope) {
	t.Helper()
	synctest.Wait()
	c.mu.Lock()
	c.got = nil
	c.mu.Unlock()
	for i := range n {
		c.send(t, e(i))
		if i%16 == 15 {
			synctest.Wait()
		}
	}
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.got), func(e transport.Envelope) bool { return e.Verb == transport.VerbPing })
}

// send sends e.
func (c *raw) send(t *testing.T, e transport.Envelope) {
	t.Helper()
	if _, err := c.link.Send(&e); err != nil {
		t.Fatal(err)
	}
}

// answerPings sends a ping, so that the link does not count as silent.
func (c *raw) answerPings(t *testing.T) {
	t.Helper()
	c.send(t, transport.Envelope{Verb: transport.VerbPing, Seq: 1})
}
