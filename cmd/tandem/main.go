// Command tandem looks at a cluster, and changes it, over NATS: see docs/cli.md.
package main

import (
	"context"
	"os"
	"os/signal"

	"github.com/tandem-go/tandem/cmd/tandem/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	os.Exit(cli.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
