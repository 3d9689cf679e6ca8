package gateway_test

import (
	"encoding/json"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/gateway/bindtest"
	"github.com/tandem-go/tandem/registry/static"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/test/bubble"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/memnet"
)

type (
	who   struct{ actor.Returns[string] }
	clash struct{ actor.Returns[string] }
	tree  struct {
		actor.Returns[int]
		Name     string `json:"name"`
		At       time.Time
		Data     []byte
		To       actor.Ref
		Children []tree
		Count    uint8 `json:",omitempty"`
	}
)

func (who) WireName() string   { return "a.Who" }
func (clash) WireName() string { return "b/Who" }
func (tree) WireName() string  { return "a.Tree" }

type host struct{}

func (h host) who(ctx *actor.Context, _ who) (string, error) { return ctx.Self().Name(), nil }

var hostKind = actor.Define("host", func() host { return host{} }, actor.Answer(host.who))

// What cannot work is found out at the start, all at once.
func TestBadTables(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		sys := start(t, actor.Config{})
		two := actor.Define("two", func() host { return host{} }, actor.Answer(host.who), actor.Answer(func(host, *actor.Context, clash) (string, error) { return "", nil }))
		_, err := gateway.New(sys, gateway.Service("a/b", hostKind), gateway.Service("hosts", hostKind), gateway.Actor("hosts", actor.Ref{}, hostKind),
			gateway.Virtual("plain", hostKind), gateway.Service("none", nil), gateway.Service("two", two))
		for _, part := range []string{`"a/b"`, "two targets of name hosts", "target plain", "target none", "would both be Who"} {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%q is not in the error: %v", part, err)
			}
		}
	})
}

func start(t *testing.T, cfg actor.Config) *actor.System {
	cfg.Logger = slog.New(slog.DiscardHandler)
	sys, err := actor.NewSystem(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sys.Shutdown(t.Context()) })
	return sys
}

// Attempts under one key reach one instance of a service, through whatever gateway, also when others join; and if it is
// lost they reach none.
func TestKeysOfAService(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		net, reg := memnet.New(memnet.Config{Seed: 1}), static.New()
		node := func(name string) *actor.System {
			return start(t, actor.Config{Name: name, Registry: reg, Transports: []transport.Transport{net.Transport("direct", true)}})
		}
		host := func(name string) *actor.System {
			sys := node(name)
			if _, err := sys.Spawn("host-"+name, hostKind, actor.Expose("hosts")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			return sys
		}
		hosts := map[string]*actor.System{"host-a": host("a"), "host-b": host("b")}
		binds := new(gateway.MemoryBindings)
		var tables []*gateway.Table
		for _, name := range []string{"g", "h"} {
			table, err := gateway.Config{Bindings: binds}.New(node(name), gateway.Service("hosts", hostKind))
			if err != nil {
				t.Fatal(err)
			}
			tables = append(tables, table)
		}
		ask := func(of int, key string) (string, error) {
			c, err := tables[of].Find("hosts", "", "Who")
			if err != nil {
				t.Fatal(err)
			}
			a, err := c.Do(t.Context(), gateway.Request{Key: key})
			return strings.Trim(string(a.Body), `"`), err
		}
		at := map[string]string{}
		for i := range 20 {
			key := string(rune('a' + i))
			name, err := ask(0, key)
			if err != nil {
				t.Fatal(err)
			}
			at[key] = name
		}
		host("c")
		host("d")
		for key, name := range at {
			if again, err := ask(1, key); again != name || err != nil {
				t.Errorf("key %s came to %s, then to %s, %v", key, name, again, err)
			}
		}
		if err := hosts["host-a"].Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for key, name := range at {
			if again, err := ask(1, key); (name == "host-a") != (err != nil) || err == nil && again != name {
				t.Errorf("key %s came to %s, then to %q, %v", key, name, again, err)
			}
		}
		if _, err := ask(0, strings.Repeat("k", 256)); rpc.CodeOf(err) != rpc.Invalid || rpc.Ran(err) != rpc.NotRun {
			t.Errorf("a key that is too long: %v", err)
		}
	})
}

