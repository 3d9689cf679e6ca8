//go:build linux && !race

package hostile

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/compress"
)

// attack is something that mallory does. It is no error if the victim refuses it, or closes a
// link for it.
type attack struct {
	name  string
	kind  kind // of the victim
	few   bool // it is one of the few that run by default
	run   func(m *mallory) error
	keeps int64                                      // what the victim may keep of it in memory, 0: as much as there may be at all
	bites func(before, after Inner) error            // says whether it reached what it was to
	then  func(ctx context.Context, h *honest) error // what must be possible when it is over
}

var attacks []attack

func init() { // they need to be found by name, by what is among them
	attacks = []attack{
		{name: "nothing", run: func(*mallory) error { time.Sleep(stay); return nil }},
		{name: "waiting bodies", run: waitingBodies, bites: refusedHolds, few: true},
		{name: "bombs", run: bombs, bites: refusedHolds},
		{name: "error texts", run: errorTexts, bites: servedMany},
		{name: "acks", run: hugeAcks},
		{name: "first chunks", run: firstChunks},
		{name: "half messages", run: halfMessages, bites: refusedHolds},
		{name: "jobs by one-way messages", run: toldJobs, bites: deadLetters},
		{name: "jobs by requests", run: askedJobs, bites: servedMany},
		{name: "opens", run: manyOpens, bites: refusedOpens, few: true},
		{name: "opens, with a store", run: manyOpens, bites: refusedOpens, kind: withStore},
		{name: "opens on one link", run: opensOnOneLink, bites: refusedOpens},
		{name: "sessions left behind", run: sessionsLeft, bites: refusedOpens},
		{name: "panics", run: manyPanics, bites: panickedOften},
		{name: "probes", run: probes, bites: replayedOften},
		{name: "replies not read", run: unreadReplies},
		{name: "pulls", run: pulls, bites: servedMany, then: useQueue},
		{name: "links", run: manyLinks},
		{name: "links under new names", run: newNames, kind: byToken, keeps: 16 << 20},
		{name: "silent sockets", run: silentSockets},
		{name: "links over the bus", run: busLinks, bites: refusedLinks, kind: onBus},
		{name: "marks over the bus", run: busMarks, kind: onBus},
		{name: "forged by JetStream", run: forgedByJetStream, kind: onBus, bites: forgeries},
		{name: "server: welcomes", run: forgedWelcomes, kind: asClient, bites: wasAsked},
		{name: "server: replies", run: wrongReplies, kind: asClient, bites: wasAsked},
		{name: "server: endless replies", run: endlessReplies, kind: asClient, bites: wasAsked},
		{name: "server: marks", run: serverMarks, kind: asClient, bites: wasAsked},
	}
}

func attackOf(name string) (attack, bool) {
	i := slices.IndexFunc(attacks, func(a attack) bool { return a.name == name })
	if i < 0 {
		return attack{}, false
	}
	return attacks[i], true
}

// stay is how long an attacker waits at the end, while it keeps what it has got.
const stay = 500 * time.Millisecond

// patience is how long an attack may take.
const patience = 30 * time.Second

// waitingBodies sends 18,000 requests of 60 kB to an actor that is busy.
func waitingBodies(m *mallory) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return flood(ctx, m, 18, 1000/m.Share, func(l *line) error { return l.message(transport.VerbRequest, "slow", Nap{Pad: make([]byte, 60<<10)}) })
}

// bombs sends 5,400 requests that are small on the way and that inflate to 40 MB each, to an actor that is
// busy.
func bombs(m *mallory) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	packer := compress.New(compress.Config{Raw: true})
	return flood(ctx, m, 18, 300/m.Share, func(l *line) error {
		e, err := l.envelope(transport.VerbRequest, "slow", Nap{Pad: make([]byte, 40<<20/m.Share)})
		if err != nil {
			return err
		}
		packed := packer.Pack(e.Codec, e.TypeID, e.Body)
		e.Packing, e.Size, e.Body = packed.Algorithm, uint64(len(e.Body)), packed.Blocks
		return l.send(e)
	})
}

// errorTexts sends 18,000 requests that are answered with an error text of 60 kB, which
// nobody acks.
func errorTexts(m *mallory) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return flood(ctx, m, 18, 1000/m.Share, func(l *line) error { return l.message(transport.VerbRequest, "fails", Fail{}) })
}

