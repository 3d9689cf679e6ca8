package engine

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// However many requests wait for a link when their session is lost, each of them ends: with its
// reply if the server comes back, otherwise by its deadline.
func TestAllEndWhenTheirSessionIsLost(t *testing.T) {
	for _, back := range []bool{true, false} {
		for _, n := range []int{64, 65, 192} {
			t.Run(fmt.Sprint(n, back), func(t *testing.T) {
				withRig(t, func(t *testing.T, r *rig) {
					a := r.start("a", "a1", twoRoads)
					b := r.start("b", "b1", twoRoads)
					a.echoes("b", "first")
					b.crash(false)
					r.net.Partition("", "b", "") // so that they wait
					began := time.Now()
					futures := make([]*rpc.Future[string], n)
					for i := range futures {
						futures[i], _ = a.send(request("b", fmt.Sprint(i), patience))
					}
					if back {
						time.Sleep(time.Second)
						r.net.Heal("", "b", "")
						r.start("b", "b2", twoRoads)
					} else {
						r.mu.Lock()
						r.places["b"] = client.Place{Epoch: "b2", Addrs: r.places["b"].Addrs} // the registry knows a place at which nobody answers
						r.mu.Unlock()
						r.net.Heal("", "b", "")
					}
					for i, f := range futures {
						got, err := f.Await(context.Background())
						if took := time.Since(began); took > patience {
							t.Fatalf("request %d ended after %v", i, took)
						}
						if back && (err != nil || got != fmt.Sprint(i)) {
							t.Fatalf("request %d: %q, %v", i, got, err)
						}
						if !back && rpc.Ran(err) != rpc.NotRun {
							t.Fatalf("request %d: %q, %v", i, got, err)
						}
					}
				})
			})
		}
	}
}

// lines keeps what is written to a log, and counts lines in it.
type lines struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *lines) with(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

// A node may have different principals on two roads. When its first road fails, the other one
// is used under the other principal, and both sides log which option to set.
func TestTheRoadThatIsLeftIsUsedUnderItsPrincipal(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		var logA, logB lines
		logTo := func(l *lines) func(*Config) {
			return func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(l, nil)) }
		}
		byRoad := func(c *Config) {
			c.Principals = func(road string, p transport.Peer) string { return road + p.Principal }
		}
		a, b := r.start("a", "a1", twoRoads, logTo(&logA)), r.start("b", "b1", twoRoads, byRoad, logTo(&logB))
		for round := range 3 {
			a.echoes("b", fmt.Sprint("direct ", round))
			b.echoes("a", fmt.Sprint("back ", round))
			r.net.Partition("direct", "", "")
			r.net.Reset("direct", "", "")
			for i := range 10 {
				a.echoes("b", fmt.Sprint("bus ", round, i))
			}
			b.echoes("a", fmt.Sprint("back on the bus ", round))
			r.net.Heal("direct", "", "")
			time.Sleep(5 * time.Second)
			a.echoes("b", fmt.Sprint("healed ", round))
			r.net.Partition("bus", "", "")
			r.net.Reset("bus", "", "")
			for i := range 10 {
				a.echoes("b", fmt.Sprint("direct again ", round, i))
			}
			r.net.Heal("bus", "", "")
			time.Sleep(5 * time.Second)
		}
		if n := logA.with("Config.Principals"); n == 0 || n > 12 {
			t.Errorf("the client says %d times what to set", n)
		}
		if n := logB.with("Config.Principals"); n == 0 || n > 18 { // as the server, and as the client of a
			t.Errorf("the server says %d times what to set", n)
		}
	})
}

// If a node's certificate is renewed with another name, the node is another principal, and its
// next link gets a session of its own.
func TestANewPrincipalGetsANewSession(t *testing.T) {
	for _, roads := range [][]string{direct, bus, twoRoads} {
		t.Run(fmt.Sprint(roads), func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				var mu sync.Mutex
				name := "old"
				renew := func(c *Config) {
					c.Principals = func(string, transport.Peer) string {
						mu.Lock()
						defer mu.Unlock()
						return name
					}
				}
				a, b := r.start("a", "a1", roads), r.start("b", "b1", roads, renew)
				release := make(chan struct{})
				b.handle(func(_ *server.Inbound, body string) string {
					if body == "slow" {
						<-release
					}
					return body
				})
				a.echoes("b", "x")
				slow, _ := a.send(request("b", "slow", patience))
				synctest.Wait()
				mu.Lock()
				name = "new"
				mu.Unlock()
				r.net.Reset("", "a", "b")
				began := time.Now()
				a.echoes("b", "y")
				if took := time.Since(began); took > 8*time.Second {
					t.Errorf("it took %v", took)
				}
				_, err := slow.Await(context.Background())
				wantErr(t, "what was under way", err, rpc.OutcomeUnknown, rpc.Unknown)
				close(release)
			})
		})
	}
}

// The latest possible deadline works like no deadline.
func TestDeadlinesFarOff(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		for _, timeout := range []time.Duration{math.MaxInt64, math.MaxInt64 - 1, wire.FarOff, wire.FarOff + 1, 1 << 55} {
			f, _ := a.send(request("b", "x", timeout))
			if got, err := f.Await(context.Background()); got != "x" || err != nil {
				t.Errorf("a timeout of %d: %q, %v", timeout, got, err)
			}
		}
	})
}

// Outstanding requests to a peer whose process has ended are ended at once, because nothing
// listens at its addresses on both roads. A peer that is cut off or stopped may still live, so
// its requests wait.
func TestWhatIsUnderWayEndsWithItsPeer(t *testing.T) {
	for _, c := range []struct {
		name  string
		roads []string
		ends  bool
		lost  func(r *rig, b *site)
	}{
		{"ended", twoRoads, true, func(r *rig, b *site) { b.crash(false) }},
		{"ended, on one road", direct, false, func(r *rig, b *site) { b.crash(false) }},
		{"cut off", twoRoads, false, func(r *rig, b *site) { r.net.Partition("", "", "b"); r.net.Reset("", "", "b") }},
		{"one road ended, one cut off", twoRoads, false, func(r *rig, b *site) { b.crash(false); r.net.Partition("direct", "", "b") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				a, b := r.start("a", "a1", c.roads), r.start("b", "b1", c.roads)
				stay := make(chan struct{})
				b.handle(func(*server.Inbound, string) string { <-stay; return "" })
				f, _ := a.send(request("b", "x", patience))
				time.Sleep(time.Second)
				began := time.Now()
				c.lost(r, b)
				close(stay)
				_, err := f.Await(context.Background())
				// A dial that began before the crash may use all of its time.
				if ended := time.Since(began) < 7*time.Second; ended != c.ends {
					t.Errorf("it ended after %v: %v", time.Since(began), err)
				}
				if rpc.Ran(err) != rpc.Unknown {
					t.Errorf("it ended as %v", err)
				}
			})
		})
	}
}
