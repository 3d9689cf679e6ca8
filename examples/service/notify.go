package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/tandem-go/tandem/actor"
)

// notify tells systemd when the node is ready, and when it begins to end, so that a unit of Type=notify is started when
// the node serves (see sd_notify(3)). Without systemd it does nothing.
func notify(ctx context.Context, sys *actor.System) {
	for tick := time.NewTicker(50 * time.Millisecond); sys.Health().Ready() != nil; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
	say("READY=1")
	<-ctx.Done()
	say("STOPPING=1")
}

// say sends one datagram to systemd, if that is there.
func say(what string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"}) // a name that begins with @ is abstract
	if err == nil {
		_, err = conn.Write([]byte(what))
		_ = conn.Close()
	}
	if err != nil {
		slog.Warn("systemd was not told", "what", what, "err", err)
	}
}
