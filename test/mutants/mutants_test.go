//go:build !race

// With the race detector everything that a mutant needs would be compiled a second time,
// and the detector is not what is to catch it: so there it does not run.

package mutants

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// share is 0 by default because a mutant costs a build. CI hunts one in nine with every
// change; all of them are for before a release.
var share = flag.Int("mutants.share", 0, "hunt one in so many of the mutations: 1 for all, 0 for none")

// times is for tests of random inputs, which may catch a mutant in one run and miss it in
// the next.
var times = flag.Int("mutants.times", 1, "so many runs of its tests have to catch a mutant, all of them")

// root is the repository, as go test sees it from here.
const root = "../.."

// limit bounds the tests of one mutant in one package. Those that are to catch it fail;
// to hang is no way to be caught.
const limit = 3 * time.Minute

// Without inlining and symbols a mutant is built in little more than half the time.
const (
	quickBuild = "-gcflags=github.com/tandem-go/tandem/...=-l -dwarf=0"
	quickLink  = "-ldflags=-s -w"
)

// mutations are all of testdata.
func mutations(t *testing.T) (all []mutation) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.patch")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d mutations, %v", len(files), err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m, err := parse(strings.TrimSuffix(filepath.Base(file), ".patch"), string(text))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	return all
}

// readFolder returns the non-test Go files of a folder of the repository.
func readFolder(folder string) (map[string]string, error) {
	names, err := filepath.Glob(filepath.Join(root, folder, "*.go"))
	files := map[string]string{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		files[filepath.Base(name)] = string(text)
	}
	return files, err
}

// overlay writes mutated files, and what has the go command take them for the true ones.
func overlay(dir string, changed map[string]string) (string, error) {
	replace := map[string]string{}
	for name, text := range changed {
		origin, err := filepath.Abs(filepath.Join(root, name))
		if err != nil {
			return "", err
		}
		replace[origin] = filepath.Join(dir, strings.ReplaceAll(name, string(filepath.Separator), "_"))
		if err := os.WriteFile(replace[origin], []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	content, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, content, 0o600)
}

var (
	errBuild  = errors.New("does not compile")
	errBroken = errors.New("the tests ended, but not by one that failed")
)

// test builds the tests of a package with an overlay ("" is none), runs those of a
// pattern so many times, and returns the name of the first that failed, "" if none did in
// one of the runs. A panic that ends the program fails them too; that their time is over
// does not.
func test(dir, overlay string, c catcher, times int) (failed string, err error) {
	bin := filepath.Join(dir, strings.ReplaceAll(c.pkg[2:], "/", "_")+".test")
	build := exec.Command("go", "test", "-c", quickBuild, quickLink, "-o", bin, "-overlay", overlay, c.pkg)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %v\n%s", errBuild, err, out)
	}
	for range times {
		if failed, err = once(dir, bin, c); err != nil || failed == "" {
			return "", err
		}
	}
	return failed, nil
}

// once is one run of a package's tests.
func once(dir, bin string, c catcher) (failed string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*limit)
	defer cancel()
	run := exec.CommandContext(ctx, bin, "-test.run", "^("+c.pattern+")$", "-test.timeout", limit.String(), "-test.short")
	run.Dir = dir // rapid leaves a file beside a test that fails
	out, err := run.CombinedOutput()
	if !regexp.MustCompile(`(?m)^(PASS|--- FAIL|panic)`).Match(out) || strings.Contains(string(out), "no tests to run") {
		return "", fmt.Errorf("%w: %v\n%s", errBroken, err, tail(out))
	}
	if err == nil {
		return "", nil
	}
	if strings.Contains(string(out), "panic: test timed out") {
		return "", fmt.Errorf("%w: %v\n%s", errBroken, err, tail(out))
	}
	if name := regexp.MustCompile(`(?m)^--- FAIL: (\S+)`).FindSubmatch(out); name != nil {
		return string(name[1]), nil
	}
	// A goroutine of the mutated code may panic just before the test would have failed.
	if regexp.MustCompile(`(?m)^panic: `).Match(out) {
		return "a panic in " + c.pattern, nil
	}
	return "", fmt.Errorf("%w: %v\n%s", errBroken, err, tail(out))
}

func tail(out []byte) []byte { return out[max(0, len(out)-4000):] }

// finding is what became of a mutant at one of its catchers.
type finding struct {
	mutation string
	catcher
	failed string
	took   time.Duration
}

// hunt applies a mutation and has its catchers run. An error says that the mutation is
// no good, or that it survives.
func hunt(dir string, m mutation) (found []finding, err error) {
	changed, err := m.apply(readFolder)
	if err != nil {
		return nil, err
	}
	file, err := overlay(dir, changed)
	if err != nil {
		return nil, err
	}
	for _, c := range m.catchers {
		began := time.Now()
		failed, err := test(dir, file, c, *times)
		if err != nil {
			return found, fmt.Errorf("%s: %s %s: %w", m.name, c.pkg, c.pattern, err)
		}
		if failed == "" {
			return found, fmt.Errorf("%s survives %s %s: %s", m.name, c.pkg, c.pattern, m.about)
		}
		found = append(found, finding{m.name, c, failed, time.Since(began)})
	}
	return found, nil
}

