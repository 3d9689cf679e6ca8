// Package test holds what concerns the repository as a whole. This file checks its layout: who
// may import whom, and how long files may get.
package test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	module     = "github.com/tandem-go/tandem"
	natsServer = "github.com/nats-io/nats-server/v2"
)

// node is a package in the import graph.
type node struct {
	Name     string   // as in its package clause
	Imports  []string // of its code, tests left out
	Standard bool
}

// graph is packages by import path. It has everything that the module's packages reach.
type graph map[string]node

// mayImport is what packages with a fixed place in the graph may import, beside the
// standard library. Paths without a dot are the module's own. A package that is not
// listed is bound by the rules in violations only.
var mayImport = map[string][]string{
	"access":     {"internal/strictjson"},
	"mailbox":    {},
	"balance":    {"internal/rendezvous"},
	"queue":      {},
	"supervise":  {},
	"dedup":      {},
	"ledger":     {},
	"registry":   {},
	"state":      {},
	"placement":  {"internal/rendezvous"},
	"reminder":   {"internal/crontime"},
	"transport":  {longCopy, bufPool},
	"rpc/codec":  {longCopy, "github.com/vmihailenco/msgpack/v5"},
	"rpc":        {"transport", "rpc/codec", "internal/jobtoken", "internal/promise", "internal/sendopt", "internal/tracekey"},
	"deadletter": {"rpc"},
	"admission":  {"access", "internal/strictjson", "mailbox", "golang.org/x/time/rate"},
	"actor":      {longCopy, bufPool, "access", "admission", "balance", "deadletter", "internal/jobtoken", "internal/promise", "internal/sendopt", "internal/tracekey", "internal/engine", "internal/engine/account", "internal/engine/client", "internal/engine/journal", "internal/engine/retry", "internal/engine/server", "internal/engine/wire", trails, "rpc", "rpc/codec", "ledger", "mailbox", "queue", queueStore, "registry", "supervise", "transport", "github.com/google/uuid", "topic", "route", "internal/watchbook", "inspect", "internal/crontime", "intercept", "outbox", "placement", "reminder", "state", "internal/stored", "internal/selection"},
	"actortest":  {"actor", bubbles, "intercept", "internal/draw", "internal/sendopt", "internal/simulation", "rpc", "transport", "transport/memnet", "topic"},
	"gateway":    {"access", "actor", "rpc", "rpc/codec", "transport", "github.com/google/jsonschema-go/jsonschema"},
	"httpapi":    {"gateway", "rpc"},
	"probe":      {"actor"},

	"gateway/natskv":   {"gateway", natsHome, proofs, "github.com/nats-io/nats.go", "github.com/nats-io/nats.go/jetstream"},
	"gateway/bindtest": {"gateway"},

	"natsapi":   {"gateway", "rpc", "github.com/nats-io/nats.go", "github.com/nats-io/nats.go/micro"},
	"flow":      {"actor", "reminder", "rpc", "rpc/codec"},
	"outbox":    {"rpc"},
	"topic":     {},
	"route":     {"internal/rendezvous"},
	"inspect":   {},
	"intercept": {"access", "rpc"},
	"breaker":   {"access", "intercept", "rpc", "github.com/sony/gobreaker/v2"},

	"settings":        {"access", "admission", "breaker", "internal/selection", "internal/strictjson", "rpc"},
	"settings/natskv": {"settings", "rpc", natsWait, "github.com/nats-io/nats.go", "github.com/nats-io/nats.go/jetstream"},
	"settings/file":   {"settings", "rpc", "internal/strictjson"},

	"internal/strictjson": {},
	"internal/draw":       {},
	"internal/simulation": {"actor", "internal/draw", "internal/engine", "ledger", "placement", "placement/memory", "registry", "registry/static", "reminder", "reminder/memory", "rpc", "state", "state/memory", "transport", "transport/memnet"},

	longCopy:                  {},
	"internal/rendezvous":     {},
	"internal/selection":      {"github.com/Masterminds/semver/v3"},
	queueStore:                {"queue", "rpc"},
	"internal/engine/retry":   {"rpc", "transport"},
	"internal/engine/wire":    {bufPool, "rpc", "transport"},
	"internal/engine/host":    {"rpc"},
	"internal/engine/account": {"internal/engine/host", "rpc"},
	"internal/engine/journal": {"internal/engine/account", "internal/engine/host", "ledger", "rpc", "transport"},
	"internal/engine/client":  {"internal/engine/host", "internal/engine/retry", "internal/engine/wire", "internal/promise", "internal/sendopt", trails, "dedup", "inspect", "rpc", "transport"},
	"internal/engine/server":  {"internal/engine/account", "internal/engine/host", "internal/engine/journal", "internal/engine/wire", trails, "dedup", "inspect", "ledger", "rpc", "transport"},
	"internal/engine":         {"internal/engine/account", "internal/engine/client", "internal/engine/host", "internal/engine/journal", "internal/engine/retry", "internal/engine/server", "internal/engine/wire", trails, "ledger", "rpc", "transport"},
	"internal/crontime":       {"github.com/adhocore/gronx"},
	"internal/jobtoken":       {},
	"internal/promise":        {},
	"internal/sendopt":        {"rpc/codec", "transport"},
	"internal/stored":         {"state"},
	"internal/tracekey":       {},
	"internal/watchbook":      {},
	trails:                    {"rpc"},
	bufPool:                   {longCopy},
	"internal/natswait":       {"github.com/nats-io/nats.go", "github.com/nats-io/nats.go/jetstream"},
	"internal/jserror":        {"github.com/nats-io/nats.go", "github.com/nats-io/nats.go/jetstream"},
	natsHome:                  {natsWait, proofs, "github.com/nats-io/nats.go", "github.com/nats-io/nats.go/jetstream"},

	"ledger/jetstream": {"ledger", natsWait, proofs, "github.com/nats-io/nats.go", "github.com/nats-io/nats.go/jetstream"},
	"ledger/storetest": {"ledger"},
	"topic/jetstream":  {"topic", natsWait, proofs, "github.com/nats-io/nats.go", "github.com/nats-io/nats.go/jetstream"},
	"topic/topictest":  {"topic"},
	"state/jetstream":  {"state", natsHome, proofs, "github.com/nats-io/nats.go", "github.com/nats-io/nats.go/jetstream"},
	"state/memory":     {"state"},
	"state/storetest":  {"state", "pgregory.net/rapid"},

	"placement/natskv":    {"placement", natsHome, proofs, "github.com/nats-io/nats.go", "github.com/nats-io/nats.go/jetstream"},
	"placement/memory":    {"placement"},
	"placement/claimtest": {"placement", "pgregory.net/rapid"},

	"reminder/jetstream":    {"reminder", natsHome, proofs, "github.com/nats-io/nats.go", "github.com/nats-io/nats.go/jetstream"},
	"reminder/memory":       {"reminder"},
	"reminder/remindertest": {"reminder", "pgregory.net/rapid"},

	"registry/internal/leased": {"registry", "registry/internal/feed"},

	"queue/jetstream": {"queue", queueStore, "rpc", "rpc/codec", natsWait, proofs, "github.com/nats-io/nats.go", "github.com/nats-io/nats.go/jetstream"},
}

