package actor

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/tandem-go/tandem/internal/engine/journal"
	"github.com/tandem-go/tandem/internal/engine/wire"
	"github.com/tandem-go/tandem/outbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// parked is a message in the outbox, as it is sent. Nothing of it changes, except for maybeAt, and left of what is ceded.
type parked struct {
	addr     address
	to       string // what it is for, if its queue in the outbox is also for others
	typeName string // of TypeID; empty: this node knows the type, or nobody does
	TypeID   uint64
	Codec    uint8
	Body     []byte
	Sender   string
	Trace    transport.Trace
	Headers  []transport.Header

	perform func(context.Context, *System) error // does what is to be done, and may be called again whatever it has returned; nil: it is a message that is handled once

	maybeAt string             // the start of its actor's node that may have handled it; empty: none, or it is not known which. It belongs to who sends to the actor
	record  *journal.JobRecord // nil: it is in memory only; set before the message is stored
	left    func()             // called when the message has left the box; nil unless a stored actor keeps it

	ceded func() bool // reports whether the activation has ended that keeps it, so that only the next one performs it; nil: whoever may performs it

	elsewhere      func() bool // reports whether another activation of the stored actor may send the message, too; nil: none does
	sinceElsewhere time.Time   // since when
}

// size is how many bytes of its sender's a message has.
func (p *parked) size() int {
	n := len(p.addr.name) + len(p.addr.node) + len(p.Body) + len(p.Sender)
	for _, h := range p.Headers {
		n += len(h.Key) + len(h.Value)
	}
	return n
}

func (p *parked) meta() wire.Meta {
	return wire.Meta{Sender: p.Sender, Trace: p.Trace, Headers: p.Headers}
}

// storedMessage is a message of the outbox as it is recorded: as a job of the store, which is not
// run, but sent, until it is freed.
type storedMessage struct {
	Outbox       string
	Number       uint64
	To           string
	Since, Until int64 // in ns since 1970; Until is 0 for never
	Message      parked
}

// outboxMark begins the record of a message, and no other record: no msgpack begins with it.
const outboxMark = 0xc1

// record has a message of a durable outbox recorded, and waits for that.
func (o *outboxes) record(ctx context.Context, msg *outbox.Message[*parked]) error {
	r := storedMessage{Outbox: msg.Outbox, Number: msg.Number, To: msg.To, Since: time.Now().UnixNano(), Message: *msg.Carries}
	if !msg.Until.IsZero() {
		r.Until = msg.Until.UnixNano()
	}
	stored, err := records.Append([]byte{outboxMark}, r)
	if err == nil && len(stored) > maxJobBytes {
		err = rpc.Errorf(rpc.TooLarge, rpc.NotRun, "a message of %d bytes cannot be recorded, the limit is %d", len(stored), maxJobBytes)
	}
	if err != nil {
		o.abandon(msg)
		return err
	}
	written := make(chan error, 1)
	name := [16]byte(hashOf(binary.BigEndian.AppendUint64([]byte("outbox "+msg.Outbox), msg.Number)))
	o.sys.node.RecordJob(name, stored, func(r *journal.JobRecord, err error) {
		switch {
		case err == nil:
			msg.Carries.record = r
			o.stored(msg)
		default:
			o.abandon(msg)
			if rpc.CodeOf(err) == rpc.Overloaded { // nothing was written
				err = rpc.Errorf(rpc.Overloaded, rpc.NotRun, "the message was not recorded: %w", err)
			} else {
				err = rpc.Errorf(rpc.Unavailable, rpc.Unknown, "the message could not be recorded: %w", err)
			}
		}
		written <- err
	})
	select {
	case err := <-written:
		return err
	default:
	}
	select {
	case err := <-written:
		return err
	case <-ctx.Done():
		return rpc.FromContext(ctx, rpc.Unknown)
	}
}

// restore takes over a message that an earlier start has left, and returns false if the record is that of a
// job.
func (o *outboxes) restore(r *journal.JobRecord) bool {
	if len(r.Job) == 0 || r.Job[0] != outboxMark {
		return false
	}
	var stored storedMessage
	err := records.Decode(r.Job[1:], &stored)
	p := &stored.Message
	if err == nil {
		p.addr, err = parseAddress(stored.To)
	}
	if err != nil {
		o.sys.log.Error("a recorded message of the outbox cannot be read", "err", err)
		r.Free()
		return true
	}
	p.record = r
	var until time.Time
	if stored.Until != 0 {
		until = time.Unix(0, stored.Until)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.box.Restore(stored.Outbox, stored.Number, stored.To, p.size(), until, time.Unix(0, stored.Since), p)
	return true
}
