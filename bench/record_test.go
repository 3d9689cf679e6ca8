package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestSplice(t *testing.T) {
	page := "a\n<!-- one -->\nold\n<!-- end of one -->\nb\n<!-- two -->\n<!-- end of two -->\n"
	got, err := splice(page, "one", "new\n")
	if want := "a\n<!-- one -->\nnew\n<!-- end of one -->\nb\n<!-- two -->\n<!-- end of two -->\n"; got != want || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	for _, page := range []string{"", "<!-- one -->\nno end"} {
		if _, err := splice(page, "one", "new"); err == nil {
			t.Errorf("no error for %q", page)
		}
	}
}

func TestSave(t *testing.T) {
	folder := t.TempDir()
	r := record{name: "one", data: []int{1}, text: "new\n", charts: map[string]chart{
		"c": {ticks: []tick{{1, "1"}}, lines: []chartLine{{name: "l", spots: []spot{{1, 1, 0, 0}}}}}}}
	if err := r.save(folder); err == nil {
		t.Error("saved without a page")
	}
	path := filepath.Join(folder, page)
	if err := os.WriteFile(path, []byte("<!-- one -->\n<!-- end of one -->\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := r.save(folder); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"one.json", "plots/c.svg"} {
		if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
			t.Error(err)
		}
	}
	if text, _ := os.ReadFile(path); string(text) != "<!-- one -->\nnew\n<!-- end of one -->\n" {
		t.Errorf("the page: %q", text)
	}
}

// The documentation has the marks that a run looks for.
func TestPage(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("../docs", page))
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"curves", "overload"} {
		if _, err := splice(string(text), part, ""); err != nil {
			t.Error(err)
		}
	}
}
