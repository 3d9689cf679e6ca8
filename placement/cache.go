package placement

// Holder is where an actor was last known to be.
type Holder struct {
	Node, Epoch string
	Token       Token
}

// Cache remembers the holders of keys, up to a bound. It is not for concurrent use. What it says
// may be out of date: the node that is asked says so, see [Cache.Moved].
//
// When it is full, a key that was not asked for lately makes room (the clock algorithm). It takes
// about 200 bytes for a key, beside the key's own.
type Cache struct {
	bound  int
	slots  []slot // never more than bound
	index  map[Key]int32
	hand   int                  // the slot at which the search for one that is free begins
	places map[[2]string]*place // by node and epoch, those that have not been dropped
}

type slot struct {
	key   Key
	at    *place // nil: free
	token Token
	used  bool // since the hand was here
}

// place is an epoch of a node, shared by all slots that name it.
type place struct {
	node, epoch string
	slots       int
	gone        bool
}

// NewCache returns an empty cache of up to bound keys, at least 1.
func NewCache(bound int) *Cache {
	return &Cache{bound: max(bound, 1), index: map[Key]int32{}, places: map[[2]string]*place{}}
}

// Len returns how many keys it has, with those of dropped nodes that have not been asked for since.
func (c *Cache) Len() int { return len(c.index) }

// Get returns the holder of a key, and false if it is not known.
func (c *Cache) Get(key Key) (Holder, bool) {
	i, ok := c.index[key]
	if !ok {
		return Holder{}, false
	}
	s := &c.slots[i]
	if s.at.gone {
		c.free(i)
		return Holder{}, false
	}
	s.used = true
	return s.holder(), true
}

func (s *slot) holder() Holder { return Holder{s.at.node, s.at.epoch, s.token} }

// Learn notes that h holds a key. It does nothing if the cache knows of a later token.
func (c *Cache) Learn(key Key, h Holder) {
	if known, ok := c.Get(key); !ok || h.Token >= known.Token && h != known {
		c.put(key, h)
	}
}

// Moved notes that asked, which was taken for the holder, has answered that h is. If the cache has
// learned of another one meanwhile, the later token counts. What asked says about itself always
// counts: so a wrong entry does not stay, whatever its token.
func (c *Cache) Moved(key Key, asked, h Holder) {
	if known, ok := c.Get(key); ok && known == asked {
		c.put(key, h)
		return
	}
	c.Learn(key, h)
}

// Forget removes a key, if the cache has this holder for it: that has said that it does not hold it,
// or it does not answer.
func (c *Cache) Forget(key Key, h Holder) {
	if known, ok := c.Get(key); ok && known == h {
		c.free(c.index[key])
	}
}

// Drop forgets all keys of an epoch of a node, which is gone. It takes the same time however many
// there are.
func (c *Cache) Drop(node, epoch string) {
	if p := c.places[[2]string{node, epoch}]; p != nil {
		p.gone = true
		delete(c.places, [2]string{node, epoch})
	}
}

func (c *Cache) put(key Key, h Holder) {
	i, ok := c.index[key]
	if ok {
		c.leave(c.slots[i].at)
	} else {
		i = c.room()
		c.index[key] = i
	}
	at := c.places[[2]string{h.Node, h.Epoch}]
	if at == nil {
		at = &place{node: h.Node, epoch: h.Epoch}
		c.places[[2]string{h.Node, h.Epoch}] = at
	}
	at.slots++
	c.slots[i] = slot{key: key, at: at, token: h.Token, used: ok}
}

// room returns a free slot.
func (c *Cache) room() int32 {
	if len(c.slots) < c.bound {
		c.slots = append(c.slots, slot{})
		return int32(len(c.slots) - 1)
	}
	for ; ; c.hand++ {
		c.hand %= len(c.slots)
		switch s := &c.slots[c.hand]; {
		case s.at == nil:
		case s.used && !s.at.gone:
			s.used = false
			continue
		default:
			c.free(int32(c.hand))
		}
		c.hand++
		return int32(c.hand - 1)
	}
}

func (c *Cache) free(i int32) {
	s := &c.slots[i]
	delete(c.index, s.key)
	c.leave(s.at)
	*s = slot{}
}

// leave notes that a slot does not name a place any more. One that no slot names is forgotten.
func (c *Cache) leave(p *place) {
	if p.slots--; p.slots == 0 && !p.gone {
		delete(c.places, [2]string{p.node, p.epoch})
	}
}
