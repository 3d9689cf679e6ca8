package main

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestIndexFile(t *testing.T) {
	folder, err := open(troubled(t))
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	for _, c := range []struct {
		name    string
		failure Failure
		names   map[string]int
	}{
		{"a.go", "", map[string]int{"a": 1, "f": 1, "x": 3, "int": 2}},
		{"fine.go", "", map[string]int{"a": 1, "f": 1, "x": 3, "int": 2}},
		{"sub/b.go", "", map[string]int{"a": 1, "f": 1}},
		{"broken.go", SyntaxError, map[string]int{"broken": 1, "x": 1, "f": 1}},
		{"dangling.go", Unreadable, nil},
		{"folder.go", Unreadable, nil},
		{"outside.go", Unreadable, nil},
		{"../outside.go", Unreadable, nil},
		{"none.go", Unreadable, nil},
	} {
		got := indexFile(folder, c.name)
		if got.Failure != c.failure || !maps.Equal(got.Names, c.names) {
			t.Errorf("%s: %q %v, want %q %v", c.name, got.Failure, got.Names, c.failure, c.names)
		}
	}
}

func TestTooManyNames(t *testing.T) {
	var many strings.Builder
	many.WriteString("package p\n")
	for i := range maxNames {
		fmt.Fprintf(&many, "var v%d int\n", i)
	}
	folder, err := open(write(t, map[string]string{
		"many.go": many.String(),
		"long.go": "package p\nvar " + strings.Repeat("x", maxNameBytes) + " int\n",
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	for _, name := range []string{"many.go", "long.go"} {
		if got := indexFile(folder, name); got.Failure != TooLarge || got.Names != nil {
			t.Errorf("%s: %q and %d names", name, got.Failure, len(got.Names))
		}
	}
}

func TestGoFiles(t *testing.T) {
	folder, err := open(troubled(t))
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	got, err := goFiles(folder)
	want := []string{"a.go", "broken.go", "dangling.go", "dir.go/c.go", "fine.go", "folder.go", "outside.go", "sub/b.go"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}

func TestIndexTopAndDiff(t *testing.T) {
	a, b := newIndex(), newIndex()
	one := FileIndex{Path: "1.go", Bytes: 10, Names: map[string]int{"x": 2, "y": 1}}
	two := FileIndex{Path: "2.go", Bytes: 5, Names: map[string]int{"y": 2, "z": 2}, Failure: SyntaxError}
	a.Add(one)
	a.Add(two)
	b.Add(two)
	b.Add(one)
	if diff := a.Diff(b); diff != nil {
		t.Errorf("the order of files matters: %v", diff)
	}
	for n, want := range [][]Count{{}, {{"y", 3}}, {{"y", 3}, {"x", 2}}, {{"y", 3}, {"x", 2}, {"z", 2}}, {{"y", 3}, {"x", 2}, {"z", 2}}} {
		if got := a.Top(n); !slices.Equal(got, want) {
			t.Errorf("top %d: %v, want %v", n, got, want)
		}
	}
	c := a.Clone()
	c.Add(two)
	c.Failed["1.go"] = Unreadable
	want := []string{"files: 3, not 2", "bytes: 20, not 15", "identifiers: 11, not 7",
		"identifier y: 5, not 3", "identifier z: 4, not 2", "failure of 1.go: unreadable, not "}
	if got := c.Diff(a); !reflect.DeepEqual(got, want) {
		t.Errorf("diff %q, want %q", got, want)
	}
}
