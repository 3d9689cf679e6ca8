package natsbus_test

import (
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// A principal can have its share of the links, by default a quarter. The rest is left for others.
func TestLinksOfOnePrincipal(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		cfg   natsbus.Config
		share int
	}{
		"by default":              {natsbus.Config{Principal: "b", MaxLinks: 8}, 2},
		"set":                     {natsbus.Config{Principal: "b", MaxLinks: 8, MaxLinksPerPrincipal: 3}, 3},
		"where all are anonymous": {natsbus.Config{MaxLinks: 4}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := startServer(t, embedded.Config{})
			log := new(lockedBuffer)
			local := transport.Local{Cluster: "test", Node: "b", Epoch: "e-b", Logger: slog.New(slog.NewTextHandler(log, nil))}
			b := natsbus.New(connect(t, srv.URL()), tt.cfg)
			if _, err := b.Start(t.Context(), local, func(transport.Link) transport.Receiver { return &end{t: t, changed: make(chan struct{})} }); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { b.Close() })
			to := transport.Endpoint{Node: "b", Epoch: "e-b"}
			mallory := startBus(t, connect(t, srv.URL()), "m", natsbus.Config{Principal: "mallory"})
			alice := startBus(t, connect(t, srv.URL()), "a", natsbus.Config{Principal: "alice"})
			var first transport.Link
			for n := range tt.share {
				l, err := mallory.dial(t, to)
				if err != nil {
					t.Fatalf("link %d, where %d are allowed: %v", n+1, tt.share, err)
				}
				if n == 0 {
					first = l
				}
			}
			var beyond sync.WaitGroup
			for range 9 { // more than MaxLinks, because a refused link takes no place
				beyond.Go(func() {
					if _, err := mallory.dial(t, to); !errors.Is(err, transport.ErrBusy) || !strings.Contains(err.Error(), "MaxLinks") {
						t.Errorf("a link beyond the %d that are allowed: %v", tt.share, err)
					}
				})
			}
			beyond.Wait()
			if _, err := alice.dial(t, to); (err == nil) != (tt.share < tt.cfg.MaxLinks) {
				t.Errorf("another principal: %v", err)
			}
			if n, refused := strings.Count(log.String(), "links are refused"), b.Stats().Refused; n != 1 || refused < 9 {
				t.Errorf("%d lines in the log about %d refusals, want 1 about 9:\n%s", n, refused, log)
			}
			first.Close(errors.New("make room"))
			for began := time.Now(); ; {
				if _, err := mallory.dial(t, to); err == nil {
					return
				} else if time.Since(began) > patience {
					t.Fatalf("no room after a link was closed: %v", err)
				}
			}
		})
	}
}
