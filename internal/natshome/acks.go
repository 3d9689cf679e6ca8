package natshome

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/jserror"
)

// sweepEvery is how often is looked for messages whose time is over, while there are any.
const sweepEvery = TryFor / 8

// acks gets the acks of messages that are published without a goroutine that waits for each. They come to one
// subscription, which lasts as long as the connection.
type acks struct {
	usual atomic.Pointer[[]byte] // what has been before the sequence number in the last ack
	spare sync.Pool              // of *nats.Msg, with an expectation

	mu     sync.Mutex // guards what follows
	prefix string     // of the subjects to which acks come; a number follows. Empty: there is no subscription yet
	last   uint64     // the latest number
	sent   map[uint64]*sent
	sweeps bool // sweep is called soon
}

// sent is a message that waits for its ack.
type sent struct {
	ctx      context.Context
	until    time.Time
	subject  string
	before   error // the last one of the connection
	attempts *jserror.Attempts
	then     func(seq uint64, found jserror.Finding, err error)
}

// PublishThen is Publish of data under a subject, but it does not wait: it calls then with the result, once, soon after
// wait, TryFor, or the end of ctx at the latest. It may do so before it returns. then must not wait. data must not be
// changed before, nor attempts be used.
func (h *Home) PublishThen(ctx context.Context, wait time.Duration, subject string, data []byte, after uint64, attempts *jserror.Attempts, then func(uint64, jserror.Finding, error)) {
	if err := h.Reachable(); err != nil {
		then(0, unreached, err)
		return
	}
	s := &sent{ctx: ctx, until: time.Now().Add(min(wait, TryFor)), subject: h.plan.API + subject, before: h.js.Conn().LastError(), attempts: attempts, then: then}
	number, reply, err := h.enter(s)
	if err != nil {
		h.judge(s, 0, err)
		return
	}
	m, _ := h.acks.spare.Get().(*nats.Msg)
	if m == nil {
		m = &nats.Msg{Header: nats.Header{natsjs.ExpectedLastSubjSeqHeader: {""}}}
	}
	m.Subject, m.Reply, m.Data = s.subject, reply, data
	m.Header[natsjs.ExpectedLastSubjSeqHeader][0] = strconv.FormatUint(after, 10)
	err = h.js.Conn().PublishMsg(m) // keeps nothing of m
	m.Data = nil
	h.acks.spare.Put(m)
	if err != nil && h.acks.take(number) != nil {
		h.judge(s, 0, err)
	}
}

// enter notes a message that is about to be sent, and returns where its ack has to come.
func (h *Home) enter(s *sent) (number uint64, reply string, err error) {
	a := &h.acks
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.prefix == "" {
		prefix := h.js.Conn().NewInbox() + "."
		if _, err := h.js.Conn().Subscribe(prefix+"*", h.acked); err != nil {
			return 0, "", err
		}
		a.prefix, a.sent = prefix, map[uint64]*sent{}
	}
	a.last++
	a.sent[a.last] = s
	if !a.sweeps {
		a.sweeps = true
		time.AfterFunc(sweepEvery, h.sweep)
	}
	return a.last, a.prefix + strconv.FormatUint(a.last, 36), nil
}

// take returns a message that waits, which it does no more, or nil.
func (a *acks) take(number uint64) *sent {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sent[number]
	delete(a.sent, number)
	return s
}

// acked is called with each ack.
func (h *Home) acked(m *nats.Msg) {
	number, err := strconv.ParseUint(m.Subject[strings.LastIndexByte(m.Subject, '.')+1:], 36, 64)
	if err != nil {
		return
	}
	s := h.acks.take(number)
	if s == nil {
		return
	}
	seq, err := h.acks.parse(m)
	h.judge(s, seq, err)
}

// parse returns what an ack says.
func (a *acks) parse(m *nats.Msg) (seq uint64, err error) {
	if usual := a.usual.Load(); usual != nil {
		if rest, ok := bytes.CutPrefix(m.Data, *usual); ok && len(rest) > 1 && rest[len(rest)-1] == '}' {
			if seq, err := strconv.ParseUint(string(rest[:len(rest)-1]), 10, 64); err == nil {
				return seq, nil
			}
		}
	}
	if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
		return 0, nats.ErrNoResponders
	}
	var ack struct {
		natsjs.PubAck
		Error *natsjs.APIError `json:"error"`
	}
	switch err := json.Unmarshal(m.Data, &ack); {
	case err == nil && ack.Error != nil:
		return 0, fmt.Errorf("nats: %w", ack.Error)
	case err != nil || ack.Stream == "":
		return 0, natsjs.ErrInvalidJSAck
	}
	if usual, ok := bytes.CutSuffix(m.Data, append(strconv.AppendUint(nil, ack.Sequence, 10), '}')); ok {
		a.usual.Store(&usual)
	}
	return ack.Sequence, nil
}

// sweep ends messages whose acks have not come in time.
func (h *Home) sweep() {
	var over []*sent
	now, closed := time.Now(), h.js.Conn().IsClosed()
	a := &h.acks
	a.mu.Lock()
	for number, s := range a.sent {
		if closed || now.After(s.until) || s.ctx.Err() != nil {
			over = append(over, s)
			delete(a.sent, number)
		}
	}
	if a.sweeps = len(a.sent) > 0; a.sweeps {
		time.AfterFunc(sweepEvery, h.sweep)
	}
	a.mu.Unlock()
	for _, s := range over {
		err := s.ctx.Err()
		if err == nil && closed {
			err = nats.ErrConnectionClosed
		} else if err == nil {
			err = context.DeadlineExceeded
		}
		h.judge(s, 0, err)
	}
}

// judge gives a message its result.
func (h *Home) judge(s *sent, seq uint64, err error) {
	s.then(h.result(s.subject, s.before, s.attempts, seq, err))
}
