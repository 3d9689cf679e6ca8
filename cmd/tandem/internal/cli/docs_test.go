package cli_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/tandem-go/tandem/cmd/tandem/internal/cli"
)

const reference = "../../../../docs/cli.md"

// docs/cli.md is what the program says of itself.
func TestReference(t *testing.T) {
	var out bytes.Buffer
	out.WriteString(`# The program tandem

It shows a cluster to those who run it, and changes it, over NATS: as the user of a [nats context](https://github.com/nats-io/natscli), or of flags.

    go install -C cmd/tandem .   # in a clone of the repository
    tandem nodes --context production --cluster shop --user ann

Each node has to open its admin actor (package ` + "`admin`" + `) and serve it over NATS (package ` + "`admin/natsadmin`" + `), and ` + "`admin.Config`" + ` has to name the users
who may see (Read) and change (Operate). ` + "`tandem perms`" + ` prints what the NATS server has to allow; ` + "`tandem check`" + ` tries it.

Exit codes: 0 all is well, 1 it failed, 2 the arguments are wrong, 3 there is no such thing, 4 denied, 5 it cannot be reached or has not answered in time,
6 nobody can tell whether the request ran.

This page is made of the program's own help by a test.

`)
	root := cli.Root()
	root.DisableAutoGenTag = true
	var write func(c *cobra.Command)
	write = func(c *cobra.Command) {
		if c.Name() == "help" || c.Name() == "completion" || strings.Contains(c.CommandPath(), "completion ") {
			return
		}
		var page bytes.Buffer
		if err := doc.GenMarkdownCustom(c, &page, func(string) string { return "" }); err != nil {
			t.Fatal(err)
		}
		text := page.String()
		text, _, _ = strings.Cut(text, "### SEE ALSO")
		text, _, _ = strings.Cut(text, "### Options inherited")
		out.WriteString(strings.ReplaceAll(strings.TrimSpace(text), "### Options\n", "Options:\n") + "\n\n")
		for _, below := range c.Commands() {
			write(below)
		}
	}
	write(root)
	if *update {
		if err := os.WriteFile(reference, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	is, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(is, out.Bytes()) {
		t.Error("docs/cli.md is not what the program says: run this test with -update")
	}
}
