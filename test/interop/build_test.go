//go:build unix

package interop

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var with = flag.String("interop.with", "", "a commit of this repository, with whose build this one is tried; empty: with itself")

// program is the folder of the program that is built, from the root of the tree on.
const program = "test/interop/node"

// builds are the programs that TestMain has built: that of this tree, and the other one.
var builds struct{ this, other string }

func TestMain(m *testing.M) {
	flag.Parse()
	dir, err := os.MkdirTemp("", "interop")
	if err == nil {
		err = buildAll(dir)
	}
	status := 1
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
	} else {
		status = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

func buildAll(dir string) error {
	root, err := filepath.Abs("../..")
	if err != nil {
		return err
	}
	builds.this = filepath.Join(dir, "this")
	if builds.other = builds.this; *with != "" {
		builds.other = filepath.Join(dir, "other")
		if err := buildOther(root, filepath.Join(dir, "tree"), *with, builds.other); err != nil {
			return fmt.Errorf("the build of %s: %w", *with, err)
		}
	}
	return build(root, builds.this)
}

// buildOther builds the program in the tree of another commit. If this program does not compile there, because something that
// it uses has another form by now, it is the program that belongs to that commit, if there is one.
func buildOther(root, tree, commit, exe string) error {
	if err := checkout(root, tree, commit); err != nil {
		return err
	}
	at := filepath.Join(tree, program)
	theirs := at + ".theirs"
	if err := os.Rename(at, theirs); err != nil && !os.IsNotExist(err) {
		return err
	}
	if err := os.CopyFS(at, os.DirFS(filepath.Join(root, program))); err != nil {
		return err
	}
	err := build(tree, exe)
	if err == nil {
		return nil
	}
	if _, none := os.Stat(theirs); none != nil {
		return fmt.Errorf("it has no program of its own, and: %w", err)
	}
	if err := os.RemoveAll(at); err != nil {
		return err
	}
	if err := os.Rename(theirs, at); err != nil {
		return err
	}
	return build(tree, exe)
}

// checkout writes the files of a commit into a folder.
func checkout(root, tree, commit string) error {
	if err := os.MkdirAll(tree, 0o700); err != nil {
		return err
	}
	archive, err := run(root, "git", "archive", "--format=tar", commit)
	if err != nil {
		return fmt.Errorf("its files cannot be had (the history has to be there): %w", err)
	}
	untar := exec.Command("tar", "-x", "-C", tree)
	untar.Stdin = bytes.NewReader(archive)
	if said, err := untar.CombinedOutput(); err != nil {
		return fmt.Errorf("tar: %w: %s", err, said)
	}
	return nil
}

func build(tree, exe string) error {
	_, err := run(tree, "go", "build", "-o", exe, "./"+program)
	return err
}

// run runs a command in a folder and returns what it prints.
func run(dir, name string, args ...string) ([]byte, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, stderr.String())
	}
	return out, nil
}

// pair is which build asks, and which is asked.
type pair struct{ name, user, host string }

// pairs are those that differ.
func pairs() []pair {
	if *with == "" {
		return []pair{{"this build with itself", builds.this, builds.this}}
	}
	return []pair{{"this asks " + *with, builds.this, builds.other}, {*with + " asks this", builds.other, builds.this}}
}
