package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"testing"
	"testing/synctest"
)

// Replies are the bodies of the callers that get them, whatever their sizes.
func TestRawActor(t *testing.T) {
	for _, size := range []int{0, 64, 1 << 10, 64 << 10, 1 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			const callers, each = 8, 5
			near, a, stop, err := rawActorPair(callers, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer stop()
			ended := make(chan error, callers)
			for caller := range callers {
				go func() {
					var err error
					for n := range each {
						body := bytes.Repeat([]byte{byte(caller*each + n)}, size+n)
						got, failing := near.ask(caller, body)
						if failing == nil && !bytes.Equal(got, body) {
							failing = fmt.Errorf("caller %d got another body, of %d bytes", caller, len(got))
						}
						err = errors.Join(err, failing)
					}
					ended <- err
				}()
			}
			for range callers {
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
			if n := a.asked.n.Load(); n != callers*each {
				t.Errorf("%d executed, want %d", n, callers*each)
			}
		})
	}
}

func TestRawActorTells(t *testing.T) {
	r, err := rawActorTells()
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	if s := r.measure(1); s.sent != remoteBurst || s.executed != remoteBurst || s.errors != 0 {
		t.Errorf("sent %d, executed %d, errors %d", s.sent, s.executed, s.errors)
	}
}

func TestRawLinkEnds(t *testing.T) {
	nearConn, farConn, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	near := newRawLink(nearConn, 1, nil)
	defer near.close()
	farConn.Close()
	if _, err := near.ask(0, make([]byte, 64)); err != errRawEnd {
		t.Errorf("got %v, want %v", err, errRawEnd)
	}
}

// A sender waits while nothing is written, and no longer than somebody writes.
func TestOutgoingIsBounded(t *testing.T) {
	for _, isRead := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			near, far := net.Pipe()
			out, stop := newOutgoing(), make(chan struct{})
			go out.write(near, stop)
			body, sent := make([]byte, 64<<10), 0
			const all = 100
			done := make(chan struct{})
			go func() {
				defer close(done)
				for ; sent < all; sent++ {
					out.append(1, body)
				}
			}()
			synctest.Wait()
			if most := 2*rawBound + 2*len(body); sent == all || sent*len(body) > most {
				t.Errorf("%d messages of %d bytes are on their way", sent, len(body))
			}
			if !isRead {
				far.Close() // the sender is let go
				<-done
				return
			}
			got := 0
			go readFrames(far, func(frame []byte) {
				if len(frame) == rawHead+len(body) {
					got++
				}
			}, func() {})
			<-done
			synctest.Wait()
			if got != all {
				t.Errorf("%d messages arrived, want %d", got, all)
			}
			close(stop)
			far.Close()
		})
	}
}
