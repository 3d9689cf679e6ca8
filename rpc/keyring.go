package rpc

import (
	"encoding/binary"
	"time"
)

// keyring is the keys that are done, with their outcomes, for as long as they are kept:
// compact, for there may be millions, and in the order of their ends, which is that of
// their expiry. It counts what all keys take, those that are not done included. It is a
// pure structure: its caller has the lock and the clock.
//
// An entry lies in a segment of bytes without a pointer, so that the garbage collector
// need not look at it; the index has the place of each.
type keyring struct {
	limit int64 // bytes that all keys may take
	used  int64
	share func(principal string) *share // in which they count besides, for one more user of it; nil: in none

	index  map[uint64]uint64   // of the first half of an ID, which is a hash: the entry's place
	others map[[16]byte]uint64 // of IDs whose first half is another one's as well
	most   int                 // that the index had since it was made
	segs   [][]byte
	gone   uint64 // segments that were before segs[0]
	at     int    // in segs[0]: where the oldest entry begins

	owners []keyOwner
	byName map[string]uint32 // of those who have keys: their place in owners
	free   []uint32          // places in owners that nobody has
}

// keyOwner is a principal, and what its keys take.
type keyOwner struct {
	name  string
	keys  int
	used  int64
	share *share // nil: none
}

const (
	// Of an entry: 16 bytes ID, u64 fingerprint, u64 node clock, u32 owner, u8 not 0 if the
	// outcome is in the store's ledger, u32 bytes of the outcome; and the outcome, if it is
	// not there.
	entrySize = 16 + 8 + 8 + 4 + 1 + 4

	indexSize  = 40  // bytes that an entry takes in the index, about: a map is half to seven eighths full
	ledgerSize = 192 // that a key takes in a ledger, beside its outcome
	keySize    = entrySize + indexSize
	firstSeg   = 4 << 10 // bytes of the first segment; each is twice as large as the one before, up to
	maxSeg     = 256 << 10
	greed      = 9 // times as much as is free a principal may have
)

// reserve sets n bytes aside for one more key of a principal, or reports that they are over
// its share: it may have nine times as much as is left free. So one alone gets nine tenths
// of all, and there is always something left for others.
func (k *keyring) reserve(principal string, n int) (owner uint32, ok bool) {
	owner, known := k.byName[principal]
	var had int64
	if known {
		had = k.owners[owner].used
	}
	if !k.room(had, n) {
		return 0, false
	}
	if !known {
		owner = uint32(len(k.owners))
		if last := len(k.free) - 1; last >= 0 {
			owner, k.free = k.free[last], k.free[:last]
		} else {
			k.owners = append(k.owners, keyOwner{})
		}
		k.owners[owner].name = principal
		if k.byName == nil {
			k.byName = map[string]uint32{}
		}
		k.byName[principal] = owner
		if k.share != nil {
			k.owners[owner].share = k.share(principal)
		}
	}
	o := &k.owners[owner]
	o.keys++
	if s := o.share; s != nil && !s.hold(n) {
		k.release(owner, 0)
		return 0, false
	}
	k.note(o, n)
	return owner, true
}

func (k *keyring) room(had int64, n int) bool {
	return had+int64(n) <= greed*(k.limit-k.used-int64(n))
}

// grow notes that a key of an owner takes n bytes more, or reports that there is no room.
func (k *keyring) grow(owner uint32, n int) bool {
	o := &k.owners[owner]
	if !k.room(o.used, n) || o.share != nil && !o.share.hold(n) {
		return false
	}
	k.note(o, n)
	return true
}

// resize notes that a key of an owner takes n bytes more, or less, whether there is room or not.
func (k *keyring) resize(owner uint32, n int) {
	o := &k.owners[owner]
	if o.share != nil {
		o.share.force(n)
	}
	k.note(o, n)
}

func (k *keyring) note(o *keyOwner, n int) {
	k.used += int64(n)
	o.used += int64(n)
}

// release gives back what a key took.
func (k *keyring) release(owner uint32, n int) {
	k.resize(owner, -n)
	o := &k.owners[owner]
	if o.keys--; o.keys == 0 {
		delete(k.byName, o.name)
		if o.share != nil {
			o.share.leave()
		}
		*o = keyOwner{}
		k.free = append(k.free, owner)
	}
}

// sizeOfKey is how much a key takes whose outcome has n bytes.
func sizeOfKey(n int, stored bool) int {
	if stored {
		n += ledgerSize
	}
	return keySize + n
}

