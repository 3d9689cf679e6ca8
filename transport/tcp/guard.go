package tcp

import (
	"fmt"
	"runtime/debug"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// errPanicked is the reason for refusing a connection whose greeting panicked.
var errPanicked = fmt.Errorf("%w: a function of this node's tcp.Config panicked", transport.ErrDenied)

// guarded calls f, which may call functions of Config or of its TLS. If one of them panics, the
// error is errPanicked. The first panic is logged with its stack, and after that at most one
// a minute.
func (t *Transport) guarded(f func() error) (err error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		err = errPanicked
		t.mu.Lock()
		n := t.limits[panics].count(time.Now())
		t.mu.Unlock()
		if n > 0 {
			t.local.Logger.Error("tcp: a function of tcp.Config panicked, and the connection is refused", "count", n,
				"panic", fmt.Sprintf("%.1024v", fmt.Sprint(v)), "stack", string(debug.Stack()))
		}
	}()
	return f()
}
