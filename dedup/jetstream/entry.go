package jetstream

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tandem-go/tandem/dedup"
)

// entryVersion is the first byte of every entry.
const entryVersion = 1

// entryHead is what an entry takes beside its epoch and its changes.
const entryHead = 1 + 16 + 3*8 + 1

// maxEpoch is the most bytes of an epoch.
const maxEpoch = 255

var errBadEntry = errors.New("not a record of this store")

// entry is one message of a node's subject:
//
//	u8 version, 16 bytes owner, u64 count, u64 prev, u64 base, u8 length, and that many
//	bytes of epoch, then the changes
//
// The first entry of an owner takes the node's records over; it has the count 0 and no
// changes.
type entry struct {
	owner [16]byte // random, of one Take
	count uint64   // of the owner's entries: no two of one owner have the same
	prev  uint64   // sequence number of the entry before this one, 0 if there was none
	base  uint64   // sequence number of the first entry that still counts, 0 if all do
	epoch string   // of the owner, for those who read errors
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

// parseEntry returns the entry and the changes behind it, not parsed yet.
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

// each calls load with the changes in b, which are parsed before the first call: all of
// an entry or nothing.
func each(b []byte, load func(dedup.Change)) error {
	var all []dedup.Change
	for len(b) > 0 {
		c, rest, err := dedup.ParseChange(b)
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
