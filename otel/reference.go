package tandemotel

import "slices"

// Metric is one of the metrics of this package, as docs/metrics.md lists them.
type Metric struct {
	Name   string
	Type   string // "counter", "gauge" or "histogram"
	Unit   string // as in UCUM, {…} for what is counted
	Labels []string
	About  string
}

// Metrics lists all metrics.
func Metrics() []Metric {
	all := []Metric{clientMessages, clientDuration, serverMessages, serverDuration, storeDuration, events}
	for _, o := range observed() {
		all = append(all, o.Metric)
	}
	for _, o := range byLabel() {
		all = append(all, o.Metric)
	}
	return slices.Clone(all)
}
