package access

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Names is the compiled form of a list of names in a Rule: a condition that a name meets or not. A
// name that ends with * stands for all names with that beginning. It is immutable, and may be used
// concurrently. The zero Names matches no name.
type Names struct {
	any    bool
	exact  map[string]bool
	prefix []string
}

// Match reports whether name meets the condition, and MatchOne whether one of several does; of no
// names, if every name would.
func (n *Names) Match(name string) bool {
	return n.any || n.exact[name] || slices.ContainsFunc(n.prefix, func(p string) bool { return strings.HasPrefix(name, p) })
}

// MatchOne is described at Match.
func (n *Names) MatchOne(of []string) bool { return n.any || slices.ContainsFunc(of, n.Match) }

// Any reports whether every name meets the condition, because the list was empty or "*".
func (n *Names) Any() bool { return n.any }

var errEmptyName = errors.New("an empty name")

// NamesOf compiles a list of names. An empty list matches every name. The error says that a name is
// empty.
func NamesOf(list []string) (Names, error) {
	if slices.Contains(list, "") {
		return Names{}, errEmptyName
	}
	return compileNames(list, len(list) == 0), nil
}

// PrincipalsOf is NamesOf for a list that may have groups as "@group", whose members are in groups. A
// group without members matches nobody. The error says which groups there are not.
func PrincipalsOf(list []string, groups map[string][]string) (Names, error) {
	var who []string
	var errs []error
	for _, p := range list {
		group, isGroup := strings.CutPrefix(p, "@")
		members, known := groups[group]
		switch {
		case !isGroup:
			who = append(who, p)
		case !known:
			errs = append(errs, fmt.Errorf("no group %s", group))
		default:
			who = append(who, members...)
		}
	}
	return compileNames(who, len(list) == 0), errors.Join(errs...)
}

func compileNames(from []string, anyone bool) Names {
	n := Names{any: anyone, exact: map[string]bool{}}
	for _, name := range from {
		if prefix, ok := strings.CutSuffix(name, "*"); ok {
			n.prefix = append(n.prefix, prefix)
			n.any = n.any || prefix == "" && len(from) == 1
		} else {
			n.exact[name] = true
		}
	}
	return n
}
