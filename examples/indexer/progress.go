package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// display shows the progress of the job.
type display interface {
	update(s Status, top func() []Count)
	note(text string)
	close()
}

// newDisplay returns a bar if w is a terminal, and lines otherwise.
func newDisplay(w io.Writer, total int, began time.Time) display {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &bar{w, progressbar.NewOptions(total,
			progressbar.OptionSetWriter(w),
			progressbar.OptionShowCount(),
			progressbar.OptionShowIts(),
			progressbar.OptionSetItsString("files"),
			progressbar.OptionSetWidth(30),
			progressbar.OptionClearOnFinish())}
	}
	return &lines{w: w, total: total, last: began}
}

type bar struct {
	w   io.Writer
	bar *progressbar.ProgressBar
}

func (b *bar) update(s Status, top func() []Count) {
	b.bar.Describe(fmt.Sprintf("%d workers", s.Workers))
	_ = b.bar.Set(s.Files)
}

func (b *bar) note(text string) {
	_ = b.bar.Clear()
	fmt.Fprintln(b.w, text)
}

func (b *bar) close() { _ = b.bar.Clear() }

// lines is the display for logs: one line a second.
type lines struct {
	w     io.Writer
	total int
	last  time.Time
}

func (l *lines) update(s Status, top func() []Count) {
	if time.Since(l.last) < time.Second {
		return
	}
	l.last = time.Now()
	var most []string
	for _, c := range top() {
		most = append(most, c.Name)
	}
	fmt.Fprintf(l.w, "%s of %s files, %s identifiers, %d workers, most used so far: %s\n",
		grouped(s.Files), grouped(l.total), grouped(s.Identifiers), s.Workers, strings.Join(most, ", "))
}

func (l *lines) note(text string) { fmt.Fprintln(l.w, text) }
func (l *lines) close()           {}

// printIndex prints what was found, and printRun how the job ran.
func printIndex(w io.Writer, x *Index, top int) {
	for i, c := range x.Top(top) {
		fmt.Fprintf(w, "%4d  %-24s %12s\n", i+1, c.Name, grouped(c.N))
	}
	fmt.Fprintf(w, "\n%s files, %.1f MB, %s identifiers, %s different ones\n",
		grouped(x.Files), float64(x.Bytes)/1e6, grouped(x.Identifiers), grouped(len(x.Names)))
	by := x.FailedBy()
	for _, kind := range slices.Sorted(maps.Keys(by)) {
		fmt.Fprintf(w, "%s: %s files\n", kind, grouped(by[kind]))
	}
}

func printRun(w io.Writer, s Status, again uint64, took time.Duration) {
	seconds := max(took.Seconds(), 1e-3)
	fmt.Fprintf(w, "%d workers, %.1f s: %.0f files/s, %.1f MB/s\n", s.Workers, seconds, float64(s.Files)/seconds, float64(s.Bytes)/1e6/seconds)
	fmt.Fprintf(w, "%d files handed out again, %d results that came twice\n", again, s.Duplicates)
}

// grouped returns a number with commas between groups of three digits.
func grouped[N int | int64](n N) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
