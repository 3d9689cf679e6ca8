package natstool

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/test/ports"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
)

// document has the transcripts: blocks of "console", in which a line that begins with "$ " is a command of a shell, and those
// below are what it says. <word> stands for what is different each time.
const document = "../../docs/gateways.md"

// command is a command in the document, and what it is said to say.
type command struct {
	line int
	text string
	says []string
}

// commands reads the transcripts.
func commands(t *testing.T) (all []command) {
	file, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for i, line := range strings.Split(string(file), "\n") {
		switch {
		case line == "```console":
			inside = true
		case strings.HasPrefix(line, "```"):
			inside = false
		case !inside:
		case strings.HasPrefix(line, "$ "):
			all = append(all, command{line: i + 1, text: line[2:]})
		case len(all) == 0:
			t.Fatalf("line %d: a transcript begins with a command", i+1)
		default:
			last := &all[len(all)-1]
			last.says = append(last.says, line)
		}
	}
	return all
}

// The transcripts in the document are what happens: its commands are run in their order, in one shell, and say what it says.
func TestTranscripts(t *testing.T) {
	srv, err := embedded.Start(embedded.Config{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Shutdown()
	sh := newShell(t, srv.URL(), ports.Free())
	all := commands(t)
	for _, c := range all {
		got := tidied(sh.run(c.text))
		if want := tidied(strings.Join(c.says, "\n")); !pattern(want).MatchString(got) {
			t.Fatalf("%s:%d: $ %s\nsays\n%s\nwant\n%s", document, c.line, c.text, got, want)
		}
	}
	if len(all) < 9 {
		t.Errorf("the document has %d commands", len(all))
	}
}

// shell is a bash that runs one command after the other.
type shell struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
}

// newShell starts a shell in a folder of its own, where the programs "nats" and "bank" can be called.
func newShell(t *testing.T, url string, port int) *shell {
	dir := t.TempDir()
	tool, err := exec.Command("go", "tool", "-n", "nats").Output() // builds it, and says where it is
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	for name, script := range map[string]string{
		"nats": "exec " + strings.TrimSpace(string(tool)) + ` "$@"`,
		"bank": fmt.Sprintf("%s=%s exec %s", bankEnv, addr, self),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	ctx, end := context.WithTimeout(context.Background(), 60*time.Second)
	t.Cleanup(end)
	cmd := exec.CommandContext(ctx, "bash", "--noprofile", "--norc")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "NATS_URL="+url, "BANK="+addr, "XDG_CONFIG_HOME="+dir, "NO_COLOR=1", "COLUMNS=200")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	sh := &shell{t, in, bufio.NewReader(out)}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return sh
}

// run runs a command, and returns what it says.
func (s *shell) run(command string) string {
	const mark = "=== the command has ended"
	if _, err := fmt.Fprintf(s.in, "%s\necho; echo '%s'\n", command, mark); err != nil {
		s.t.Fatal(err)
	}
	var said strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if strings.TrimSpace(line) == mark {
			return said.String()
		}
		said.WriteString(line)
		if err != nil {
			s.t.Fatalf("$ %s\n%s\n%v", command, said.String(), err)
		}
	}
}

var (
	rule   = regexp.MustCompile(`[╭╮╰╯├┤┬┴┼─│|+-]{2,}|[│╭╮╰╯├┤]`)
	spaces = regexp.MustCompile(`\s+`)
	header = regexp.MustCompile(`^(<time> |\d\d:\d\d:\d\d )?[A-Z][\w-]*: `)
	listed = regexp.MustCompile(`^(\S+) (?:1\.0\.0 )?((?:<id>|[0-9A-Za-z]{22}) actors, by package natsapi)`)
	word   = regexp.MustCompile(`<(id|day|time|ago|duration|date)>`)
)

// tidied is what a program says without what is decoration: the lines of tables, widths, and empty lines. Headers that stand
// together are in order, because the tool prints them in any. So are services in a list, and their versions are left out, because
// the tool prints a version once if several in a row have it.
func tidied(text string) string {
	var lines []string
	anyhow := 0 // how many at the end of lines are in any order
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(spaces.ReplaceAllString(rule.ReplaceAllString(line, " "), " "))
		if line == "" {
			continue
		}
		isListed := listed.MatchString(line)
		lines = append(lines, listed.ReplaceAllString(line, "$1 $2"))
		if anyhow++; !isListed && !header.MatchString(line) {
			anyhow = 0
		}
		slices.Sort(lines[len(lines)-anyhow:])
	}
	return strings.Join(lines, "\n")
}

// pattern matches a text in which words in angle brackets stand for what is different each time.
func pattern(text string) *regexp.Regexp {
	const number = `\d+(?:\.\d+)?`
	forms := map[string]string{
		"<id>": `[0-9A-Za-z]{22}`, "<day>": `\d{4}-\d\d-\d\d`, "<time>": `\d\d:\d\d:\d\d`, "<ago>": number + `m?s`, "<duration>": number + `(?:ns|µs|ms|s)`,
		"<date>": `\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT`,
	}
	return regexp.MustCompile("^" + word.ReplaceAllStringFunc(regexp.QuoteMeta(text), func(w string) string { return forms[w] }) + "$")
}
