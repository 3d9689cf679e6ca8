package actor_test

import (
	"net/netip"
	"testing"

	"github.com/tandem-go/tandem/access"
	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// A rule by address applies on a road that has addresses. On other roads it never matches.
func TestAccessByAddress(t *testing.T) {
	from := func(prefix string) access.Rules {
		return access.Rules{Default: access.Deny, List: []access.Rule{{Effect: access.Allow, Networks: []netip.Prefix{netip.MustParsePrefix(prefix)}}}}
	}
	call := func(a, b *actor.System, prefix string) error {
		if err := b.SetAccess(from(prefix)); err != nil {
			t.Fatal(err)
		}
		if err := actor.Tell(t.Context(), a.Ref("alice@b"), Deposit{Amount: 1}, rpc.Acked()); rpc.CodeOf(err) != rpc.Denied && err != nil {
			t.Error(err)
		}
		_, err := actor.Call(t.Context(), a.Ref("alice@b"), Balance{})
		return err
	}
	t.Run("tcp", func(t *testing.T) {
		a, b := pair(t, func() []transport.Transport { return []transport.Transport{overTCP()} })
		alice := spawn(t, b, "alice", AccountKind)
		for _, prefix := range []string{"127.0.0.0/8", "::ffff:127.0.0.0/104", "0.0.0.0/0"} {
			if err := call(a, b, prefix); err != nil {
				t.Errorf("%s: %v", prefix, err)
			}
		}
		for _, prefix := range []string{"10.0.0.0/8", "::1/128"} {
			wantErr(t, prefix, call(a, b, prefix), rpc.Denied, rpc.NotRun)
		}
		if v, err := actor.Call(t.Context(), alice, Balance{}); err != nil || v != 3 {
			t.Errorf("%d of five deposits came through, want 3; %v", v, err)
		}
	})
	t.Run("nats", func(t *testing.T) {
		url := natsURL(t)
		a, b := pair(t, func() []transport.Transport { return []transport.Transport{overNATS(t, url)} })
		spawn(t, b, "alice", AccountKind)
		wantErr(t, "a bus", call(a, b, "0.0.0.0/0"), rpc.Denied, rpc.NotRun)
	})
}
