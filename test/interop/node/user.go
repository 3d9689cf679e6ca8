package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

const rounds = 200

// want compares what came with what should have come.
func want[T comparable](wanted, got T, err error) error {
	if err != nil || got != wanted {
		return fmt.Errorf("got %v, %v; want %v", got, err, wanted)
	}
	return nil
}

// patterns tries every pattern with a host, and returns what was wrong with each: nothing, if all is well.
func (n *node) patterns(ctx context.Context, host string) map[string]string {
	to := n.sys.Ref("all@" + host)
	wrong := map[string]string{}
	for name, try := range map[string]func(context.Context, actor.Ref) error{
		"tell in order": tell, "call": call, "error": failing, "callback": callback, "combined": combined, "put off": putOff, "large": large,
		"token": n.token, "stream": stream, "stream to an actor": collect, "stream both ways": talk, "topic": n.topic,
		"queue":   func(ctx context.Context, _ actor.Ref) error { return n.queue(ctx, n.sys.Ref("line@"+host)) },
		"service": n.service, "virtual": n.virtual,
		"nobody": func(ctx context.Context, _ actor.Ref) error { return nobody(ctx, n.sys.Ref("nobody@"+host)) },
	} {
		wrong[name] = ""
		if err := try(ctx, to); err != nil {
			wrong[name] = err.Error()
		}
	}
	return wrong
}

func tell(ctx context.Context, to actor.Ref) error {
	before, err := actor.Call(ctx, to, Notes{})
	if err != nil {
		return err
	}
	for i := range rounds {
		var opts []rpc.Option
		if i == rounds-1 {
			opts = append(opts, rpc.Acked())
		}
		if err := actor.Tell(ctx, to, Note{i}, opts...); err != nil {
			return err
		}
	}
	notes, err := actor.Call(ctx, to, Notes{})
	if err != nil {
		return err
	}
	for i, got := range notes[len(before):] {
		if got != i {
			return fmt.Errorf("%v came", notes)
		}
	}
	return want(rounds, len(notes)-len(before), nil)
}

func call(ctx context.Context, to actor.Ref) error {
	for i := range rounds {
		got, err := actor.Call(ctx, to, Dbl{N: i})
		if err := want(2*i, got, err); err != nil {
			return err
		}
	}
	return nil
}

// An error of the application comes as one that says that the request ran.
func failing(ctx context.Context, to actor.Ref) error {
	_, err := actor.Call(ctx, to, Bad{})
	if rpc.CodeOf(err) != rpc.Failed || rpc.Ran(err) != rpc.HasRun {
		return fmt.Errorf("%v, %v", err, rpc.Ran(err))
	}
	return nil
}

// A request for an actor that does not exist comes back with an error that says that it did not run.
func nobody(ctx context.Context, to actor.Ref) error {
	_, err := actor.Call(ctx, to, Dbl{})
	if rpc.CodeOf(err) != rpc.NotFound || rpc.Ran(err) != rpc.NotRun {
		return fmt.Errorf("%v, %v", err, rpc.Ran(err))
	}
	return nil
}

