package natskv

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/registry"
)

// The bucket holds a departure as the marker that replaces the node's record. Before somebody
// registers the name again, the marker is moved to the key "left.<name>", which cannot be the key
// of a node's record.
const (
	aside       = "left."
	epochHeader = "Tandem-Epoch"
	atHeader    = "Tandem-Departed" // the time of the departure, if it was moved
	howHeader   = "Tandem-Change"   // the kind of departure, if it was moved
)

// isMarker reports whether a message is a marker, which says that there is no record any more.
func isMarker(h nats.Header) bool {
	return h.Get("KV-Operation") != "" || h.Get(jetstream.MarkerReasonHeader) != ""
}

// markerOf returns the message that describes a departure. It has a reason, so that the server does
// not leave another marker when this one expires.
func markerOf(subject string, d registry.Departure) *nats.Msg {
	m := nats.NewMsg(subject)
	m.Data = d.Last
	m.Header.Set(epochHeader, d.Epoch)
	m.Header.Set(jetstream.MarkerReasonHeader, "Remove")
	return m
}

// departureOf decodes a marker, of this package or one that the server left for an expired record.
func departureOf(m *message) registry.Departure {
	d := registry.Departure{Epoch: m.header.Get(epochHeader), Change: registry.Expired, At: m.at, Last: m.data}
	if m.header.Get("KV-Operation") == "DEL" || m.header.Get(howHeader) == registry.Left.String() {
		d.Change = registry.Left
	}
	if at, err := time.Parse(time.RFC3339Nano, m.header.Get(atHeader)); err == nil {
		d.At = at
	}
	return d
}

// setAside moves a departure, so that it is still readable when another record replaces the marker.
// If the message would become too large, the last word is left out.
func (b bucket) setAside(ctx context.Context, name string, d registry.Departure) error {
	left := markerTTL - time.Since(d.At)
	if left < time.Second {
		return nil
	}
	m := markerOf(b.subject+aside+name, d)
	m.Header.Set(atHeader, d.At.Format(time.RFC3339Nano))
	m.Header.Set(howHeader, d.Change.String())
	_, err := b.publish(ctx, m, min(left, markerTTL).Truncate(time.Second))
	if errors.Is(err, registry.ErrTooLarge) { // the last word filled the marker, and the moved message has more headers
		m.Data = nil
		_, err = b.publish(ctx, m, min(left, markerTTL).Truncate(time.Second))
	}
	return err
}

// Departed returns the departure that was moved, if there is one.
func (b bucket) Departed(ctx context.Context, name string) (*registry.Departure, error) {
	m, err := b.last(ctx, aside+name)
	if err != nil || m == nil {
		return nil, err
	}
	d := departureOf(m)
	return &d, nil
}
