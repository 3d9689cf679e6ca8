package natskv

import (
	"context"
	"errors"
	"fmt"
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

const maxPast = 4096 // the most epochs that are kept

// past keeps the epochs of nodes whose departure this client has seen, because the server's own
// markers do not name them. It is bounded by age and number.
type past map[string]registry.Departure

func (p past) add(n registry.Node, how registry.Change, now time.Time) {
	for name, d := range p {
		if now.Sub(d.At) > markerTTL {
			delete(p, name)
		}
	}
	for name := range p {
		if len(p) < maxPast {
			break
		}
		delete(p, name) // any one: what the server's markers say is still known
	}
	p[n.Name] = registry.Departure{Epoch: n.Epoch, Change: how, At: now}
}

// Departed says how the latest former holder of name ended, as far as NATS remembers it. If its
// lease has expired, only clients that had seen its record know its epoch.
func (r *Registry) Departed(ctx context.Context, name string) (registry.Departure, error) {
	d, ok, err := r.departed(ctx, name)
	if err == nil && !ok {
		err = registry.ErrNotFound
	}
	if err != nil {
		return registry.Departure{}, fmt.Errorf("natskv: departure of %q: %w", name, err)
	}
	return d, nil
}

func (r *Registry) departed(ctx context.Context, name string) (d registry.Departure, ok bool, err error) {
	if (registry.Node{Name: name, Epoch: "e"}).Valid() != nil {
		return d, false, nil
	}
	last, err := r.get(ctx, name)
	if err != nil {
		return d, false, err
	}
	switch {
	case last.departed != nil:
		d, ok = *last.departed, true
	default:
		m, err := r.bucket.last(ctx, aside+name)
		if err != nil {
			return d, false, r.noted(err)
		}
		if m != nil {
			d, ok = departureOf(m), true
		}
	}
	if ok && d.Epoch == "" {
		d.Epoch = r.lastEpoch(name)
	}
	return d, ok && time.Since(d.At) <= markerTTL, nil
}

// lastEpoch returns the epoch of name whose departure this client saw last; empty if there is none.
func (r *Registry) lastEpoch(name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.past[name].Epoch
}
