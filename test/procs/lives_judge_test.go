//go:build unix

package procs

import (
	"fmt"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

const (
	heldFor  = time.Second      // a watch that began so long before a kill must have been known
	toldWait = 60 * time.Second // within which the end of a node must be known
)

// vigil is one watch.
type vigil struct {
	of          life // of whose actor
	begun, told int64
	ends        int
}

// bulletin is a publication.
type bulletin struct {
	printing bool
	refused  bool // it was said to have reached nobody
	reached  int
	members  int
}

// readership is where publications arrive: a subscriber, and whose they are.
type readership struct {
	reader, by life
	alone      bool
}

// livesCount is what a run came to.
type livesCount struct {
	watches, ends, papers, read, readAlone int

	twice, lost, wrong, disorder int // violations
}

// chronicle is the judge of lives.
type chronicle struct {
	kills  map[life]int64
	vigils map[uint64]*vigil
	papers map[uint64]*bulletin
	last   map[readership]uint32
	count  livesCount
	wrong  []string // the first violations
	newsOf map[readership]int64
}

func newChronicle() *chronicle {
	return &chronicle{kills: map[life]int64{}, vigils: map[uint64]*vigil{}, papers: map[uint64]*bulletin{}, last: map[readership]uint32{}, newsOf: map[readership]int64{}}
}

func (c *chronicle) violation(n *int, format string, args ...any) {
	if *n++; len(c.wrong) < maxViolations {
		c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
	}
}

// take takes a record in. Those of one file and process come in order.
func (c *chronicle) take(r record) {
	switch r.sort {
	case watching:
		v := of(c.vigils, r.op)
		v.of, v.begun = life{r.who, uint16(r.aux)}, r.at
	case ended:
		v := of(c.vigils, r.op)
		v.ends++
		v.told = r.at
	case printing:
		of(c.papers, r.op).printing = true
	case printed:
		of(c.papers, r.op).refused = r.code != 0 && r.verdict == rpc.NotRun
	case got, gotAlone:
		c.reads(r)
	default:
		c.violation(&c.count.wrong, "no such record: %+v", r)
	}
}

// reads checks the order, and that nothing comes twice.
func (c *chronicle) reads(r record) {
	p := of(c.papers, r.op)
	p.reached++
	at, n := readership{life{r.who, r.life}, lifeOf(r.op), r.sort == gotAlone}, uint32(r.op)
	switch last := c.last[at]; {
	case n == last:
		c.violation(&c.count.twice, "publication %x arrived twice at %+v", r.op, at)
	case n < last:
		c.violation(&c.count.disorder, "publication %x arrived after #%d at %+v", r.op, last, at)
	}
	c.last[at], c.newsOf[at] = max(n, c.last[at]), r.at
	if at.alone {
		c.count.readAlone++
		if p.members++; p.members > 1 {
			c.violation(&c.count.twice, "publication %x arrived at %d members of the group", r.op, p.members)
		}
		return
	}
	c.count.read++
}

// held reports whether a watch was known to the node of its actor when that was killed, and whoever
// watches lives.
func (c *chronicle) held(op uint64, v *vigil) bool {
	killed := c.kills[v.of]
	return killed != 0 && c.kills[lifeOf(op)] == 0 && v.begun != 0 && v.begun+int64(heldFor) < killed
}

// untold is how many watches have ended, and those who watch have not heard of that.
func (c *chronicle) untold() (n int) {
	for op, v := range c.vigils {
		if c.held(op, v) && v.ends == 0 {
			n++
		}
	}
	return n
}

// watched is how many actors watch those of a start of a node, for long enough.
func (c *chronicle) watched(of life, now int64) (n int) {
	for op, v := range c.vigils {
		if v.of == of && v.ends == 0 && c.kills[lifeOf(op)] == 0 && v.begun+int64(heldFor) < now {
			n++
		}
	}
	return n
}

// knows reports whether a subscriber of one start has got a publication of another one since.
func (c *chronicle) knows(reader, by life, since int64) bool {
	return c.newsOf[readership{reader, by, false}] > since
}

// decide judges what can be judged only in the end.
func (c *chronicle) decide() {
	for op, v := range c.vigils {
		c.count.watches++
		c.count.ends += v.ends
		killed := c.kills[v.of]
		switch {
		case v.begun == 0:
			c.violation(&c.count.wrong, "watch %x has ended, and nobody has begun it", op)
		case v.ends > 1:
			c.violation(&c.count.twice, "watch %x of %+v has ended %d times", op, v.of, v.ends)
		case v.ends == 1 && (killed == 0 || v.told < killed):
			c.violation(&c.count.wrong, "watch %x of %+v has ended, and that was not killed before", op, v.of)
		case v.ends == 0 && c.held(op, v):
			c.violation(&c.count.lost, "watch %x of %+v has not ended, and that was killed %v after it began", op, v.of, time.Duration(killed-v.begun))
		}
	}
	for op, p := range c.papers {
		c.count.papers++
		switch {
		case !p.printing:
			c.violation(&c.count.wrong, "publication %x arrived, and nobody has published it", op)
		case p.refused && p.reached > 0:
			c.violation(&c.count.wrong, "publication %x was said to have reached nobody, and arrived %d times", op, p.reached)
		}
	}
}
