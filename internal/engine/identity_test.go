package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

func TestWhoIsTheNodeThatItSaysItIs(t *testing.T) {
	for _, c := range []struct {
		what string
		claim
		proven bool
	}{
		{"its certificate has its name", claim{"bank", "tls:bank", "node:bank", "", false}, true},
		{"another one's", claim{"bank", "tls:mallory", "tls:mallory", "", false}, false},
		{"another node", claim{"bank", "tls:mallory", "node:mallory", "", false}, false},
		{"the record names it", claim{"bank-1", "tls:bank", "tls:bank", "tls:bank", false}, true},
		{"the record names another", claim{"bank", "tls:bank", "node:bank", "tls:vault", false}, false},
		{"no record", claim{"bank-1", "nats:bank", "nats:bank", "", false}, false},
		{"the token is shared", claim{"bank", "token", "token", "", false}, true},
		{"nobody proves anything", claim{"bank", "anonymous", "anonymous", "", false}, true},
		{"nor does a mapping by road", claim{"bank", "anonymous", "bus anonymous", "", false}, true},
		{"nobody, and the record names one", claim{"bank", "anonymous", "anonymous", "node:bank", false}, false},
		{"the token, and the record names one", claim{"bank", "token", "token", "node:bank", false}, false},
		{"a certificate with the token's name", claim{"bank", "tls:token", "tls:token", "", false}, false},
		{"a user with no one's name", claim{"bank", "nats:token", "nats:token", "", false}, false},
		{"this node's own name", claim{"shop", "tls:shop", "node:shop", "", true}, false},
		{"and in its record", claim{"shop", "tls:shop", "node:shop", "node:shop", true}, false},
		{"and without a proof", claim{"shop", "anonymous", "anonymous", "", true}, false},
	} {
		if got := c.claim.proven(); got != c.proven {
			t.Errorf("%s: %v", c.what, got)
		}
		if !c.proven && c.expected() == "" {
			t.Errorf("%s: nothing is wanted", c.what)
		}
	}
}

func TestPrincipalsOfDifferentRoadsAreNotEqual(t *testing.T) {
	all := map[string]string{}
	for _, p := range []transport.Peer{
		{Node: "a", Principal: "tls:bank"}, {Node: "a", Principal: "nats:bank"}, {Node: "a", Principal: "token"},
		{Node: "a", Principal: "nats:token"}, {Node: "a", Principal: "tls:token"}, {Node: "a", Principal: "anonymous"},
		{Node: "a", Principal: "tls:anonymous"}, {Node: "a", Principal: "tls:"}, {Node: "bank", Principal: "other:bank"},
		{Node: "bank", Principal: "bank"}, {Node: "bank", Principal: "tls:bank"},
	} {
		got := rpc.PrincipalOf("r", p)
		if was, known := all[got]; known {
			t.Errorf("%v and %s are both %q", p, was, got)
		}
		all[got] = p.Principal
	}
	for _, kind := range []string{"tls:", "nats:"} {
		if got := rpc.PrincipalOf("r", transport.Peer{Node: "bank", Principal: kind + "bank"}); got != rpc.NodePrincipal("bank") {
			t.Errorf("%sbank that says it is bank: %q", kind, got)
		}
	}
}

// Each kind of foreign link is reported once a minute, and at most 64 kinds are.
func TestForeignLinksAreSaidRarely(t *testing.T) {
	var n notices
	for i := range maxNotices {
		if !n.due(fmt.Sprint(i), 1) || n.due(fmt.Sprint(i), noticeEvery) {
			t.Fatalf("sort %d", i)
		}
	}
	if n.due("one more", noticeEvery) {
		t.Error("one more is said")
	}
	if !n.due("0", 1+noticeEvery) || !n.due("one more", 1+noticeEvery) || len(n.logged) > maxNotices {
		t.Error("after a while")
	}
}

// as makes a node have the given principal on all of its roads.
func (r *rig) as(principal string) func(*Config) {
	return func(c *Config) {
		for i, t := range c.Transports {
			c.Transports[i] = &tapped{Transport: r.net.TransportAs(t.Road(), t.Direct(), principal), r: r}
		}
	}
}

