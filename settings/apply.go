package settings

import (
	"errors"
	"maps"
	"slices"
)

// appliers returns what puts the value of each section in force, or with nil what is in force now. Sections that
// cannot be applied have none.
func (t Targets) appliers() map[Section]func(Value) error {
	sys := t.System
	rules, limits, retry := sys.Access(), sys.Admission(), sys.Retry()
	weights := weighing{sys: sys, before: Weights{}}
	all := map[Section]func(Value) error{
		AccessSection: func(v Value) error {
			if v == nil {
				return sys.SetAccess(rules)
			}
			return sys.SetAccess(v.(Access).Rules)
		},
		LimitsSection: func(v Value) error {
			if v == nil {
				return sys.SetAdmission(limits)
			}
			return sys.SetAdmission(v.(Limits).Rules)
		},
		RetrySection: func(v Value) error {
			if v == nil {
				return sys.SetRetry(retry)
			}
			return sys.SetRetry(v.(Retry).Retry)
		},
		WeightsSection: func(v Value) error {
			next, _ := v.(Weights)
			return weights.change(next)
		},
	}
	if t.Level != nil {
		level := t.Level.Level()
		all[LogSection] = func(v Value) error {
			if v == nil {
				t.Level.Set(level)
			} else {
				t.Level.Set(v.(Log).Level)
			}
			return nil
		}
	}
	if t.Breakers != nil {
		cfg := t.Breakers.Config()
		all[BreakersSection] = func(v Value) error {
			if v == nil {
				return t.Breakers.Set(cfg)
			}
			return t.Breakers.Set(v.(Breakers).Config)
		}
	}
	return all
}

// weighing changes the weights of services.
type weighing struct {
	sys    System
	before Weights // of each service that ever had a value, what was in force then; nil: it had no weights
	now    Weights // the value in force
}

// change puts a value in force. It changes those services only that have other weights in it. If one cannot be
// changed, none is.
func (w *weighing) change(next Weights) error {
	services := Weights{}
	maps.Copy(services, w.now)
	maps.Copy(services, next)
	var done []string
	for _, service := range slices.Sorted(maps.Keys(services)) {
		if w.now.equal(next, service) {
			continue
		}
		if _, known := w.before[service]; !known {
			w.before[service] = w.sys.Weights(service)
		}
		if err := w.sys.SetWeights(service, w.of(next, service)); err != nil {
			for _, service := range done {
				err = errors.Join(err, w.sys.SetWeights(service, w.of(w.now, service)))
			}
			return err
		}
		done = append(done, service)
	}
	w.now = next
	return nil
}

// of returns the weights of a service while a value is in force.
func (w *weighing) of(value Weights, service string) map[string]int {
	if own, set := value[service]; set {
		return own
	}
	return w.before[service]
}
