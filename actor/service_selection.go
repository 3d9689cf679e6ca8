package actor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tandem-go/tandem/balance"
	"github.com/tandem-go/tandem/internal/selection"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// Selector says which instances of a service System.Service addresses.
type Selector struct{ key, value string }

// Version selects the instances on nodes whose Config.Version satisfies a constraint: "^2", "~1.4",
// ">=1.2 <2", "2.x", "1.2 - 1.4", "^1 || ^3", or an exact version. They mean what they mean in
// npm and Cargo; a pre-release satisfies only a constraint that names one (">=2.0.0-0"). A node whose version is no
// semantic version ("blue") satisfies only the same text. While SetWeights gives the versions of a
// service weights, these do not count for a ref with a Version.
func Version(constraint string) Selector { return Selector{selection.KeyVersion, constraint} }

// Zone selects the instances on nodes of that zone (Config.Zone), and no others.
func Zone(name string) Selector { return Selector{selection.KeyZone, name} }

// PreferZone selects the instances on nodes of that zone as long as one of them is usable; otherwise
// the others. One that was ejected, or that the request has tried in vain, is not usable.
func PreferZone(name string) Selector { return Selector{selection.KeyPrefer, name} }

// Service returns a bound ref to a service: to any actor of the cluster that was exposed under
// that name. Each send chooses an instance by the policy in Config.Balance (package balance);
// the request goes to another instance only if it did not run at the first.
// An instance that cannot be reached, is silent, or refuses requests is ejected
// until it serves again: see InstanceEjected. While a service that had instances has
// none, Call, Submit and the opening of a stream wait for one until their deadline.
//
// With selectors the ref addresses some of the instances only, and all that was said is said of
// these: no attempt of a request goes to another one. They are part of the ref's address, as
// "mailer?version=^2&zone=eu@*", so they travel with it; Service also takes the name in that form.
// A node that comes back with another version is another instance. If selectors make no sense,
// every use of the ref fails with an error that says so (rpc.Invalid, not run).
func (s *System) Service(name string, which ...Selector) Ref {
	for i, w := range which {
		mark := "&"
		if i == 0 && !strings.Contains(name, selection.Mark) {
			mark = selection.Mark
		}
		name += mark + selection.Pair(w.key, w.value)
	}
	if !strings.Contains(name, selection.Mark) {
		return s.Ref(name + "@" + anyNode)
	}
	if canonical, err := canonicalService(name); err == nil {
		name = canonical
	}
	return Ref{to: s.refs.target(s, address{name, anyNode})}
}

// canonicalService returns the name of a service in the form that addresses have, with what selects
// its instances.
func canonicalService(name string) (string, error) {
	service, text, selects := strings.Cut(name, selection.Mark)
	if !selects {
		return name, nil
	}
	if err := transport.ValidName("service", service); err != nil {
		return "", rpc.Errorf(rpc.Invalid, rpc.NotRun, "%w", err)
	}
	sel, err := selection.Parse(text)
	if err != nil {
		return "", rpc.Errorf(rpc.Invalid, rpc.NotRun, "service %s: %w", service, err)
	}
	name = service + selection.Mark + sel.String()
	return name, validActorName(name)
}

// selected is what the address of a service selects.
type selected struct {
	service string
	which   selection.Selection
	err     *rpc.Error // nil, or why the ref cannot be used

	plan    *balance.Plan // nil: not made yet; the service's mu guards this and what follows
	weighed uint64        // which weights the plan has
}

// selectedBy returns what an address selects; nil if it is not that of a service, or selects all.
func selectedBy(a address) *selected {
	service, text, selects := strings.Cut(a.name, selection.Mark)
	if a.node != anyNode || !selects {
		return nil
	}
	w := &selected{service: service}
	if _, err := canonicalService(a.name); err != nil {
		w.err = rpc.Errorf(rpc.Invalid, rpc.NotRun, "%w", err)
		return w
	}
	w.which, _ = selection.Parse(text)
	return w
}

// planOf returns the plan for requests to what is selected, or with nil to the service as a whole;
// it is nil if all instances are alike. s.mu is held.
func (s *service) planOf(w *selected) *balance.Plan {
	if w == nil {
		return s.plan
	}
	if w.plan == nil || w.weighed != s.weighed {
		w.plan, w.weighed = s.newPlan(w.which), s.weighed
	}
	return w.plan
}

// newPlan makes a plan with the weights that there are now. s.mu is held.
func (s *service) newPlan(which selection.Selection) *balance.Plan {
	match := func(i balance.Instance) bool { return which.Matches(i.Version, i.Zone) }
	var prefer func(balance.Instance) bool
	if which.Prefer != "" {
		prefer = func(i balance.Instance) bool { return i.Zone == which.Prefer }
	}
	if which.Version != nil {
		return balance.NewPlan(match, prefer)
	}
	return balance.NewPlan(match, prefer, s.shares...)
}

// site is where an instance is, as far as it can be selected.
type site struct{ version, zone string }

// maxSites is how many sites of a service's instances are remembered.
const maxSites = 256

// remember notes where there are instances. s.mu is held.
func (s *service) remember(instances []balance.Instance) {
	for _, i := range instances {
		if len(s.sites) >= maxSites {
			clear(s.sites)
		}
		s.sites[site{i.Version, i.Zone}] = struct{}{}
	}
}

// was reports whether there has been an instance that could get requests. s.mu is held.
func (s *service) was(w *selected) bool {
	for p := range s.sites {
		if w != nil && !w.which.Matches(p.version, p.zone) {
			continue
		}
		if s.shares == nil || w != nil && w.which.Version != nil || slices.ContainsFunc(s.shares, func(h balance.Share) bool { return h.Weight > 0 && h.Match(p.version) }) {
			return true
		}
	}
	return false
}

// none is the error of a request for which there is no instance. s.mu is held.
func (s *service) none(w *selected) *rpc.Error {
	what, code := "service "+s.name, rpc.NotFound
	if w != nil {
		what += " with " + w.which.String()
	}
	text := "no instance of " + what
	switch {
	case len(s.picker.Among(s.planOf(w))) > 0:
		return rpc.Errorf(rpc.Unavailable, rpc.NotRun, "all instances of %s were tried", what)
	case s.was(w):
		code, text = rpc.Unavailable, "all instances of "+what+" have gone"
	}
	if s.picker.Len() > 0 { // there are others
		if (w == nil || w.which.Version == nil) && s.shares != nil {
			text += ", by the weights of versions " + weightsText(s.shares)
		}
		text += "; there are " + s.versions()
	}
	return rpc.Errorf(code, rpc.NotRun, "%s", text)
}

// maxVersions is how many versions an error lists.
const maxVersions = 8

// versions lists the versions and zones of the instances. s.mu is held.
func (s *service) versions() string {
	count := map[site]int{}
	for _, c := range s.picker.All() {
		count[site{c.Version, c.Zone}]++
	}
	sites := slices.SortedFunc(maps.Keys(count), func(a, b site) int {
		return cmp.Or(cmp.Compare(a.version, b.version), cmp.Compare(a.zone, b.zone))
	})
	var all []string
	for i, p := range sites {
		if i == maxVersions {
			all = append(all, "…")
			break
		}
		text := fmt.Sprintf("%d of version %s", count[p], cmp.Or(p.version, "none"))
		if p.zone != "" {
			text += " in zone " + p.zone
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}
