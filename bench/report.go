package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
)

// printJSON prints one object per row.
func printJSON(w io.Writer, res result) error {
	enc := json.NewEncoder(w)
	for _, r := range res.rows {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// printTable prints a scenario for people.
func printTable(out io.Writer, s scenario, res result) error {
	fmt.Fprintf(out, "\n%s: %s\n", s.name, s.about)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tops/s\tp50 µs\tp99 µs\tallocs/op\tB/op\tCPU s/Mop\t× best\t× raw\t")
	for _, r := range res.rows {
		name := r.Peer
		if name == res.best {
			name += " *"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.1f\t%.0f\t%.2f\t%s\t%s\t\n", name, count(r.OpsPerS), micros(r.P50), micros(r.P99),
			r.Allocs, r.Bytes, r.CPU, ratio(r.VsBest), ratio(r.VsRaw))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range res.rows {
		names := make([]string, 0, len(r.Values))
		for name := range r.Values {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			fmt.Fprintf(out, "  %s: %s = %s\n", r.Peer, name, strconv.FormatFloat(r.Values[name], 'g', 5, 64))
		}
		if r.Note != "" {
			fmt.Fprintf(out, "  %s: %s\n", r.Peer, r.Note)
		}
		if r.Errors > 0 {
			fmt.Fprintf(out, "  %s: FAILED, %d errors: %s\n", r.Peer, r.Errors, r.Err)
		}
	}
	return nil
}

// count prints a rate in three digits.
func count(n float64) string {
	switch {
	case n >= 1e6:
		return strconv.FormatFloat(n/1e6, 'f', 2, 64) + " M"
	case n >= 1e3:
		return strconv.FormatFloat(n/1e3, 'f', 1, 64) + " k"
	}
	return strconv.FormatFloat(n, 'f', 1, 64)
}

func micros(us float64) string {
	if us < 100 {
		return strconv.FormatFloat(us, 'f', 2, 64)
	}
	return strconv.FormatFloat(us, 'f', 0, 64)
}

func ratio(x float64) string {
	if x == 0 {
		return "–"
	}
	return strconv.FormatFloat(x, 'f', 2, 64)
}
