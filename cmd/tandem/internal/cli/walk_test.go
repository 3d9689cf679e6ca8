package cli_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/cmd/tandem/internal/cli"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/settings/natskv"
	"github.com/tandem-go/tandem/test/oncall"
)

var update = flag.Bool("update", false, "write what the walk prints into testdata")

func TestMain(m *testing.M) { oncall.Main(m) }

// walk is a transcript of commands.
type walk struct {
	t    *testing.T
	url  string
	said bytes.Buffer
	hide []func(string) string // makes what differs from run to run the same
}

// run runs a command, writes it and what it says down, and returns its output and its exit code.
func (w *walk) run(args ...string) (string, int) {
	w.t.Helper()
	var out, errs bytes.Buffer
	code := cli.Run(w.t.Context(), append([]string{"--server", w.url, "--cluster", "observed", "--user", "ann"}, args...), strings.NewReader(""), &out, &errs)
	quoted := make([]string, len(args))
	for i, a := range args {
		if quoted[i] = a; strings.ContainsAny(a, " {\"") {
			quoted[i] = "'" + a + "'"
		}
	}
	fmt.Fprintf(&w.said, "$ tandem %s\n%s%s", strings.Join(quoted, " "), out.String(), errs.String())
	if code != 0 {
		fmt.Fprintf(&w.said, "exit code %d\n", code)
	}
	w.said.WriteString("\n")
	return out.String(), code
}

// want is run of a command that has to end with that code, and to print all the texts.
func (w *walk) want(code int, texts []string, args ...string) string {
	w.t.Helper()
	out, got := w.run(args...)
	said := w.said.String()
	last := said[strings.LastIndex(said, "$ tandem"):]
	if got != code {
		w.t.Fatalf("exit code %d, want %d:\n%s", got, code, last)
	}
	for _, text := range texts {
		if !strings.Contains(last, text) {
			w.t.Fatalf("no %q in:\n%s", text, last)
		}
	}
	return out
}

// replace hides what matches, in the transcript.
func (w *walk) replace(pattern, with string) {
	re := regexp.MustCompile(pattern)
	w.hide = append(w.hide, func(s string) string { return re.ReplaceAllString(s, with) })
}

// golden compares the transcript with a file.
func (w *walk) golden(name string) {
	w.t.Helper()
	got := w.said.String()
	for _, h := range w.hide {
		got = h(got)
	}
	at := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(at, []byte(got), 0o644); err != nil {
			w.t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(at)
	if err != nil {
		w.t.Fatal(err)
	}
	gotLines, wantLines := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(gotLines), len(wantLines)) {
		g, wl := "(nothing)", "(nothing)"
		if i < len(gotLines) {
			g = gotLines[i]
		}
		if i < len(wantLines) {
			wl = wantLines[i]
		}
		if g != wl {
			w.t.Fatalf("%s differs in line %d: run it with -update, and look at the difference\n got %s\nwant %s", at, i+1, g, wl)
		}
	}
}

var number = regexp.MustCompile(`\b[0-9]+\b`)

// newWalk starts a cluster of three processes and the test's own node, opens the admin actors over NATS, and begins a transcript.
func newWalk(t *testing.T) (*walk, *oncall.Cluster) {
	t.Helper()
	c := oncall.Start(t, "a", "b", "c")
	w := &walk{t: t, url: c.NATS.URL()}
	// What differs from run to run: whole columns of numbers lose their width, so spaces are squeezed.
	w.replace(regexp.QuoteMeta(w.url), "nats://SERVER")
	w.replace(`[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:.]{12}`, "TIME")
	w.replace(`\b[0-9a-f]+-[0-9a-f]{16}-[0-9a-f]{16}\b`, "ITEM")
	w.replace(`\b[0-9a-f]{16}-[0-9]+\b`, "REQUEST")
	w.replace(`\b[0-9a-f]{16}\b`, "SESSION")
	w.replace(`\+[0-9.]+(ms|s|µs)`, "+TIME")
	w.replace(`\b[0-9.]+(h|m|s|ms|µs|ns)([0-9.]+(m|s))*\b`, "DURATION")
	w.replace(`\b[0-9.]+ [KMG]iB\b`, "BYTES")
	w.replace(`\b[A-Z0-9]{56}\b`, "ID")
	w.replace(`\b[0-9a-f]{8}-[0-9]+\b`, "LETTER")
	w.replace(`\b[A-Z2-7]{8}…`, "TOKEN…")
	w.replace(`([ (])-( |$|\n)`, "${1}DURATION$2")  // a duration of nothing
	w.hide = append(w.hide, func(s string) string { // numbers are those of the run, except in the commands
		lines := strings.Split(s, "\n")
		for i, l := range lines {
			if !strings.HasPrefix(l, "$") && !strings.HasPrefix(l, "exit code") {
				lines[i] = number.ReplaceAllString(l, "N")
			}
		}
		return strings.Join(lines, "\n")
	})
	w.replace(` +`, " ")
	return w, c
}

