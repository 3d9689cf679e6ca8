package selection

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// Constraint says which versions are meant.
type Constraint struct {
	text   string
	exact  string              // the version that is meant as a text
	bounds *semver.Constraints // nil: only exact counts
}

var (
	hyphens   = regexp.MustCompile(`([^\s,|<>=!~^]+) - ([^\s,|<>=!~^]+)`)
	tight     = regexp.MustCompile(` *(\|\||,) *`)
	operators = regexp.MustCompile(`([<>=!~^]) +`)
)

// ParseConstraint reads a constraint as engineers write them: ^2, ~1.4, >=1.2 <2, 2.x, 1.2 - 1.4,
// ^1||^3, and an exact version. Parts that are separated by white space or commas must all hold.
// A version with a pre-release is only matched by a constraint that has one, too. A text without
// an operator that is no semantic version, or one behind "=", means exactly this version.
func ParseConstraint(text string) (*Constraint, error) {
	s := strings.Join(strings.Fields(text), " ")
	s = hyphens.ReplaceAllString(s, ">=$1 <=$2")
	s = operators.ReplaceAllString(tight.ReplaceAllString(s, "$1"), "$1")
	s = strings.ReplaceAll(s, " ", ",")
	if s == "" {
		return nil, fmt.Errorf("version %q: want a constraint, such as ^2", text)
	}
	c := &Constraint{text: s, exact: strings.TrimPrefix(s, "=")}
	var err error
	c.bounds, err = semver.NewConstraint(s)
	if err != nil && (c.exact == "" || strings.ContainsAny(c.exact, "^~<>=!|,*")) {
		return nil, fmt.Errorf("version %q is no constraint, such as ^2, ~1.4, >=1.2 <2 or 2.x: %w", text, err)
	}
	return c, nil
}

// String returns the canonical form, without white space.
func (c *Constraint) String() string { return c.text }

// Matches reports whether a version is meant. One that is not a semantic version is only meant by
// the same text.
func (c *Constraint) Matches(version string) bool {
	if version == c.exact {
		return true
	}
	if c.bounds == nil {
		return false
	}
	v, err := semver.NewVersion(version)
	return err == nil && c.bounds.Check(v)
}
