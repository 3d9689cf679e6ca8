package server

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"

	"github.com/tandem-go/tandem/dedup"
	"github.com/tandem-go/tandem/internal/engine/journal"
	"github.com/tandem-go/tandem/ledger"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// ownerName returns a name of the client that may ask for a session's records. Different
// clients have different names, because only the principal, at the end, may contain a NUL.
func ownerName(id transport.Peer, principal string) string {
	return id.Node + "\x00" + id.Epoch + "\x00" + principal
}

// Begin records, in one write, that the handlers of durable requests and jobs are about to be
// called, and returns when that is stored or has failed. A request that could not be recorded
// has been refused then, so that its Start returns false; a job that could not be is not Begun.
func (srv *Server) Begin(ins []*Inbound, jobs ...*journal.JobRecord) {
	if srv.journal == nil {
		return
	}
	var written sync.WaitGroup
	for _, in := range ins {
		if !in.begin() {
			continue
		}
		written.Add(1)
		begun := ledger.Begun
		if in.Number > 0 {
			begun = ledger.Numbered
		}
		srv.journal.Post(ledger.Change{Op: begun, ID: in.name.id, Fingerprint: in.name.fingerprint}, func(err error) {
			if err != nil {
				in.notBegun()
				in.Fail(rpc.Errorf(journal.CodeOf(err), rpc.NotRun, "its record could not be written: %w", err))
			}
			written.Done()
		})
	}
	for _, r := range jobs {
		r.Begin(&written)
	}
	written.Wait()
}

// begin marks a queued request as begun, and reports whether its record is to be written. It
// refuses a request whose deadline has passed.
func (in *Inbound) begin() bool {
	s := in.session
	named := in.name
	if !in.isKeyed() {
		named = &name{id: ledger.ID{Grant: s.grant, Seq: in.Seq}, fingerprint: durableFingerprint(s.grant, in.Target, in.TypeID, in.Codec, in.body)}
	}
	s.mu.Lock()
	state, _ := s.table.Lookup(in.Seq)
	queued := state == dedup.Queued && !in.begun
	expired := queued && in.deadline > 0 && s.server.host.Now() >= in.deadline
	if queued && !expired {
		in.begun, in.name = true, named
	}
	s.mu.Unlock()
	if expired { // it is refused here, because a later copy could extend its deadline, and it would run without a record
		in.Fail(errExpired)
	}
	return queued && !expired
}

func (in *Inbound) notBegun() {
	in.session.mu.Lock()
	in.begun = false
	in.session.mu.Unlock()
}

// durableFingerprint returns a fingerprint of a request, bound to the request's name, that is
// the same at every start of every node.
func durableFingerprint(name [16]byte, target string, typeID uint64, codec uint8, body []byte) uint64 {
	h := sha256.New()
	h.Write(name[:])
	h.Write(binary.BigEndian.AppendUint64([]byte{codec, uint8(len(target))}, typeID))
	h.Write([]byte(target))
	h.Write(body)
	return binary.BigEndian.Uint64(h.Sum(nil))
}
