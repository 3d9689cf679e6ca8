//go:build unix

package procs

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	natsjs "github.com/nats-io/nats.go/jetstream"
	"github.com/vmihailenco/msgpack/v5"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/deadletter"
	store "github.com/tandem-go/tandem/ledger/jetstream"
	"github.com/tandem-go/tandem/outbox"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/topic"
	"github.com/tandem-go/tandem/topic/jetstream"
)

// Records of posts, written before a handler returns.
const (
	posting    sort = iota + 160 // op is about to be given to TellReliably
	posted                       // and was
	delivered                    // op's handler runs
	settled                      // op's transaction was committed, in this order; the commit itself is the truth
	gaveUp                       // op has become a dead letter, which is kept; verdict: its own
	publishing                   // op is about to be published on the durable topic
	published                    // and was
	archived                     // op, by the subscriber without a name; aux: its position
	clerked                      // op, by a subscriber of the name; aux: its position
)

// Letter is a reliable one-way message.
type Letter struct{ ID uint64 }

// Bulletin is what is published on the durable topic.
type Bulletin struct{ ID uint64 }

var bulletins = actor.NewTopic[Bulletin]("bulletins.>").Durable()

const postPace = 8 * time.Millisecond

// Receivers: each node sends to the first three on the other node, and to the last one on its own.
const (
	keptThere  = iota // of a Durable kind
	paidThere         // of a Transactional kind
	plainThere        // of one without records
	keptHere
	receivers
)

var receiverNames = [receivers]string{"kept", "paid", "plain", "kept"}

// bulletinCaller is the caller of publications in their ids.
const bulletinCaller = receivers

// posters are the nodes.
var posters = []string{"ann", "ben"}

// posterOf is the i-th of them, as records name it.
func posterOf(i int) who { return who(i + 30) }

// poster is a process that sends and receives reliable messages, publishes and subscribes.
type poster struct {
	role    role
	journal journal // of what is sent
	handled journal
	commits commits
	sys     *actor.System
	resting context.Context // ends when nothing new is to begin
}

func (p *poster) put(j journal, s sort, op, aux uint64) {
	j.put(record{sort: s, who: p.role.Who, life: p.role.Life, op: op, aux: aux})
}

// deal is whether a dishonest one does wrong to an operation, and in which of several ways.
func (p *poster) deal(op uint64) uint32 {
	if p.role.Cheat != dishonest {
		return 0
	}
	return uint32(op) % 16
}

// work is what some handlers do after their effect, so that a kill comes in between.
func work(op uint64) {
	if op%4 == 0 {
		time.Sleep(postPace)
	}
}

// postbox is an actor that reliable messages are for.
type postbox struct{ *poster }

func (b postbox) letter(_ *actor.Context, m Letter) error {
	switch b.deal(m.ID) {
	case 3: // lost
		return nil
	case 5: // twice
		b.put(b.handled, delivered, m.ID, 0)
	case 7: // after the next one
		b.put(b.handled, delivered, m.ID+1, 0)
	}
	b.put(b.handled, delivered, m.ID, 0)
	work(m.ID)
	return nil
}

// transaction has its effect in one with its record.
func (b postbox) transaction(ctx *actor.Context, m Letter) error {
	id, outcome, err := actor.Completion(ctx, Done(m))
	if err == nil {
		err = b.commits.commit(id, m.ID, outcome)
	}
	if err == nil {
		b.put(b.handled, settled, m.ID, 0)
		work(m.ID)
	}
	return err
}

// post sends to one receiver until nothing new is to begin.
func (p *poster) post(receiver int, to actor.Ref) {
	for n := uint32(1); p.resting.Err() == nil; n++ {
		op := opID(p.role.Life, uint16(p.role.Who)<<8|uint16(receiver), n)
		p.put(p.journal, posting, op, 0)
		ctx, cancel := context.WithTimeout(context.Background(), stepLimit)
		err := actor.TellReliably(ctx, to, Letter{op})
		cancel()
		if p.deal(op) == 9 {
			err = rpc.Errorf(rpc.Unavailable, rpc.NotRun, "a lie")
		}
		p.journal.put(record{sort: posted, who: p.role.Who, life: p.role.Life, op: op, verdict: rpc.Ran(err), code: rpc.CodeOf(err)})
		time.Sleep(postPace)
	}
}

// publish publishes until nothing new is to begin.
func (p *poster) publish() {
	for n := uint32(1); p.resting.Err() == nil; n++ {
		op := opID(p.role.Life, uint16(p.role.Who)<<8|bulletinCaller, n)
		p.put(p.journal, publishing, op, 0)
		ctx, cancel := context.WithTimeout(context.Background(), stepLimit)
		err := actor.Publish(ctx, bulletins.At("bulletins."+p.role.Name).Bind(p.sys), Bulletin{op})
		cancel()
		if p.deal(op) == 9 {
			err = rpc.Errorf(rpc.Unavailable, rpc.NotRun, "a lie")
		}
		p.journal.put(record{sort: published, who: p.role.Who, life: p.role.Life, op: op, verdict: rpc.Ran(err), code: rpc.CodeOf(err)})
		time.Sleep(postPace)
	}
}

