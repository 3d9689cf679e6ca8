package access

import (
	"net/netip"
	"strings"
	"testing"
)

// The first rule that matches decides.
func TestDecide(t *testing.T) {
	lan := netip.MustParsePrefix("10.0.0.0/8")
	rules := Rules{
		Groups: map[string][]string{"staff": {"tls:ann", "nats:team-*"}, "nobody": {}},
		List: []Rule{
			{Effect: Deny, Principals: []string{"tls:mallory"}, Name: "thrown out"},
			{Effect: Allow, Principals: []string{"@staff"}, Ops: Call | Send},
			{Effect: Allow, Principals: []string{"@nobody"}},
			{Effect: Allow, Networks: []netip.Prefix{lan}, Kinds: []string{"cart"}},
			{Effect: Allow, Services: []string{"price*"}, Messages: []string{"shop.Get", "shop.list.*"}, Ops: Call},
			{Effect: Allow, Actors: []string{"jobs"}, Ops: Push | Pull},
		},
		Default: Deny,
	}
	list, err := Compile(rules)
	if err != nil {
		t.Fatal(err)
	}
	in, out := netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("11.1.2.3")
	for _, row := range []struct {
		who  Who
		what What
		want string // the rule, with + if it allows
	}{
		{Who{Principal: "tls:ann"}, What{Op: Call, Actor: "x"}, "+rule 2"},
		{Who{Principal: "tls:ann"}, What{Op: Push, Actor: "x"}, "-default"},
		{Who{Principal: "nats:ann"}, What{Op: Call, Actor: "x"}, "-default"}, // another road's
		{Who{Principal: "nats:team-7"}, What{Op: Send}, "+rule 2"},
		{Who{Principal: "tls:mallory", Addr: in}, What{Op: Call, Kind: "cart"}, "-thrown out"},
		{Who{Principal: "x", Addr: in}, What{Op: Manage, Kind: "cart"}, "+rule 4"},
		{Who{Principal: "x", Addr: netip.AddrFrom16(in.As16())}, What{Op: Call, Kind: "cart"}, "+rule 4"},
		{Who{Principal: "x", Addr: out}, What{Op: Call, Kind: "cart"}, "-default"},
		{Who{Principal: "x"}, What{Op: Call, Kind: "cart"}, "-default"}, // a road without addresses
		{Who{Principal: "x", Addr: in}, What{Op: Call, Kind: "carts"}, "-default"},
		{Who{Principal: "x"}, What{Op: Call, Services: []string{"a", "prices"}, Message: "shop.Get"}, "+rule 5"},
		{Who{Principal: "x"}, What{Op: Call, Services: []string{"prices"}, Message: "shop.list.All"}, "+rule 5"},
		{Who{Principal: "x"}, What{Op: Call, Services: []string{"prices"}, Message: "shop.GetAll"}, "-default"},
		{Who{Principal: "x"}, What{Op: Call, Services: []string{"prices"}}, "-default"}, // of an unknown type
		{Who{Principal: "x"}, What{Op: Send, Services: []string{"prices"}, Message: "shop.Get"}, "-default"},
		{Who{Principal: "x"}, What{Op: Call, Message: "shop.Get"}, "-default"},
		{Who{Principal: "x"}, What{Op: Pull, Actor: "jobs"}, "+rule 6"},
		{Who{Principal: "x"}, What{Op: Manage, Actor: "jobs"}, "-default"},
	} {
		d := list.Decide(row.who, row.what)
		got := "-" + d.Rule
		if d.Allowed {
			got = "+" + d.Rule
		}
		if got != row.want {
			t.Errorf("%+v, %+v: %s, want %s", row.who, row.what, got, row.want)
		}
		if d.Allowed && !list.MayAny(row.who, row.what.Op) {
			t.Errorf("%+v may nothing by %v, but did", row.who, row.what.Op)
		}
	}
	for _, row := range []struct {
		who  Who
		op   Op
		want bool
	}{
		{Who{Principal: "tls:mallory", Addr: in}, Call, false},
		{Who{Principal: "tls:ann"}, Submit, false},
		{Who{Principal: "x", Addr: in}, Submit, true},
		{Who{Principal: "x"}, Pull, true},
		{Who{Principal: "x"}, Redeem, false},
	} {
		if got := list.MayAny(row.who, row.op); got != row.want {
			t.Errorf("%+v may something by %v: %v", row.who, row.op, got)
		}
	}
}

