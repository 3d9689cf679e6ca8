package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/tandem-go/tandem/gateway"
	"github.com/tandem-go/tandem/rpc"
)

const (
	beat      = 15 * time.Second // an open stream without items shows that it lives, so that the ends and what is between them know
	writeTime = 30 * time.Second // how long a client may take to receive one event
	openTime  = 2 * time.Second  // how long a stream without a first item waits before its answer begins, so that a refusal has its own status
)

// event is what a stream gives: an item, or its end.
type event struct {
	item []byte
	over bool
	err  error // with over
}

// stream answers with the items of a stream, as Server-Sent Events (HTML, §9.2). The stream gives one item when the one
// before was written, so that a slow client makes it wait. What became of it the stream itself says, also when its time is over.
func (h *handler) stream(w http.ResponseWriter, a *asked) {
	ctx, cancel := context.WithCancel(a.ctx)
	events, left, ended := make(chan event), make(chan struct{}), make(chan struct{})
	defer func() {
		close(left)
		cancel()
		<-ended
	}()
	give := func(e event) bool {
		select {
		case events <- e:
			return true
		case <-left:
			return false
		}
	}
	go func() {
		defer close(ended)
		last := event{over: true}
		for item, err := range a.Stream(ctx, a.Request) {
			if err != nil {
				last.err = err
				break
			}
			if !give(event{item: item}) {
				return
			}
		}
		give(last)
	}()

	out := sse{w: w, to: http.NewResponseController(w)}
	timer := time.NewTimer(openTime)
	defer timer.Stop()
	for n := 0; ; {
		select {
		case e := <-events:
			if e.over && e.err != nil && !out.begun {
				fail(w, e.err)
				return
			}
			if !out.write(e, n) || e.over {
				return
			}
			n++
		case <-timer.C:
			if !out.send([]byte(":\n\n"), rpc.Unknown) { // nobody knows yet whether the stream is open
				return
			}
		}
		timer.Reset(beat)
	}
}

// sse writes events.
type sse struct {
	w     http.ResponseWriter
	to    *http.ResponseController
	begun bool
}

// write writes an event, and reports whether the client has it. n is how many were written before.
func (s *sse) write(e event, n int) bool {
	var b []byte
	switch {
	case e.over && e.err != nil:
		data, err := json.Marshal(problemOf(e.err))
		if err != nil {
			return false
		}
		b = fmt.Appendf(nil, "event: error\ndata: %s\n\n", data)
	case e.over:
		b = []byte("event: end\ndata: {}\n\n")
	default:
		b = fmt.Appendf(nil, "id: %d\ndata: %s\n\n", n, bytes.ReplaceAll(e.item, []byte("\n"), []byte("\ndata: ")))
	}
	return s.send(b, rpc.HasRun)
}

// send writes bytes, behind the headers if these were not written. ran is what is known of the request then.
func (s *sse) send(b []byte, ran rpc.Verdict) bool {
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Content-Type", "text/event-stream")
		s.w.Header().Set(gateway.HeaderRan, gateway.Ran(ran))
	}
	_ = s.to.SetWriteDeadline(time.Now().Add(writeTime)) // not every server can
	if _, err := s.w.Write(b); err != nil {
		return false
	}
	return s.to.Flush() == nil
}