// mayImportBelow says which of the module's packages those below a folder may import:
// what implements an interface knows the interface, and nothing above or beside it.
var mayImportBelow = map[string]string{
	"transport/": "transport",
	"registry/":  "registry",
	"ledger/":    "ledger",
	"state/":     "state",
	"placement/": "placement",
	"reminder/":  "reminder",
	"mailbox/":   "mailbox",
}

// trails is where what became of requests is kept.
const trails = "internal/trail"

// longCopy is for packages that may copy many bytes. It imports nothing of the module.
const longCopy = "internal/longcopy"

// bufPool may be imported by every road: the memory of bodies and read buffers.
const bufPool = "internal/bufpool"

// queueStore is the interface between an actor that is a queue and a store of its items.
const queueStore = "internal/queuestore"

// natsWait may be imported by every package that opens something on NATS. It waits for NATS.
const natsWait = "internal/natswait"

// proofs may be imported by every package that keeps something in JetStream. It says what
// JetStream's errors prove.
const proofs = "internal/jserror"

// natsHome may be imported by every package that keeps the last message of each subject in a stream
// of its own, for ever. It notices the loss of the stream.
const natsHome = "internal/natshome"

// simulations is a package for tests: what actortest and test/sim have in common.
const simulations = "internal/simulation"