// add takes in a key that is done. Its outcome is kept here, unless it is in the store.
func (k *keyring) add(id [16]byte, print uint64, now time.Duration, owner uint32, outcome []byte, stored bool) {
	n, flag := entrySize+len(outcome), byte(0)
	if stored {
		n, flag = entrySize, 1
	}
	last := len(k.segs) - 1
	if last < 0 || len(k.segs[last])+n > cap(k.segs[last]) {
		size := firstSeg
		if last >= 0 {
			size = min(2*cap(k.segs[last]), maxSeg)
		}
		k.segs = append(k.segs, make([]byte, 0, max(size, n)))
		last++
	}
	seg := k.segs[last]
	k.put(id, (k.gone+uint64(last))<<32|uint64(len(seg)))
	seg = binary.BigEndian.AppendUint64(append(seg, id[:]...), print)
	seg = binary.BigEndian.AppendUint64(seg, uint64(now))
	seg = append(binary.BigEndian.AppendUint32(seg, owner), flag)
	seg = binary.BigEndian.AppendUint32(seg, uint32(len(outcome)))
	if !stored {
		seg = append(seg, outcome...)
	}
	k.segs[last] = seg
}

// keyEntry is one that is done. Its outcome is good until the keyring changes.
type keyEntry struct {
	id      [16]byte
	print   uint64
	at      time.Duration // node clock, when it was done
	owner   uint32
	stored  bool // the outcome is in the store's ledger
	size    int  // of the outcome
	outcome []byte
}

func parseKeyEntry(b []byte) (e keyEntry) {
	copy(e.id[:], b)
	e.print = binary.BigEndian.Uint64(b[16:])
	e.at = time.Duration(binary.BigEndian.Uint64(b[24:]))
	e.owner, e.stored = binary.BigEndian.Uint32(b[32:]), b[36] != 0
	e.size = int(binary.BigEndian.Uint32(b[37:]))
	if !e.stored {
		e.outcome = b[entrySize : entrySize+e.size : entrySize+e.size]
	}
	return e
}

// find returns the entry of a key, and whether there is one.
func (k *keyring) find(id [16]byte) (keyEntry, bool) {
	if place, ok := k.index[half(id)]; ok {
		if e := k.entry(place); e.id == id {
			return e, true
		}
	}
	if place, ok := k.others[id]; ok {
		return k.entry(place), true
	}
	return keyEntry{}, false
}

func (k *keyring) entry(place uint64) keyEntry {
	return parseKeyEntry(k.segs[place>>32-k.gone][uint32(place):])
}

func half(id [16]byte) uint64 { return binary.BigEndian.Uint64(id[:]) }

// put notes where a key's entry is.
func (k *keyring) put(id [16]byte, place uint64) {
	if k.index == nil {
		k.index = map[uint64]uint64{}
	}
	if taken, ok := k.index[half(id)]; ok && k.entry(taken).id != id {
		if k.others == nil {
			k.others = map[[16]byte]uint64{}
		}
		k.others[id] = place
		return
	}
	k.index[half(id)] = place
	k.most = max(k.most, len(k.index))
}

// expire forgets the keys that were done at before or earlier.
func (k *keyring) expire(before time.Duration) {
	for len(k.segs) > 0 {
		if k.at == len(k.segs[0]) {
			if len(k.segs) == 1 {
				if k.at > 0 {
					k.segs, k.gone, k.at = nil, k.gone+1, 0
				}
				break
			}
			k.segs, k.gone, k.at = k.segs[1:], k.gone+1, 0
			continue
		}
		e := parseKeyEntry(k.segs[0][k.at:])
		if e.at > before {
			break
		}
		place := k.gone<<32 | uint64(k.at)
		if k.index[half(e.id)] == place {
			delete(k.index, half(e.id))
		} else if k.others[e.id] == place {
			delete(k.others, e.id)
		}
		k.release(e.owner, sizeOfKey(e.size, e.stored))
		k.at += entrySize + len(e.outcome)
	}
	if k.most >= 1<<12 && len(k.index) <= k.most/8 { // a map never shrinks by itself
		index := make(map[uint64]uint64, len(k.index))
		for key, place := range k.index {
			index[key] = place
		}
		k.index, k.most = index, len(index)
	}
}

// count is how many are done and kept.
func (k *keyring) count() int { return len(k.index) + len(k.others) }
