//go:build linux

package hostile

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/tcp"
)

// mallory is an attacker: a valid certificate, and a client that sends what it likes.
type mallory struct {
	role
	roads []*tcp.Transport
	codec codec.Codec
}

// line is one of mallory's links.
type line struct {
	link   transport.Link
	room   chan struct{} // a token: there is room again
	opened chan transport.Grant
	gone   chan struct{} // closed when the link has ended
	err    error         // why; set before
	seq    uint64
	got    atomic.Int64 // replies
}

func (l *line) Receive(e *transport.Envelope) {
	switch e.Verb {
	case transport.VerbOpened:
		select {
		case l.opened <- e.Grant:
		default:
		}
	case transport.VerbReply:
		l.got.Add(1)
	case transport.VerbPing: // who answers lives on
		_, _ = l.link.Send(&transport.Envelope{Verb: transport.VerbPong, Seq: e.Seq, Sent: time.Now()})
	}
}

func (l *line) Flush()     {}
func (l *line) Disturbed() {}
func (l *line) Drained() {
	select {
	case l.room <- struct{}{}:
	default:
	}
}

func (l *line) Closed(err error) {
	l.err = err
	close(l.gone)
}

// dial opens a link to the victim, as a node of that name.
func (m *mallory) dial(ctx context.Context, node string) (*line, error) {
	cfg, err := m.tls()
	if err != nil {
		return nil, err
	}
	road := tcp.New(tcp.Config{TLS: cfg})
	local := transport.Local{Cluster: "tandem", Node: node, Epoch: "e" + node, Logger: slog.New(slog.DiscardHandler)}
	if _, err := road.Start(ctx, local, func(transport.Link) transport.Receiver { return nil }); err != nil {
		return nil, err
	}
	m.roads = append(m.roads, road)
	l := &line{room: make(chan struct{}, 1), opened: make(chan transport.Grant, 1), gone: make(chan struct{})}
	_, err = road.Dial(ctx, transport.Endpoint{Node: victimName, Addr: m.Addr}, func(link transport.Link) transport.Receiver {
		l.link = link
		return l
	})
	return l, err
}

// open opens a session on the link.
func (l *line) open(ctx context.Context) error {
	if err := l.send(&transport.Envelope{Verb: transport.VerbOpen, Seq: 1}); err != nil {
		return err
	}
	select {
	case <-l.opened:
		return nil
	case <-l.gone:
		return l.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// session is a link with a session.
func (m *mallory) session(ctx context.Context, node string) (*line, error) {
	l, err := m.dial(ctx, node)
	if err == nil {
		err = l.open(ctx)
	}
	return l, err
}

// send sends e as soon as the link has room.
func (l *line) send(e *transport.Envelope) error {
	for {
		_, err := l.link.Send(e)
		if !errors.Is(err, transport.ErrFull) {
			return err
		}
		select {
		case <-l.room:
		case <-l.gone:
			return l.err
		case <-time.After(20 * time.Second):
			return fmt.Errorf("no room in 20 s")
		}
	}
}

// request sends v to an actor, without waiting for anything.
func (m *mallory) request(l *line, to string, v any) error {
	e, err := m.message(transport.VerbRequest, l, to, v)
	if err != nil {
		return err
	}
	return l.send(e)
}

// tell sends v one way.
func (m *mallory) tell(l *line, to string, v any) error {
	e, err := m.message(transport.VerbTell, l, to, v)
	if err != nil {
		return err
	}
	return l.send(e)
}

func (m *mallory) message(verb transport.Verb, l *line, to string, v any) (*transport.Envelope, error) {
	if m.codec == nil {
		m.codec = codec.Msgpack(codec.Limits{})
	}
	body, err := m.codec.Append(nil, v)
	if err != nil {
		return nil, err
	}
	l.seq++
	return &transport.Envelope{Verb: verb, Seq: l.seq, Target: to, Codec: m.codec.ID(), Body: body,
		TypeID: transport.TypeID(v.(interface{ WireName() string }).WireName())}, nil
}

// each runs do once for each of n links, at once, and returns the first error.
func each(n int, do func(i int) error) error {
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
