// Actors that keep records of their own: an application that is asked what became of a
// request may be slow, or may not answer.

package engine

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tandem-go/tandem/internal/engine/client"
	"github.com/tandem-go/tandem/internal/engine/server"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/rpc"
)

// archive is an application's own records. It answers when its gate is open.
type archive struct {
	gate chan struct{}

	mu            sync.Mutex // guards what follows
	busy, most    int
	voided, asked map[string]int
}

// newArchive returns an archive whose gate is closed.
func newArchive() *archive {
	return &archive{gate: make(chan struct{}), voided: map[string]int{}, asked: map[string]int{}}
}

// wait notes a question in seen, and returns when the gate is open or ctx is done.
func (a *archive) wait(ctx context.Context, seen map[string]int, id string) error {
	a.mu.Lock()
	a.busy++
	seen[id]++
	a.most = max(a.most, a.busy)
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		a.busy--
		a.mu.Unlock()
	}()
	select {
	case <-a.gate:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *archive) Void(ctx context.Context, id string) ([]byte, bool, error) {
	return nil, false, a.wait(ctx, a.voided, id)
}

func (a *archive) Completed(ctx context.Context, id string) ([]byte, bool, error) {
	return nil, false, a.wait(ctx, a.asked, id)
}

var _ ledger.Completions = (*archive)(nil)

// transactional makes the site's actors keep records of their own in c.
func (s *site) transactional(c ledger.Completions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.durability = server.Durability{Known: true, Kind: "test", Completions: c}
}

// testKind makes a node know the kind test, which keeps records.
func testKind(c *Config) { c.Kinds = []string{"test"} }

// When many questions are asked at once, they are put to a slow application a few at a time,
// and no question is put to it twice at the same time. All of them are answered.
func TestSlowApplication(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		const calls = 200
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, testKind)
		b.handle(func(_ *server.Inbound, body string) string {
			if body == "x" {
				<-b.host.Context().Done()
			}
			return body
		})
		a.echoes("b", "warm up")
		var fs []*rpc.Future[string]
		for i := range calls {
			req := request("b", "x", patience)
			if i%2 == 1 {
				req.Rare = &client.Rare{Key: fmt.Sprint(i)}
			}
			f, _ := a.send(req)
			fs = append(fs, f)
		}
		time.Sleep(100 * time.Millisecond)
		b.crash(false)
		files := newArchive()
		b2 := r.start("b", "b2", bus, testKind)
		b2.transactional(files)
		a.unresolved(t, calls)
		until(t, "all places are taken", func() bool { files.mu.Lock(); defer files.mu.Unlock(); return files.busy == questions })
		time.Sleep(time.Second) // they are asked again
		files.mu.Lock()
		if files.busy != questions || files.most != questions {
			t.Errorf("%d questions at once, %d at most, want %d", files.busy, files.most, questions)
		}
		files.mu.Unlock()
		close(files.gate)
		for i, f := range fs {
			_, err := f.Await(t.Context())
			if i%2 == 1 {
				wantErr(t, "keyed", err, rpc.OutcomeUnknown, rpc.Unknown)
			} else {
				wantErr(t, "plain", err, rpc.Unavailable, rpc.NotRun)
			}
		}
		for _, seen := range []map[string]int{files.voided, files.asked} {
			if len(seen) != calls/2 {
				t.Errorf("%d were asked for", len(seen))
			}
			for id, n := range seen {
				if n != 1 {
					t.Errorf("%s was asked for %d times", id, n)
				}
			}
		}
		a.unresolved(t, 0)
	})
}

// A server does not wait for ever for an application that does not answer.
func TestSilentApplication(t *testing.T) {
	withRig(t, func(t *testing.T, r *rig) {
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, testKind)
		b.handle(same)
		a.echoesAs(t, "b", "warm up", "got warm up")
		f := r.lostReply(a, b, "x")
		b2 := r.start("b", "b2", bus, testKind)
		files := newArchive()
		b2.transactional(files)
		until(t, "it is asked", func() bool { files.mu.Lock(); defer files.mu.Unlock(); return files.busy == 1 })
		began := time.Now()
		_, err := f.Await(t.Context())
		wantErr(t, "no answer", err, rpc.OutcomeUnknown, rpc.Unknown)
		if took := time.Since(began); took < questionTime-10*time.Millisecond || took > questionTime+10*time.Millisecond {
			t.Errorf("after %v", took)
		}
		for id, n := range files.voided {
			if n != 1 {
				t.Errorf("%s was asked for %d times at once", id, n)
			}
		}
	})
	withRig(t, func(t *testing.T, r *rig) { // Close does not wait for it either
		a, b := r.start("a", "a1", bus), r.start("b", "b1", bus, testKind)
		b.handle(same)
		a.echoesAs(t, "b", "warm up", "got warm up")
		f := r.lostReply(a, b, "x")
		b2 := r.start("b", "b2", bus, testKind)
		files := newArchive()
		b2.transactional(files)
		until(t, "it is asked", func() bool { files.mu.Lock(); defer files.mu.Unlock(); return files.busy == 1 })
		began := time.Now()
		b2.crash(false)
		if took := time.Since(began); took != 0 {
			t.Errorf("Close took %v", took)
		}
		b3 := r.start("b", "b3", bus, testKind)
		b3.transactional(noCompletions{})
		_, err := f.Await(t.Context())
		wantErr(t, "asked again", err, rpc.Unavailable, rpc.NotRun)
	})
}

// A server puts so many questions at the same time to an application's own records, and waits
// so long for each answer.
const (
	questions    = 64
	questionTime = 10 * time.Second
)
