package engine

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

// Roads on which messages take longer than all pauses before a retry still work, and although
// opens are repeated, no request runs twice when it changes to another road.
func TestSlowRoads(t *testing.T) {
	for _, roads := range [][]string{direct, bus, twoRoads} {
		for _, delay := range []time.Duration{300 * time.Millisecond, 700 * time.Millisecond, 1500 * time.Millisecond} {
			t.Run(fmt.Sprint(roads, delay), func(t *testing.T) {
				withRig(t, func(t *testing.T, r *rig) {
					r.net.SetFaults("", "", "", memnet.Faults{MinDelay: delay, MaxDelay: delay})
					a, b := r.start("a", "a1", roads), r.start("b", "b1", roads)
					b.handle(func(_ *server.Inbound, body string) string { return body })
					for i := range 5 {
						a.echoes("b", fmt.Sprint("x", i))
					}
					f, _ := a.send(request("b", "y", patience))
					time.Sleep(delay + delay/2) // the reply is in flight
					r.net.Reset("", "a", "b")
					if got, err := f.Await(t.Context()); got != "y" || err != nil {
						t.Errorf("over a link that died: %q, %v", got, err)
					}
					time.Sleep(time.Minute)
					for body, n := range b.runs {
						if n != 1 {
							t.Errorf("%s ran %d times", body, n)
						}
					}
				})
			})
		}
	}
}

// A copy that was in a buffer until its server had been restarted, or its request had ended,
// does not run.
func TestLateCopiesDoNotRun(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads)
		b.handle(func(_ *server.Inbound, body string) string { return body })
		a.echoes("b", "warm up")
		synctest.Wait()
		r.net.Reset("direct", "a", "b")
		r.net.Hold("direct", "", "")
		synctest.Wait()
		r.net.Hold("bus", "a", "b")
		f, call := a.send(request("b", "x", patience))
		synctest.Wait()
		call.GiveUp(rpc.Canceled, "enough")
		_, err := f.Await(t.Context())
		wantErr(t, "given up", err, rpc.Canceled, rpc.Unknown)
		r.net.Heal("", "", "")
		a.echoes("b", "y")
		time.Sleep(time.Minute)
		if n := b.ran("x"); n > 1 {
			t.Errorf("ran %d times", n)
		}
	})
}

// If a peer's links die as soon as they are open, it is not dialled again without a pause.
func TestLinksThatDieAtOnce(t *testing.T) {
	for _, road := range [][]string{direct, bus} {
		t.Run(road[0], func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				a, _ := r.start("a", "a1", road), r.start("b", "b1", road)
				r.setTap(func(h hop) fate {
					if h.Verb == transport.VerbOpened {
						return cut
					}
					return pass
				})
				f, _ := a.send(request("b", "x", 10*time.Second))
				_, err := f.Await(t.Context())
				wantErr(t, "a request that never left", err, rpc.Expired, rpc.NotRun)
				if n := a.Stats().LinksLost; n < 5 || n > 100 {
					t.Errorf("%d links in 10 s", n)
				}
			})
		})
	}
}

// If the link dies with a request or with its reply, the request is sent again on the other
// road at once, under the same number, and runs once.
func TestResendOnTheOtherRoad(t *testing.T) {
	for _, row := range []struct {
		loses    transport.Verb
		replayed uint64
	}{{transport.VerbRequest, 0}, {transport.VerbReply, 1}} {
		t.Run(row.loses.String(), func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads)
				b.handle(func(_ *server.Inbound, body string) string { return body })
				a.echoes("b", "warm up")
				synctest.Wait()
				before := b.Stats().Replayed
				var seqs []uint64
				var flags []transport.Flags
				var roads []string
				done := false
				r.setTap(func(h hop) fate {
					if h.Verb == transport.VerbRequest {
						seqs, roads, flags = append(seqs, h.Seq), append(roads, h.road), append(flags, h.Flags)
					}
					if h.Verb == row.loses && h.road == "direct" && !done {
						done = true
						return cut
					}
					return pass
				})
				began := time.Now()
				a.echoes("b", "x")
				if took := time.Since(began); took > time.Millisecond {
					t.Errorf("took %v: resent after a time-out, not at once", took)
				}
				if len(seqs) != 2 || seqs[0] != seqs[1] || !slices.Equal(roads, twoRoads) || flags[1]&transport.FlagResend == 0 {
					t.Errorf("copies: numbers %v, roads %v, flags %v", seqs, roads, flags)
				}
				if n := b.ran("x"); n != 1 {
					t.Errorf("ran %d times", n)
				}
				if s := b.Stats(); s.Replayed-before != row.replayed {
					t.Errorf("replayed %d times", s.Replayed-before)
				}
			})
		})
	}
}

func TestNoRoad(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a := r.start("a", "a1", twoRoads)
		alone := r.start("alone", "a1", nil)
		busOnly := r.start("c", "c1", direct, func(c *Config) { c.Roads = rpc.BusOnly })
		r.places["gone"] = client.Place{Epoch: "x", Addrs: map[string]string{"direct": "mem:direct:99"}}
		r.places["unresolved"] = client.Place{}
		for _, row := range []struct {
			from *site
			to   string
			code rpc.Code
		}{
			{a, "nobody", rpc.NotFound}, {a, "gone", rpc.Unavailable}, {a, "unresolved", rpc.Unavailable}, {alone, "a", rpc.Unavailable}, {busOnly, "a", rpc.Unavailable},
		} {
			_, err := row.from.ask(row.to, "x")
			wantErr(t, row.from.name+" asks "+row.to, err, row.code, rpc.NotRun)
			wantErr(t, row.from.name+" tells "+row.to, row.from.Client.Tell(t.Context(), request(row.to, "x", patience)), row.code, rpc.NotRun)
			if row.from.saw(rpc.PeerDown) == 0 {
				t.Errorf("%s noted nothing of %s", row.from.name, row.to)
			}
		}
		// A node that appears later can be reached.
		r.start("nobody", "n1", bus)
		time.Sleep(5 * time.Second) // until no earlier attempt is still running
		a.echoes("nobody", "x")
	})
}