func TestDefaults(t *testing.T) {
	if !(Rules{}).IsZero() || !(Rules{Default: Allow}).IsZero() || (Rules{Default: Deny}).IsZero() || (Rules{ExposedOnly: true}).IsZero() {
		t.Error("which rules say nothing")
	}
	exposed, err := Compile(Rules{ExposedOnly: true, List: []Rule{{Effect: Allow, Actors: []string{"door"}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		what What
		want bool
	}{{What{Op: Call, Actor: "x"}, false}, {What{Op: Call, Actor: "x", Services: []string{"s"}}, true}, {What{Op: Call, Actor: "door"}, true}} {
		if d := exposed.Decide(Who{}, row.what); d.Allowed != row.want {
			t.Errorf("%+v: %+v", row.what, d)
		}
	}
}

// Who may expose a service is said by the rules that name it, and by no others.
func TestMayExpose(t *testing.T) {
	list, err := Compile(Rules{Default: Deny, ExposedOnly: true, List: []Rule{
		{Effect: Deny},
		{Effect: Allow, Principals: []string{"node:bank*"}, Services: []string{"payments"}, Ops: Expose},
		{Effect: Deny, Services: []string{"payments"}, Ops: Expose, Name: "payments"},
		{Effect: Deny, Actors: []string{"toy-*"}, Ops: Expose | Call},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		principal, service, actor string
		want                      Decision
	}{
		{"node:bank-1", "payments", "x", Decision{true, "rule 2"}},
		{"node:mallory", "payments", "x", Decision{false, "payments"}},
		{"node:mallory", "maps", "x", Decision{true, "default"}},
		{"node:mallory", "maps", "toy-1", Decision{false, "rule 4"}},
	} {
		if got := list.MayExpose(row.principal, row.service, row.actor); got != row.want {
			t.Errorf("%+v: %+v", row, got)
		}
	}
	for _, r := range []Rule{{Kinds: []string{"k"}}, {Messages: []string{"m"}}, {Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}} {
		r.Effect, r.Ops = Deny, Expose
		if _, err := Compile(Rules{List: []Rule{r}}); err == nil || !strings.Contains(err.Error(), "Expose goes by") {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

// Rules that make no sense are refused, all of them at once.
func TestCompileRefuses(t *testing.T) {
	_, err := Compile(Rules{
		Groups: map[string][]string{"": nil, "g": {"@h", ""}},
		List: []Rule{
			{},
			{Effect: 3, Ops: 1 << 15},
			{Effect: Allow, Principals: []string{"@missing", ""}, Networks: []netip.Prefix{{}}, Name: "named"},
			{Effect: Deny, Kinds: []string{""}, Actors: []string{""}, Services: []string{""}, Messages: []string{""}},
		},
		Default: 7,
	})
	if err == nil {
		t.Fatal("compiled")
	}
	for _, want := range []string{"a group without a name", `group g: member "@h"`, `group g: member ""`, "rule 1: Effect is 0", "rule 2: Effect is 3",
		"rule 2: unknown operations", "named: no group missing", "named: Networks", "named: Principals: an empty name", "rule 4: Kinds", "rule 4: Actors", "rule 4: Services", "rule 4: Messages", "Default: no such effect"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("nothing says %q: %v", want, err)
		}
	}
	if got := (Call | Manage).String(); got != "call|manage" {
		t.Error(got)
	}
}

func BenchmarkDecide(b *testing.B) {
	rules := Rules{Default: Deny}
	for range 32 {
		rules.List = append(rules.List, Rule{Effect: Allow, Principals: []string{"tls:ann", "tls:bob"}, Kinds: []string{"cart*"}, Ops: Call})
	}
	list, err := Compile(rules)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		list.Decide(Who{Principal: "tls:bob"}, What{Kind: "shop", Actor: "x", Op: Call, Message: "m"})
	}
}

// Stop is allowed by rules that name it, and by nothing else.
func TestStopHasToBeNamed(t *testing.T) {
	who, what := Who{Principal: "tls:ann"}, What{Op: Stop, Actor: "x", Services: []string{"s"}}
	for _, row := range []struct {
		name  string
		rules Rules
		want  bool
	}{
		{"nothing", Rules{}, false},
		{"by default", Rules{Default: Allow}, false},
		{"a rule for all operations", Rules{List: []Rule{{Effect: Allow}, {Effect: Allow, Ops: All}}}, false},
		{"a rule for it", Rules{List: []Rule{{Effect: Allow, Ops: Stop | Call}}, Default: Deny}, true},
		{"a rule for another actor", Rules{List: []Rule{{Effect: Allow, Ops: Stop, Actors: []string{"y"}}}}, false},
		{"a rule against it", Rules{List: []Rule{{Effect: Deny, Ops: Stop, Actors: []string{"x"}}, {Effect: Allow, Ops: Stop}}}, false},
	} {
		list, err := Compile(row.rules)
		if err != nil {
			t.Fatal(err)
		}
		if got := list.Decide(who, what); got.Allowed != row.want {
			t.Errorf("%s: %+v", row.name, got)
		}
		if row.want && !list.MayAny(who, Stop) {
			t.Errorf("%s: denied before the target is known", row.name)
		}
	}
	list, _ := Compile(Rules{Default: Allow})
	if list.MayAny(who, Stop) || !list.MayAny(who, Call) || Stop.String() != "stop" {
		t.Error("the default is about Stop, too")
	}
}

// Publish goes by the topic. Rules about actors say nothing about it, and rules about topics nothing
// about other operations.
func TestPublishGoesByTheTopic(t *testing.T) {
	who := Who{Principal: "tls:ann"}
	publish := func(topic string) What { return What{Op: Publish, Topic: topic, Message: "shop.Price"} }
	for _, row := range []struct {
		name  string
		rules Rules
		what  What
		want  bool
	}{
		{"nothing", Rules{}, publish("prices.eur"), true},
		{"a rule for all", Rules{List: []Rule{{Effect: Allow}}, Default: Deny}, publish("prices.eur"), true},
		{"its prefix", Rules{List: []Rule{{Effect: Allow, Topics: []string{"prices.*"}}}, Default: Deny}, publish("prices.eur"), true},
		{"another topic", Rules{List: []Rule{{Effect: Allow, Topics: []string{"prices.usd"}}}, Default: Deny}, publish("prices.eur"), false},
		{"its message", Rules{List: []Rule{{Effect: Allow, Ops: Publish, Messages: []string{"shop.Price"}}}, Default: Deny}, publish("prices.eur"), true},
		{"a rule for an actor", Rules{List: []Rule{{Effect: Allow, Actors: []string{"prices.eur"}}}, Default: Deny}, publish("prices.eur"), false},
		{"exposed only", Rules{ExposedOnly: true}, publish("prices.eur"), false},
		{"a tell by a rule for a topic", Rules{List: []Rule{{Effect: Allow, Topics: []string{"prices.*"}}}, Default: Deny}, What{Op: Send, Actor: "prices.eur"}, false},
	} {
		list, err := Compile(row.rules)
		if err != nil {
			t.Fatal(err)
		}
		if got := list.Decide(who, row.what); got.Allowed != row.want || got.Allowed && !list.MayAny(who, row.what.Op) {
			t.Errorf("%s: %+v", row.name, got)
		}
	}
	for _, r := range []Rule{{Effect: Allow, Ops: Call, Topics: []string{"a"}}, {Effect: Allow, Topics: []string{""}}, {Effect: Allow, Ops: Expose | Publish, Topics: []string{"a"}}} {
		if _, err := Compile(Rules{List: []Rule{r}}); err == nil {
			t.Errorf("%+v: compiled", r)
		}
	}
}
