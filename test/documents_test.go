// What the documents say of the code is true: the tests that docs/security.md names exist,
// and the README's programs are files that compile and run.

package test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Each test that docs/security.md names is there, in the package that it names.
func TestSecurityNamesTests(t *testing.T) {
	named := regexp.MustCompile("`(Test\\w+|[a-z]+(?:/[a-z]+)*)`")
	packages, tests := []string(nil), 0
	for _, line := range lines(t, "docs/security.md") {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.Contains(cells[3], "`Test") {
			continue
		}
		fresh := true // a package begins a new list of them
		for _, m := range named.FindAllStringSubmatch(cells[3], -1) {
			if !strings.HasPrefix(m[1], "Test") {
				if fresh {
					packages = nil
				}
				packages, fresh = append(packages, m[1]), false
				continue
			}
			fresh = true
			for _, pkg := range packages {
				files, err := filepath.Glob(filepath.Join("..", pkg, "*_test.go"))
				if err != nil {
					t.Fatal(err)
				}
				tests++
				if !slices.ContainsFunc(files, func(f string) bool {
					b, err := os.ReadFile(f)
					return err == nil && bytes.Contains(b, []byte("func "+m[1]+"("))
				}) {
					t.Errorf("docs/security.md names %s: %s, which is not there", pkg, m[1])
				}
			}
		}
	}
	if tests < 20 {
		t.Errorf("only %d tests found in the table", tests)
	}
}

// firstProgram is the line before which the README's first program must begin.
const firstProgram = 30

// TestREADME checks that every Go block of the README stands word for word in a file
// of test/readme, whose tests run them, and that the first is a whole program.
func TestREADME(t *testing.T) {
	var sources []string
	files, _ := filepath.Glob("readme/*.go")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, string(b))
	}
	program, err := os.ReadFile("readme/main.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := goBlocks(lines(t, "README.md"))
	if len(blocks) == 0 {
		t.Fatal("no Go in the README")
	}
	if blocks[0].line >= firstProgram || blocks[0].text != string(program) {
		t.Errorf("the README's first Go block is at line %d, want one before line %d that is test/readme/main.go:\n%s",
			blocks[0].line, firstProgram, blocks[0].text)
	}
	for _, b := range blocks {
		if !slices.ContainsFunc(sources, func(s string) bool { return strings.Contains(s, b.text) }) {
			t.Errorf("README.md:%d: this stands in no file of test/readme:\n%s", b.line, b.text)
		}
	}
}

type block struct {
	line int // of its first line, from 1
	text string
}

// goBlocks returns the fenced Go code of a Markdown file.
func goBlocks(lines []string) (blocks []block) {
	in := false
	for i, l := range lines {
		switch {
		case !in && l == "```go":
			in = true
			blocks = append(blocks, block{line: i + 2})
		case in && l == "```":
			in = false
		case in:
			blocks[len(blocks)-1].text += l + "\n"
		}
	}
	return blocks
}
