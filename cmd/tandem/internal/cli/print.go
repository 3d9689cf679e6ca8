package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// table is what a command shows to people.
type table struct {
	head []string
	rows [][]cell
}

// cell is a text, and how it looks on a terminal.
type cell struct {
	text  string
	color string // an SGR parameter; empty: none
}

// Colours.
const (
	red    = "31"
	yellow = "33"
	green  = "32"
	dim    = "2"
)

func (t *table) row(values ...any) {
	cells := make([]cell, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case cell:
			cells[i] = v
		case time.Duration:
			cells[i].text = span(v)
		case time.Time:
			if !v.IsZero() {
				cells[i].text = v.Local().Format("2006-01-02 15:04:05.000")
			}
		default:
			cells[i].text = fmt.Sprint(v)
		}
		cells[i].text = clean(cells[i].text)
	}
	t.rows = append(t.rows, cells)
}

// clean takes from a text what would move the cursor or change the terminal: names and errors are others'.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// span is a duration with three digits.
func span(d time.Duration) string {
	switch {
	case d == 0:
		return "-"
	case d < time.Microsecond:
		return d.String()
	case d < time.Millisecond:
		return d.Round(10 * time.Nanosecond).String()
	case d < time.Second:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// write writes the table in columns.
func (t *table) write(w io.Writer, colored bool) {
	width := make([]int, len(t.head))
	for i, h := range t.head {
		width[i] = utf8.RuneCountInString(h)
	}
	for _, r := range t.rows {
		for i, c := range r {
			width[i] = max(width[i], utf8.RuneCountInString(c.text))
		}
	}
	line := func(cells []cell) {
		var b strings.Builder
		for i, c := range cells {
			text := c.text
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(text))
			if colored && c.color != "" {
				text = "\x1b[" + c.color + "m" + text + "\x1b[0m"
			}
			b.WriteString(text)
			if i < len(cells)-1 {
				b.WriteString(pad + "  ")
			}
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
	head := make([]cell, len(t.head))
	for i, h := range t.head {
		head[i] = cell{h, dim}
	}
	line(head)
	for _, r := range t.rows {
		line(r)
	}
}

// show prints a value as JSON, or as the table that people want.
func (a *app) show(value any, people func(*table)) error {
	if a.json {
		e := json.NewEncoder(a.out)
		e.SetIndent("", "  ")
		return e.Encode(value)
	}
	var t table
	people(&t)
	if t.head != nil {
		t.write(a.out, a.colored())
	}
	return nil
}

// say prints one line to people, and a value to programs.
func (a *app) say(value any, format string, args ...any) error {
	return a.show(value, func(*table) { fmt.Fprintf(a.out, format+"\n", args...) })
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return ""
}

// size is a number of bytes.
func size[N int | int64 | uint64](n N) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}
