package leased

import (
	"time"

	"github.com/tandem-go/tandem/registry"
)

const maxPast = 4096 // the most epochs that are kept

// past keeps the epochs of nodes whose departure this client has seen, because what a store
// itself leaves in the place of an expired record may not name them. It is bounded by age and number.
type past map[string]registry.Departure

func (p past) add(n registry.Node, how registry.Change, now time.Time) {
	for name, d := range p {
		if now.Sub(d.At) > registry.Memory {
			delete(p, name)
		}
	}
	for name := range p {
		if len(p) < maxPast {
			break
		}
		delete(p, name) // any one: what the store has is still known
	}
	p[n.Name] = registry.Departure{Epoch: n.Epoch, Change: how, At: now}
}
