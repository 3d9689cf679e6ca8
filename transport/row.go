package transport

// A Row lets small one-way messages to one actor, one after another, into an Outbox. Whoever numbers
// the messages of a session lends the Row the next numbers, and takes back those that were not
// used. In between a message takes only the lock of the queue, and not that of the numbers, too.
//
// Append may be called concurrently with everything. Lend and Settle are called by the owner of
// the numbers, in turns.
type Row struct {
	out *Outbox

	// The fields below are guarded by out.mu.
	next Envelope // the next message, except for its type and body
	sent int      // messages since Lend
	left int      // how many more may be sent; 0 between Settle and Lend
}

// Rower is a Link that lets rows of one-way messages into its queue.
type Rower interface {
	// Row returns a new Row of the link.
	Row() *Row
}

// Row returns a new Row, which lets nothing in until Lend.
func (o *Outbox) Row() *Row { return &Row{out: o} }

// Lend lets in up to most messages to target in the session grant, of which the first has the
// number seq. The grant is zero where the link implies it.
func (r *Row) Lend(target string, grant Grant, seq uint64, most int) {
	r.out.mu.Lock()
	r.next = Envelope{}
	r.next.Verb, r.next.Target, r.next.Grant, r.next.Seq = VerbTell, target, grant, seq
	r.sent, r.left = 0, most
	r.out.mu.Unlock()
}

// Settle lets nothing more in, and returns how many messages were sent since Lend.
func (r *Row) Settle() (sent int) {
	r.out.mu.Lock()
	sent, r.sent, r.left = r.sent, 0, 0
	r.next.Target = ""
	r.out.mu.Unlock()
	return sent
}

// Append queues a message if it is to the actor for which numbers were lent, if some are left,
// and if the queue takes it. Otherwise it changes nothing and returns false: then the message has
// to be sent with a number of its own. The body is copied.
func (r *Row) Append(target string, codec uint8, typeID uint64, body []byte) bool {
	if len(body) > maxTellsFrame/2 {
		return false
	}
	o := r.out
	o.mu.Lock()
	if r.left == 0 || r.next.Target != target {
		o.mu.Unlock()
		return false
	}
	r.next.Codec, r.next.TypeID, r.next.Body = codec, typeID, body
	_, first, err := o.append(&r.next)
	r.next.Body = nil
	if err == nil {
		r.next.Seq++
		r.sent++
		r.left--
	}
	o.mu.Unlock()
	if first {
		o.token()
	}
	return err == nil
}
