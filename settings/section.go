package settings

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/admission"
	"github.com/tandem-go/tandem/breaker"
	"github.com/tandem-go/tandem/rpc"
)

// Section is a part of the settings, which is written, checked and applied as a whole.
type Section string

// The sections.
const (
	LogSection      Section = "log"
	LimitsSection   Section = "limits"
	BreakersSection Section = "breakers"
	RetrySection    Section = "retry"
	WeightsSection  Section = "weights"
	AccessSection   Section = "access"
)

// sections are all of them, in the order in which they are applied: first who may do what.
var sections = [...]Section{AccessSection, LimitsSection, BreakersSection, RetrySection, WeightsSection, LogSection}

// Sections returns all sections.
func Sections() []Section { return append([]Section(nil), sections[:]...) }

// Value is what a section says. Only the types of this package are values.
type Value interface {
	Section() Section
	MarshalJSON() ([]byte, error)
	check() error // what is wrong with it
}

// The values, one type for each section.
type (
	// Log is the least level that is logged.
	Log struct{ Level slog.Level }

	// Limits are those on messages from other nodes, see actor.Config.Admission.
	Limits struct{ admission.Rules }

	// Breakers say when circuits open, see package breaker.
	Breakers struct{ breaker.Config }

	// Retry says when a request is retried that did not run, see actor.Config.Retry.
	Retry struct{ rpc.Retry }

	// Weights say which share of the requests to a service the instances of which version get, by service, see
	// actor.System.SetWeights. Other services have no weights.
	Weights map[string]map[string]int

	// Access says who may do what, see actor.Config.Access.
	Access struct{ access.Rules }
)

// Section implements Value.
func (Log) Section() Section { return LogSection }

// Section implements Value.
func (Limits) Section() Section { return LimitsSection }

// Section implements Value.
func (Breakers) Section() Section { return BreakersSection }

// Section implements Value.
func (Retry) Section() Section { return RetrySection }

// Section implements Value.
func (Weights) Section() Section { return WeightsSection }

// Section implements Value.
func (Access) Section() Section { return AccessSection }

// Key says which section of which nodes.
type Key struct {
	Section Section
	Node    string // its name; empty: all nodes that have no value of their own
}

// nodePrefix is what the keys of single nodes begin with.
const nodePrefix = "node."

// String returns the key as it is in a bucket: "limits", or "node.till-1.limits".
func (k Key) String() string {
	if k.Node == "" {
		return string(k.Section)
	}
	return nodePrefix + k.Node + "." + string(k.Section)
}

// maxNode is the most bytes of a node's name.
const maxNode = 128

// ParseKey returns the key whose String is text. The error wraps rpc.Invalid.
func ParseKey(text string) (Key, error) {
	k := Key{Section: Section(text)}
	if rest, ok := strings.CutPrefix(text, nodePrefix); ok {
		i := strings.LastIndexByte(rest, '.')
		if i < 0 {
			return Key{}, keyError(text)
		}
		if k = (Key{Section(rest[i+1:]), rest[:i]}); !isName(k.Node) {
			return Key{}, keyError(text)
		}
	}
	return k, k.check()
}

func (k Key) check() error {
	for _, s := range sections {
		if s == k.Section && (k.Node == "" || isName(k.Node)) {
			return nil
		}
	}
	return keyError(k.String())
}

func keyError(text string) error {
	return rpc.Errorf(rpc.Invalid, rpc.NotRun, "settings: there is no key %q: want a section, as %q, or %q", cut(text, 200), LimitsSection, Key{LimitsSection, "NAME"})
}

// cut returns the first n bytes of text, if it is longer.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return fmt.Sprintf("%s… (%d bytes)", strings.ToValidUTF8(text[:n], ""), len(text))
}

// isName reports whether a node can have that name.
func isName(s string) bool {
	return s != "" && len(s) <= maxNode && strings.IndexFunc(s, func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_')
	}) < 0
}
