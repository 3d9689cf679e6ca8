//go:build unix

package procs

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/tandem-go/tandem/rpc"
)

// sort is what a record is about.
type sort uint8

const (
	asked       sort = iota + 1 // op is about to be sent; aux: the time by which its caller must know
	told                        // op's caller knows; aux: the id in the reply; of a one-way message 1
	sent                        // op is a one-way message, and was sent
	accepted                    // op is one that must be in the mailbox now
	ran                         // op's handler began, or its transaction was committed; aux: the actor, if it is a one-way message
	bus                         // the process is connected to a NATS node; aux: its port
	road                        // the client's traffic to the server under fault changed roads; aux: see roads
	spent                       // the transfer op is known to its account to have had its effect; aux: how often
	arrived                     // the credit of the transfer op has reached the payee; aux: how often
	held                        // op is an account; aux: its balance
	upset                       // op is an account; aux: how many credits reached it after later ones
	audited                     // all accounts have been looked at since the last one of this sort
	rung                        // the reminder of the transfer op has come to its account; aux: how often
	ticked                      // op is an account; aux: one more than the number of the latest firing of its reminder that comes again and again; 0: it has none
	tolled                      // op is an account; aux: how many firings of such reminders it has handled
	tolledTwice                 // likewise: more than once
	skipped                     // likewise: how many it has not, although it has a later one
	strayed                     // likewise: how many of what was forgotten, or replaced
	dropped                     // likewise: how many of what was set by a handler that has failed
	under                       // the answer to op is of an activation with the fencing token aux
	looked                      // a host has begun at that time to read the account op, and was answered; aux: the fencing token of who has answered
	wrote                       // op is a commit of an account, see commitOf; aux: the fencing token of who has made it
)

// roads are the numbers of roads in records.
var roads = map[string]uint64{"tcp": 1, "nats": 2}

// Files of records.
const (
	askedFile = "asked"
	ranFile   = "ran"
	movesFile = "moves"
)

// who is a process, and also the node that an operation is for.
type who uint8

const (
	theClient who = iota + 1
	serverA       // the one under fault
	serverB       // one that nothing befalls
	anyone        // a service of both servers
)

// record is what processes leave to the referee. It has 32 bytes, so that none lies
// across a page: a kill can come between pages of one write, not within a page.
type record struct {
	sort    sort
	who     who         // who wrote it; in asked and told: whom the operation is for; of a stored actor's answer: who has handled it
	verdict rpc.Verdict // of told; a reply is HasRun without a code
	code    rpc.Code    // of told: 0 is a reply
	life    uint16      // which start of the process wrote it
	op      uint64
	at      int64 // in nanoseconds, of the machine's clock
	aux     uint64
}

const recordSize = 32

func (r record) append(b []byte) []byte {
	b = append(b, byte(r.sort), byte(r.who), byte(r.verdict), byte(r.code))
	b = binary.BigEndian.AppendUint16(b, r.life)
	b = append(b, 0, 0)
	b = binary.BigEndian.AppendUint64(b, r.op)
	b = binary.BigEndian.AppendUint64(b, uint64(r.at))
	return binary.BigEndian.AppendUint64(b, r.aux)
}

func parseRecord(b []byte) record {
	return record{sort: sort(b[0]), who: who(b[1]), verdict: rpc.Verdict(b[2]), code: rpc.Code(b[3]),
		life: binary.BigEndian.Uint16(b[4:]), op: binary.BigEndian.Uint64(b[8:]),
		at: int64(binary.BigEndian.Uint64(b[16:])), aux: binary.BigEndian.Uint64(b[24:])}
}

// opID names the n-th operation of a caller in one start of the client.
func opID(life uint16, caller uint16, n uint32) uint64 {
	return uint64(life)<<48 | uint64(caller)<<32 | uint64(n)
}

// journal is a process's end of a file of records.
type journal struct{ f *os.File }

func openJournal(dir, name string) (journal, error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	return journal{f}, err
}

// put appends r, at the present time if it has none. It may be called concurrently. A process that cannot must not go on:
// the truth would miss what it does.
func (j journal) put(r record) {
	if r.at == 0 {
		r.at = time.Now().UnixNano()
	}
	var b [recordSize]byte
	if n, err := j.f.Write(r.append(b[:0])); n != recordSize || err != nil {
		panic(fmt.Sprintf("journal: %d bytes, %v", n, err))
	}
}

// reader is the referee's end of it.
type reader struct {
	f    *os.File
	rest []byte // the begin of a record
	buf  []byte
}

func openReader(dir, name string) (*reader, error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_RDONLY, 0o600)
	return &reader{f: f, buf: make([]byte, 64<<10)}, err
}

// read hands all records that have come to take.
func (r *reader) read(take func(record)) error {
	for {
		n, err := r.f.Read(r.buf)
		r.rest = append(r.rest, r.buf[:n]...)
		b := r.rest
		for ; len(b) >= recordSize; b = b[recordSize:] {
			take(parseRecord(b))
		}
		r.rest = append(r.rest[:0], b...)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