// bubbles may be imported by every conformance suite, although it is below test.
const bubbles = "test/bubble"

// mayReachServer are the folders whose packages may carry a NATS server.
var mayReachServer = []string{"transport/natsbus/embedded", "examples", "test"}

// vague are names that do not say what a package is for.
var vague = []string{"util", "utils", "common", "types", "helper", "helpers", "misc", "base"}

// violations returns what in g breaks the rules, sorted.
func violations(g graph) []string {
	var found []string
	bad := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	for pkg, n := range g {
		name, ours := own(pkg)
		if !ours {
			continue
		}
		if slices.Contains(vague, path.Base(name)) || slices.Contains(vague, n.Name) {
			bad("%s: the name says nothing", name)
		}
		allowed, fixed := mayImport[name]
		for _, imp := range n.Imports {
			to, ours := own(imp)
			if g[imp].Standard {
				if imp == "testing" && !suite(name) && !within(name, "test") {
					bad("%s imports testing", name)
				}
				continue
			}
			if fixed && !slices.Contains(allowed, to) {
				bad("%s imports %s", name, to)
			}
			if !ours || to == bubbles && suite(name) || to == bufPool && strings.HasPrefix(name, "transport/") || (to == natsWait || to == proofs || to == natsHome) && n.onNATS() {
				continue
			}
			if (suite(to) || to == simulations) && !suite(name) && !within(name, "test") {
				bad("%s imports %s, a suite for tests", name, to)
			}
			for folder, root := range mayImportBelow {
				if strings.HasPrefix(name, folder) && !within(to, root) {
					bad("%s imports %s, which is not below %s", name, to, root)
				}
			}
			if within(to, "examples") || within(to, "test") {
				if top, _, _ := strings.Cut(to, "/"); !within(name, top) {
					bad("%s imports %s", name, to)
				}
			}
		}
		if !slices.ContainsFunc(mayReachServer, func(f string) bool { return within(name, f) }) {
			if way := g.way(pkg, natsServer); way != nil {
				bad("%s carries a NATS server: %s", name, strings.Join(way, " → "))
			}
		}
	}
	slices.Sort(found)
	return found
}

// onNATS reports whether a package works on a NATS connection itself.
func (n node) onNATS() bool { return slices.Contains(n.Imports, "github.com/nats-io/nats.go") }

// way returns how from reaches a package of the given module, or nil.
func (g graph) way(from, to string) []string {
	seen := map[string]bool{}
	var walk func(pkg string) []string
	walk = func(pkg string) []string {
		if within(pkg, to) {
			return []string{pkg}
		}
		if seen[pkg] || g[pkg].Standard {
			return nil
		}
		seen[pkg] = true
		for _, imp := range g[pkg].Imports {
			if rest := walk(imp); rest != nil {
				return append([]string{pkg}, rest...)
			}
		}
		return nil
	}
	return walk(from)
}

// own returns an import path without the module's, and whether it is the module's.
func own(pkg string) (string, bool) {
	if pkg == module {
		return ".", true
	}
	name, ok := strings.CutPrefix(pkg, module+"/")
	return name, ok
}

// within reports whether pkg is the folder, or below it.
func within(pkg, folder string) bool { return pkg == folder || strings.HasPrefix(pkg, folder+"/") }

// suite reports whether a package is a conformance suite, as registry/registrytest.
func suite(name string) bool {
	base := path.Base(name)
	return base != "test" && strings.HasSuffix(base, "test")
}

