//go:build unix

package procs

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// line is what one node sends to one actor, over all its starts.
type line struct {
	from     who
	receiver int
}

func lineOf(op uint64) line { return line{lifeOf(op).who, int(op >> 32 & 0xff)} }

// to is the node of the receiver.
func (l line) to() who {
	if l.receiver == keptHere {
		return l.from
	}
	return posterOf(0) + posterOf(1) - l.from
}

// letter is what became of a reliable message.
type letter struct {
	begun, over int64 // over: when its handler ran, or it was given up
	told        bool
	refused     bool // its sender was told that it is not kept, for sure
	accepted    bool
	ran         int
	gaveUp      int64       // when; 0: it was not
	verdict     rpc.Verdict // that it was given up with
}

// notice is what became of a publication of the durable topic.
type notice struct {
	begun             bool
	refused, accepted bool
	position          uint64
}

// archive is a subscriber without a name, in one start of its node, and a publisher.
type archive struct {
	reader life
	by     who
}

// postsCount is what a run came to.
type postsCount struct {
	letters, handled, gaveUp, notices, archived, clerked, again int

	twice, lost, wrong, disorder, gap int // violations
}

// absence is the time from the end of a node that was killed to when its next start was ready.
type absence struct{ killed, back int64 }

// postmaster is the judge of posts.
type postmaster struct {
	kills     map[who][]absence
	letters   map[uint64]*letter
	handled   map[line][]uint64 // in the order of their handlers
	sentLast  map[line]int64    // when the last one that is over was begun
	notices   map[uint64]*notice
	archives  map[archive]uint64 // the last that came
	read      map[life][]uint64  // positions, by the subscriber without a name
	at        map[uint64]uint64  // what is at a position
	first     uint64             // the first position of all
	name      uint64             // where the subscription with a name is
	nameFirst uint64             // where it began
	ends      map[life]int       // how many publications have come in that start
	count     postsCount
	wrong     []string // the first violations
}

func newPostmaster() *postmaster {
	return &postmaster{kills: map[who][]absence{}, letters: map[uint64]*letter{}, handled: map[line][]uint64{}, sentLast: map[line]int64{},
		notices: map[uint64]*notice{}, archives: map[archive]uint64{}, read: map[life][]uint64{}, at: map[uint64]uint64{}, ends: map[life]int{}}
}

func (p *postmaster) violation(n *int, format string, args ...any) {
	if *n++; len(p.wrong) < maxViolations {
		p.wrong = append(p.wrong, fmt.Sprintf(format, args...))
	}
}

// take takes a record in. Those of one file come in the order in which they were written.
func (p *postmaster) take(r record) {
	refused, accepted := r.code != 0 && r.verdict == rpc.NotRun, r.code == 0
	switch r.sort {
	case posting:
		of(p.letters, r.op).begun = r.at
	case posted:
		l := of(p.letters, r.op)
		l.told, l.refused, l.accepted = true, refused, accepted
	case delivered:
		of(p.letters, r.op).ran++
		p.over(r)
		p.handled[lineOf(r.op)] = append(p.handled[lineOf(r.op)], r.op)
	case settled:
		p.over(r)
		p.handled[lineOf(r.op)] = append(p.handled[lineOf(r.op)], r.op)
	case ran: // a transaction that was committed
		of(p.letters, r.op).ran++
	case gaveUp:
		l := of(p.letters, r.op)
		l.gaveUp, l.verdict = r.at, r.verdict
		p.over(r)
	case publishing:
		of(p.notices, r.op).begun = true
	case published:
		n := of(p.notices, r.op)
		n.refused, n.accepted = refused, accepted
	case archived:
		p.archive(r)
	case clerked:
		p.clerk(r)
	default:
		p.violation(&p.count.wrong, "no such record: %+v", r)
	}
}

func (p *postmaster) over(r record) {
	l := of(p.letters, r.op)
	if l.over == 0 {
		l.over = r.at
	}
	p.sentLast[lineOf(r.op)] = max(p.sentLast[lineOf(r.op)], l.begun)
}

// stored checks that a publication has one position, and no other one has it.
func (p *postmaster) stored(r record) {
	n := of(p.notices, r.op)
	if p.first == 0 || r.aux < p.first {
		p.first = r.aux
	}
	if n.position == 0 {
		n.position = r.aux
	}
	if n.position != r.aux {
		p.violation(&p.count.twice, "publication %x is stored at %d and at %d", r.op, n.position, r.aux)
	}
	if other, ok := p.at[r.aux]; ok && other != r.op {
		p.violation(&p.count.wrong, "at %d are publications %x and %x", r.aux, other, r.op)
	}
	p.at[r.aux] = r.op
}

// archive checks what comes at a subscriber without a name: everything from the first one on, once.
func (p *postmaster) archive(r record) {
	p.stored(r)
	p.count.archived++
	reader := life{r.who, r.life}
	at := archive{reader, lifeOf(r.op).who}
	switch last := p.archives[at]; {
	case r.op == last:
		p.violation(&p.count.twice, "publication %x came twice at %+v", r.op, reader)
	case r.op < last:
		p.violation(&p.count.disorder, "publication %x came after %x at %+v", r.op, last, reader)
	}
	p.archives[at] = max(p.archives[at], r.op)
	p.ends[reader]++
	p.read[reader] = append(p.read[reader], r.aux)
}

