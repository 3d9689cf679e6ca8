package server

import (
	"encoding/binary"
	"time"

	"github.com/tandem-go/tandem/internal/engine/account"
)

// keyring holds the keys that are done, with their outcomes, until they expire. It is
// compact, because there may be millions of keys, and ordered by the time at which they were
// done, so they expire in that order. It counts the bytes of all keys, including those that
// are not done. It is a pure structure: its caller has the lock and the clock.
//
// Entries are in segments of bytes without pointers, so that the garbage collector need not
// look at them. The index has the place of each entry.
type keyring struct {
	limit int64 // how many bytes all keys may take
	used  int64
	share func(principal string) *account.Share // returns a principal's share of the account, where its keys count too, for one more user; nil: there is no account

	index      map[uint64]uint64   // the place of an entry, by the first half of its ID, which is a hash
	collisions map[[16]byte]uint64 // places of entries whose first half is in the index for another ID
	peak       int                 // the largest size of the index since it was created
	segs       [][]byte
	dropped    uint64 // number of segments that were dropped before segs[0]
	at         int    // offset of the oldest entry in segs[0]

	owners []keyOwner
	byName map[string]uint32 // index in owners of each principal that has keys
	free   []uint32          // indexes in owners that are not used
}

// keyOwner is a principal, with the number of its keys and the bytes that they take.
type keyOwner struct {
	name  string
	keys  int
	used  int64
	share *account.Share // nil: none
}

const (
	// The head of an entry is: the ID (16 bytes), the fingerprint (u64), the node clock (u64),
	// the owner (u32), a byte that is not 0 if the outcome is in the store's ledger, and the
	// size of the outcome (u32). The outcome follows if it is not in the ledger.
	entrySize = 16 + 8 + 8 + 4 + 1 + 4

	indexSize    = 40  // about how many bytes an entry takes in the index: a map is half to seven eighths full
	ledgerSize   = 192 // bytes that a key takes in a ledger, beside its outcome
	keySize      = entrySize + indexSize
	firstSeg     = 4 << 10 // bytes of the first segment; each further one is twice as large, up to maxSeg
	maxSeg       = 256 << 10
	freeMultiple = 9 // a principal may have this many times as many bytes as stay free
)

// reserve counts n bytes for one more key of a principal, and reports whether there is room:
// a principal may have nine times as much as stays free. So a single principal gets nine
// tenths of all, and something is always left for others.
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
	if s := o.share; s != nil && !s.Hold(n) {
		k.release(owner, 0)
		return 0, false
	}
	k.note(o, n)
	return owner, true
}

func (k *keyring) room(had int64, n int) bool {
	return had+int64(n) <= freeMultiple*(k.limit-k.used-int64(n))
}

// grow counts n more bytes for a key of an owner, and reports whether there is room for them.
func (k *keyring) grow(owner uint32, n int) bool {
	o := &k.owners[owner]
	if !k.room(o.used, n) || o.share != nil && !o.share.Hold(n) {
		return false
	}
	k.note(o, n)
	return true
}

// resize counts n more bytes for a key of an owner, or fewer if n is negative, even if there is
// no room for them.
func (k *keyring) resize(owner uint32, n int) {
	o := &k.owners[owner]
	if o.share != nil {
		o.share.Force(n)
	}
	k.note(o, n)
}

func (k *keyring) note(o *keyOwner, n int) {
	k.used += int64(n)
	o.used += int64(n)
}

// release removes a key of an owner, which took n bytes.
func (k *keyring) release(owner uint32, n int) {
	k.resize(owner, -n)
	o := &k.owners[owner]
	if o.keys--; o.keys == 0 {
		delete(k.byName, o.name)
		if o.share != nil {
			o.share.Leave()
		}
		*o = keyOwner{}
		k.free = append(k.free, owner)
	}
}

// sizeOfKey returns how many bytes a key takes whose outcome has n bytes.
func sizeOfKey(n int, stored bool) int {
	if stored {
		n += ledgerSize
	}
	return keySize + n
}

