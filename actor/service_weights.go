package actor

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tandem-go/tandem/balance"
	"github.com/tandem-go/tandem/internal/selection"
	"github.com/tandem-go/tandem/registry"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// maxWeights is for how many constraints SetWeights takes weights.
const maxWeights = 64

// SetWeights sets which share of this system's requests to a service the instances of which version
// get: {"^1": 95, "^2": 5} sends 5% to those of version 2. Keys are constraints as Version takes them,
// and weights are relative to their sum, each from 0 to 1,000,000. nil removes them.
//
// Each request first gets a version by the weights, then one of its instances by the policy of
// the service. If no instance of a version is usable, the others get its share. Instances whose
// version satisfies no constraint, or one of weight 0 only, get nothing. Requests with one key, as those
// with rpc.Affinity, get one version for as long as the weights stay the same; when the weight
// of one version is raised, only the keys move there that it needs for its larger share. A ref with a
// Version of its own does not follow the weights.
//
// Weights hold for this node only, from the next attempt on; no request is lost by a change. An error
// is of code rpc.Invalid and lists everything that is wrong; then nothing has changed.
func (s *System) SetWeights(service string, weights map[string]int) error {
	shares, err := sharesOf(service, weights)
	if err != nil {
		return err
	}
	s.services.get(service).weigh(shares)
	s.members.rejudge() // those who wait for an instance look again
	return nil
}

// Weights returns the weights of the versions of a service as they are now, with the constraints in their usual
// form; nil: it has none.
func (s *System) Weights(service string) map[string]int {
	of := (*s.services.byName.Load())[service]
	if of == nil {
		return nil
	}
	of.mu.Lock()
	defer of.mu.Unlock()
	if of.shares == nil {
		return nil
	}
	all := make(map[string]int, len(of.shares))
	for _, h := range of.shares {
		all[h.Name] = h.Weight
	}
	return all
}

// setTraffic sets the weights and mirrors of the Config, which were checked.
func (s *System) setTraffic() {
	for service, weights := range s.cfg.Weights {
		_ = s.SetWeights(service, weights)
	}
	for service, m := range s.cfg.Mirrors {
		_ = s.SetMirror(service, m)
	}
}

// sharesOf checks weights, and returns what they mean; nil for none.
func sharesOf(service string, weights map[string]int) ([]balance.Share, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := transport.ValidName("service", service); err != nil {
		errs = append(errs, err)
	}
	if len(weights) > maxWeights {
		bad("%d versions: want at most %d", len(weights), maxWeights)
		weights = nil
	}
	sum, seen := 0, map[string]string{}
	var shares []balance.Share
	for _, text := range slices.Sorted(maps.Keys(weights)) {
		weight := weights[text]
		if weight < 0 || weight > registry.MaxWeight {
			bad("version %s: weight %d: want 0 to %d", text, weight, registry.MaxWeight)
		}
		c, err := selection.ParseConstraint(text)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if other, twice := seen[c.String()]; twice {
			bad("versions %q and %q are the same", other, text)
		}
		seen[c.String()] = text
		sum += max(weight, 0)
		shares = append(shares, balance.Share{Name: c.String(), Weight: weight, Match: c.Matches})
	}
	if len(weights) > 0 && sum == 0 && errs == nil {
		bad("no version has a weight above 0")
	}
	if len(errs) > 0 {
		return nil, rpc.Errorf(rpc.Invalid, rpc.NotRun, "weights of service %s: %w", service, errors.Join(errs...))
	}
	return shares, nil
}

// weigh changes the weights.
func (s *service) weigh(shares []balance.Share) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shares = shares
	s.weighed++
	if s.plan = nil; shares != nil {
		s.plan = s.newPlan(selection.Selection{})
	}
}

// weightsText is how errors show weights.
func weightsText(shares []balance.Share) string {
	var all []string
	for _, h := range shares {
		all = append(all, fmt.Sprintf("%s: %d", h.Name, h.Weight))
	}
	return "{" + strings.Join(all, ", ") + "}"
}