// hugeAcks sends 20 acks with exceptions of 60 MB each.
func hugeAcks(m *mallory) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return flood(ctx, m, 20, 1, func(l *line) error {
		body := make([]byte, 60<<20/m.Share)
		for i := range len(body) / 8 {
			binary.BigEndian.PutUint64(body[8*i:], uint64(2*i+1))
		}
		return l.send(&transport.Envelope{Verb: transport.VerbAck, Mark: transport.Mark{Below: 1 << 40}, Body: body})
	})
}

// begins returns the first bytes of a request, as many as b has.
func (l *line) begins(b []byte) ([]byte, error) {
	e, err := l.envelope(transport.VerbRequest, "echo", Echo{})
	if err != nil {
		return nil, err
	}
	header, err := e.Append(nil)
	copy(b, header)
	return b, err
}

// unfinished sends the first bytes of two requests on each of some links.
func unfinished(m *mallory, links, sent, whole int) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return floodOf(ctx, m, links, 2, func(l *line, n int) error {
		b, err := l.begins(make([]byte, sent))
		if err != nil {
			return err
		}
		return l.pieces(uint64(n+1), b, whole)
	})
}

// firstChunks sends the first bytes of two of the largest messages on each of 60 links.
func firstChunks(m *mallory) error { return unfinished(m, 60, 100, transport.DefaultMaxMessage) }

// halfMessages sends half of two of the largest messages on each of 20 links.
func halfMessages(m *mallory) error {
	whole := transport.DefaultMaxMessage / m.Share
	return unfinished(m, 20, whole/2, whole)
}

// submit is a message to the actor of a node that takes jobs.
type submit struct {
	Target string
	TypeID uint64
	Codec  uint8
	Body   []byte
}

func (submit) WireName() string { return "tandem.job.submit" }

// toldJobs submits 100 jobs by one-way messages, whose results have 20 MB each.
func toldJobs(m *mallory) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	report, err := codec.Msgpack(codec.Limits{}).Append(nil, Report{})
	if err != nil {
		return err
	}
	return flood(ctx, m, 1, 100, func(l *line) error {
		return l.message(transport.VerbTell, "$jobs", submit{"reports", transport.TypeID("hostile.report"), codec.IDMsgpack, report})
	})
}

// manyOpens opens 330,000 sessions on 30 links.
func manyOpens(m *mallory) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return flood(ctx, m, 30, 11_000/m.Share, func(l *line) error {
		l.seq++
		return l.send(&transport.Envelope{Verb: transport.VerbOpen, Seq: l.seq + 1})
	})
}

// manyPanics sends 100,000 messages to an actor that panics.
func manyPanics(m *mallory) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return flood(ctx, m, 10, 10_000/m.Share, func(l *line) error { return l.message(transport.VerbTell, "panics", Boom{}) })
}

// manyLinks opens 4,200 links.
func manyLinks(m *mallory) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	each(16, func(n int) {
		for i := 0; i < 4200/16/m.Share && ctx.Err() == nil; i++ {
			if _, err := m.dial(ctx, fmt.Sprintf("m-%d-%d", n, i)); err != nil {
				return // to be refused is what it comes to
			}
		}
	})
	time.Sleep(stay) // with what it got
	return nil
}

// flood makes links of mallory's, each with a session, send something the given number of
// times, and then waits.
func flood(ctx context.Context, m *mallory, links, times int, send func(l *line) error) error {
	return floodOf(ctx, m, links, times, func(l *line, _ int) error { return send(l) })
}

func floodOf(ctx context.Context, m *mallory, links, times int, send func(l *line, n int) error) error {
	lines := make([]*line, links)
	for i := range lines {
		var err error
		if lines[i], err = m.session(ctx, fmt.Sprintf("mallory-%d", i)); err != nil {
			return err
		}
	}
	each(links, func(i int) {
		for n := 0; n < times && ctx.Err() == nil; n++ {
			if send(lines[i], n) != nil {
				return // to lose the link is what it comes to
			}
		}
		if !lines[i].deaf.Load() {
			_ = lines[i].arrived(ctx) // likewise
		}
	})
	time.Sleep(stay)
	return nil
}