// rawAs is like dialRaw, for a client that claims to be the node name and has another
// principal.
func (r *rig) rawAs(node, epoch, principal, road, to string) *raw {
	r.t.Helper()
	tr := r.net.TransportAs(road, road == "direct", principal)
	c := &raw{}
	local := transport.Local{Cluster: "test", Node: node, Epoch: epoch}
	if _, err := tr.Start(r.t.Context(), local, func(transport.Link) transport.Receiver { return &raw{} }); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { tr.Close() })
	place, _ := r.resolve(r.t.Context(), to)
	var err error
	c.link, err = tr.Dial(r.t.Context(), transport.Endpoint{Node: to, Epoch: place.Epoch, Addr: place.Addrs[road]}, func(transport.Link) transport.Receiver { return c })
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// slander sends everything that a server, or a node that leaves, can say about the existing
// sessions, and answers all requests.
func (c *raw) slander(t *testing.T, grants []transport.Grant) {
	t.Helper()
	for _, g := range append(grants, transport.Grant{}) {
		for seq := range uint64(20) {
			c.say(t, transport.Envelope{Verb: transport.VerbReply, Seq: seq, TypeID: 1, Codec: 1, Body: []byte("forged")})
			c.say(t, transport.Envelope{Verb: transport.VerbReply, Seq: seq, Code: uint16(rpc.SessionLost), Grant: g})
			c.say(t, transport.Envelope{Verb: transport.VerbOpened, Seq: seq, Grant: g, Mark: transport.Mark{Below: 9}})
			c.say(t, transport.Envelope{Verb: transport.VerbOpened, Seq: seq, Code: uint16(rpc.SessionLost)})
			c.say(t, transport.Envelope{Verb: transport.VerbStatus, Seq: seq})
			c.say(t, transport.Envelope{Verb: transport.VerbPong, Seq: client.Fence | seq})
		}
		c.say(t, transport.Envelope{Verb: transport.VerbBye, Grant: g, Body: (&wire.LastWord{}).Append(nil)})
	}
	c.say(t, transport.Envelope{Verb: transport.VerbResync})
	c.say(t, transport.Envelope{Verb: transport.VerbBye})
}

func (s *site) grants() []transport.Grant {
	return s.Server.View().Sessions
}

// A client that claims to be a node, and knows its epoch and everything else, but has another
// principal, gets none of the node's requests and ends none of them: not before the node is
// linked, not while it is, and not after it died. Its own requests are served under its own
// principal.
func TestNobodySpeaksForAnotherNode(t *testing.T) {
	for _, roads := range [][]string{direct, bus, twoRoads} {
		t.Run(fmt.Sprint(roads), func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				var log lines
				shop := r.start("shop", "shop1", roads, r.as("tls:shop"), func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
				bank := r.start("bank", "bank1", roads, r.as("tls:bank"))
				road := roads[0]
				early := r.rawAs("bank", "bank1", "tls:mallory", road, "shop")
				early.slander(t, nil)
				release := make(chan struct{})
				bank.handle(func(_ *server.Inbound, body string) string {
					if body == "slow" {
						<-release
					}
					return "bank: " + body
				})
				if got, err := shop.ask("bank", "x"); got != "bank: x" || err != nil {
					t.Fatalf("while another is there first: %q, %v", got, err)
				}
				slow, _ := shop.send(request("bank", "slow", patience))
				synctest.Wait()
				late := r.rawAs("bank", "bank1", "tls:mallory", road, "shop")
				for _, c := range []*raw{early, late} {
					c.slander(t, bank.grants())
				}
				if shop.Client.Leaving("bank") || shop.Stats().Lost > 0 {
					t.Errorf("bank leaves: %v, sessions lost: %d", shop.Client.Leaving("bank"), shop.Stats().Lost)
				}
				close(release)
				if got, err := slow.Await(context.Background()); got != "bank: slow" || err != nil {
					t.Errorf("what was under way: %q, %v", got, err)
				}

				var in *server.Inbound
				shop.handle(func(i *server.Inbound, body string) string { in = i; return body })
				g := one(t, late.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1})).Grant
				if e := one(t, late.say(t, transport.Envelope{Verb: transport.VerbRequest, Grant: g, Seq: 1, Target: "t", Body: []byte("y"), Timeout: time.Minute})); string(e.Body) != "y" {
					t.Fatalf("its own request: %+v", e)
				}
				if in.Principal() != "tls:mallory" || in.From() != "" || in.Own() {
					t.Errorf("it is served as %q of node %q", in.Principal(), in.From())
				}

				bank.crash(false) // this also ends all links of that name
				time.Sleep(time.Second)
				late = r.rawAs("bank", "bank1", "tls:mallory", road, "shop")
				if synctest.Wait(); shop.Linked("bank") {
					t.Error("bank counts as linked")
				}
				late.slander(t, nil)
				f, _ := shop.send(request("bank", "z", 10*time.Second))
				if got, err := f.Await(context.Background()); err == nil {
					t.Errorf("after bank died: %q", got)
				}
				if n := shop.saw(rpc.LinkForeign); n != 1 || log.with("is not the node that it says it is") != 1 {
					t.Errorf("%d events, log: %s", n, log.buf.String())
				}
				if s := shop.Stats(); s.LinksForeign < 2 {
					t.Errorf("%d foreign links are counted", s.LinksForeign)
				}
			})
		})
	}
}

