package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// asProgram makes this test binary behave as the program itself. It is in the
// environment of every process that a test starts, so workers are this binary too.
const asProgram = "INDEXER_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Setenv(asProgram, "1")
	os.Exit(m.Run())
}

// indexer runs the program in this process, with workers in others.
func indexer(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	var stdout strings.Builder
	code = run(t.Context(), args, strings.NewReader(""), &stdout, log)
	text, err := os.ReadFile(log.Name())
	if err != nil {
		t.Fatal(err)
	}
	return code, stdout.String(), string(text)
}

// write makes a folder of the given files.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// troubled is a folder with everything that can be wrong with a file.
func troubled(t *testing.T) string {
	t.Helper()
	dir := write(t, map[string]string{
		"a.go":          "package a\n\nfunc f(x int) int { return x + x }\n",
		"sub/b.go":      "package a\n\nvar _ = f(1)\n",
		"broken.go":     "package broken\n\nvar x = 1\n\nfunc f( {\n",
		"dir.go/c.go":   "package c\n",
		"not-a-go-file": "package no\n",
		"../outside.go": "package secret\n",
	})
	for link, to := range map[string]string{"dangling.go": "nowhere.go", "folder.go": "sub", "outside.go": "../outside.go", "fine.go": "a.go"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Skip("no symbolic links:", err)
		}
	}
	return dir
}

func TestJobWithTrouble(t *testing.T) {
	code, out, errs := indexer(t, "-workers", "2", "-top", "1", "-check", troubled(t))
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	for _, want := range []string{"   1  x  ", "8 files", "syntax error: 1 files", "unreadable: 3 files", "check: the same"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

func TestUsageAndFolderErrors(t *testing.T) {
	empty, full := t.TempDir(), write(t, map[string]string{"a.go": "package a"})
	for _, c := range []struct {
		args string
		want string
	}{
		{"-bad", "-bad"},
		{"-workers x", "-workers"},
		{"-workers -1", "want 0 or more"},
		{"-top -1", "want 0 or more"},
		{"-workers 1 -kill", "-workers 2"},
		{"-worker", "-nats"},
		{"-name a.b", "-name"},
		{"a b", "one folder"},
		{"-folder a b", "two folders"},
		{filepath.Join(empty, "none"), "no such file"},
		{filepath.Join(full, "a.go"), "not a directory"},
		{empty, "no Go files"},
		{"-worker -nats nats://127.0.0.1:1 " + filepath.Join(empty, "none"), "no such file"},
	} {
		code, _, errs := indexer(t, strings.Fields(c.args)...)
		if code != 2 || !strings.Contains(errs, c.want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: exit code %d, %q; want 2 and a line with %q", c.args, code, errs, c.want)
		}
	}
}

func TestHelp(t *testing.T) {
	if code, out, _ := indexer(t, "-h"); code != 0 || !strings.Contains(out, "usage: indexer") {
		t.Errorf("exit code %d: %s", code, out)
	}
}

func natsServer(t *testing.T) string {
	t.Helper()
	server, err := embedded.Start(embedded.Config{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Shutdown)
	return server.URL()
}

// A worker that is started by hand may come before the job's main process, and ends
// by itself.
func TestWorkerStartedByHand(t *testing.T) {
	url, dir := natsServer(t), troubled(t)
	worked := make(chan int)
	go func() {
		worked <- run(t.Context(), []string{"-worker", "-nats", url, "-name", "by-hand", "-folder", dir}, nil, io.Discard, t.Output())
	}()
	code, out, errs := indexer(t, "-workers", "0", "-nats", url, "-name", "by-hand", "-check", dir)
	if code != 0 || !strings.Contains(out, "\n1 workers") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	if code := <-worked; code != 0 {
		t.Errorf("the worker's exit code is %d", code)
	}
}

func TestNameOfJobIsTaken(t *testing.T) {
	j := testJob(t, options{})
	code, _, errs := indexer(t, "-nats", j.nats, "-name", j.job, troubled(t))
	if code != 1 || !strings.Contains(errs, "taken") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

func TestNoWorkerLeft(t *testing.T) {
	j := testJob(t, options{workers: 1, folder: filepath.Join(t.TempDir(), "none")})
	j.lead(t, []string{"a.go"})
	if err := j.follow(t.Context()); err == nil || !strings.Contains(err.Error(), "no worker is left after 0 of 1") {
		t.Errorf("%v", err)
	}
}

// underWay matches what a job prints when it has counted files of two workers.
var underWay = regexp.MustCompile(`files, .* 2 workers`)

// waitUntilUnderWay reads what a job prints.
func waitUntilUnderWay(t *testing.T, r *bufio.Reader) {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("it ended before it was under way: %v", err)
		}
		if underWay.MatchString(line) {
			return
		}
	}
}

func TestInterrupted(t *testing.T) {
	folder, err := toolchain()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	code := make(chan int)
	go func() {
		code <- run(ctx, []string{"-workers", "2", folder}, nil, io.Discard, w)
		w.Close()
	}()
	log := bufio.NewReader(r)
	waitUntilUnderWay(t, log)
	interrupt()
	if c := <-code; c != 130 {
		t.Errorf("exit code %d", c)
	}
	// The pipe ends when nobody holds it any more, workers included.
	rest, err := io.ReadAll(log)
	if err != nil || !strings.Contains(string(rest), "interrupted after") {
		t.Errorf("%q, %v", rest, err)
	}
}

// Workers end when the process that started them is killed.
func TestWorkersDoNotOutliveTheirParent(t *testing.T) {
	folder, err := toolchain()
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(self, "-workers", "2", folder)
	parent.Env = append(os.Environ(), "TMPDIR="+t.TempDir()) // it cannot clean up after itself
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	parent.Stderr = w
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	log := bufio.NewReader(r)
	waitUntilUnderWay(t, log)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	// The pipe ends when nobody holds it any more, workers included.
	if rest, err := io.ReadAll(log); err != nil {
		t.Errorf("%q, %v", rest, err)
	}
}
