// Package selection says which instances of a service a ref addresses: of which versions, and in
// which zone. It reads and writes the part of an address that says so:
//
//	mailer?version=^2&zone=eu@*
//
// Everything in it is pure, and its values do not change: they can be used concurrently.
package selection

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
)

// Mark separates a service's name from the selection. No service can have it in its name.
const Mark = "?"

// The keys of a selection, in the order of the canonical form.
const (
	KeyVersion = "version"
	KeyZone    = "zone"
	KeyPrefer  = "prefer"
)

// Selection is what instances must have. The zero value selects all.
type Selection struct {
	Version *Constraint // nil: any version
	Zone    string      // only there; empty: anywhere
	Prefer  string      // there as long as an instance is usable there; empty: no preference
}

// Parse reads key=value pairs, separated by '&'. Each key may be there once. In values, "%" and two
// hexadecimal digits stand for a byte.
func Parse(text string) (Selection, error) {
	var s Selection
	seen := map[string]bool{}
	for pair := range strings.SplitSeq(text, "&") {
		key, raw, ok := strings.Cut(pair, "=")
		value, err := url.PathUnescape(raw)
		switch {
		case !ok || err != nil:
			return s, fmt.Errorf("selection %q: want key=value, with %%xx for special characters", pair)
		case seen[key]:
			return s, fmt.Errorf("selection %q: %s is given twice", text, key)
		case value == "":
			return s, fmt.Errorf("selection %q: %s is empty", text, key)
		}
		seen[key] = true
		switch key {
		case KeyVersion:
			if s.Version, err = ParseConstraint(value); err != nil {
				return s, err
			}
		case KeyZone:
			s.Zone = value
		case KeyPrefer:
			s.Prefer = value
		default:
			return s, fmt.Errorf("selection %q: unknown key %q: there are %s, %s and %s", text, key, KeyVersion, KeyZone, KeyPrefer)
		}
	}
	if s.Zone != "" && s.Prefer != "" {
		return s, fmt.Errorf("selection %q: a zone is either the only one or preferred, not both", text)
	}
	return s, nil
}

// String returns the canonical form, which Parse reads: empty for the zero value.
func (s Selection) String() string {
	var pairs []string
	if s.Version != nil {
		pairs = append(pairs, Pair(KeyVersion, s.Version.String()))
	}
	if s.Zone != "" {
		pairs = append(pairs, Pair(KeyZone, s.Zone))
	}
	if s.Prefer != "" {
		pairs = append(pairs, Pair(KeyPrefer, s.Prefer))
	}
	return strings.Join(pairs, "&")
}

// Pair returns key=value, with "%xx" for what has a meaning in an address.
func Pair(key, value string) string {
	var b strings.Builder
	b.WriteString(key + "=")
	for _, r := range value {
		if r == '%' || r == '&' || r == '@' || unicode.IsSpace(r) || unicode.IsControl(r) {
			for _, c := range []byte(string(r)) {
				fmt.Fprintf(&b, "%%%02X", c)
			}
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Matches reports whether an instance of that version and zone is selected. A preference
// excludes none.
func (s Selection) Matches(version, zone string) bool {
	return (s.Zone == "" || s.Zone == zone) && (s.Version == nil || s.Version.Matches(version))
}
