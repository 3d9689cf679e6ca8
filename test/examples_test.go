package test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/doc"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// withExamples are the packages whose exported functions and methods are shown in runnable
// examples, which are their documentation.
var withExamples = []string{"actor", "actortest", "rpc", "access", "balance", "deadletter", "dedup", "inspect", "intercept", "route", "supervise", "topic", "ledger", "mailbox", "outbox", "queue", "registry", "registry/static",
	"admin", "probe", "registry/natskv", "transport/tcp", "transport/natsbus", "transport/natsbus/embedded", "transport/compress"}

// ofInterfaces are methods that a reader knows by the interface they belong to.
var ofInterfaces = []struct{ below, methods string }{
	{"", "String Error Unwrap Is MarshalText UnmarshalText LogValue"}, // fmt, error, encoding, log/slog
	{"actor", "WireName Err Value"},                                   // actor.WireNamer, context.Context
	{"transport/", "Road Direct Start Dial Identity"},                 // transport.Transport: see transport/transporttest
	{"registry/", "Evict Lease Nodes Refresh Renew Update"},           // registry.Registry: see registry/registrytest
}

// withoutExample lists the others that have no example, or none of their own name, and why.
var withoutExample = map[string]string{
	"admin.Kind":             "for gateways: admin/natsadmin",
	"admin.Through":          "for those who ask over something else: admin/natsadmin",
	"actor.PurgeQueue":       "shown with WaitingItems",
	"actor.QueueStats":       "shown with QueueKind",
	"actor.ResumeQueue":      "shown with PauseQueue",
	"rpc.FromContext":        "for internal/engine and actor, which make errors of requests",
	"rpc.Retry.WithDefaults": "for internal/engine; users leave fields zero",
	"rpc.Retry.Validate":     "for actor and settings, which check it",
	"queue.Queue.Evict":      "for items that are kept elsewhere too: package queue/jetstream",
	"queue.Queue.Expire":     "the same",
	"queue.Queue.Leased":     "the same",
	"queue.Queue.Restore":    "the same",
	"queue.Queue.Surrender":  "the same",
	"queue.Queue.Undo":       "the same",
	"queue.Queue.Withdraw":   "the same",
}

// Each exported function and method is used in an example that runs, and each verb (a
// function that takes a context) has an example of its own name.
func TestExamples(t *testing.T) {
	exports := exportData(t)
	excused := map[string]bool{}
	for _, pkg := range withExamples {
		fset := token.NewFileSet()
		imp := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
		shown, examples := usedInExamples(t, fset, imp, pkg)
		p, err := imp.Import(module + "/" + pkg)
		if err != nil {
			t.Fatal(err)
		}
		for name, why := range lacking(p, shown, examples) {
			if excused[name] = true; withoutExample[name] == "" {
				t.Errorf("%s %s", name, why)
			}
		}
		if pkg == "access" { // planted: an example less
			delete(shown, module+"/access.Compile")
			if found := lacking(p, shown, examples); len(found) != 1 || found["access.Compile"] == "" {
				t.Errorf("without the example of access.Compile: found %v", found)
			}
		}
	}
	for name := range withoutExample {
		if !excused[name] {
			t.Errorf("%s has an example, or is gone: take it from the list", name)
		}
	}
}

// lacking returns the exported functions and methods of a package that want an example,
// and what is wrong.
func lacking(p *types.Package, shown, examples map[string]bool) map[string]string {
	found := map[string]string{}
	for _, f := range exported(p) {
		name := strings.TrimPrefix(nameOf(f), module+"/")
		method := f.Signature().Recv() != nil
		switch {
		case method && isOfInterface(name):
		case !shown[nameOf(f)]:
			found[name] = "is in no example"
		case !method && takesContext(f) && !examples["Example"+f.Name()]:
			found[name] = "has no example of its own"
		}
	}
	return found
}