// clerk checks what comes at the subscriptions of the name, on both nodes: everything in order, and only the
// last one again.
func (p *postmaster) clerk(r record) {
	p.stored(r)
	p.count.clerked++
	switch {
	case p.nameBegun() && r.aux > p.name+1:
		p.violation(&p.count.gap, "at the name, %d follows on %d", r.aux, p.name)
	case p.nameBegun() && r.aux == p.name:
		p.count.again++
	case p.nameBegun() && r.aux < p.name:
		p.violation(&p.count.disorder, "at the name, %d follows on %d", r.aux, p.name)
	}
	if !p.nameBegun() {
		p.nameFirst = r.aux
	}
	p.name = max(p.name, r.aux)
}

func (p *postmaster) nameBegun() bool { return p.nameFirst != 0 }

// open are the messages that are kept, and are neither handled nor given up. Of a transaction, its commit counts.
func (p *postmaster) open() (ops []uint64) {
	for op, l := range p.letters {
		if l.accepted && l.over == 0 && l.ran == 0 {
			ops = append(ops, op)
		}
	}
	return ops
}

// describe says of messages, for people, who has sent them when, and to whom.
func (p *postmaster) describe(ops []uint64) (text string) {
	slices.Sort(ops)
	for _, op := range ops[:min(len(ops), maxViolations)] {
		text += fmt.Sprintf("; message %x of %+v to %s, sent %v ago", op, lifeOf(op), receiverNames[lineOf(op).receiver], short(time.Since(time.Unix(0, p.letters[op].begun))))
	}
	return text
}

// unread is how many publications that are stored have not come at a subscriber of a start of a node, and
// at the name.
func (p *postmaster) unread(reader life) (archived, clerked int) {
	for _, n := range p.notices {
		if n.accepted {
			archived++
		}
	}
	if clerked = archived; p.nameBegun() { // what is stored has all positions from the first one on
		clerked -= int(p.name - p.first + 1)
	}
	return archived - p.ends[reader], clerked
}

// mayNotKnow reports whether a node that was killed may not know whether it has handled a message. With records
// it is the message that it had begun with, or recorded that it begins: the first one that was not over. Without
// records it is every one that may have come before the next start, for all that its sender knows.
func (p *postmaster) mayNotKnow(l line, m *letter, before int64) bool {
	return slices.ContainsFunc(p.kills[l.to()], func(a absence) bool {
		if l.receiver == plainThere {
			return m.begun <= a.back && a.killed <= m.gaveUp
		}
		return max(m.begun, before) <= a.killed && a.killed <= m.gaveUp
	})
}

// decide judges what can be judged only in the end.
func (p *postmaster) decide() {
	before := map[line]int64{} // when all earlier ones were over
	for _, op := range slices.Sorted(maps.Keys(p.letters)) {
		m, l := p.letters[op], lineOf(op)
		p.count.letters++
		p.count.handled += m.ran
		if m.gaveUp != 0 {
			p.count.gaveUp++
		}
		switch {
		case m.begun == 0:
			p.violation(&p.count.wrong, "message %x was handled, and nobody has sent it", op)
		case m.ran > 1:
			p.violation(&p.count.twice, "message %x was handled %d times", op, m.ran)
		case m.refused && (m.ran > 0 || m.gaveUp != 0):
			p.violation(&p.count.wrong, "message %x was refused, and handled %d times, given up %v", op, m.ran, m.gaveUp != 0)
		case m.accepted && m.ran == 0 && m.gaveUp == 0:
			p.violation(&p.count.lost, "message %x was kept, and not handled, and nobody was told", op)
		case m.gaveUp != 0 && m.verdict != rpc.Unknown:
			p.violation(&p.count.wrong, "message %x was given up with the verdict %v", op, m.verdict)
		case m.gaveUp != 0 && l.receiver == paidThere:
			p.violation(&p.count.lost, "message %x to a transactional kind was given up", op)
		case m.gaveUp != 0 && !p.mayNotKnow(l, m, before[l]):
			p.violation(&p.count.lost, "message %x was given up, and its receiver had not begun with it when it was killed", op)
		}
		before[l] = max(before[l], m.over)
	}
	for l, ops := range p.handled {
		last := uint64(0)
		for _, op := range ops {
			if m := p.letters[op]; m.told && !m.accepted {
				continue // the next start may send what this one could not record for sure
			}
			if op < last {
				p.violation(&p.count.disorder, "%+v: message %x was handled after %x", l, op, last)
			}
			last = max(last, op)
		}
	}
	p.decideNotices()
}

func (p *postmaster) decideNotices() {
	for op, n := range p.notices {
		p.count.notices++
		switch {
		case !n.begun:
			p.violation(&p.count.wrong, "publication %x came, and nobody has published it", op)
		case n.refused && n.position != 0:
			p.violation(&p.count.wrong, "publication %x was refused, and is stored", op)
		case n.accepted && n.position == 0:
			p.violation(&p.count.lost, "publication %x was stored, and came nowhere", op)
		}
	}
	for reader, positions := range p.read {
		for i, at := range positions {
			if at != p.first+uint64(i) {
				p.violation(&p.count.gap, "at %+v, the publication number %d is at %d, the first one at %d", reader, i+1, at, p.first)
				break
			}
		}
	}
	if p.nameFirst != p.first {
		p.violation(&p.count.gap, "the name begins at %d, the first publication is at %d", p.nameFirst, p.first)
	}
	kills := 0
	for _, k := range p.kills {
		kills += len(k)
	}
	if p.count.again > kills {
		p.violation(&p.count.twice, "%d publications came again at the name, after %d kills", p.count.again, kills)
	}
}
