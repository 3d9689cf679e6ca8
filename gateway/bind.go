package gateway

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
)

// A key names a request at one actor. So a gateway has to remember which instance of a service got the first attempt of a
// request with a key: another instance would not know what has run.

// Bindings remember for each name the first address that was given. They may be called concurrently.
type Bindings interface {
	// Bind returns the address that the name is bound to, which is address if it was not bound. A binding lasts for at
	// least rpc.Limits.KeyLife of the nodes. An error says that nobody can tell: then nothing is sent.
	Bind(ctx context.Context, name, address string) (bound string, err error)
}

// The limits of what is bound, in bytes.
const (
	MaxBindingName    = 128
	MaxBindingAddress = 512
)

// ValidBinding returns an error of code rpc.Invalid for a name or an address that is empty or too long. It is for those who
// implement Bindings.
func ValidBinding(name, address string) error {
	if name == "" || len(name) > MaxBindingName || address == "" || len(address) > MaxBindingAddress {
		return rpc.Errorf(rpc.Invalid, rpc.NotRun, "a binding of %d bytes to %d bytes: want 1 to %d, and 1 to %d", len(name), len(address), MaxBindingName, MaxBindingAddress)
	}
	return nil
}

// bound returns the instance that gets all requests under the key of r.
func (c Call) bound(ctx context.Context, r Request) (actor.Ref, error) {
	sum := sha256.Sum256([]byte(c.Target + "\x00" + r.Principal + "\x00" + r.Key))
	now, err := c.table.sys.Instance(c.to.Name(), r.Key)
	if err != nil {
		return actor.Ref{}, err
	}
	address, err := c.table.cfg.Bindings.Bind(ctx, hex.EncodeToString(sum[:16]), now.String())
	switch {
	case err != nil && ctx.Err() != nil:
		return actor.Ref{}, rpc.FromContext(ctx, rpc.NotRun)
	case err != nil:
		return actor.Ref{}, rpc.Errorf(rpc.Unavailable, rpc.NotRun, "the bindings of keys: %w", err)
	}
	return c.table.sys.Ref(address), nil
}

// MemoryBindings are Bindings of one process: they hold as long as it runs, and for clients that come to it alone. Those of package
// gateway/natskv are for several gateways. The zero value is ready for use. It remembers a
// million names at most; then it refuses new ones.
type MemoryBindings struct {
	// Life is how long a name is remembered: at least rpc.Limits.KeyLife of the nodes and the longest time that a request
	// may take. It must not change after the first Bind. Default 20 minutes, for the default of KeyLife.
	Life time.Duration

	mu   sync.Mutex // guards what follows
	all  map[string]binding
	line []string // the names, in the order in which they were bound
}

type binding struct {
	address string
	until   time.Time
}

const (
	bindingLife = 20 * time.Minute
	maxBindings = 1 << 20
)

// Bind implements Bindings.
func (b *MemoryBindings) Bind(_ context.Context, name, address string) (string, error) {
	if err := ValidBinding(name, address); err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for len(b.line) > 0 && now.After(b.all[b.line[0]].until) {
		delete(b.all, b.line[0])
		b.line = b.line[1:]
	}
	if known, ok := b.all[name]; ok {
		return known.address, nil
	}
	if len(b.line) >= maxBindings {
		return "", rpc.Errorf(rpc.Overloaded, rpc.NotRun, "%d keys are bound", len(b.line))
	}
	if b.all == nil {
		b.all = map[string]binding{}
	}
	b.all[name], b.line = binding{address, now.Add(cmp.Or(b.Life, bindingLife))}, append(b.line, name)
	return address, nil
}
