package servers

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"
)

// Fault is what happens to one publish.
type Fault int

// The faults.
const (
	None      Fault = iota
	Lost            // it never arrives
	AckLost         // it is stored, and its answer does not arrive
	Late            // it arrives behind the next publish
	LateAgain       // it arrives, and a second copy behind the next publish
	Busy            // as if another publish under its id were being stored; it is not
	InFlight        // as if another publish of its subject were in flight; it is not
)

// ErrFault is what a publish returns whose answer does not arrive.
var ErrFault = errors.New("test: no answer")

// Faulty is a JetStream that injects faults into PublishMsg. It may be used concurrently.
type Faulty struct {
	natsjs.JetStream

	mu    sync.Mutex
	next  []Fault  // the faults of the next publishes
	later []func() // called after the next publish
}

// Plan sets the faults of the next publishes, in place of those that were planned before.
func (f *Faulty) Plan(faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = faults
}

// Add plans faults behind those that were planned before.
func (f *Faulty) Add(faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next = append(f.next, faults...)
}

// After has do called after the next publish, before its answer is there.
func (f *Faulty) After(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.later = append(f.later, do)
}

// PublishMsg implements jetstream.JetStream.
func (f *Faulty) PublishMsg(ctx context.Context, m *nats.Msg, opts ...natsjs.PublishOpt) (*natsjs.PubAck, error) {
	kept := &nats.Msg{Subject: m.Subject, Data: slices.Clone(m.Data), Header: maps.Clone(m.Header)}
	resend := func() {
		again := *kept // a publish changes the header
		again.Header = maps.Clone(kept.Header)
		_, _ = f.JetStream.PublishMsg(context.WithoutCancel(ctx), &again, opts...)
	}
	f.mu.Lock()
	now := None
	if len(f.next) > 0 {
		now, f.next = f.next[0], f.next[1:]
	}
	later := f.later
	f.later = nil
	f.mu.Unlock()
	defer func() {
		for _, do := range later {
			do()
		}
		if now == Late || now == LateAgain {
			f.After(resend)
		}
	}()
	switch now {
	case Lost, Late:
		return nil, ErrFault
	case Busy:
		return nil, &natsjs.APIError{ErrorCode: 10158}
	case InFlight: // replicated streams say so also a moment after the answer to that one
		return nil, &natsjs.APIError{ErrorCode: natsjs.JSErrCodeStreamWrongLastSequenceConstant}
	case AckLost, LateAgain:
		resend()
		return nil, ErrFault
	}
	return f.JetStream.PublishMsg(ctx, m, opts...)
}