// Bindings are kept for longer than keys, and no longer; there are as many as fit.
func TestMemoryBindings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &gateway.MemoryBindings{Life: 24 * time.Hour}
		bind := func(name, address, want string) {
			t.Helper()
			if got, err := b.Bind(t.Context(), name, address); got != want || err != nil {
				t.Errorf("%s: %s, %v; want %s", name, got, err, want)
			}
		}
		bind("x", "1", "1")
		time.Sleep(24 * time.Hour)
		bind("x", "2", "1")
		time.Sleep(time.Nanosecond)
		bind("x", "2", "2")
	})
}

func TestMemoryBindingsConform(t *testing.T) {
	bindtest.Run(t, bindtest.Config{Open: func(_ *testing.T, life time.Duration) func() gateway.Bindings {
		b := &gateway.MemoryBindings{Life: life}
		return func() gateway.Bindings { return b }
	}})
}

// The schema is that of the JSON that the codec takes and makes.
func TestSchema(t *testing.T) {
	raw, err := gateway.Schema(reflect.TypeFor[tree](), true)
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		Type       string
		Required   []string
		Properties map[string]struct {
			Type            any
			Format          string
			ContentEncoding string
			Maximum         *float64
		}
		AdditionalProperties any
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	p := s.Properties
	if s.Type != "object" || len(s.Required) > 0 || s.AdditionalProperties != nil || len(p) != 6 || p["name"].Type != "string" || p["Data"].ContentEncoding != "base64" || p["To"].Type != "string" || p["Count"].Type != "integer" || p["Children"].Type != nil {
		t.Errorf("%s", raw)
	}
	if raw, err = gateway.Schema(reflect.TypeFor[tree](), false); err != nil || !strings.Contains(string(raw), "required") {
		t.Errorf("%s, %v", raw, err)
	}
}

// A malformed trace is none.
func TestParseTrace(t *testing.T) {
	good := "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	if tr := gateway.ParseTrace(good); tr.IsZero() || tr[0] != 0x4b || tr[16] != 0 || tr[24] != 1 {
		t.Errorf("%x", tr)
	}
	for _, bad := range []string{"", good[1:], good + "0", strings.ToUpper(good), "01" + good[2:], strings.Replace(good, "-", "x", 1), "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", strings.Replace(good, "f", "g", 1)} {
		if tr := gateway.ParseTrace(bad); !tr.IsZero() {
			t.Errorf("%q is %x", bad, tr)
		}
	}
}

// A version of a service is a target like any other, also under another name: what is sent to it goes
// to instances of that version only, with a key as well.
func TestVersionOfAService(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		net, reg := memnet.New(memnet.Config{Seed: 1}), static.New()
		node := func(name, version string) *actor.System {
			return start(t, actor.Config{Name: name, Version: version, Registry: reg, Transports: []transport.Transport{net.Transport("direct", true)}})
		}
		for name, version := range map[string]string{"a": "1.0.0", "b": "2.0.0", "c": "2.1.0"} {
			if _, err := node(name, version).Spawn("host-"+version, hostKind, actor.Expose("hosts")); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		table, err := gateway.Config{Bindings: new(gateway.MemoryBindings)}.New(node("g", ""), gateway.Service("hosts", hostKind),
			gateway.Service("hosts", hostKind, actor.Version("^2")).As("new-hosts"))
		if err != nil {
			t.Fatal(err)
		}
		for target, want := range map[string]int{"hosts": 3, "new-hosts": 2} {
			for _, keyed := range []bool{false, true} {
				got := map[string]bool{}
				for i := range 60 {
					c, err := table.Find(target, "", "Who")
					if err != nil {
						t.Fatal(err)
					}
					r := gateway.Request{}
					if keyed {
						r.Key = string(rune('A' + i))
					}
					a, err := c.Do(t.Context(), r)
					if err != nil {
						t.Fatal(err)
					}
					got[string(a.Body)] = true
				}
				if len(got) != want || target == "new-hosts" && got[`"host-1.0.0"`] {
					t.Errorf("%s, with keys %v: %v", target, keyed, got)
				}
			}
		}
	})
}
