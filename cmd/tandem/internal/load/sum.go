package load

import (
	"cmp"
	"slices"
	"time"
)

// sum adds up what became of requests.
func sum(all []outcome, took time.Duration) Result {
	r := Result{Requests: len(all), Took: took, Failed: map[string]int{Ran: 0, NotRun: 0, Unknown: 0}}
	var times []time.Duration
	texts := map[string]int{}
	for _, o := range all {
		if o.verdict == "" {
			times = append(times, o.took)
			continue
		}
		r.Failed[o.verdict]++
		if _, known := texts[o.text]; !known && len(texts) >= maxErrors {
			o.text = "others"
		}
		texts[o.text]++
	}
	slices.Sort(times)
	r.Answered = len(times)
	if took > 0 {
		r.PerSecond = float64(len(times)) / took.Seconds()
	}
	r.P50, r.P90, r.P99, r.Max = quantile(times, 0.50), quantile(times, 0.90), quantile(times, 0.99), quantile(times, 1)
	for text, n := range texts {
		r.Errors = append(r.Errors, Counted{text, n})
	}
	slices.SortFunc(r.Errors, func(a, b Counted) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Text, b.Text)) })
	return r
}

// quantile returns the smallest of sorted times that at least the share q does not exceed.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := int(q*float64(len(sorted))+0.999999) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}
