package jetstream

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tandem-go/tandem/ledger"
)

// entryVersion is the first byte of every entry.
const entryVersion = 1

// entryHead is how many bytes an entry has without its epoch and its changes.
const entryHead = 1 + 16 + 3*8 + 1

// maxEpoch is the most bytes that an epoch may have.
const maxEpoch = 255

var errBadEntry = errors.New("not a record of this store")

// entry is one message of a node's subject:
//
//	u8 version, 16 bytes owner, u64 count, u64 prev, u64 base, u8 length, and that many
//	bytes of epoch, then the changes
//
// With its first entry an owner takes the node's records over; that entry has the count 0
// and no changes.
type entry struct {
	owner [16]byte // a random number for each Take
	count uint64   // the number of the entry among those of its owner
	prev  uint64   // sequence number of the entry before this one, 0 if there was none
	base  uint64   // sequence number of the first entry that still counts, 0 if all do
	epoch string   // of the owner; it is only shown in errors
}

func (e entry) append(dst []byte) []byte {
	dst = append(append(dst, entryVersion), e.owner[:]...)
	dst = binary.BigEndian.AppendUint64(dst, e.count)
	dst = binary.BigEndian.AppendUint64(dst, e.prev)
	dst = binary.BigEndian.AppendUint64(dst, e.base)
	return append(append(dst, byte(len(e.epoch))), e.epoch...)
}

// setPrev changes the prev of an encoded entry.
func setPrev(entry []byte, prev uint64) { binary.BigEndian.PutUint64(entry[25:], prev) }

// parseEntry returns the entry and the encoded changes behind it.
func parseEntry(b []byte) (e entry, changes []byte, err error) {
	if len(b) < entryHead || b[0] != entryVersion || len(b) < entryHead+int(b[entryHead-1]) {
		return e, nil, fmt.Errorf("%w: %d bytes", errBadEntry, len(b))
	}
	copy(e.owner[:], b[1:])
	e.count = binary.BigEndian.Uint64(b[17:])
	e.prev = binary.BigEndian.Uint64(b[25:])
	e.base = binary.BigEndian.Uint64(b[33:])
	n := entryHead + int(b[entryHead-1])
	e.epoch = string(b[entryHead:n])
	return e, b[n:], nil
}

// each calls load with the changes in b. It parses all of them before the first call, so
// that either all changes of an entry are loaded or none.
func each(b []byte, load func(ledger.Change)) error {
	var all []ledger.Change
	for len(b) > 0 {
		c, rest, err := ledger.ParseChange(b)
		if err != nil {
			return err
		}
		all, b = append(all, c), rest
	}
	for _, c := range all {
		load(c)
	}
	return nil
}