// inputs has the go command know what this test depends on, so that it does not take the
// result of an earlier run for one of the code as it is now.
func inputs(t *testing.T) {
	for _, folder := range []string{"actor", "balance", "dedup", "internal", "ledger", "mailbox", "placement", "registry", "rpc", "state", "test", "transport"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(name string, d os.DirEntry, err error) error {
			if err == nil && filepath.Ext(name) == ".go" {
				_, err = os.ReadFile(name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// number has a mutation stay in its share when others come and go.
func number(name string) int {
	h := fnv.New32a()
	h.Write([]byte(name))
	return int(h.Sum32() >> 1)
}

// TestAllApply requires of every mutation, hunted or not, that the code is still there that
// it changes.
func TestAllApply(t *testing.T) {
	for _, m := range mutations(t) {
		if _, err := m.apply(readFolder); err != nil {
			t.Error(err)
		}
	}
}

// TestMutants requires that every mutation is caught, and that what catches it passes
// without it.
func TestMutants(t *testing.T) {
	inputs(t)
	var all []mutation
	for _, m := range mutations(t) {
		if *share > 0 && number(m.name)%*share == 0 {
			all = append(all, m)
		}
	}
	var mu sync.Mutex // guards found
	var found []finding
	t.Run("none", func(t *testing.T) {
		patterns := map[string][]string{}
		for _, m := range all {
			for _, c := range m.catchers {
				if !slices.Contains(patterns[c.pkg], c.pattern) {
					patterns[c.pkg] = append(patterns[c.pkg], c.pattern)
				}
			}
		}
		for pkg, p := range patterns {
			t.Run(pkg, func(t *testing.T) {
				t.Parallel()
				if failed, err := test(t.TempDir(), "", catcher{pkg, strings.Join(p, "|")}, 1); err != nil || failed != "" {
					t.Fatalf("%s fails without a mutation: %v", failed, err)
				}
			})
		}
	})
	if t.Failed() {
		return
	}
	t.Run("each", func(t *testing.T) {
		for _, m := range all {
			t.Run(m.name, func(t *testing.T) {
				t.Parallel()
				f, err := hunt(t.TempDir(), m)
				if err != nil {
					t.Error(err)
				}
				for _, by := range f {
					t.Logf("caught by %s %s in %.1fs", by.pkg, by.failed, by.took.Seconds())
				}
				mu.Lock()
				defer mu.Unlock()
				found = append(found, f...)
			})
		}
	})
	slices.SortStableFunc(found, func(a, b finding) int { return strings.Compare(a.mutation, b.mutation) })
	var table strings.Builder
	for _, f := range found {
		fmt.Fprintf(&table, "%-34s %-14s %-44s %5.1fs\n", f.mutation, f.pkg, f.failed, f.took.Seconds())
	}
	t.Logf("%d mutations\n%-34s %-14s %-44s %6s\n%s", len(all), "mutation", "caught by", "test", "time", table.String())
}

// TestHunt proves that the hunt can fail: of a mutation that breaks nothing, of one that
// does not compile, and of tests that are not there.
func TestHunt(t *testing.T) {
	const transcripts = "caught by: ./dedup TestTranscripts\n"
	for _, c := range []struct{ name, text, err string }{
		{"broken", transcripts + "--- dedup\n@@\n-\tr.fingerprint, r.state = fingerprint, Queued\n+\tr.fingerprint = fingerprint\n", ""},
		{"panics in a goroutine of its own", transcripts + "--- dedup\n@@\n-\tr.fingerprint, r.state = fingerprint, Queued\n+\tnever := make(chan int)\n+\tgo func() { panic(fingerprint) }()\n+\t<-never\n", ""},
		{"harmless", transcripts + "--- dedup\n@@\n-\tr.fingerprint, r.state = fingerprint, Queued\n+\tr.state, r.fingerprint = Queued, fingerprint\n", "survives"},
		{"not Go", transcripts + "--- dedup\n@@\n-\tr.fingerprint, r.state = fingerprint, Queued\n+\tr.fingerprint = \n", errBuild.Error()},
		{"not here any more", transcripts + "--- dedup\n@@\n-\tr.fingerprint, r.state = fingerprint, Running\n", "at 0 places"},
		{"tests that are not there", "caught by: ./dedup TestNothing\n--- dedup\n@@\n-\tr.fingerprint, r.state = fingerprint, Queued\n+\tr.fingerprint = fingerprint\n", errBroken.Error()},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, err := parse(c.name, "It breaks.\n"+c.text)
			if err != nil {
				t.Fatal(err)
			}
			if _, err = hunt(t.TempDir(), m); !says(err, c.err) {
				t.Errorf("%v, want %q", err, c.err)
			}
		})
	}
}
