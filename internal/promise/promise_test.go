package promise

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-go/tandem/test/bubble"
)

// await waits for the result of p.
func await[R any](p *Promise[R]) (R, error) {
	p.Wait(nil)
	return p.Result()
}

func TestIsDecidedOnce(t *testing.T) {
	p := new(Promise[int])
	if !p.Resolve(1, nil) || p.Resolve(2, io.EOF) {
		t.Fatal("the first Resolve counts, and no other")
	}
	p.Complete(nil, io.EOF)
	if v, err := await(p); v != 1 || err != nil {
		t.Fatalf("got %d, %v", v, err)
	}
}

// A wait ends with its context and leaves the promise as it was; later waits get the result.
func TestWaitEnds(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		p := new(Promise[string])
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if p.Wait(ctx.Done()) {
			t.Error("decided by nobody")
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("waited %v, want 1s", took)
		}
		p.Resolve("x", nil)
		if v, err := await(p); v != "x" || err != nil {
			t.Errorf("got %q, %v", v, err)
		}
	})
}

// Any number of goroutines wait in every way there is; all get the one result, and
// the reply is decoded once, by one of them.
func TestManyWaiters(t *testing.T) {
	bubble.Test(t, func(t *testing.T) {
		var decodings, ends atomic.Int32
		p := New(func(r *Reply) (string, error) {
			decodings.Add(1)
			return string(r.Body), nil
		}, io.ErrUnexpectedEOF)
		p.OnEnd(func() { ends.Add(1) })
		var got atomic.Int32
		want := func(v string, err error) {
			if v != "x" || err != nil {
				t.Errorf("got %q, %v", v, err)
			}
			got.Add(1)
		}
		for i := range 30 {
			switch i % 3 {
			case 0:
				go func() { want(await(p)) }()
			case 1:
				go func() {
					if p.Wait(t.Context().Done()) {
						want(p.Result())
					}
				}()
			case 2:
				p.Then(want)
			}
		}
		synctest.Wait()
		select {
		case <-p.Done():
			t.Fatal("done before it was decided")
		default:
		}
		p.Complete(&Reply{Body: []byte("x")}, nil)
		p.Then(want)
		<-p.Done()
		synctest.Wait()
		if got.Load() != 31 || decodings.Load() != 1 || ends.Load() != 1 {
			t.Errorf("%d results, %d decodings, %d ends", got.Load(), decodings.Load(), ends.Load())
		}
		late := false
		p.OnEnd(func() { late = true })
		if !late {
			t.Error("OnEnd after the end was not called")
		}
	})
}

// Promises in one bubble leave nothing behind that a promise in another would trip on.
func TestInSeveralBubbles(t *testing.T) {
	for range 3 {
		bubble.Test(t, func(t *testing.T) {
			p := new(Promise[int])
			go p.Resolve(1, nil)
			if v, err := await(p); v != 1 || err != nil {
				t.Errorf("got %d, %v", v, err)
			}
		})
	}
}

// A decoder that panics does so in whoever asks first. Others get an error.
func TestDecoderPanics(t *testing.T) {
	p := New(func(*Reply) (int, error) { panic("oh") }, io.ErrUnexpectedEOF)
	p.Complete(new(Reply), nil)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the first one got no panic")
			}
		}()
		_, _ = p.Result()
	}()
	if _, err := p.Result(); err != io.ErrUnexpectedEOF {
		t.Errorf("the second one got %v", err)
	}
	p = New(func(*Reply) (int, error) { panic("oh") }, io.ErrUnexpectedEOF)
	p.Complete(nil, io.EOF)
	if _, err := p.Result(); err != io.EOF {
		t.Errorf("without a reply: %v", err)
	}
}
