//go:build !race

package mutants

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mutation is a file of testdata.
type mutation struct {
	name, about string
	catchers    []catcher
	hunks       []hunk
}

// catcher is tests that must notice.
type catcher struct{ pkg, pattern string }

// hunk is a place to change.
type hunk struct {
	folder   string
	old, new string // whole lines
}

// parse reads a mutation.
func parse(name, text string) (m mutation, err error) {
	m.name = name
	folder, open := "", false // open: between @@ and the next line that is not of a hunk
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		bad := func(what string) error { return fmt.Errorf("%s:%d: %s: %q", name, i+1, what, line) }
		kind, rest := "", ""
		if line != "" {
			kind, rest = line[:1], line[1:]
		}
		by, isCatcher := strings.CutPrefix(line, "caught by: ")
		to, isFolder := strings.CutPrefix(line, "--- ")
		last := len(m.hunks) - 1
		switch {
		case isFolder:
			folder, open = to, false
		case line == "@@" && folder != "":
			m.hunks, open = append(m.hunks, hunk{folder: folder}), true
		case open && kind == " ":
			m.hunks[last].old += rest + "\n"
			m.hunks[last].new += rest + "\n"
		case open && kind == "-":
			m.hunks[last].old += rest + "\n"
		case open && kind == "+":
			m.hunks[last].new += rest + "\n"
		case folder != "":
			return m, bad("neither in a hunk nor the start of one")
		case isCatcher:
			pkg, pattern, ok := strings.Cut(by, " ")
			if !ok {
				return m, bad("want a package and a pattern")
			}
			m.catchers = append(m.catchers, catcher{pkg, pattern})
		case line != "":
			m.about = strings.TrimSpace(m.about + " " + line)
		}
	}
	switch {
	case m.about == "":
		err = fmt.Errorf("%s: it does not say what is broken", name)
	case len(m.catchers) == 0:
		err = fmt.Errorf("%s: it does not say what catches it", name)
	case len(m.hunks) == 0:
		err = fmt.Errorf("%s: it changes nothing", name)
	}
	for _, h := range m.hunks {
		if h.old == "" || h.old == h.new {
			err = fmt.Errorf("%s: a hunk without context, or without a change", name)
		}
	}
	return m, err
}

// apply returns the files that m changes, as they are then. read returns the Go files of
// a folder by their names.
func (m mutation) apply(read func(folder string) (map[string]string, error)) (map[string]string, error) {
	changed := map[string]string{}
	for i, h := range m.hunks {
		files, err := read(h.folder)
		if err != nil {
			return nil, err
		}
		var in []string
		for name, text := range files {
			name = filepath.Join(h.folder, name)
			if now, ok := changed[name]; ok {
				text = now
			}
			text = "\n" + text
			if n := strings.Count(text, "\n"+h.old); n > 0 {
				in = append(in, slices.Repeat([]string{name}, n)...)
				changed[name] = strings.Replace(text, "\n"+h.old, "\n"+h.new, 1)[1:]
			}
		}
		if len(in) != 1 {
			slices.Sort(in)
			return nil, fmt.Errorf("%s: hunk %d stands at %d places in %s, want 1: %q\n%s", m.name, i+1, len(in), h.folder, in, h.old)
		}
	}
	return changed, nil
}

func TestParse(t *testing.T) {
	const head = "It breaks.\ncaught by: ./p TestX\n"
	for _, c := range []struct{ name, text, err string }{
		{"sound", head + "--- p\n@@\n a\n-b\n+c\n", ""},
		{"no words", "caught by: ./p TestX\n--- p\n@@\n-b\n", "does not say what is broken"},
		{"no catcher", "It breaks.\n--- p\n@@\n-b\n", "does not say what catches it"},
		{"no pattern", "It breaks.\ncaught by: ./p\n--- p\n@@\n-b\n", "want a package and a pattern"},
		{"no hunk", head, "changes nothing"},
		{"a line out of a hunk", head + "--- p\n-b\n", "neither in a hunk"},
		{"an empty line in a hunk", head + "--- p\n@@\n-b\n\n+c\n", "neither in a hunk"},
		{"no change", head + "--- p\n@@\n a\n", "without a change"},
		{"no context", head + "--- p\n@@\n+a\n", "without context"},
	} {
		if _, err := parse(c.name, c.text); !says(err, c.err) {
			t.Errorf("%s: %v, want %q", c.name, err, c.err)
		}
	}
}

func TestApply(t *testing.T) {
	read := func(folder string) (map[string]string, error) {
		if folder != "p" {
			return nil, errors.New("no such folder")
		}
		return map[string]string{"a.go": "one\ntwo\nthree\n", "b.go": "four\ntwo\nfive\n\ttwo\n"}, nil
	}
	for _, c := range []struct{ name, hunks, want, err string }{
		{"a line goes", "--- p\n@@\n one\n-two\n", "one\nthree\n", ""},
		{"the first line goes", "--- p\n@@\n-one\n", "two\nthree\n", ""},
		{"a second hunk sees the first", "--- p\n@@\n-one\n+six\n@@\n six\n-two\n", "six\nthree\n", ""},
		{"not there", "--- p\n@@\n one\n-three\n", "", "at 0 places"},
		{"in two files", "--- p\n@@\n-two\n", "", `at 2 places in p, want 1: ["p/a.go" "p/b.go"]`},
		{"indented otherwise", "--- p\n@@\n five\n-two\n", "", "at 0 places"},
		{"a part of a line", "--- p\n@@\n-thr\n", "", "at 0 places"},
		{"no folder", "--- q\n@@\n-two\n", "", "no such folder"},
	} {
		m, err := parse(c.name, "It breaks.\ncaught by: ./p TestX\n"+c.hunks)
		if err != nil {
			t.Fatal(err)
		}
		changed, err := m.apply(read)
		if !says(err, c.err) || err == nil && (len(changed) != 1 || changed["p/a.go"] != c.want) {
			t.Errorf("%s: %q, %v; want %q, %q", c.name, changed, err, c.want, c.err)
		}
	}
}

func says(err error, want string) bool {
	if err == nil || want == "" {
		return err == nil && want == ""
	}
	return strings.Contains(err.Error(), want)
}
