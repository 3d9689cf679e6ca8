package actor

import (
	"github.com/tandem-go/tandem/internal/sendopt"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// settings are the options of one send, applied; nil without options. Nobody keeps
// them beyond the send, so that they can lie on the stack.
type settings = sendopt.Settings[rpc.Retry]

// settingsOf applies options. It is short enough to be inlined, so that what it returns lies
// on the stack of the verb.
func settingsOf(opts []rpc.Option) *settings {
	if len(opts) == 0 {
		return nil
	}
	set := new(settings)
	apply(opts, set)
	return set
}

// apply is not inlined, because settingsOf would then be too long for that.
//
//go:noinline
func apply(opts []rpc.Option, set *settings) {
	for i := range opts {
		(*sendopt.Option[rpc.Retry])(&opts[i]).Apply(set)
	}
}

// isKey reports whether the length of a key is allowed.
func isKey(key string) bool { return key != "" && len(key) <= transport.MaxTarget }