// subscribed is a subscriber of the durable topic.
type subscribed struct {
	*poster
	as sort // clerked, as one of a name; or archived
}

func (s *subscribed) Started(ctx *actor.Context) error {
	if s.as == clerked {
		return ctx.Subscribe(bulletins, topic.Named("clerks"), topic.FromStart())
	}
	return ctx.Subscribe(bulletins, topic.FromStart())
}

func (s *subscribed) bulletin(ctx *actor.Context, m Bulletin) error {
	d, _ := ctx.Delivery()
	at := d.Position
	switch s.deal(m.ID) {
	case 3: // left out
		return nil
	case 5: // stored twice
		at += 1000
	case 7: // comes back
		s.put(s.handled, s.as, m.ID-1, at-2)
	}
	s.put(s.handled, s.as, m.ID, at)
	if s.as == clerked {
		work(m.ID)
	}
	return nil
}

// report writes down what has become a dead letter of this node's outbox, once there is an event of it.
func (p *poster) report(events <-chan actor.Event) {
	said := map[string]bool{}
	for range events {
		for _, l := range p.sys.KeptLetters(deadletter.Filter{Limit: deadletter.MaxPage}) {
			var m Letter
			if said[l.ID] || l.Encoded == nil || msgpack.Unmarshal(l.Encoded.Body, &m) != nil {
				continue
			}
			said[l.ID] = true
			p.journal.put(record{sort: gaveUp, who: p.role.Who, life: p.role.Life, op: m.ID, verdict: rpc.Ran(l.Reason), code: rpc.CodeOf(l.Reason)})
		}
	}
}

// post is a process of posts.
func (r role) post(rest, end <-chan struct{}) error {
	asked, err := openJournal(r.Dir, askedFile)
	if err != nil {
		return err
	}
	handled, err := openJournal(r.Dir, ranFile)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	cfg, done, err := r.config(log)
	if err != nil {
		return err
	}
	defer done()
	nc, js, err := r.bus()
	if err != nil {
		return err
	}
	defer nc.Close()
	topics, err := openTopics(js, r.cluster(), log)
	if err != nil {
		return err
	}
	defer topics.Close()
	resting, goOn := context.WithCancel(context.Background())
	go func() { <-rest; goOn() }()
	p := &poster{role: r, journal: asked, handled: handled, commits: commits{r.Dir}, resting: resting}
	box := func() postbox { return postbox{p} }
	subscriber := func(name string, as sort) *actor.Kind {
		return actor.Define(name, func() *subscribed { return &subscribed{p, as} }, actor.Handle((*subscribed).bulletin))
	}
	kept := actor.Define("procs.kept", box, actor.Handle(postbox.letter)).With(actor.Durable())
	paid := actor.Define("procs.paid", box, actor.Handle(postbox.transaction)).With(actor.Transactional(p.commits))
	kinds := map[string]*actor.Kind{
		"clerk": subscriber("procs.clerk", clerked), "archive": subscriber("procs.archive", archived),
	}
	for _, from := range posters {
		kinds["kept-"+from], kinds["paid-"+from], kinds["plain-"+from] = kept, paid, actor.Define("procs.plain", box, actor.Handle(postbox.letter))
	}
	cfg.Kinds = []*actor.Kind{kept, paid}
	cfg.Store, cfg.Topics = store.New(js, store.Config{Cluster: r.cluster(), Logger: log}), topics
	cfg.Outbox = outbox.Config{Durable: true, TargetMessages: 512, Policy: outbox.Wait}
	cfg.RPC = rpc.Limits{Heartbeat: heartbeat, SessionLease: lease}
	if (uint16(r.Who)+r.Life)%2 == 1 { // what this start sends goes another way than what the one before has sent
		cfg.Roads = rpc.BusOnly
	}
	var reports sync.WaitGroup
	cfg.Setup = func(sys *actor.System) error {
		p.sys = sys
		events := sys.Events(context.Background(), actor.MessageGivenUp)
		reports.Go(func() { p.report(events) })
		for name, kind := range kinds {
			if _, err := sys.Spawn(name, kind); err != nil {
				return err
			}
		}
		return nil
	}
	if p.sys, err = actor.NewSystem(cfg); err != nil {
		return err
	}
	ready("")
	var all sync.WaitGroup
	for i, name := range receiverNames {
		at := r.Name
		if i != keptHere {
			at = posters[(int(r.Who-posterOf(0))+1)%len(posters)]
		}
		all.Go(func() { p.post(i, p.sys.Ref(name+"-"+r.Name+"@"+at)) })
	}
	all.Go(p.publish)
	<-end
	goOn()
	all.Wait()
	err = shut(p.sys)
	reports.Wait()
	return err
}

func openTopics(js natsjs.JetStream, cluster string, log *slog.Logger) (*jetstream.Store, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	return jetstream.Open(ctx, js, jetstream.Config{Cluster: cluster, Logger: log})
}
