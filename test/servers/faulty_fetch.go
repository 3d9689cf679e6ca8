package servers

import (
	"context"

	natsjs "github.com/nats-io/nats.go/jetstream"
)

// Fetched sets what becomes of the messages of the next calls of FetchNoWait, one function for each:
// what it returns arrives. It is called when the server has sent them, and may wait.
func (f *Faulty) Fetched(fates ...func([]natsjs.Msg) []natsjs.Msg) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fates = fates
}

// CreateConsumer implements jetstream.JetStream.
func (f *Faulty) CreateConsumer(ctx context.Context, stream string, cfg natsjs.ConsumerConfig) (natsjs.Consumer, error) {
	c, err := f.JetStream.CreateConsumer(ctx, stream, cfg)
	if err != nil {
		return nil, err
	}
	return &faultyConsumer{c, f}, nil
}

type faultyConsumer struct {
	natsjs.Consumer
	f *Faulty
}

// FetchNoWait implements jetstream.Consumer.
func (c *faultyConsumer) FetchNoWait(n int) (natsjs.MessageBatch, error) {
	batch, err := c.Consumer.FetchNoWait(n)
	if err != nil {
		return nil, err
	}
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	if len(c.f.fates) == 0 {
		return batch, nil
	}
	fate := c.f.fates[0]
	c.f.fates = c.f.fates[1:]
	return altered(batch, n, fate), nil
}

// alteredBatch is a batch of which not all arrive, as if nothing were wrong.
type alteredBatch chan natsjs.Msg

func altered(batch natsjs.MessageBatch, n int, fate func([]natsjs.Msg) []natsjs.Msg) alteredBatch {
	b := make(alteredBatch, n)
	go func() { // it ends by itself, as that of the batch
		defer close(b)
		var all []natsjs.Msg
		for m := range batch.Messages() {
			all = append(all, m)
		}
		for _, m := range fate(all) {
			b <- m
		}
	}()
	return b
}

// Messages implements jetstream.MessageBatch.
func (b alteredBatch) Messages() <-chan natsjs.Msg { return b }

// Error implements jetstream.MessageBatch.
func (b alteredBatch) Error() error { return nil }
