package actor

import (
	"log/slog"
	"testing"

	"github.com/tandem-go/tandem/placement"
	"github.com/tandem-go/tandem/rpc"
)

// A request goes first to the node that it was told of. If that is away, it is known whether there is another one.
func TestSearchTold(t *testing.T) {
	kind := Define("told", func() int { return 0 }, Handle(func(int, *Context, string) error { return nil })).With(Virtual())
	s, err := NewSystem(Config{Kinds: []*Kind{kind}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown(t.Context())
	k := search{sys: s, placedTarget: s.Virtual(kind, "x").to.searched(), asked: placement.Holder{Node: "away"}, told: true}
	if node, err := k.next(); node != "away" || err != nil {
		t.Fatal(node, err)
	}
	k.over(rpc.Errorf(rpc.Unavailable, rpc.NotRun, "it is away"))
	if !k.untried() {
		t.Error("this node was not asked")
	}
	if node, err := k.next(); node != s.Name() || err != nil {
		t.Error(node, err)
	}
}
