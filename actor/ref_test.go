package actor_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
)

// Post is a message with refs, which travel with it.
type Post struct {
	actor.Returns[Post]
	Ref  actor.Ref
	Refs map[string]actor.Ref
	Text string
}

var PostKind = actor.Define("test.post", func() int { return 0 },
	actor.Answer(func(_ int, ctx *actor.Context, m Post) (Post, error) {
		if m.Ref.Bound() {
			return m, errors.New("a decoded ref is bound")
		}
		if !m.Ref.IsZero() {
			if err := actor.Tell(ctx, m.Ref, Deposit{1}); err != nil { // a handler can use an unbound ref
				return m, err
			}
		}
		m.Text += " from " + ctx.Sender().String()
		return m, nil
	}))

func TestRefs(t *testing.T) {
	eachMemRoad(t, func(t *testing.T, a, b *actor.System) {
		x := spawn(t, a, "x", AccountKind)
		spawn(t, b, "post", PostKind)
		for _, opts := range [][]rpc.Option{nil, {rpc.WithCodec(codec.JSON(codec.Limits{}))}} {
			got, err := actor.Call(t.Context(), a.Ref("post@b"), Post{Ref: x, Refs: map[string]actor.Ref{"none": {}, "x": x}}, opts...)
			if err != nil || !got.Ref.Equal(x) || got.Ref == x || a.Bind(got.Ref) != x || !got.Refs["x"].Equal(x) || !got.Refs["none"].IsZero() {
				t.Errorf("came back as %+v, %v", got, err)
			}
			wantErr(t, "unbound", actor.Tell(t.Context(), got.Ref, Deposit{1}), rpc.Invalid, rpc.NotRun)
			if _, err := actor.Call(t.Context(), got.Ref, Balance{}); !errors.Is(err, actor.ErrUnbound) {
				t.Errorf("call of an unbound ref: %v", err)
			}
		}
		synctest.Wait()
		if n, err := actor.Call(t.Context(), x, Balance{}); n != 2 || err != nil {
			t.Errorf("%d deposits came back through the ref, %v", n, err)
		}
		byRef := map[actor.Ref]int{x: 1}
		if byRef[a.Ref("x")] != 1 || byRef[a.Ref("x@a")] != 1 || byRef[b.Ref("x@a")] != 0 {
			t.Error("refs as map keys")
		}
		for _, bad := range []string{"", "a b", "@b", "x@", "x@b c", "x@b@c", strings.Repeat("x", 256), "\xff"} {
			if ref := a.Ref(bad); !ref.IsZero() && bad != "" {
				t.Errorf("address %q is %v", bad, ref)
			}
		}
		wantErr(t, "the zero ref", actor.Tell(t.Context(), actor.Ref{}, Deposit{1}), rpc.Invalid, rpc.NotRun)
		text, err := json.Marshal(struct{ R, Z actor.Ref }{R: x})
		if string(text) != `{"R":"x@a","Z":""}` || err != nil {
			t.Errorf("JSON: %s, %v", text, err)
		}
		var back struct{ R, Z actor.Ref }
		if err := json.Unmarshal(text, &back); err != nil || back.R.String() != "x@a" || !back.Z.IsZero() {
			t.Errorf("JSON: %v, %v", back, err)
		}
		if json.Unmarshal([]byte(`{"R":"x y"}`), &back) == nil {
			t.Error("a bad address was decoded")
		}
	})
}
