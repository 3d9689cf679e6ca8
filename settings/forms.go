package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/admission"
	"github.com/tandem-go/tandem/internal/selection"
	"github.com/tandem-go/tandem/internal/strictjson"
)

// The JSON forms of the sections that have none in their own packages. Durations are texts, as "250ms".

func (l Log) check() error { return nil }

// MarshalJSON returns the JSON form: {"level": "debug"}.
func (l Log) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"level": l.Level.String()})
}

func parseLog(data []byte) (l Log, err error) {
	given := false
	err = strictjson.Object(data, map[string]any{"level": func(v json.RawMessage) error {
		var text string
		if err := json.Unmarshal(v, &text); err != nil {
			return err
		}
		given = true
		return l.Level.UnmarshalText([]byte(text))
	}})
	if err == nil && !given {
		err = &strictjson.Error{Name: "level", Err: ErrNoValue}
	}
	return l, err
}

func (l Limits) check() error {
	_, err := admission.New(l.Rules)
	return err
}

func (a Access) check() error {
	_, err := access.Compile(a.Rules)
	return err
}

func (b Breakers) check() error { return b.Validate() }

func (r Retry) check() error { return r.Validate() }

type breakersForm struct {
	Targets     []string `json:"targets,omitempty"`
	Messages    []string `json:"messages,omitempty"`
	InRow       int      `json:"inRow,omitempty"`
	Share       float64  `json:"share,omitempty"`
	Window      string   `json:"window,omitempty"`
	Pause       string   `json:"pause,omitempty"`
	Trials      int      `json:"trials,omitempty"`
	MaxCircuits int      `json:"maxCircuits,omitempty"`
}

// MarshalJSON returns the JSON form: {"targets": ["prices@*"], "inRow": 5, "pause": "5s"}. What is zero is left out.
func (b Breakers) MarshalJSON() ([]byte, error) {
	return json.Marshal(breakersForm{b.Targets, b.Messages, b.InRow, b.Share, text(b.Window), text(b.Pause), b.Trials, b.MaxCircuits})
}

func parseBreakers(data []byte) (b Breakers, err error) {
	err = strictjson.Object(data, map[string]any{
		"targets": &b.Targets, "messages": &b.Messages, "inRow": &b.InRow, "share": &b.Share, "trials": &b.Trials, "maxCircuits": &b.MaxCircuits,
		"window": durationTo(&b.Window), "pause": durationTo(&b.Pause),
	})
	return b, err
}

type retryForm struct {
	Attempts int     `json:"attempts,omitempty"`
	MinPause string  `json:"minPause,omitempty"`
	MaxPause string  `json:"maxPause,omitempty"`
	Burst    float64 `json:"burst,omitempty"`
	Earn     float64 `json:"earn,omitempty"`
}

// MarshalJSON returns the JSON form: {"attempts": 4, "minPause": "50ms", "burst": 100}. What is zero is left out.
func (r Retry) MarshalJSON() ([]byte, error) {
	return json.Marshal(retryForm{r.Attempts, text(r.MinPause), text(r.MaxPause), r.Burst, r.Earn})
}

func parseRetry(data []byte) (r Retry, err error) {
	err = strictjson.Object(data, map[string]any{
		"attempts": &r.Attempts, "burst": &r.Burst, "earn": &r.Earn,
		"minPause": durationTo(&r.MinPause), "maxPause": durationTo(&r.MaxPause),
	})
	return r, err
}

// MarshalJSON returns the JSON form: {"prices": {"^1": 95, "^2": 5}}.
func (w Weights) MarshalJSON() ([]byte, error) {
	form := map[string]map[string]int{}
	for service, versions := range w {
		form[service] = map[string]int{}
		maps.Copy(form[service], versions)
	}
	return json.Marshal(form)
}

func (w Weights) check() error {
	for service, versions := range w {
		if err := checkWeights(versions); err != nil {
			return &strictjson.Error{Name: service, Err: err}
		}
		if !isName(service) {
			return &strictjson.Error{Name: service, Err: errors.New("that is no name of a service")}
		}
	}
	return nil
}

func checkWeights(versions map[string]int) error {
	if len(versions) > MaxVersions {
		return fmt.Errorf("%d versions: want at most %d", len(versions), MaxVersions)
	}
	sum, seen := 0, map[string]bool{}
	for version, weight := range versions {
		c, err := selection.ParseConstraint(version)
		switch {
		case err != nil:
		case weight < 0 || weight > MaxWeight:
			err = fmt.Errorf("the weight is %d: want 0 to %d", weight, MaxWeight)
		case seen[c.String()]:
			err = errors.New("another version is the same")
		}
		if err != nil {
			return &strictjson.Error{Name: version, Err: err}
		}
		seen[c.String()] = true
		sum += weight
	}
	if len(versions) > 0 && sum == 0 {
		return errors.New("no version has a weight above 0")
	}
	return nil
}

func parseWeights(data []byte) (Weights, error) {
	w := Weights{}
	err := strictjson.Each(data, func(service string, v json.RawMessage) error {
		w[service] = map[string]int{}
		return strictjson.Each(v, func(version string, v json.RawMessage) error {
			var weight int
			err := json.Unmarshal(v, &weight)
			w[service][version] = weight
			return err
		})
	})
	return w, err
}

func durationTo(to *time.Duration) func(json.RawMessage) error {
	return func(v json.RawMessage) (err error) {
		*to, err = strictjson.Duration(v)
		return err
	}
}

// text returns a duration as people write it; empty for 0.
func text(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}
