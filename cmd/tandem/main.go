// Command tandem shows what a cluster of Tandem does, and changes it, over NATS. docs/cli.md is its reference.
package main

import (
	"context"
	"os"
	"os/signal"

	"github.com/tandem-go/tandem/cmd/tandem/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second one ends the process
	code := cli.Run(ctx, os.Args[1:], cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Terminal: cli.IsTerminal(os.Stdout), Getenv: os.Getenv})
	stop()
	os.Exit(code)
}
