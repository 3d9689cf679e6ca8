package natskv

import (
	"context"
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// message is the last message under a key that the stream's leader has.
type message struct {
	header nats.Header
	data   []byte
	rev    uint64
	at     time.Time
}

// last reads the last message under key from the leader of the bucket's stream; nil if there is
// none. Claims are decided by this and not by KeyValue.Get, because any replica may answer the
// latter, even one that has not yet got what this or another client has just written.
func (b bucket) last(ctx context.Context, key string) (*message, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	ask, err := json.Marshal(map[string]string{"last_by_subj": "$KV." + b.name + "." + key})
	if err != nil {
		return nil, err
	}
	before := b.js.Conn().LastError()
	answer, err := b.js.Conn().RequestWithContext(ctx, b.api+"STREAM.MSG.GET.KV_"+b.name, ask)
	if err != nil {
		return nil, b.fault(before, err)
	}
	var got struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Seq    uint64    `json:"seq"`
			Header []byte    `json:"hdrs"`
			Data   []byte    `json:"data"`
			Time   time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(answer.Data, &got); err != nil {
		return nil, b.fault(before, err)
	}
	if got.Error != nil && got.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound {
		return nil, nil
	}
	if got.Error != nil {
		return nil, b.fault(before, got.Error)
	}
	if got.Message == nil {
		return nil, b.fault(before, jetstream.ErrInvalidJetStreamResponse)
	}
	m := &message{data: got.Message.Data, rev: got.Message.Seq, at: got.Message.Time}
	if len(got.Message.Header) > 0 {
		if m.header, err = nats.DecodeHeadersMsg(got.Message.Header); err != nil {
			return nil, b.fault(before, err)
		}
	}
	return m, nil
}