// load returns the graph as it is.
func load(t *testing.T) graph {
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Name,Imports,Standard", "./...")
	cmd.Dir = ".."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	g := graph{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg struct {
			ImportPath string
			node
		}
		if err := dec.Decode(&pkg); errors.Is(err, io.EOF) {
			return g
		} else if err != nil {
			t.Fatal(err)
		}
		g[pkg.ImportPath] = pkg.node
	}
}

func TestImports(t *testing.T) {
	g := load(t)
	for name := range mayImport {
		if _, ok := g[module+"/"+name]; !ok {
			t.Errorf("there is no package %s: the rules are out of date", name)
		}
	}
	if g.way(module+"/transport/natsbus/embedded", natsServer) == nil {
		t.Error("embedded does not reach the NATS server: the rules are out of date")
	}
	for _, v := range violations(g) {
		t.Error(v)
	}
}

// TestViolationsAreFound plants one violation at a time in a graph that has none.
func TestViolationsAreFound(t *testing.T) {
	const msgpack, uuid, nats = "github.com/vmihailenco/msgpack/v5", "github.com/google/uuid", "github.com/nats-io/nats.go"
	sound := func() graph {
		g := graph{"fmt": {Standard: true}, "testing": {Standard: true}, msgpack: {}, uuid: {}, nats: {},
			natsServer + "/server": {}, "example.org/sly": {Imports: []string{natsServer + "/server"}}}
		for name, imports := range map[string][]string{
			"deadletter": {"rpc"}, "balance": {"fmt"}, "mailbox": {"fmt"}, "queue": {"fmt"}, "dedup": {"fmt"}, "ledger": {"fmt"}, "registry": {"fmt"}, "transport": {"fmt"},
			"rpc/codec": {msgpack}, "rpc": {"rpc/codec", "transport", "internal/promise"}, "internal/engine": {"internal/engine/client", "internal/engine/server", "internal/engine/journal", "rpc", "ledger", "transport"},
			"internal/engine/retry": {"rpc", "transport"}, "internal/engine/wire": {"rpc", "transport"}, "internal/engine/host": {"rpc"},
			"internal/engine/account": {"internal/engine/host", "rpc"}, "internal/engine/journal": {"internal/engine/account", "ledger", "rpc"},
			"internal/engine/client": {"internal/engine/wire", "internal/engine/retry", "internal/engine/host", "internal/promise", "rpc", "transport"},
			"internal/engine/server": {"internal/engine/wire", "internal/engine/journal", "internal/engine/account", "dedup", "ledger", "rpc", "transport"},
			"internal/jobtoken":      {}, "internal/promise": {"fmt"}, "internal/sendopt": {"rpc/codec", "transport"}, "internal/tracekey": {},
			"actor":                      {"balance", "deadletter", "internal/engine", "rpc", "rpc/codec", "ledger", "mailbox", "queue", queueStore, "registry", "transport", uuid},
			"transport/tcp":              {"transport"},
			"transport/natsbus":          {"transport", natsWait, nats},
			natsWait:                     {nats},
			"transport/natsbus/embedded": {natsServer + "/server"},
			"transport/transporttest":    {"testing", "transport", bubbles},
			bubbles:                      {"testing"},
			"registry/natskv":            {"registry", "registry/internal/feed"},
			"registry/internal/feed":     {"registry"},
			"ledger/jetstream":           {"ledger", natsWait, nats},
			"ledger/storetest":           {"testing", "ledger"},
			"state":                      {"fmt"},
			"state/jetstream":            {"state", natsHome, nats},
			"internal/stored":            {"state"},
			natsHome:                     {natsWait, nats},
			"queue/jetstream":            {"queue", queueStore, "rpc", "rpc/codec", nats},
			queueStore:                   {"queue", "rpc"},
			"examples/quickstart":        {"actor", "transport/tcp", "transport/natsbus/embedded"},
			"internal/draw":              {},
			"internal/simulation":        {"actor", "internal/draw", "internal/engine", "ledger", "rpc", "transport"},
			"actortest":                  {"testing", "actor", bubbles, "internal/simulation"},
			"test/chaos":                 {"testing", "actor", "transport/natsbus/embedded", "transport/transporttest"},
		} {
			n := node{Name: path.Base(name)}
			for _, imp := range imports {
				if _, ok := g[imp]; !ok {
					imp = module + "/" + imp
				}
				n.Imports = append(n.Imports, imp)
			}
			g[module+"/"+name] = n
		}
		return g
	}
	if v := violations(sound()); v != nil {
		t.Fatalf("a sound graph: %q", v)
	}
	for _, c := range []struct{ pkg, imports, want string }{
		{"mailbox", module + "/dedup", "mailbox imports dedup"},
		{"balance", module + "/registry", "balance imports registry"},
		{"queue", module + "/mailbox", "queue imports mailbox"},
		{"queue", module + "/actor", "queue imports actor"},
		{"deadletter", module + "/transport", "deadletter imports transport"},
		{"actor", module + "/queue/jetstream", "actor imports queue/jetstream"},
		{"queue/jetstream", module + "/actor", "queue/jetstream imports actor"},
		{queueStore, module + "/actor", queueStore + " imports actor"},
		{"queue", module + "/" + queueStore, "queue imports " + queueStore},
		{"queue/jetstream", module + "/transport", "queue/jetstream imports transport"},
		{"transport", uuid, "transport imports " + uuid},
		{"registry", module + "/registry/internal/feed", "registry imports registry/internal/feed"},
		{"rpc", module + "/mailbox", "rpc imports mailbox"},
		{"rpc", module + "/internal/engine", "rpc imports internal/engine"},
		{"rpc", module + "/dedup", "rpc imports dedup"},
		{"internal/engine/retry", module + "/internal/engine", "internal/engine/retry imports internal/engine"},
		{"internal/engine/retry", module + "/internal/engine/wire", "internal/engine/retry imports internal/engine/wire"},
		{"internal/engine/wire", module + "/internal/engine", "internal/engine/wire imports internal/engine"},
		{"internal/engine/wire", module + "/internal/engine/retry", "internal/engine/wire imports internal/engine/retry"},
		{"internal/engine", module + "/rpc/codec", "internal/engine imports rpc/codec"},
		{"internal/engine", module + "/dedup", "internal/engine imports dedup"},
		{"internal/engine/client", module + "/internal/engine/server", "internal/engine/client imports internal/engine/server"},
		{"internal/engine/server", module + "/internal/engine/client", "internal/engine/server imports internal/engine/client"},
		{"internal/engine/server", module + "/internal/engine", "internal/engine/server imports internal/engine"},
		{"internal/engine/client", module + "/internal/engine/journal", "internal/engine/client imports internal/engine/journal"},
		{"internal/engine/journal", module + "/internal/engine/server", "internal/engine/journal imports internal/engine/server"},
		{"internal/engine/account", module + "/internal/engine/journal", "internal/engine/account imports internal/engine/journal"},
		{"internal/engine/host", module + "/internal/engine/account", "internal/engine/host imports internal/engine/account"},
		{"internal/jobtoken", module + "/rpc", "internal/jobtoken imports rpc"},
		{"internal/promise", module + "/rpc", "internal/promise imports rpc"},
		{"internal/sendopt", module + "/rpc", "internal/sendopt imports rpc"},
		{"internal/tracekey", module + "/transport", "internal/tracekey imports transport"},
		{"rpc", module + "/actor", "rpc imports actor"},
		{"rpc", module + "/transport/tcp", "rpc imports transport/tcp"},
		{"rpc/codec", module + "/transport", "rpc/codec imports transport"},
		{"actor", module + "/transport/natsbus", "actor imports transport/natsbus"},
		{"actor", msgpack, "actor imports " + msgpack},
		{"transport/memnet", module + "/" + bubbles, "transport/memnet imports test/bubble"},
		{"transport/tcp", module + "/rpc", "transport/tcp imports rpc, which is not below transport"},
		{"registry/natskv", module + "/transport", "registry/natskv imports transport, which is not below registry"},
		{"dedup", module + "/ledger", "dedup imports ledger"},
		{"ledger", module + "/dedup", "ledger imports dedup"},
		{"actor", module + "/dedup", "actor imports dedup"},
		{"ledger/jetstream", module + "/transport", "ledger/jetstream imports transport"},
		{"ledger/jetstream", module + "/ledger/storetest", "ledger/jetstream imports ledger/storetest, a suite for tests"},
		{"ledger/storetest", nats, "ledger/storetest imports " + nats},
		{"rpc", module + "/ledger/jetstream", "rpc imports ledger/jetstream"},
		{"state", module + "/rpc", "state imports rpc"},
		{"state/jetstream", module + "/actor", "state/jetstream imports actor"},
		{"internal/stored", module + "/rpc", "internal/stored imports rpc"},
		{"transport/natsbus", natsServer + "/server", "transport/natsbus carries a NATS server: "},
		{"transport/tcp", "example.org/sly", "transport/tcp carries a NATS server: "},
		{"cmd/tandem", module + "/transport/natsbus/embedded", "cmd/tandem carries a NATS server: "},
		{"transport/tcp", module + "/transport/transporttest", "transport/tcp imports transport/transporttest, a suite for tests"},
		{"examples/quickstart", module + "/transport/transporttest", "examples/quickstart imports transport/transporttest, a suite for tests"},
		{"actor", "testing", "actor imports testing"},
		{"transport/tcp", module + "/" + natsWait, "transport/tcp imports " + natsWait + ", which is not below transport"},
		{"state/jetstream", module + "/" + natsWait, "state/jetstream imports " + natsWait},
		{natsHome, module + "/state", natsHome + " imports state"},
		{"transport/tcp", module + "/" + natsHome, "transport/tcp imports " + natsHome + ", which is not below transport"},
		{natsWait, module + "/transport", natsWait + " imports transport"},
		{"rpc", module + "/examples/quickstart", "rpc imports examples/quickstart"},
		{"actor", module + "/actortest", "actor imports actortest"},
		{"actor", module + "/internal/simulation", "actor imports internal/simulation"},
		{"internal/simulation", module + "/actortest", "internal/simulation imports actortest"},
		{"internal/simulation", "testing", "internal/simulation imports testing"},
		{"examples/quickstart", module + "/actortest", "examples/quickstart imports actortest, a suite for tests"},
		{"actortest", module + "/transport/natsbus", "actortest imports transport/natsbus"},
		{"actor/util", "fmt", "actor/util: the name says nothing"},
	} {
		g := sound()
		n := g[module+"/"+c.pkg]
		n.Imports = append(slices.Clone(n.Imports), c.imports)
		g[module+"/"+c.pkg] = n
		if found := violations(g); !slices.ContainsFunc(found, func(v string) bool { return strings.HasPrefix(v, c.want) }) {
			t.Errorf("%s imports %s: found %q, want %q", c.pkg, c.imports, found, c.want)
		}
	}
	g := sound()
	g[module+"/rpc/wire"] = node{Name: "common"}
	if found := violations(g); len(found) != 1 {
		t.Errorf("package common in folder wire: found %q", found)
	}
}

// Limits on lines. Tests may be longer.
const (
	maxLines        = 500
	maxArchitecture = 150
)

func TestFileLengths(t *testing.T) {
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && d.Name() != "..":
			return filepath.SkipDir
		case d.IsDir() || filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		name = strings.TrimPrefix(filepath.ToSlash(name), "../")
		if n := len(lines(t, name)); n > maxLines {
			t.Errorf("%s has %d lines, limit %d: split it", name, n, maxLines)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(lines(t, "ARCHITECTURE.md")); n > maxArchitecture {
		t.Errorf("ARCHITECTURE.md has %d lines, limit %d", n, maxArchitecture)
	}
}

// lines returns the lines of a file of the repository.
func lines(t *testing.T, name string) (all []string) {
	f, err := os.Open(filepath.Join("..", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		all = append(all, s.Text())
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
