package main

import (
	"context"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/intercept"
)

const interceptedNote = "one interceptor where it is sent and one where it arrives, which do nothing"

// intercepted is the configuration of a system with one interceptor on each side.
func intercepted() actor.Config {
	nothing := []intercept.Func{func(ctx context.Context, _ *intercept.Operation, next func(context.Context) error) error {
		return next(ctx)
	}}
	return actor.Config{Outgoing: nothing, Incoming: nothing}
}
