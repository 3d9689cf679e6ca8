package registry

import (
	"strings"
	"testing"
)

func TestValid(t *testing.T) {
	long := strings.Repeat("x", MaxName)
	for _, n := range []Node{{Name: "a", Epoch: "E-1_z"}, {Name: long, Epoch: long}} {
		if err := n.Valid(); err != nil {
			t.Error(err)
		}
	}
	for _, s := range []string{"", long + "x", "a.b", "a b", "a*", ">", "é", "a\x00"} {
		if (Node{Name: s, Epoch: "e"}).Valid() == nil {
			t.Errorf("name %q is valid", s)
		}
		if (Node{Name: "a", Epoch: s}).Valid() == nil {
			t.Errorf("epoch %q is valid", s)
		}
	}
}

func TestEqual(t *testing.T) {
	n := Node{Name: "a", Epoch: "e", Addrs: map[string]string{"tcp": "x"}, Services: map[string][]string{"s": {"1", "2"}}}
	if !n.Equal(n.Clone()) || !(Node{}).Equal(Node{}.Clone()) {
		t.Error("a clone differs")
	}
	for _, change := range []func(*Node){
		func(o *Node) { o.Name = "b" },
		func(o *Node) { o.Epoch = "f" },
		func(o *Node) { o.Addrs["tcp"] = "y" },
		func(o *Node) { o.Services["s"][1] = "3" },
		func(o *Node) { o.Services["t"] = nil },
	} {
		o := n.Clone()
		if change(&o); n.Equal(o) {
			t.Errorf("%v equals %v", n, o)
		}
	}
}

func TestInstances(t *testing.T) {
	got := Instances([]Node{
		{Name: "a", Epoch: "1", Services: map[string][]string{"s": {"x", "y"}, "t": {"z"}}},
		{Name: "b", Epoch: "2"},
		{Name: "c", Epoch: "3", Services: map[string][]string{"s": {"x"}}},
	}, "s")
	want := []Instance{{"a", "1", "x"}, {"a", "1", "y"}, {"c", "3", "x"}}
	if len(got) != len(want) {
		t.Fatalf("got %v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}

func TestChangeString(t *testing.T) {
	if s := Expired.String() + Change(0).String(); s != "expired?" {
		t.Error(s)
	}
}