// An operator walks through a cluster.
func TestWalk(t *testing.T) {
	w, c := newWalk(t)
	ctx := t.Context()
	w.want(0, []string{"a", "b", "c", "desk"}, "nodes")
	w.want(0, []string{"greeter-a@a", "not used here"}, "services", "--node", "a")
	w.want(0, []string{"greeter-b@b", "observed.greeter"}, "actors", "--by", "name", "--prefix", "greeter", "--node", "b")
	w.want(0, []string{"working"}, "inspect", "greeter-b@b")
	w.want(0, []string{`"hello bob"`}, "call", "greeter-b@b", "observed.Greet", `{"Name": "bob"}`, "--key", "order 17", "--node", "a")
	w.want(0, []string{`"hello bob"`, "it had run before"}, "call", "greeter-b@b", "observed.Greet", `{"Name": "bob"}`, "--key", "order 17", "--node", "desk")
	w.want(0, []string{"started", "answered again"}, "why", "order 17", "--node", "desk")
	token := strings.TrimSpace(w.want(0, nil, "submit", "greeter-c@c", "observed.Greet", `{"Name": "carl"}`))
	w.hide = append([]func(string) string{func(s string) string { return strings.ReplaceAll(s, token, "TOKEN") }}, w.hide...)
	w.want(0, []string{"done", "hello carl"}, "await", token)
	w.want(0, []string{"observed.Greet", "done"}, "tokens", "--node", "c")

	q := c.Desk.Ref("parcels@b")
	for i := range 3 {
		if err := actor.Push(ctx, q, oncall.Parcel{Text: fmt.Sprint("poison ", i)}, actor.PushID(fmt.Sprint("p", i))); err != nil {
			t.Fatal(err)
		}
	}
	ds, err := actor.Pull[oncall.Parcel](ctx, q, actor.Max(2))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range ds {
		if err := d.Nack(ctx, 0); err != nil {
			t.Fatal(err)
		}
	}
	w.want(0, []string{"parcels@b"}, "queues", "--node", "b")
	w.want(0, []string{"p0", "nacked"}, "queues", "items", "parcels@b", "--dead", "--content")
	w.want(0, []string{"revive: 2 items"}, "queues", "revive", "parcels@b", "--all")
	w.want(0, []string{"pause"}, "queues", "pause", "parcels@b")
	w.want(0, []string{"paused"}, "queues", "--node", "b")
	w.want(0, []string{"purge: 3 items"}, "queues", "purge", "parcels@b")

	_ = actor.Tell(ctx, c.Desk.Ref("late@b"), oncall.Parcel{Text: "secret"})
	until(t, func() bool {
		_, code := probe(w, "dead-letters", "list", "--to", "late@b")
		return code == 0 && letters(w)
	})
	w.want(0, []string{"late@b", "not found"}, "dead-letters", "list", "--node", "b")
	w.want(1, []string{"0 sent, 1 failed"}, "dead-letters", "resend", "--all", "--node", "b")
	w.want(0, []string{"1 sent, 0 failed"}, "dead-letters", "resend", "--all", "--node", "b", "--redirect", "greeter-b@b")
	w.want(0, []string{"0 discarded"}, "dead-letters", "discard", "--all")
	w.want(0, []string{"DEBUG", "1 nodes"}, "log-level", "DEBUG", "--node", "a")
	w.want(0, nil, "topics")
	w.want(0, []string{"REPLAYED"}, "dedup", "--node", "b")
	w.want(0, []string{"greeter-c@c has ended"}, "stop", "greeter-c@c")
	w.want(0, []string{"nats", "ok", "bucket observed_nodes has", "node c"}, "check")

	// What goes wrong has its exit code, and says what to do.
	w.want(2, []string{"accepts 1 arg"}, "inspect")
	w.want(2, []string{"unknown flag"}, "nodes", "--nonsense")
	w.want(2, []string{`want name@node`}, "inspect", "greeter-b")
	w.want(2, []string{"not JSON"}, "call", "greeter-b@b", "observed.Greet", "{")
	w.want(3, []string{"not found"}, "inspect", "nobody@b")
	w.want(3, []string{"not found"}, "call", "nobody@b", "observed.Greet", "--node", "a")
	w.want(3, []string{"no node remembers"}, "why", "no such key")
	w.want(3, []string{"no node"}, "nodes", "--node", "nowhere")
	w.golden("walk")
}

