package stored

import (
	"cmp"
	"slices"

	"github.com/tandem-go/tandem/state"
)

// outbox holds the messages that were not sent yet, in the order in which they were added. Those of
// a commit that is stored are named by it. They come first, and Since of the others is 0.
type outbox struct {
	messages []state.Message
	named    int    // how many are named
	bytes    int    // that all take in a record
	index    uint32 // of the next one that is added
	stale    bool   // the last record has messages that were sent, and none is under way that has not
}

// load takes over what the commit seq has stored.
func (o *outbox) load(messages []state.Message, seq uint64) {
	for _, m := range messages {
		if m.Since == 0 {
			m.Since = seq
		}
		o.messages = append(o.messages, m)
		o.bytes += m.Size()
	}
	slices.SortStableFunc(o.messages, byName)
	o.named = len(o.messages)
}

func byName(x, y state.Message) int {
	return cmp.Or(cmp.Compare(x.Since, y.Since), cmp.Compare(x.Index, y.Index))
}

// sizeOfAll is how many bytes messages take in a record.
func sizeOfAll(messages []state.Message) (n int) {
	for i := range messages {
		n += messages[i].Size()
	}
	return n
}

// add adds messages for the commit that is to be made next. size is that of all of them.
func (o *outbox) add(messages []state.Message, size int) {
	for _, m := range messages {
		m.Since, m.Index = 0, o.index
		o.index++
		o.messages = append(o.messages, m)
	}
	o.bytes += size
}

// record appends what the next record has, and begins the commit after it.
func (o *outbox) record(dst []state.Message) []state.Message {
	o.index, o.stale = 0, false
	return append(dst, o.messages...)
}

// stored names the first n messages that have no name, which were in the commit seq, and returns them.
func (o *outbox) stored(n int, seq uint64) []state.Message {
	added := o.messages[o.named : o.named+n]
	for i := range added {
		added[i].Since = seq
	}
	o.named += n
	return slices.Clone(added)
}

// undo removes all messages that have no name.
func (o *outbox) undo() {
	for i := o.named; i < len(o.messages); i++ {
		o.bytes -= o.messages[i].Size()
	}
	clear(o.messages[o.named:])
	o.messages, o.index = o.messages[:o.named], 0
}

// sent removes a message, and reports whether it was there.
func (o *outbox) sent(since uint64, index uint32) bool {
	i, found := slices.BinarySearchFunc(o.messages[:o.named], state.Message{Since: since, Index: index}, byName)
	if !found {
		return false
	}
	o.bytes -= o.messages[i].Size()
	o.messages = slices.Delete(o.messages, i, i+1)
	o.named--
	o.stale = true
	return true
}
