// Command indexer counts the identifiers of all Go files below a folder, by default
// those of the Go toolchain itself, with worker processes that do the parsing.
//
//	go run ./examples/indexer                  # about 11,000 files
//	go run ./examples/indexer -kill -check     # kill -9 a worker on the way; the result is the same
//	go run ./examples/indexer -top 30 ~/src
//
// The main process hosts two actors. The queue (files.go) hands out files to workers that pull.
// The aggregator (aggregator.go) gets the index of each file, and answers queries while the job
// runs. Workers (worker.go) are processes that use both. If a worker is killed, other workers get
// its files when their leases end. Each file is counted once, so nothing is lost and nothing is
// counted twice.
//
// The main process starts workers itself, and has a NATS server inside. With a NATS server that
// other machines can reach, workers there can join while the job runs:
//
//	indexer -nats nats://bus.example:4222 -name nightly ~/src
//	indexer -nats nats://bus.example:4222 -name nightly -worker -folder /mnt/src   # elsewhere
//
// A worker gets paths below the folder and reads the files itself. So it needs the same folder,
// but not in the same place. The job is done when every file was counted. Files that could not be
// read or parsed are counted too, by kind.
//
// Exit codes: 0 done, 1 failed, 2 wrong usage or folder, 130 interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/tandem-go/tandem/transport"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends it at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// options are the command line.
type options struct {
	folder  string
	nats    string
	job     string
	workers int
	top     int
	check   bool
	kill    bool
	worker  bool
	leash   bool
}

// usageError is a mistake of the user: a wrong flag or folder.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

var errInterrupted = errors.New("interrupted")

// run is the program, and returns its exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	o, err := parse(args, out)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		err = start(ctx, o, in, out, errs)
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(errs, "indexer:", strings.ReplaceAll(err.Error(), "\n", "; "))
	switch {
	case errors.As(err, new(usageError)):
		return 2
	case errors.Is(err, errInterrupted):
		return 130
	}
	return 1
}

func start(ctx context.Context, o options, in io.Reader, out, errs io.Writer) error {
	folder, err := open(o.folder)
	if err != nil {
		return err
	}
	defer folder.Close()
	if !o.worker {
		return lead(ctx, o, folder, out, errs)
	}
	if o.leash {
		signal.Ignore(os.Interrupt) // Ctrl-C reaches the parent too, which ends this process
		ctx = leashed(ctx, in)
	}
	err = work(ctx, o, folder, errs)
	if ctx.Err() != nil && o.leash { // the parent has ended or is about to, and reports the reason
		return nil
	}
	return err
}

func parse(args []string, help io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("indexer", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // run prints errors, in one line
	fs.IntVar(&o.workers, "workers", runtime.GOMAXPROCS(0), "worker processes to start; 0 to start them by hand")
	fs.IntVar(&o.top, "top", 20, "how many identifiers to print")
	fs.BoolVar(&o.check, "check", false, "compare with a run in a single process; exit code 1 if they differ")
	fs.BoolVar(&o.kill, "kill", false, "kill -9 one worker in the middle, to show that it does not matter")
	fs.StringVar(&o.nats, "nats", "", "`URL` of a NATS server with JetStream; default one inside this process")
	fs.StringVar(&o.job, "name", "indexer", "of the job: its workers give the same")
	fs.BoolVar(&o.worker, "worker", false, "be a worker of the job at -nats")
	fs.StringVar(&o.folder, "folder", "", "the folder; the same as the argument")
	fs.BoolVar(&o.leash, "leash", false, "end when standard input does (for workers that are started by the main process)")
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprintln(help, "usage: indexer [flags] [folder]")
		fs.SetOutput(help)
		fs.PrintDefaults()
		return o, err
	case err != nil:
		return o, usageError{err}
	case fs.NArg() > 1:
		return o, usagef("one folder at most, and flags before it: %q", fs.Args())
	case fs.NArg() == 1 && o.folder != "":
		return o, usagef("two folders: %q and %q", o.folder, fs.Arg(0))
	case o.worker && o.nats == "":
		return o, usagef("-worker needs the job's -nats URL")
	case o.workers < 0:
		return o, usagef("-workers %d: want 0 or more", o.workers)
	case o.kill && o.workers < 2 && !o.worker:
		return o, usagef("-kill needs -workers 2 or more: one has to be left")
	case o.top < 0:
		return o, usagef("-top %d: want 0 or more", o.top)
	}
	if err := transport.ValidName("name", o.job); err != nil {
		return o, usagef("-name %q: want letters, digits, '-' and '_'", o.job)
	}
	if fs.NArg() == 1 {
		o.folder = fs.Arg(0)
	}
	if o.folder == "" {
		o.folder, err = toolchain()
	}
	return o, err
}

// toolchain finds the source tree of Go.
func toolchain() (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", usagef("no folder given, and go env GOROOT says: %w", err)
	}
	// Some distributions have the sources in another place, with a link to them.
	src, err := filepath.EvalSymlinks(filepath.Join(strings.TrimSpace(string(root)), "src"))
	if err != nil {
		return "", usagef("no folder given, and no Go sources: %w", err)
	}
	return filepath.Dir(src), nil
}

func open(name string) (*os.Root, error) {
	folder, err := os.OpenRoot(name)
	if err != nil {
		return nil, usagef("folder: %w", err)
	}
	return folder, nil
}