// probe runs a command that is not part of the transcript.
func probe(w *walk, args ...string) (string, int) {
	before := w.said.String()
	out, code := w.run(args...)
	w.said.Reset()
	w.said.WriteString(before)
	return out, code
}

func letters(w *walk) bool {
	out, _ := probe(w, "dead-letters", "list", "--node", "b")
	return strings.Contains(out, "late@b")
}

// until waits until something holds.
func until(t *testing.T, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) { // between two looks
		if time.Now().After(end) {
			t.Fatal("it does not come to hold")
		}
	}
}

// Who may not is told what to do about it, and a server that is not there is said to be so.
func TestRefused(t *testing.T) {
	w, c := newWalk(t)
	w.want(5, []string{"NATS"}, "nodes", "--node", "a", "--timeout", "1ns")
	w.url = "nats://127.0.0.1:1"
	w.want(5, []string{"NATS"}, "nodes")
	_ = c
}

// Settings are written to the bucket, shown with their history, and what is wrong is refused.
func TestSettings(t *testing.T) {
	w, c := newWalk(t)
	js, err := jetstream.New(mustConnect(t, c))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := natskv.Create(t.Context(), js, natskv.Config{Cluster: "observed"}); err != nil {
		t.Fatal(err)
	}
	w.want(0, []string{"log: revision 1"}, "settings", "set", "log", `{"level": "debug"}`, "--author", "ann", "--note", "to see more")
	w.want(0, []string{"revision 2"}, "settings", "set", "node.a.log", `{"level": "warn"}`, "--author", "ann")
	w.want(1, []string{"revision"}, "settings", "set", "log", `{"level": "info"}`, "--author", "ann", "--revision", "7")
	w.want(2, []string{"level"}, "settings", "set", "log", `{"level": "loud"}`, "--author", "ann")
	w.want(2, []string{"nonsense"}, "settings", "set", "nonsense", `{}`, "--author", "ann")
	w.want(0, []string{"log: revision"}, "settings", "delete", "log", "--author", "ann")
	w.want(0, []string{"to see more", "deleted"}, "settings", "history", "log")
	w.want(0, []string{"not watched"}, "settings", "--node", "desk")
	w.golden("settings")
}

func mustConnect(t *testing.T, c *oncall.Cluster) *nats.Conn {
	t.Helper()
	nc, err := c.NATS.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// A request whose road was cut while it ran, and that was answered from its record, is told with all its copies.
func TestWhy(t *testing.T) {
	w, c := newWalk(t)
	until(t, func() bool {
		out, _ := probe(w, "peers", "--node", "desk")
		return regexp.MustCompile(`desk +b +tcp`).MatchString(out)
	})
	done := make(chan error, 1)
	go func() {
		_, err := actor.Call(t.Context(), c.Desk.Ref("greeter-b@b"), oncall.Linger{For: 500 * time.Millisecond}, rpc.Key("order 18"))
		done <- err
	}()
	until(t, func() bool { out, _ := probe(w, "inspect", "greeter-b@b"); return strings.Contains(out, "Linger") })
	c.Gates["b"].Set(true)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	w.want(0, []string{"link lost", "resent", "copy came", "started", "decided", "nats", "tcp"}, "why", "order 18", "--node", "desk")
}

// What top prints for scripts has the nodes, and every command prints JSON.
func TestTopAndJSON(t *testing.T) {
	w, c := newWalk(t)
	c.Load()
	w.want(0, []string{"HANDLED/S", "desk", "ACTOR"}, "top", "--times", "2", "--every", "300ms")
	for _, args := range [][]string{{"nodes"}, {"peers"}, {"services"}, {"actors"}, {"inspect", "greeter-a@a"}, {"sessions"}, {"dedup"}, {"topics"}, {"tokens"}, {"events"}, {"requests", "--all"}, {"queues"}, {"queues", "items", "parcels@a"},
		{"dead-letters", "list"}, {"settings"}, {"check"}, {"version"}, {"top", "--times", "1"}, {"perms", "node", "till-1"}, {"call", "greeter-a@a", "observed.Greet"}, {"log-level", "info", "--node", "a"}} {
		out := w.want(0, nil, append(args, "--json")...)
		if !json(out) {
			t.Errorf("%q prints no JSON: %s", args, out)
		}
	}
}
