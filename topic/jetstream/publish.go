package jetstream

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	natsjs "github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/internal/jserror"
	"github.com/tandem-go/tandem/topic"
)

// Headers of a message.
const (
	headerID        = "Tandem-Id"
	headerType      = "Tandem-Type"
	headerCodec     = "Tandem-Codec"
	headerPublisher = "Tandem-Publisher"
	headerTrace     = "Tandem-Trace"
	headerHeader    = "Tandem-Header" // key=value, both escaped as in a query of a URL
)

const (
	tryFor    = 2 * time.Second // of one request to NATS
	pauseTime = 50 * time.Millisecond
)

// subject is the subject of a topic's messages of one type, or a filter for the topics of a pattern.
func (s *Store) subject(typeID uint64, name string) string {
	return fmt.Sprintf("%s.%016x.%s", s.name, typeID, name)
}

// Publish implements topic.Store. It tries until it knows that the message is stored or never will
// be, but not when the stream may have forgotten the id of the first attempt.
func (s *Store) Publish(ctx context.Context, m topic.Message) (uint64, error) {
	if err := s.Err(); err != nil {
		return 0, &topic.NotStoredError{Err: err}
	}
	msg := s.message(m)
	if size, most := msg.Size()-len(msg.Subject), s.js.Conn().MaxPayload(); s.js.Conn().IsConnected() && int64(size) > most {
		return 0, &topic.NotStoredError{Err: fmt.Errorf("%w: %d bytes with its headers, and max_payload of NATS is %d", topic.ErrTooLarge, size, most)}
	}
	var attempts jserror.Attempts
	again, cancel := context.WithTimeout(ctx, s.cfg.Duplicates*3/4-tryFor)
	defer cancel()
	for {
		position, err := s.try(ctx, msg)
		f := attempts.Add(err)
		if f.Proof == jserror.Done {
			return position, nil
		}
		if f.Cause == jserror.Away || f.Cause == jserror.Gone {
			s.suspect()
		}
		if gone := s.Err(); gone != nil {
			return 0, unstored(f, gone)
		}
		if !f.Again || !pause(again) {
			return 0, unstored(f, because(f.Cause, err))
		}
	}
}

// try is one attempt to publish a message. Without a connection none is made, because it would wait in
// the connection's buffer, and be stored later.
func (s *Store) try(ctx context.Context, msg *nats.Msg) (position uint64, err error) {
	if !s.js.Conn().IsConnected() {
		return 0, fmt.Errorf("no connection to NATS: %w", nats.ErrReconnectBufExceeded)
	}
	step, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
	ack, err := s.js.PublishMsg(step, msg, natsjs.WithExpectStream(s.name), natsjs.WithRetryAttempts(0))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// unstored is the error of a message that is not stored, or may be.
func unstored(f jserror.Finding, why error) error {
	if f.Proof == jserror.NotDone {
		return &topic.NotStoredError{Err: why}
	}
	return why
}

// because says in the words of package topic why a message is not stored.
func because(why jserror.Cause, err error) error {
	switch why {
	case jserror.Full, jserror.Busy:
		return fmt.Errorf("%w: %w", topic.ErrFull, err)
	case jserror.TooLarge:
		return fmt.Errorf("%w: %w", topic.ErrTooLarge, err)
	case jserror.Away, jserror.Gone:
		return fmt.Errorf("%w: %w", topic.ErrAway, err)
	}
	return err
}

// pause waits a little. It returns false if ctx has ended.
func pause(ctx context.Context) bool {
	t := time.NewTimer(pauseTime)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// message returns m as NATS stores it.
func (s *Store) message(m topic.Message) *nats.Msg {
	msg := nats.NewMsg(s.subject(m.TypeID, m.Topic))
	msg.Data = m.Body
	msg.Header.Set(natsjs.MsgIDHeader, url.QueryEscape(msg.Subject+" "+m.ID)) // NATS knows ids by stream, not by subject
	msg.Header.Set(headerID, url.QueryEscape(m.ID))
	msg.Header.Set(headerType, url.QueryEscape(m.Type))
	msg.Header.Set(headerCodec, strconv.Itoa(int(m.Codec)))
	msg.Header.Set(headerPublisher, url.QueryEscape(m.Publisher))
	if len(m.Trace) > 0 {
		msg.Header.Set(headerTrace, base64.RawURLEncoding.EncodeToString(m.Trace))
	}
	for _, h := range m.Headers {
		msg.Header.Add(headerHeader, url.QueryEscape(h[0])+"="+url.QueryEscape(h[1]))
	}
	return msg
}

// parse is the inverse of message. What other programs have written may lack any part.
func (s *Store) parse(msg natsjs.Msg, md *natsjs.MsgMetadata) topic.Message {
	h := msg.Headers()
	plain := func(of string) string {
		s, _ := url.QueryUnescape(of)
		return s
	}
	m := topic.Message{ID: plain(h.Get(headerID)), Type: plain(h.Get(headerType)), Publisher: plain(h.Get(headerPublisher)), Body: msg.Data(),
		Position: md.Sequence.Stream, Time: md.Timestamp, Attempt: int(md.NumDelivered)}
	id, name, _ := strings.Cut(strings.TrimPrefix(msg.Subject(), s.name+"."), ".")
	m.TypeID, _ = strconv.ParseUint(id, 16, 64)
	m.Topic = name
	codec, _ := strconv.ParseUint(h.Get(headerCodec), 10, 8)
	m.Codec = uint8(codec)
	m.Trace, _ = base64.RawURLEncoding.DecodeString(h.Get(headerTrace))
	for _, pair := range h.Values(headerHeader) {
		k, v, _ := strings.Cut(pair, "=")
		m.Headers = append(m.Headers, [2]string{plain(k), plain(v)})
	}
	return m
}