// If another node answers at the node's address, the request ends, and it has not run there.
func TestAnotherOneAtTheAddress(t *testing.T) {
	for _, roads := range [][]string{direct, bus} {
		t.Run(fmt.Sprint(roads), func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				shop := r.start("shop", "shop1", roads, r.as("tls:shop"))
				mallory := r.start("bank", "bank1", roads, r.as("nats:mallory"))
				mallory.handle(func(*server.Inbound, string) string { return "forged" })
				for range 3 {
					_, err := shop.ask("bank", "x")
					wantErr(t, "asked", err, rpc.Denied, rpc.NotRun)
					if !errors.Is(err, transport.ErrIdentity) || !strings.Contains(err.Error(), "nats:mallory") || !strings.Contains(err.Error(), "node:bank") {
						t.Errorf("%v", err)
					}
				}
				if shop.saw(rpc.LinkForeign) != 1 || mallory.ran("x") > 0 || shop.Linked("bank") {
					t.Errorf("%d events, ran %d times", shop.saw(rpc.LinkForeign), mallory.ran("x"))
				}
			})
		})
	}
}

// If the registry's record of a node names a principal, that principal is required of links in
// both directions.
func TestTheRecordNamesThePrincipal(t *testing.T) {
	onRecord := func(named string) func(c *Config) {
		return func(c *Config) {
			c.Recorded = func(string) string { return named }
			resolve := c.Resolve
			c.Resolve = func(ctx context.Context, node string) (client.Place, error) {
				p, err := resolve(ctx, node)
				p.Principal = named
				return p, err
			}
		}
	}
	withRig(t, func(t *testing.T, r *rig) {
		a := r.start("a-1", "a1", twoRoads, r.as("tls:shops"), onRecord("tls:shops"))
		b := r.start("b-1", "b1", twoRoads, r.as("tls:shops"), onRecord("tls:shops"))
		c := r.start("c", "c1", twoRoads, r.as("tls:c"), onRecord("tls:shops"))
		a.echoes("b-1", "x")
		b.echoes("a-1", "y")
		_, err := a.ask("c", "z")
		wantErr(t, "the name is right and not the principal", err, rpc.Denied, rpc.NotRun)
		c.echoes("a-1", "x")
		if n := c.saw(rpc.LinkForeign); n > 0 {
			t.Errorf("%d foreign links", n)
		}
	})
}