// exportData returns where the compiler has put what packages export, by import path.
func exportData(t *testing.T) map[string]string {
	cmd := exec.Command("go", "list", "-deps", "-test", "-export", "-json=ImportPath,Export")
	for _, pkg := range withExamples {
		cmd.Args = append(cmd.Args, "./"+pkg)
	}
	cmd.Dir = ".."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var pkg struct{ ImportPath, Export string }
		if err := dec.Decode(&pkg); errors.Is(err, io.EOF) {
			return files
		} else if err != nil {
			t.Fatal(err)
		}
		files[pkg.ImportPath] = pkg.Export
	}
}

// usedInExamples returns what the example files of a package use, and the examples in
// them that have an output, without which they would not run.
func usedInExamples(t *testing.T, fset *token.FileSet, imp types.Importer, pkg string) (used, examples map[string]bool) {
	used, examples = map[string]bool{}, map[string]bool{}
	names, err := filepath.Glob("../" + pkg + "/*example*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	for _, e := range doc.Examples(files...) {
		if e.Output != "" || e.EmptyOutput {
			examples["Example"+e.Name] = true
		} else {
			t.Errorf("%s: Example%s has no output, so it does not run", pkg, e.Name)
		}
	}
	info := types.Info{Uses: map[*ast.Ident]types.Object{}}
	// What other test files declare is missing, so there are errors.
	conf := types.Config{Importer: imp, Error: func(error) {}}
	_, _ = conf.Check(pkg+"_test", fset, files, &info)
	for _, o := range info.Uses {
		if f, ok := o.(*types.Func); ok {
			used[nameOf(f)] = true
		}
	}
	return used, examples
}

// exported returns the exported functions of a package, and methods of its types.
func exported(p *types.Package) (all []*types.Func) {
	for _, name := range p.Scope().Names() {
		o := p.Scope().Lookup(name)
		if !o.Exported() {
			continue
		}
		switch o := o.(type) {
		case *types.Func:
			all = append(all, o)
		case *types.TypeName:
			named, ok := o.Type().(*types.Named)
			if !ok || types.IsInterface(named) || named.Obj().Pkg() != p {
				continue
			}
			for m := range named.Methods() {
				if m.Exported() {
					all = append(all, m)
				}
			}
		}
	}
	return all
}

// nameOf is a function's import path and name, with the type of a method between them.
func nameOf(f *types.Func) string {
	if f.Pkg() == nil {
		return f.Name()
	}
	name := f.Pkg().Path() + "."
	if r := f.Signature().Recv(); r != nil {
		typ := r.Type()
		if p, ok := typ.(*types.Pointer); ok {
			typ = p.Elem()
		}
		if named, ok := typ.(*types.Named); ok {
			name += named.Obj().Name() + "."
		}
	}
	return name + f.Name()
}

func takesContext(f *types.Func) bool {
	params := f.Signature().Params()
	return params.Len() > 0 && params.At(0).Type().String() == "context.Context"
}

func isOfInterface(name string) bool {
	for _, i := range ofInterfaces {
		if strings.HasPrefix(name, i.below) && slices.Contains(strings.Fields(i.methods), name[strings.LastIndex(name, ".")+1:]) {
			return true
		}
	}
	return false
}

// The first program of a package comment is an example that runs, word for word.
func TestFirstPrograms(t *testing.T) {
	for _, pkg := range []string{"actor", "rpc"} {
		var program []string
		for _, l := range lines(t, pkg+"/doc.go") {
			if code, indented := strings.CutPrefix(l, "\t"); indented && (len(program) > 0 || code == "package main") {
				program = append(program, code)
			} else if len(program) > 0 && l != "" {
				break
			} else if len(program) > 0 {
				program = append(program, "")
			}
		}
		var example []string
		for _, l := range lines(t, pkg+"/example_test.go") {
			l = strings.Replace(l, "package "+pkg+"_test", "package main", 1)
			l = strings.Replace(l, "func Example()", "func main()", 1)
			if !strings.HasPrefix(l, "\t// ") { // the output
				example = append(example, l)
			}
		}
		got, want := strings.TrimSpace(strings.Join(program, "\n")), strings.TrimSpace(strings.Join(example, "\n"))
		if got == "" || got != want {
			t.Errorf("the first program of %s/doc.go is not that of its example_test.go:\n%s\nwant\n%s", pkg, got, want)
		}
	}
}