func callback(ctx context.Context, to actor.Ref) error {
	var all sync.WaitGroup
	errs := make([]error, rounds)
	for i := range rounds {
		all.Add(1)
		actor.Ask(ctx, to, Dbl{N: i}).Then(func(got int, err error) {
			defer all.Done()
			errs[i] = want(2*i, got, err)
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func combined(ctx context.Context, to actor.Ref) error {
	var fs []*rpc.Future[int]
	for i := range 20 {
		fs = append(fs, actor.Ask(ctx, to, Dbl{N: i}))
	}
	all, err := rpc.All(fs...).Await(ctx)
	return want(20, len(all), err)
}

func putOff(ctx context.Context, to actor.Ref) error {
	for i := range rounds {
		got, err := actor.Call(ctx, to, Later{N: i})
		if err := want(i, got, err); err != nil {
			return err
		}
	}
	return nil
}

// A message that travels in chunks.
func large(ctx context.Context, to actor.Ref) error {
	data := bytes.Repeat([]byte("tandem"), 500_000)
	got, err := actor.Call(ctx, to, Big{Data: data})
	if err == nil && !bytes.Equal(got, data) {
		err = fmt.Errorf("%d bytes came back, and not those that were sent", len(got))
	}
	return err
}

func (n *node) token(ctx context.Context, to actor.Ref) error {
	for i := range 20 {
		tok, err := actor.Submit(ctx, to, Dbl{N: i})
		if err != nil {
			return err
		}
		again, err := actor.Redeem[int](n.sys, tok.String())
		if err != nil {
			return err
		}
		got, err := again.Await(ctx)
		if err := want(2*i, got, err); err != nil {
			return err
		}
		s, err := again.Poll(ctx)
		if err := want(rpc.JobDone, s.State, err); err != nil {
			return err
		}
	}
	return nil
}

func stream(ctx context.Context, to actor.Ref) error {
	next := 0
	for v, err := range actor.Stream(ctx, to, Upto{N: 5000}) {
		if err := want(next, v, err); err != nil {
			return err
		}
		next++
	}
	return want(5000, next, nil)
}

func collect(ctx context.Context, to actor.Ref) error {
	sink, err := actor.Open(ctx, to, Sum{})
	if err != nil {
		return err
	}
	sum := 0
	for i := range 2000 {
		if err := sink.Send(ctx, i); err != nil {
			return err
		}
		sum += i
	}
	got, err := sink.CloseAndReceive(ctx)
	return want(sum, got, err)
}

func talk(ctx context.Context, to actor.Ref) error {
	d, err := actor.Talk(ctx, to, Echo{})
	if err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() {
		for i := range 2000 {
			if err := d.Send(ctx, i); err != nil {
				sent <- err
				return
			}
		}
		sent <- d.CloseSend(ctx)
	}()
	next := 0
	for v, err := range d.Items() {
		if err := want(next, v, err); err != nil {
			return err
		}
		next++
	}
	return want(2000, next, <-sent)
}

// What is published arrives in order, once its node knows of the subscriber.
func (n *node) topic(ctx context.Context, to actor.Ref) error {
	if _, err := actor.Call(ctx, to, Hear{}); err != nil {
		return err
	}
	topic := news.At("interop.today").Bind(n.sys)
	var heard []int
	for i := 0; len(heard) < rounds; i++ {
		if err := actor.Publish(ctx, topic, News{i}); err != nil {
			return err
		}
		var err error
		if heard, err = actor.Call(ctx, to, Heard{}); err != nil {
			return err
		}
	}
	for i, v := range heard {
		if v != heard[0]+i {
			return fmt.Errorf("heard %v", heard)
		}
	}
	_, err := actor.Call(ctx, to, Hear{Stop: true})
	return err
}

func (n *node) queue(ctx context.Context, q actor.Ref) error {
	for i := range rounds {
		if err := actor.Push(ctx, q, Item{i}, actor.PushID(fmt.Sprint(n.Name, i))); err != nil {
			return err
		}
	}
	got, err := pull(ctx, q, rounds)
	return errors.Join(err, want(rounds, len(got), nil))
}

// pull takes items from a queue until it has that many, each once, and returns them in order.
func pull(ctx context.Context, q actor.Ref, most int) (got []int, err error) {
	for len(got) < most {
		ds, err := actor.Pull[Item](ctx, q, actor.Max(16), actor.Wait(5*time.Second))
		if err != nil {
			return got, err
		}
		if len(ds) == 0 {
			return got, fmt.Errorf("%d items of %d came", len(got), most)
		}
		for _, d := range ds {
			got = append(got, d.Message.N)
		}
		if err := actor.AckAll(ctx, ds); err != nil {
			return got, err
		}
	}
	slices.Sort(got)
	return slices.Compact(got), nil
}

func (n *node) service(ctx context.Context, _ actor.Ref) error {
	for range 20 {
		id := n.nextID()
		got, err := actor.Call(ctx, n.sys.Service("banks"), Deposit{ID: id})
		if err := want(id, got, err); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) virtual(ctx context.Context, _ actor.Ref) error {
	for i := range 20 {
		got, err := actor.Call(ctx, n.sys.Virtual(accountKind, fmt.Sprint("p", i)), Deposit{ID: n.nextID()})
		if err := want(1, got, err); err != nil {
			return err
		}
	}
	return nil
}
