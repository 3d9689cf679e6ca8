package stored

import (
	"errors"
	"fmt"

	"github.com/tandem-go/tandem/state"
)

// Config bounds what an activation keeps. Its zero value is the default, but for MaxRecord and
// TypeVersion.
type Config struct {
	TypeVersion uint32 // of the encodings of the state that Handled gets; not 0
	MaxRecord   int    // the most bytes that the store takes as one record; not 0

	// Outcomes that are kept, those of requests that run included, with an ack mark for each
	// caller: in all, and for one caller. All keys together count as one caller.
	Outcomes       int // default 4,096
	OutcomeBytes   int // default a quarter of MaxRecord
	CallerOutcomes int // default a quarter of Outcomes
	CallerBytes    int // default a quarter of OutcomeBytes

	// Messages of the outbox that were not sent yet.
	Messages     int // default 4,096
	MessageBytes int // default a quarter of MaxRecord
}

// Defaults of Config.
const (
	DefaultOutcomes = 4096
	DefaultMessages = 4096

	share = 4 // one part of so many is what a caller may have, and what outcomes have of a record
)

// ErrConfig is wrapped by the error of a Config that makes no sense.
var ErrConfig = errors.New("stored: bad configuration")

// WithDefaults returns the Config with its defaults filled in, or an error that wraps ErrConfig.
func (c Config) WithDefaults() (Config, error) {
	if c.TypeVersion == 0 || c.MaxRecord <= 0 || c.MaxRecord > state.MaxRecord {
		return c, fmt.Errorf("%w: TypeVersion is %d and MaxRecord %d", ErrConfig, c.TypeVersion, c.MaxRecord)
	}
	for _, d := range []struct {
		name     string
		v        *int
		def, max int
	}{
		{"Outcomes", &c.Outcomes, DefaultOutcomes, state.MaxOutcomes},
		{"OutcomeBytes", &c.OutcomeBytes, max(c.MaxRecord/share, 1), state.MaxRecord},
		{"CallerOutcomes", &c.CallerOutcomes, 0, state.MaxOutcomes},
		{"CallerBytes", &c.CallerBytes, 0, state.MaxRecord},
		{"Messages", &c.Messages, DefaultMessages, state.MaxMessages},
		{"MessageBytes", &c.MessageBytes, max(c.MaxRecord/share, 1), state.MaxRecord},
	} {
		if *d.v < 0 || *d.v > d.max {
			return c, fmt.Errorf("%w: %s is %d: want 0 to %d", ErrConfig, d.name, *d.v, d.max)
		} else if *d.v == 0 {
			*d.v = d.def
		}
	}
	if c.CallerOutcomes == 0 {
		c.CallerOutcomes = max(c.Outcomes/share, 1)
	}
	if c.CallerBytes == 0 {
		c.CallerBytes = max(c.OutcomeBytes/share, 1)
	}
	return c, nil
}
