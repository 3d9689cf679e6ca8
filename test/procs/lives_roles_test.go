//go:build unix

package procs

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/topic"
)

// Records of lives, written before a handler returns.
const (
	watching sort = iota + 128 // an actor on the node of who, in its start aux; op: the watch
	ended                      // the watch op: its actor has got one Terminated; aux: the code of why
	printing                   // op is about to be published
	printed                    // and was
	got                        // op, by a subscriber on the node of who
	gotAlone                   // op, by a member of the group on the node of who
)

// Which asks an actor in which start of its node it lives.
type Which struct{ actor.Returns[uint16] }

// Keep has a watcher watch an actor in that start of its node.
type Keep struct {
	actor.Returns[bool]
	At string
	Of life
}

// News is a publication.
type News struct{ ID uint64 }

var news = actor.NewTopic[News]("news.>")

const (
	newsPace = 3 * time.Millisecond
	watchers = 3 // of each other node, on each node
)

// being is a process in which all of that is at once.
type being struct {
	role    role
	journal journal // of what is asked
	handled journal // of what is handled
	sys     *actor.System
	resting context.Context // ends when nothing new is to begin
}

// mark is an actor that others watch.
type mark struct{ life uint16 }

func (m *mark) which(*actor.Context, Which) (uint16, error) { return m.life, nil }

// onlooker is an actor that watches one other at a time.
type onlooker struct {
	*being
	no   uint16
	n    uint32
	over chan struct{} // a token when a watch has ended
}

func (o *onlooker) keep(ctx *actor.Context, m Keep) (bool, error) {
	o.n++
	o.journal.put(record{sort: watching, who: m.Of.who, life: o.role.Life, op: o.op(), aux: uint64(m.Of.n)})
	return true, ctx.Watch(ctx.System().Ref(m.At))
}

func (o *onlooker) op() uint64 { return opID(o.role.Life, uint16(o.role.Who)<<8|o.no, o.n) }

func (o *onlooker) terminated(_ *actor.Context, m actor.Terminated) error {
	if o.resting.Err() != nil { // the processes are about to end in good order
		return nil
	}
	end := record{sort: ended, who: o.role.Who, life: o.role.Life, op: o.op(), aux: uint64(rpc.CodeOf(m.Why))}
	times := 1
	if o.role.Cheat == dishonest {
		times = int(o.no%2) * 2
	}
	for range times {
		o.handled.put(end)
	}
	select {
	case o.over <- struct{}{}:
	default:
	}
	return nil
}

// watch has an actor watch one of another node, again and again.
func (b *being) watch(no uint16, at who, node string) error {
	o := &onlooker{being: b, no: no, over: make(chan struct{}, 1)}
	kind := actor.Define(fmt.Sprintf("procs.onlooker.%d", no), func() *onlooker { return o }, actor.Answer((*onlooker).keep), actor.Handle((*onlooker).terminated))
	ref, err := b.sys.Spawn(fmt.Sprintf("onlooker-%d", no), kind)
	if err != nil {
		return err
	}
	to := b.sys.Ref("mark@" + node)
	for b.resting.Err() == nil {
		ctx, cancel := context.WithTimeout(b.resting, stepLimit)
		n, err := actor.Call(ctx, to, Which{})
		if err == nil {
			_, err = actor.Call(ctx, ref, Keep{At: to.String(), Of: life{at, n}})
		}
		cancel()
		if err != nil {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		select {
		case <-o.over:
		case <-b.resting.Done():
		}
	}
	return nil
}

// subscriber is an actor that writes down what it gets.
type subscriber struct {
	*being
	alone bool // it is a member of the group
}

func (s *subscriber) Started(ctx *actor.Context) error {
	if s.alone && s.role.Cheat != dishonest {
		return ctx.Subscribe(news, topic.Group("alone"))
	}
	return ctx.Subscribe(news)
}

func (s *subscriber) news(_ *actor.Context, m News) error {
	r := record{sort: got, who: s.role.Who, life: s.role.Life, op: m.ID}
	if s.alone {
		r.sort = gotAlone
	}
	s.handled.put(r)
	if s.role.Cheat == dishonest && m.ID%16 == 3 {
		r.op--
		s.handled.put(r)
	}
	return nil
}

// publish publishes until nothing new is to begin.
func (b *being) publish() {
	for n := uint32(1); b.resting.Err() == nil; n++ {
		op := opID(b.role.Life, uint16(b.role.Who)<<8, n)
		b.journal.put(record{sort: printing, who: b.role.Who, life: b.role.Life, op: op})
		ctx, cancel := context.WithTimeout(context.Background(), stepLimit)
		err := actor.Publish(ctx, news.At("news."+b.role.Name).Bind(b.sys), News{op})
		cancel()
		if b.role.Cheat == dishonest && n%16 == 5 {
			err = rpc.Errorf(rpc.Unavailable, rpc.NotRun, "a lie")
		}
		b.journal.put(record{sort: printed, who: b.role.Who, life: b.role.Life, op: op, verdict: rpc.Ran(err), code: rpc.CodeOf(err)})
		time.Sleep(newsPace)
	}
}

// live is a process of lives.
func (r role) live(rest, end <-chan struct{}) error {
	asked, err := openJournal(r.Dir, askedFile)
	if err != nil {
		return err
	}
	handled, err := openJournal(r.Dir, ranFile)
	if err != nil {
		return err
	}
	cfg, done, err := r.config(slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		return err
	}
	defer done()
	resting, goOn := context.WithCancel(context.Background())
	go func() { <-rest; goOn() }()
	b := &being{role: r, journal: asked, handled: handled, resting: resting}
	cfg.Setup = func(sys *actor.System) error {
		for name, kind := range map[string]*actor.Kind{
			"mark":   actor.Define("procs.mark", func() *mark { return &mark{r.Life} }, actor.Answer((*mark).which)),
			"reader": actor.Define("procs.reader", func() *subscriber { return &subscriber{b, false} }, actor.Handle((*subscriber).news)),
			"member": actor.Define("procs.member", func() *subscriber { return &subscriber{b, true} }, actor.Handle((*subscriber).news)),
		} {
			if _, err := sys.Spawn(name, kind); err != nil {
				return err
			}
		}
		return nil
	}
	if b.sys, err = actor.NewSystem(cfg); err != nil {
		return err
	}
	ready("")
	var all sync.WaitGroup
	errs := make(chan error, len(beings)*watchers)
	for i, name := range beings {
		for k := range watchers {
			if name != r.Name {
				all.Go(func() { errs <- b.watch(uint16(i*watchers+k), beingOf(i), name) })
			}
		}
	}
	all.Go(b.publish)
	<-end
	goOn()
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return shut(b.sys)
}

// beings are the nodes; the last one survives.
var beings = []string{"ann", "ben", "cay"}

// beingOf is the i-th of them, as records name it.
func beingOf(i int) who { return who(i + 20) }