// A link that claims this node's own name is never treated as its own: its answers do not
// count, and it does not delay the shutdown.
func TestNobodyIsThisNode(t *testing.T) {
	for _, principal := range []string{transport.Anonymous, "tls:shop"} {
		withRig(t, func(t *testing.T, r *rig) {
			shop := r.start("shop", "shop1", direct)
			c := r.rawAs("shop", "shop1", principal, "direct", "shop")
			c.slander(t, nil)
			var own, theirs *server.Inbound
			shop.handle(func(in *server.Inbound, body string) string {
				if body == "theirs" {
					theirs = in
				} else {
					own = in
				}
				return body
			})
			shop.echoes("shop", "x")
			c.slander(t, shop.grants())
			shop.echoes("shop", "x")
			g := one(t, c.say(t, transport.Envelope{Verb: transport.VerbOpen, Seq: 1})).Grant
			c.say(t, transport.Envelope{Verb: transport.VerbRequest, Grant: g, Seq: 1, Target: "t", Body: []byte("theirs"), Timeout: time.Minute})
			if !own.Own() || theirs.Own() || theirs.From() != "" {
				t.Errorf("own: %v, theirs: %v from %q", own.Own(), theirs.Own(), theirs.From())
			}
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			shop.AnnounceLeaving(ctx)
			shop.LastWords(ctx)
			if took := time.Since(began); took > 2*byeRepeat {
				t.Errorf("it held the node for %v", took)
			}
		})
	}
}

// A reply is accepted only on a link on which a copy of the request was sent.
func TestOnlyTheLinkThatWasAskedAnswers(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", twoRoads), r.start("b", "b1", twoRoads)
		release := make(chan struct{})
		b.handle(func(_ *server.Inbound, body string) string { <-release; return body })
		f, _ := a.send(request("b", "x", patience))
		time.Sleep(time.Second) // both roads are open
		b.Node.mu.Lock()
		for c := range b.Node.conns {
			if c.Road() == "bus" {
				c.Post(&transport.Envelope{Verb: transport.VerbReply, Seq: 1, TypeID: 1, Codec: 1, Body: []byte("forged")})
				c.Post(&transport.Envelope{Verb: transport.VerbReply, Seq: 1, Code: uint16(rpc.SessionLost)})
			}
		}
		b.Node.mu.Unlock()
		time.Sleep(time.Second)
		close(release)
		if got, err := f.Await(context.Background()); got != "x" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if s := a.Stats(); s.RepliesLate != 2 || s.Lost > 0 {
			t.Errorf("%d replies were dropped, %d sessions lost", s.RepliesLate, s.Lost)
		}
	})
}

// A node whose principal has changed gets a new session, also if its direct link was closed
// because it was idle. So does a client whose server has another principal now.
func TestEitherSideMayBecomeAnotherPrincipal(t *testing.T) {
	for _, server := range []bool{true, false} {
		t.Run(fmt.Sprint(server), func(t *testing.T) {
			withRig(t, func(t *testing.T, r *rig) {
				name := "node:old"
				byName := func(c *Config) {
					c.Roads, c.Principals = rpc.Adaptive, func(string, transport.Peer) string { return name }
				}
				adaptive := func(c *Config) { c.Roads = rpc.Adaptive }
				var a, b *site
				if server {
					a, b = r.start("a", "a1", twoRoads, byName), r.start("b", "b1", twoRoads, adaptive)
				} else {
					a, b = r.start("a", "a1", twoRoads, adaptive), r.start("b", "b1", twoRoads, byName)
				}
				for range 2 * busy {
					a.echoes("b", "x")
				}
				time.Sleep((quiet + 5) * rpc.DefaultHeartbeat)
				if a.Stats().Links != 1 {
					t.Fatalf("%d links", a.Stats().Links)
				}
				name = "node:new"
				r.net.Reset("", "a", "b")
				began := time.Now()
				a.echoes("b", "y")
				if took := time.Since(began); took > 8*time.Second {
					t.Errorf("it took %v", took)
				}
				if n := a.Stats().Lost; n != 1 {
					t.Errorf("%d sessions were given up", n)
				}
				_ = b
			})
		})
	}
}
