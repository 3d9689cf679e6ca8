package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

var ids atomic.Int64

// nextID names a request. No other user has the same.
func (n *node) nextID() int { return n.Seed*1_000_000 + int(ids.Add(1)) }

// accounts is how many stored accounts the load uses.
const accounts = 8

// keyed makes a deposit under a key.
func (n *node) keyed(ctx context.Context, host, key string, id int) (int, error) {
	return actor.Call(ctx, n.sys.Ref("vault@"+host), Deposit{ID: id}, rpc.Key(key))
}

// submit makes a deposit as a job, and returns its token.
func (n *node) submit(ctx context.Context, host string, id int) (string, error) {
	tok, err := actor.Submit(ctx, n.sys.Ref("vault@"+host), Deposit{ID: id})
	if err != nil {
		return "", err
	}
	return tok.String(), nil
}

// redeem waits for the result of a job.
func (n *node) redeem(ctx context.Context, token string) (int, error) {
	tok, err := actor.Redeem[int](n.sys, token)
	if err != nil {
		return 0, err
	}
	return tok.Await(ctx)
}

// push puts items into the queue that is kept in NATS.
func (n *node) push(ctx context.Context, host string, items int) error {
	for i := range items {
		if err := actor.Push(ctx, n.sys.Ref("jobs@"+host), Item{i}); err != nil {
			return err
		}
	}
	return nil
}

// pull takes that many out of it.
func (n *node) pull(ctx context.Context, host string, items int) ([]int, error) {
	return pull(ctx, n.sys.Ref("jobs@"+host), items)
}

// done returns how often each deposit of the load was made in stored accounts.
func (n *node) done(ctx context.Context) (map[int]int, error) {
	all := map[int]int{}
	for i := range accounts {
		one, err := actor.Call(ctx, n.sys.Virtual(accountKind, fmt.Sprint("a", i)), Done{})
		if err != nil {
			return nil, err
		}
		for id, times := range one {
			all[id] += times
		}
	}
	return all, nil
}

// fate is what a user knows of a request in the end.
type fate struct {
	ID      int
	To      string // vault, bank, service, account
	Done    bool   // it was answered as it should be
	Verdict string // otherwise: of the error
	Err     string
}

// load is requests that are made all the time.
type load struct {
	over  atomic.Bool
	work  sync.WaitGroup
	mu    sync.Mutex // guards what follows
	fates []fate
}

// Each worker has one request outstanding, and rests after it: hosts that are busy are not what is tested.
const (
	workers  = 8
	pace     = 3 * time.Millisecond
	askLimit = 3 * time.Second
)

// newLoad starts a load: half of it is for a host, the other half for whoever is there.
func (n *node) newLoad(host string) *load {
	l := new(load)
	for range workers {
		l.work.Go(func() {
			for i := 0; !l.over.Load(); i++ {
				l.note(n.one(host, i))
				time.Sleep(pace)
			}
		})
	}
	return l
}

func (l *load) note(f fate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fates = append(l.fates, f)
}

// rest ends the load, and returns what became of its requests.
func (l *load) rest() []fate {
	l.over.Store(true)
	l.work.Wait()
	return l.fates
}

// one makes one request.
func (n *node) one(host string, i int) fate {
	ctx, cancel := context.WithTimeout(context.Background(), askLimit)
	defer cancel()
	m := Deposit{ID: n.nextID(), Work: time.Duration(i%4) * time.Millisecond}
	f, to, wanted := fate{ID: m.ID}, actor.Ref{}, m.ID
	switch i % 4 {
	case 0:
		f.To, to = "vault", n.sys.Ref("vault@"+host)
	case 1:
		f.To, to = "bank", n.sys.Ref("bank@"+host)
	case 2:
		f.To, to = "service", n.sys.Service("banks")
	default:
		f.To, to, wanted = "account", n.sys.Virtual(accountKind, fmt.Sprint("a", m.ID%accounts)), 1
	}
	got, err := actor.Call(ctx, to, m)
	return f.ended(got, wanted, err)
}

// ended says how it ended.
func (f fate) ended(got, wanted int, err error) fate {
	typed := (*rpc.Error)(nil)
	switch {
	case err == nil:
		f.Done = got == wanted
		if !f.Done {
			f.Err = fmt.Sprintf("%d came, and not %d", got, wanted)
		}
	case !errors.As(err, &typed):
		f.Err = "an error without a type: " + err.Error()
	default:
		f.Verdict, f.Err = rpc.Ran(err).String(), err.Error()
	}
	return f
}

// hold has an actor busy, and sends it that many requests more. When the host leaves, rest returns what became of them.
func (n *node) hold(ctx context.Context, host string, more int) error {
	to := n.sys.Ref("slow@" + host)
	l := new(load)
	n.load = l
	ask := func(f fate, future *rpc.Future[int]) {
		l.work.Go(func() {
			got, err := future.Await(context.Background())
			l.note(f.ended(got, f.ID, err))
		})
	}
	asking, cancel := context.WithTimeout(context.Background(), orderLimit)
	ask(fate{To: "hold"}, actor.Ask(asking, to, Hold{}))
	for range more {
		id := n.nextID()
		ask(fate{ID: id, To: "bank"}, actor.Ask(asking, to, Deposit{ID: id}))
	}
	go func() { l.work.Wait(); cancel() }()
	// The requests of a session come in order: when this one is answered, those before it are there.
	_, err := actor.Call(ctx, n.sys.Ref("all@"+host), Dbl{N: 1})
	return err
}
