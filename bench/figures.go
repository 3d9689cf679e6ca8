package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
)

// A figure is a number by itself, found several times.
type figure struct {
	Group  string  `json:"group"`
	Name   string  `json:"name"`
	Unit   string  `json:"unit"`
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
	Tries  int     `json:"tries"`
	Err    string  `json:"error,omitempty"`
}

// found makes a figure of what was found in several tries.
func found(group, name, unit string, values []float64, err error) figure {
	f := figure{Group: group, Name: name, Unit: unit, Median: median(values), Tries: len(values)}
	if len(values) > 0 {
		f.Low, f.High = slices.Min(values), slices.Max(values)
	}
	if err == nil && len(values) == 0 {
		err = fmt.Errorf("nothing was measured")
	}
	if err != nil {
		f.Err = err.Error()
	}
	return f
}

// repeat calls measure n times, or until it fails.
func repeat(group, name, unit string, n int, measure func(try int) (float64, error)) figure {
	var values []float64
	for try := range n {
		v, err := measure(try)
		if err != nil {
			return found(group, name, unit, values, err)
		}
		values = append(values, v)
	}
	return found(group, name, unit, values, nil)
}

// printFigures prints them for people.
func printFigures(out io.Writer, figures []figure) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for i, f := range figures {
		if i == 0 || f.Group != figures[i-1].Group {
			fmt.Fprintf(w, "\n%s\tmedian\tlowest\thighest\t\n", f.Group)
		}
		fmt.Fprintf(w, "  %s\t%s %s\t%s\t%s\t%s\n", f.Name, digits(f.Median), f.Unit, digits(f.Low), digits(f.High), cmp.Or(f.Err, " "))
	}
	return w.Flush()
}

// digits prints three digits, and no exponent.
func digits(v float64) string {
	switch {
	case v >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}
