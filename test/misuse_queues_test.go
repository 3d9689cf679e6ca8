// Misuse of queues and of streams, and of a system that is shut down.

package test

import (
	"context"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// misusesOfQueues are about deliveries, pushes and pulls.
var misusesOfQueues = []misuse{
	{"a second ack", gets{rpc.Failed, rpc.HasRun, "is done"}, nil, func(t *testing.T, s *scene) error {
		d := s.delivery(t)
		done(t, d.Ack(s.ctx))
		return d.Ack(s.ctx)
	}},
	{"a nack after the ack", gets{rpc.Failed, rpc.HasRun, "is done"}, nil, func(t *testing.T, s *scene) error {
		d := s.delivery(t)
		done(t, d.Ack(s.ctx))
		return d.Nack(s.ctx, 0)
	}},
	{"an ack after the nack", gets{rpc.Failed, rpc.HasRun, "lease of this delivery is over"}, nil, func(t *testing.T, s *scene) error {
		d := s.delivery(t)
		done(t, d.Nack(s.ctx, 0))
		err := d.Ack(s.ctx)
		done(t, s.pull(t).Ack(s.ctx))
		return err
	}},
	{"an ack after the lease", gets{rpc.Failed, rpc.HasRun, "lease of this delivery is over"}, nil, func(t *testing.T, s *scene) error {
		d, again := s.overdue(t)
		err := d.Ack(s.ctx)
		done(t, again.Ack(s.ctx))
		return err
	}},
	{"an extension after the lease", gets{rpc.Failed, rpc.HasRun, "lease of this delivery is over"}, nil, func(t *testing.T, s *scene) error {
		d, again := s.overdue(t)
		err := d.Extend(s.ctx, time.Minute)
		done(t, again.Ack(s.ctx))
		return err
	}},
	{"an ack after another's ack", gets{rpc.Failed, rpc.HasRun, "is done"}, nil, func(t *testing.T, s *scene) error {
		d, again := s.overdue(t)
		done(t, again.Ack(s.ctx))
		return d.Ack(s.ctx)
	}},
	{"a push into a full queue", gets{rpc.Overloaded, rpc.NotRun, "full"}, nil, func(t *testing.T, s *scene) error {
		ctx, cancel := context.WithTimeout(s.ctx, time.Second) // a push that was refused is tried again
		defer cancel()
		return actor.Push(ctx, s.full, 1)
	}},
	{"a push of the same id with other content", fine, nil, func(t *testing.T, s *scene) error {
		done(t, actor.Push(s.ctx, s.queue, 7, actor.PushID("same")))
		err := actor.Push(s.ctx, s.queue, 8, actor.PushID("same"))
		d := s.pull(t)
		must(t, 7, d.Message, d.Ack(s.ctx))
		ds, none := actor.Pull[int](s.ctx, s.queue, actor.Wait(0))
		must(t, 0, len(ds), none)
		return err
	}},
	{"a pull of nothing", gets{rpc.Invalid, rpc.NotRun, "a pull of 0 items"}, nil, func(t *testing.T, s *scene) error {
		_, err := actor.Pull[int](s.ctx, s.queue, actor.Max(0))
		return err
	}},
	{"a pull beyond the limit", fine, nil, func(t *testing.T, s *scene) error {
		done(t, actor.Push(s.ctx, s.queue, 1))
		ds, err := actor.Pull[int](s.ctx, s.queue, actor.Max(1<<30)) // gets MaxPull at most
		done(t, actor.AckAll(s.ctx, ds))
		return err
	}},
	{"a pull of another type", gets{rpc.Unhandled, rpc.NotRun, "has no handler for"}, nil, func(t *testing.T, s *scene) error {
		_, err := actor.Pull[string](s.ctx, s.queue)
		return err
	}},
	{"a pull from what is no queue", gets{rpc.Unhandled, rpc.NotRun, "has no handler for"}, nil, func(t *testing.T, s *scene) error {
		_, err := actor.Pull[int](s.ctx, s.x)
		return err
	}},
	{"an ack of no delivery", gets{rpc.Invalid, rpc.NotRun, "addresses nobody"}, nil, func(t *testing.T, s *scene) error {
		return actor.Delivery[int]{}.Ack(s.ctx)
	}},
}

// misusesOfStreams are about streams that are opened, read or sent to wrongly.
var misusesOfStreams = []misuse{
	{"opening what has no handler", gets{rpc.Unhandled, rpc.NotRun, "has no handler for"}, nil, func(t *testing.T, s *scene) error {
		return first(actor.Stream(s.ctx, s.x, StrangeStream{}))
	}},
	{"a stream with a key", gets{rpc.Invalid, rpc.NotRun, "cannot have a key"}, nil, func(t *testing.T, s *scene) error {
		return first(actor.Stream(s.ctx, s.x, Count{N: 1}, rpc.Key("k")))
	}},
	{"a stream that is ranged over twice", fine, nil, func(t *testing.T, s *scene) error {
		items := actor.Stream(s.ctx, s.x, Count{N: 3}) // each range opens it anew
		done(t, first(items))
		return first(items)
	}},
	{"items of a dialogue, after leaving their loop", gets{rpc.Canceled, rpc.HasRun, "left"}, nil, func(t *testing.T, s *scene) error {
		d, err := actor.Talk(s.ctx, s.x, Parrot{})
		done(t, err, d.Send(s.ctx, 1), d.Send(s.ctx, 2))
		for range d.Items() {
			break
		}
		return first(d.Items())
	}},
	{"items of a dialogue, after their end", fine, nil, func(t *testing.T, s *scene) error {
		d, err := actor.Talk(s.ctx, s.x, Parrot{})
		done(t, err, d.Send(s.ctx, 1), d.CloseSend(s.ctx), first(d.Items()))
		return first(d.Items())
	}},
	{"a send after closing", gets{rpc.Invalid, rpc.NotRun, "closed for sending"}, nil, func(t *testing.T, s *scene) error {
		d, err := actor.Talk(s.ctx, s.x, Parrot{})
		done(t, err)
		defer d.Cancel()
		done(t, d.CloseSend(s.ctx))
		return d.Send(s.ctx, 1)
	}},
	{"a send after the result", gets{rpc.Canceled, rpc.HasRun, "left"}, nil, func(t *testing.T, s *scene) error {
		up, err := actor.Open(s.ctx, s.x, Total{})
		done(t, err, up.Send(s.ctx, 1))
		n, err := up.CloseAndReceive(s.ctx)
		must(t, 1, n, err)
		return up.Send(s.ctx, 1)
	}},
	{"the result of a stream, twice", gets{rpc.Canceled, rpc.HasRun, "left"}, nil, func(t *testing.T, s *scene) error {
		up, err := actor.Open(s.ctx, s.x, Total{})
		done(t, err)
		_, err = up.CloseAndReceive(s.ctx)
		done(t, err)
		_, err = up.CloseAndReceive(s.ctx)
		return err
	}},
	{"a send after breaking off", gets{rpc.Canceled, rpc.HasRun, "left"}, nil, func(t *testing.T, s *scene) error {
		up, err := actor.Open(s.ctx, s.x, Total{})
		done(t, err)
		up.Cancel()
		return up.Send(s.ctx, 1)
	}},
}

// misusesAfterShutdown come last, because the first of them shuts the caller's system down.
var misusesAfterShutdown = []misuse{
	{"a call after Shutdown", gets{rpc.Unavailable, rpc.NotRun, "shutting down"}, nil, func(t *testing.T, s *scene) error {
		s.leftover = s.submit(t)
		done(t, s.sys.Shutdown(s.ctx))
		_, err := actor.Call(s.ctx, s.x, Double{})
		return err
	}},
	{"a tell after Shutdown", gets{rpc.Unavailable, rpc.NotRun, "shutting down"}, nil, func(t *testing.T, s *scene) error {
		return actor.Tell(s.ctx, s.x, Double{})
	}},
	{"a submission after Shutdown", gets{rpc.Unavailable, rpc.NotRun, "shutting down"}, nil, func(t *testing.T, s *scene) error {
		_, err := actor.Submit(s.ctx, s.x, Double{})
		return err
	}},
	{"polling a token after Shutdown", gets{rpc.Unavailable, rpc.NotRun, "shutting down"}, nil, func(t *testing.T, s *scene) error {
		_, err := s.leftover.Poll(s.ctx)
		return err
	}},
	{"awaiting a token after Shutdown", gets{rpc.Unavailable, rpc.Unknown, "shutting down"}, nil, func(t *testing.T, s *scene) error {
		_, err := s.leftover.Await(s.ctx)
		return err
	}},
	{"a push after Shutdown", gets{rpc.Unavailable, rpc.NotRun, "shutting down"}, nil, func(t *testing.T, s *scene) error {
		return actor.Push(s.ctx, s.queue, 1)
	}},
	{"a pull after Shutdown", gets{rpc.Unavailable, rpc.NotRun, "shutting down"}, nil, func(t *testing.T, s *scene) error {
		_, err := actor.Pull[int](s.ctx, s.queue)
		return err
	}},
	{"a stream after Shutdown", gets{rpc.Unavailable, rpc.NotRun, "shutting down"}, nil, func(t *testing.T, s *scene) error {
		return first(actor.Stream(s.ctx, s.x, Count{N: 1}))
	}},
	{"a spawn after Shutdown", gets{rpc.Unavailable, rpc.NotRun, "shutting down"}, nil, func(t *testing.T, s *scene) error {
		_, err := s.sys.Spawn("y", actor.KindNamed("misuse.abused"))
		return err
	}},
	{"another Shutdown", fine, nil, func(t *testing.T, s *scene) error {
		return s.sys.Shutdown(s.ctx)
	}},
}
