// What a client may send, and how much of it may be outstanding.

package engine

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/internal/promise"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

func TestTooLarge(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		big := request("b", strings.Repeat("x", rpc.DefaultMaxBody+1), patience)
		headers := request("b", "x", patience)
		headers.Rare = &client.Rare{}
		for range transport.MaxHeaders + 1 {
			headers.Rare.Headers = append(headers.Rare.Headers, transport.Header{Key: "k", Value: "v"})
		}
		for name, req := range map[string]client.Request{"body": big, "headers": headers} {
			for _, state := range []string{"no link yet", "linked"} {
				f, _ := a.send(req)
				_, err := f.Await(t.Context())
				wantErr(t, name+", "+state, err, rpc.TooLarge, rpc.NotRun)
				wantErr(t, "tell: "+name+", "+state, a.Client.Tell(t.Context(), req), rpc.TooLarge, rpc.NotRun)
				a.echoes("b", "small")
			}
		}
		if s := a.Stats(); s.Outstanding != 0 {
			t.Errorf("%d outstanding", s.Outstanding)
		}
		b.handle(func(*server.Inbound, string) string { return strings.Repeat("x", rpc.DefaultMaxBody+1) })
		_, err := a.ask("b", "x")
		wantErr(t, "reply", err, rpc.ReplyDropped, rpc.HasRun)
	})
}

func TestWindowFull(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		small := func(c *Config) { c.Window = 2 }
		a, b := r.start("a", "a1", direct, small), r.start("b", "b1", direct)
		leave := make(chan struct{})
		b.handle(func(_ *server.Inbound, body string) string { <-leave; return body })
		for range 2 {
			a.send(request("b", "x", patience))
		}
		done := make(chan error, 3)
		go func() {
			_, err := a.ask("b", "waits")
			done <- err
		}()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := a.Client.Do(ctx, request("b", "gives up", patience), new(promise.Promise[string]))
		wantErr(t, "ctx ended in the line", err, rpc.Expired, rpc.NotRun)
		_, err = a.Client.Do(t.Context(), request("b", "too late", time.Second), new(promise.Promise[string]))
		wantErr(t, "deadline passed in the line", err, rpc.Expired, rpc.NotRun)
		select {
		case err := <-done:
			t.Fatalf("no room, and yet: %v", err)
		default:
		}
		close(leave)
		if err := <-done; err != nil {
			t.Errorf("after room was made: %v", err)
		}
		if b.ran("gives up")+b.ran("too late") != 0 {
			t.Error("what got no room ran")
		}
	})
}

// When the request with a large body ends, there is room for several small ones.
func TestPendingBytesFull(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", direct, func(c *Config) { c.MaxPending = 100 }), r.start("b", "b1", direct)
		a.echoes("b", "warm up")
		leave := make(chan struct{})
		b.handle(func(_ *server.Inbound, body string) string {
			if body[0] == 'L' {
				<-leave
			} else {
				time.Sleep(time.Minute)
			}
			return body
		})
		a.send(request("b", "L"+strings.Repeat("x", 89), patience))
		synctest.Wait()
		for i := range 4 {
			go a.send(request("b", fmt.Sprint(i, strings.Repeat("x", 20)), patience))
		}
		synctest.Wait()
		if s := b.Stats(); s.Served != 2 {
			t.Fatalf("%d requests were sent with the window's bytes full", s.Served)
		}
		close(leave)
		synctest.Wait()
		if s := b.Stats(); s.Served != 6 {
			t.Errorf("%d of 4 small ones were sent once there was room for all", s.Served-2)
		}
		time.Sleep(time.Minute)
	})
}

// Senders that wait for a full link do not wake each other all the time.
func TestTellsAtAFullLink(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", direct), r.start("b", "b1", direct)
		a.echoes("b", "warm up")
		r.net.Hold("direct", "a", "b")
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		var owned sync.WaitGroup
		body := strings.Repeat("x", 64<<10)
		var sent atomic.Int64
		for range 3 {
			owned.Go(func() {
				for {
					if err := a.Client.Tell(ctx, request("b", body, patience)); err != nil {
						wantErr(t, "a message for which there is no room", err, rpc.Expired, rpc.NotRun)
						return
					}
					sent.Add(1)
				}
			})
		}
		owned.Wait()
		r.net.Heal("direct", "a", "b")
		synctest.Wait()
		if arrived := int64(len(b.received())); arrived != sent.Load() || arrived < 10 {
			t.Errorf("%d messages came, %d were sent", arrived, sent.Load())
		}
	})
}
