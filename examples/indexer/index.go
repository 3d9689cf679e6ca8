package main

import (
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
)

// This file is the job itself: how the index of a file is made, and how indexes are added up. It
// does not use actors, so that -check can do the same without any.

// FileIndex is the index of one file.
type FileIndex struct {
	Path    string // below the folder, with slashes
	Bytes   int64
	Names   map[string]int // identifier → how often it occurs
	Failure Failure        // empty for none
}

// Failure says why a file was not indexed, or only in part.
type Failure string

const (
	Unreadable  Failure = "unreadable"
	TooLarge    Failure = "too large"    // only the file itself is counted
	SyntaxError Failure = "syntax error" // what the parser could read is counted
)

// Limits of one file. The last two keep its index small enough for a message. They apply without
// messages as well, so that -check finds the same.
const (
	maxFileBytes = 64 << 20
	maxNames     = 20_000
	maxNameBytes = 512 << 10
)

// goFiles returns the paths of all Go files below the folder. A folder that cannot be read is
// listed as well; a worker then fails to read it, and so it counts as unreadable.
func goFiles(folder *os.Root) ([]string, error) {
	var files []string
	err := fs.WalkDir(folder.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && name == ".":
			return err
		case err != nil:
			files = append(files, name)
		case path.Ext(name) == ".go" && !d.IsDir():
			files = append(files, name)
		}
		return nil
	})
	return files, err
}

// indexFile indexes one file. A path or a link that leads out of the folder is unreadable, so that
// nobody can make a worker read other files.
func indexFile(folder *os.Root, name string) FileIndex {
	f := FileIndex{Path: name}
	source, err := read(folder, name)
	switch {
	case errors.Is(err, errTooLarge):
		f.Failure = TooLarge
		return f
	case err != nil:
		f.Failure = Unreadable
		return f
	}
	f.Bytes = int64(len(source))
	file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.SkipObjectResolution)
	if err != nil {
		f.Failure = SyntaxError
	}
	if f.Names = namesIn(file); f.Names == nil {
		f.Failure = TooLarge
	}
	return f
}

var errTooLarge = errors.New("too large")

func read(folder *os.Root, name string) ([]byte, error) {
	info, err := folder.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular(): // reading a pipe might never end
		return nil, fmt.Errorf("%s: %w", name, fs.ErrInvalid)
	case info.Size() > maxFileBytes:
		return nil, errTooLarge
	}
	return folder.ReadFile(name)
}

// namesIn counts the identifiers of a file that may be broken; nil if there are too
// many different ones.
func namesIn(file *ast.File) map[string]int {
	names, bytes := map[string]int{}, 0
	ast.Inspect(file, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && id.Name != "" && id.Name != "_" { // the parser inserts "_" for what is missing
			if names[id.Name]++; names[id.Name] == 1 {
				bytes += len(id.Name)
			}
		}
		return true
	})
	if len(names) > maxNames || bytes > maxNameBytes {
		return nil
	}
	return names
}

// Index is the sum of the indexes of files.
type Index struct {
	Files       int
	Bytes       int64
	Identifiers int64
	Names       map[string]int
	Failed      map[string]Failure // by path
}

func newIndex() *Index {
	return &Index{Names: map[string]int{}, Failed: map[string]Failure{}}
}

// Add adds a file. The order of files does not matter; adding one twice does.
func (x *Index) Add(f FileIndex) {
	x.Files++
	x.Bytes += f.Bytes
	for name, n := range f.Names {
		x.Names[name] += n
		x.Identifiers += int64(n)
	}
	if f.Failure != "" {
		x.Failed[f.Path] = f.Failure
	}
}

// Clone returns a copy that shares nothing with x.
func (x *Index) Clone() *Index {
	c := *x
	c.Names, c.Failed = maps.Clone(x.Names), maps.Clone(x.Failed)
	return &c
}

// Count is an identifier and how often it occurs.
type Count struct {
	Name string
	N    int
}

// Top returns the n most used identifiers, the most used first, and those with equal counts by
// name. It looks at each name once and keeps n candidates, because it is called while the job
// runs, and most names are rare.
func (x *Index) Top(n int) []Count {
	before := func(a, b Count) int { return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Name, b.Name)) }
	var top []Count
	for name, times := range x.Names {
		c := Count{name, times}
		i, _ := slices.BinarySearchFunc(top, c, before)
		if i < n {
			top = slices.Insert(top, i, c)
			top = top[:min(len(top), n)]
		}
	}
	return top
}

// FailedBy counts the failed files of each kind.
func (x *Index) FailedBy() map[Failure]int {
	by := map[Failure]int{}
	for _, kind := range x.Failed {
		by[kind]++
	}
	return by
}

// Diff returns the differences between x and want, one line for each, and nil if there are none.
func (x *Index) Diff(want *Index) []string {
	var lines []string
	differs := func(what string, got, want any) {
		if got != want {
			lines = append(lines, fmt.Sprintf("%s: %v, not %v", what, got, want))
		}
	}
	differs("files", x.Files, want.Files)
	differs("bytes", x.Bytes, want.Bytes)
	differs("identifiers", x.Identifiers, want.Identifiers)
	for _, name := range keysOf(x.Names, want.Names) {
		differs("identifier "+name, x.Names[name], want.Names[name])
	}
	for _, file := range keysOf(x.Failed, want.Failed) {
		differs("failure of "+file, x.Failed[file], want.Failed[file])
	}
	return lines
}

// keysOf returns the keys of both, sorted.
func keysOf[V any](a, b map[string]V) []string {
	all := slices.AppendSeq(slices.Collect(maps.Keys(a)), maps.Keys(b))
	slices.Sort(all)
	return slices.Compact(all)
}
