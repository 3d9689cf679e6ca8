package dns

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/registry"
)

func names(nodes []registry.Node) string {
	var all []string
	for _, n := range nodes {
		all = append(all, n.Name+"@"+n.Addrs["tcp"])
	}
	return strings.Join(all, " ")
}

// A node that is missing from an answer is listed for a while. Answers that do not come count as nothing.
func TestList(t *testing.T) {
	l := list{}
	for i, step := range []struct {
		at     int // seconds
		answer string
		want   string
	}{
		{0, "", ""},
		{5, "a b", "a@a b@b"},
		{10, "b c", "a@a b@b c@c"},
		{35, "b", "a@a b@b c@c"},
		{40, "b", "b@b c@c"}, // 30 s after the first answer without a
		{45, "b c", "b@b c@c"},
		{500, "", "b@b c@c"}, // there was no answer meanwhile
		{529, "", "b@b c@c"},
		{530, "", ""},
	} {
		var nodes []registry.Node
		for _, name := range strings.Fields(step.answer) {
			nodes = append(nodes, registry.Node{Name: name, Addrs: map[string]string{"tcp": name}})
		}
		if got := names(l.answer(nodes, time.Unix(int64(step.at), 0), 30*time.Second)); got != step.want {
			t.Errorf("step %d: got %q, want %q", i, got, step.want)
		}
	}
}

// What DNS says is checked: names, doubles and how many there are.
func TestNodes(t *testing.T) {
	target := func(host string, port int) place { return ofTarget(&net.SRV{Target: host, Port: uint16(port)}) }
	many := make([]place, 5)
	for i := range many {
		many[i] = place{fmt.Sprint("n", i), "x"}
	}
	for what, c := range map[string]struct {
		found []place
		want  string
		left  bool
	}{
		"none":            {nil, "", false},
		"targets":         {[]place{target("b.x.", 2), target("a.x.", 1), target("10-0-0-1.x.", 3)}, "10-0-0-1@10-0-0-1.x:3 a@a.x:1 b@b.x:2", false},
		"one twice":       {[]place{target("a.x.", 1), target("a.x.", 1)}, "a@a.x:1", false},
		"two of one name": {[]place{target("a.y.", 1), target("a.x.", 1)}, "a@a.x:1", true},
		"no name":         {[]place{target(".", 1), target("a.x.", 1)}, "a@a.x:1", true},
		"not a name":      {[]place{target("a*.x.", 1), target("b.x.", 1)}, "b@b.x:1", true},
		"too long":        {[]place{target(strings.Repeat("a", registry.MaxName+1)+".", 1)}, "", true},
		"too many":        {many, "n0@x n1@x n2@x", true},
	} {
		nodes, left := Config{Road: "tcp", MaxNodes: 3}.nodes(c.found)
		if got := names(nodes); got != c.want || (left != "") != c.left {
			t.Errorf("%s: got %q (%s), want %q", what, got, left, c.want)
		}
	}
}