// add adds a key that is done. Its outcome is kept here unless it is in the store.
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
	k.put(id, (k.dropped+uint64(last))<<32|uint64(len(seg)))
	seg = binary.BigEndian.AppendUint64(append(seg, id[:]...), print)
	seg = binary.BigEndian.AppendUint64(seg, uint64(now))
	seg = append(binary.BigEndian.AppendUint32(seg, owner), flag)
	seg = binary.BigEndian.AppendUint32(seg, uint32(len(outcome)))
	if !stored {
		seg = append(seg, outcome...)
	}
	k.segs[last] = seg
}

// keyEntry is a key that is done. The outcome is valid until the keyring changes.
type keyEntry struct {
	id          [16]byte
	fingerprint uint64
	at          time.Duration // node clock when it was done
	owner       uint32
	stored      bool // the outcome is in the store's ledger
	size        int  // bytes of the outcome
	outcome     []byte
}

func parseKeyEntry(b []byte) (e keyEntry) {
	copy(e.id[:], b)
	e.fingerprint = binary.BigEndian.Uint64(b[16:])
	e.at = time.Duration(binary.BigEndian.Uint64(b[24:]))
	e.owner, e.stored = binary.BigEndian.Uint32(b[32:]), b[36] != 0
	e.size = int(binary.BigEndian.Uint32(b[37:]))
	if !e.stored {
		e.outcome = b[entrySize : entrySize+e.size : entrySize+e.size]
	}
	return e
}

// find returns the entry of a key, and reports whether there is one.
func (k *keyring) find(id [16]byte) (keyEntry, bool) {
	if place, ok := k.index[firstHalf(id)]; ok {
		if e := k.entry(place); e.id == id {
			return e, true
		}
	}
	if place, ok := k.collisions[id]; ok {
		return k.entry(place), true
	}
	return keyEntry{}, false
}

func (k *keyring) entry(place uint64) keyEntry {
	return parseKeyEntry(k.segs[place>>32-k.dropped][uint32(place):])
}

func firstHalf(id [16]byte) uint64 { return binary.BigEndian.Uint64(id[:]) }

// put sets the place of a key's entry in the index.
func (k *keyring) put(id [16]byte, place uint64) {
	if k.index == nil {
		k.index = map[uint64]uint64{}
	}
	if taken, ok := k.index[firstHalf(id)]; ok && k.entry(taken).id != id {
		if k.collisions == nil {
			k.collisions = map[[16]byte]uint64{}
		}
		k.collisions[id] = place
		return
	}
	k.index[firstHalf(id)] = place
	k.peak = max(k.peak, len(k.index))
}

// expire removes the keys that were done at the time before, or earlier.
func (k *keyring) expire(before time.Duration) {
	for len(k.segs) > 0 {
		if k.at == len(k.segs[0]) {
			if len(k.segs) == 1 {
				if k.at > 0 {
					k.segs, k.dropped, k.at = nil, k.dropped+1, 0
				}
				break
			}
			k.segs, k.dropped, k.at = k.segs[1:], k.dropped+1, 0
			continue
		}
		e := parseKeyEntry(k.segs[0][k.at:])
		if e.at > before {
			break
		}
		place := k.dropped<<32 | uint64(k.at)
		if k.index[firstHalf(e.id)] == place {
			delete(k.index, firstHalf(e.id))
		} else if k.collisions[e.id] == place {
			delete(k.collisions, e.id)
		}
		k.release(e.owner, sizeOfKey(e.size, e.stored))
		k.at += entrySize + len(e.outcome)
	}
	if k.peak >= 1<<12 && len(k.index) <= k.peak/8 { // a map never shrinks by itself
		index := make(map[uint64]uint64, len(k.index))
		for key, place := range k.index {
			index[key] = place
		}
		k.index, k.peak = index, len(index)
	}
}

// count returns how many keys there are.
func (k *keyring) count() int { return len(k.index) + len(k.collisions) }
