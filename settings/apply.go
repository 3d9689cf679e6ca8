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
	weighed := Weights{}
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
			err := weigh(sys, weighed, next)
			if err == nil {
				weighed = next
			}
			return err
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

// weigh changes the weights of those services that have others now. If one cannot be changed, none is.
func weigh(sys System, was, is Weights) error {
	services := maps.Clone(was)
	if services == nil {
		services = Weights{}
	}
	maps.Copy(services, is)
	var done []string
	for _, service := range slices.Sorted(maps.Keys(services)) {
		if was.equal(is, service) {
			continue
		}
		if err := sys.SetWeights(service, is[service]); err != nil {
			for _, service := range done {
				err = errors.Join(err, sys.SetWeights(service, was[service]))
			}
			return err
		}
		done = append(done, service)
	}
	return nil
}
