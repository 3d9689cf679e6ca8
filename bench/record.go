package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// A record is what one run leaves in the documentation: the raw numbers, plots, and the
// part of a page that shows them.
type record struct {
	name   string // of the file of numbers, and of the part of the page
	data   any
	charts map[string]chart // by file name without its ending
	text   string           // Markdown
}

// page is the file in the documentation that shows records, between marks.
const page = "performance.md"

// save writes r into folder. The page must be there, with the marks.
func (r record) save(folder string) error {
	plots := filepath.Join(folder, "plots")
	if err := os.MkdirAll(plots, 0o755); err != nil {
		return err
	}
	for name, c := range r.charts {
		var svg bytes.Buffer
		if err := c.draw(&svg); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(plots, name+".svg"), svg.Bytes(), 0o644); err != nil {
			return err
		}
	}
	numbers, err := json.MarshalIndent(r.data, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, r.name+".json"), append(numbers, '\n'), 0o644); err != nil {
		return err
	}
	path := filepath.Join(folder, page)
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text, err := splice(string(old), r.name, r.text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(text), 0o644)
}

// splice replaces what stands between the marks of a part.
func splice(page, part, text string) (string, error) {
	begin, end := "<!-- "+part+" -->\n", "<!-- end of "+part+" -->"
	head, rest, ok := strings.Cut(page, begin)
	if !ok {
		return "", fmt.Errorf("no line %q", strings.TrimSpace(begin))
	}
	_, tail, ok := strings.Cut(rest, end)
	if !ok {
		return "", fmt.Errorf("no %q", end)
	}
	return head + begin + text + end + tail, nil
}

// machine says where numbers come from.
type machine struct {
	Go   string  `json:"go"`
	OS   string  `json:"os"`
	Arch string  `json:"arch"`
	CPUs int     `json:"cpus"`
	Load float64 `json:"load"` // average of the last minute: above 0 somebody else was busy; -1: unknown
}

// thisMachine is to be called before anything is measured.
func thisMachine() machine {
	m := machine{runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), -1}
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		fmt.Sscan(string(text), &m.Load)
	}
	return m
}

func (m machine) String() string {
	s := fmt.Sprintf("%s, %s/%s, %d CPUs", m.Go, m.OS, m.Arch, m.CPUs)
	if m.Load >= 0 {
		s += fmt.Sprintf(", load average %.1f at the start", m.Load)
	}
	return s
}
