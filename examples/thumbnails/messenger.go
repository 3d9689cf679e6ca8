package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// messenger fetches the result of a token. It does not notice that the link is cut meanwhile.
func messenger(ctx context.Context, o options, out io.Writer) error {
	wire, err := newWire(o.studio)
	if err != nil {
		return err
	}
	defer wire.Cut()
	sys, leave, err := join(ctx, "messenger", o.nats, wire.Addr())
	if err != nil {
		return err
	}
	defer leave()
	token, err := actor.Redeem[Picture](sys, o.token)
	if err != nil {
		return err
	}
	watched, stop := context.WithCancel(ctx)
	defer stop()
	go watch(watched, token)
	cut := make(chan error, 1)
	go func() { cut <- cutHalfway(ctx, o, token, wire, out) }()

	picture, err := token.Await(ctx) // it returns when the job has ended
	if err = errors.Join(err, <-cut); err != nil {
		return err
	}
	if o.cut && sys.Stats().RPC.RoadChanges < 2 {
		return errors.New("no other road was taken after the cut")
	}
	fmt.Fprintf(out, "The messenger has fetched the sheet: %d bytes.\n", len(picture.PNG))
	return os.WriteFile(o.out, picture.PNG, 0o644)
}

// cutHalfway cuts the TCP link when half of the work is done, if the options say so.
func cutHalfway(ctx context.Context, o options, token rpc.Token[Picture], wire *wire, out io.Writer) error {
	if !o.cut {
		return nil
	}
	if err := until(ctx, token, photos/2); err != nil {
		return err
	}
	if wire.Cut() == 0 {
		return errors.New("there was no TCP link to cut")
	}
	fmt.Fprintln(out, "The messenger's TCP link was cut half-way; it goes on over NATS.")
	return nil
}

// until waits until so much of a job is done.
func until(ctx context.Context, token rpc.Token[Picture], done int64) error {
	for {
		st, err := token.Poll(ctx)
		switch {
		case err != nil:
			return err
		case st.State.Over():
			return fmt.Errorf("the job is %v too early", st.State)
		case st.Done >= done:
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// watch shows the progress of the job on the terminal.
func watch(ctx context.Context, token rpc.Token[Picture]) {
	bar := progressbar.NewOptions(photos, progressbar.OptionSetWriter(os.Stderr), progressbar.OptionClearOnFinish())
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			_ = bar.Clear()
			return
		}
		if st, err := token.Poll(ctx); err == nil {
			_ = bar.Set64(st.Done)
		}
	}
}
