package actor

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// If there are very many events of links, the log sums them up. Events of other types in that
// time are still logged one by one.
func TestLinksWithoutEndDoNotFillTheLog(t *testing.T) {
	var log bytes.Buffer
	sys, err := NewSystem(Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer sys.Shutdown(t.Context())
	now := time.Now()
	say := func(n int, kind rpc.EventType, after time.Duration) {
		now = now.Add(after)
		for i := range n {
			sys.rpcEvent(rpc.Event{Time: now, Type: kind, Peer: fmt.Sprintf("m-%d", i), Road: "tcp"})
		}
	}
	lines := func(text string) int { return strings.Count(log.String(), text) }
	say(10_000, rpc.LinkUp, 0)
	say(1, rpc.PeerDown, 0)
	if n := lines("link up"); n != lineBurst {
		t.Errorf("%d lines about links, want %d", n, lineBurst)
	}
	if n := lines("peer down"); n != 1 {
		t.Errorf("%d lines about a peer that is down, want one", n)
	}
	say(1, rpc.LinkUp, 200*time.Millisecond)
	if n := lines(fmt.Sprintf("unsaid=%d", 10_000-lineBurst)); n != 1 {
		t.Errorf("no line says how many there were:\n%s", log.String()[log.Len()-300:])
	}
	say(lineBurst+1, rpc.LinkUp, time.Hour) // after an hour there is as much room as at first, and not more
	if n := lines("link up"); n != 2*lineBurst+1 {
		t.Errorf("%d lines about links, want %d", n, 2*lineBurst+1)
	}
}
