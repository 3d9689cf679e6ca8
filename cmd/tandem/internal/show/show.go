// Package show prints what commands have found: tables for people, JSON for programs.
package show

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Printer prints to a terminal, a file or a pipe. It is not safe for concurrent use.
type Printer struct {
	Out   io.Writer
	JSON  bool // print JSON only
	Color bool // use colours
}

// Tone is what a cell says at a glance. It is shown as a colour, never as the colour alone.
type Tone uint8

// The tones.
const (
	Plain Tone = iota
	Good
	Bad
	Faint
)

// Cell is a text in a table.
type Cell struct {
	Text string
	Tone Tone
}

// T is a plain cell.
func T(v any) Cell { return Cell{Text: fmt.Sprint(v)} }

// In is a cell with a tone.
func In(tone Tone, v any) Cell { return Cell{fmt.Sprint(v), tone} }

// Value prints v as indented JSON.
func (p *Printer) Value(v any) error {
	e := json.NewEncoder(p.Out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// Table prints rows below a header, in columns. Without rows it says so.
func (p *Printer) Table(header []string, rows [][]Cell) {
	if len(rows) == 0 {
		fmt.Fprintln(p.Out, p.paint(Faint, "none"))
		return
	}
	widths := make([]int, len(header))
	for i, h := range header {
		widths[i] = utf8.RuneCountInString(h)
	}
	for _, row := range rows {
		for i := range row {
			row[i].Text = Clean(row[i].Text)
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i].Text))
		}
	}
	line := func(cells []Cell) {
		var b strings.Builder
		for i, c := range cells {
			b.WriteString(p.paint(c.Tone, c.Text))
			if i < len(cells)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c.Text)+2))
			}
		}
		fmt.Fprintln(p.Out, strings.TrimRight(b.String(), " "))
	}
	var head []Cell
	for _, h := range header {
		head = append(head, Cell{h, Faint})
	}
	line(head)
	for _, row := range rows {
		line(row)
	}
}

// Fields prints names and values, one of each in a line. Empty values are left out.
func (p *Printer) Fields(pairs ...any) {
	width := 0
	for i := 0; i+1 < len(pairs); i += 2 {
		width = max(width, utf8.RuneCountInString(fmt.Sprint(pairs[i])))
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, value := fmt.Sprint(pairs[i]), fmt.Sprint(pairs[i+1])
		if value == "" {
			continue
		}
		fmt.Fprintf(p.Out, "%s%s  %s\n", p.paint(Faint, name), strings.Repeat(" ", width-utf8.RuneCountInString(name)), Clean(value))
	}
}

// Line prints a line.
func (p *Printer) Line(tone Tone, format string, args ...any) {
	fmt.Fprintln(p.Out, p.paint(tone, Clean(fmt.Sprintf(format, args...))))
}

func (p *Printer) paint(t Tone, text string) string {
	if !p.Color || t == Plain || text == "" {
		return text
	}
	return [...]string{Good: "\x1b[32m", Bad: "\x1b[31m", Faint: "\x1b[2m"}[t] + text + "\x1b[0m"
}

// Clean replaces what would move the cursor or change colours: names and errors are written by others.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError || unicode.Is(unicode.Bidi_Control, r) {
			return '\uFFFD'
		}
		return r
	}, text)
}

// Duration is a duration as people read it.
func Duration(d time.Duration) string {
	switch {
	case d == 0:
		return ""
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// Bytes is a size as people read it.
func Bytes(n uint64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	f, i := float64(n), 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}
