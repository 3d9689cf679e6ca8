package engine

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/rpc"
)

// Many replies that come at once, short and long ones and errors among them, each reach their own
// caller; so do those to the next requests, which use the same memory.
func TestManyRepliesAtOnce(t *testing.T) {
	onEachRoad(t, func(t *testing.T, r *rig, a, b *site) {
		const callers = 100
		answer := make(chan struct{})
		b.mu.Lock()
		b.serve = func(in *server.Inbound) {
			if !in.Start() {
				return
			}
			body := string(in.TakeBody())
			<-answer
			if strings.HasSuffix(body, "7") {
				in.Fail(rpc.Errorf(rpc.Failed, rpc.HasRun, "no answer to %s", body))
				return
			}
			in.Reply(1, 1, []byte(body))
		}
		b.mu.Unlock()
		for round := range 3 {
			var ended sync.WaitGroup
			for i := range callers {
				body := fmt.Sprint(round, "-", i)
				if i%10 == 3 {
					body = strings.Repeat("long ", 200) + body
				}
				ended.Go(func() { a.exchanges(body, strings.HasSuffix(body, "7")) })
			}
			synctest.Wait()
			for range callers {
				answer <- struct{}{}
			}
			ended.Wait()
		}
		if s := a.Stats(); s.Replies != 3*callers || s.RepliesLate != 0 || s.Outstanding != 0 {
			t.Errorf("%d replies, %d late, %d outstanding", s.Replies, s.RepliesLate, s.Outstanding)
		}
	})
}

// exchanges asks b in reused memory, and fails the test unless the reply is the body, or, with
// fails, an error about it.
func (s *site) exchanges(body string, fails bool) {
	x := s.Client.Exchange()
	q := x.Request()
	storage := q.Body
	*q = request("b", "", patience)
	q.Body = append(storage, body...)
	reply, err := x.Do(s.r.t.Context())
	switch {
	case fails && (err == nil || !strings.Contains(err.Error(), "no answer to "+body)):
		s.r.t.Errorf("%q: %v, want an error", body, err)
	case !fails && err != nil:
		s.r.t.Errorf("%q: %v", body, err)
	case !fails && string(reply.Body) != body:
		s.r.t.Errorf("%q: got %q", body, reply.Body)
	}
	x.Free()
}
