package protobuf_test

import (
	"context"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/actor"
	"github.com/tandem-go/tandem/registry/natskv"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/rpc/codec/protobuf"
	"github.com/tandem-go/tandem/rpc/codec/protobuf/internal/bankpb"
	"github.com/tandem-go/tandem/rpc/codec/protobuf/internal/bankpb2"
	"github.com/tandem-go/tandem/test/servers"
	"github.com/tandem-go/tandem/transport"
	"github.com/tandem-go/tandem/transport/natsbus"
	"github.com/tandem-go/tandem/transport/natsbus/embedded"
	"github.com/tandem-go/tandem/transport/tcp"
)

// later is the codec of a node that has a later version of the messages.
type later struct{ *protobuf.Codec }

func (c later) WireName(t reflect.Type) (string, bool) {
	name, ok := c.Codec.WireName(t)
	return strings.Replace(name, "bank2.", "bank.", 1), ok
}

// Two nodes with different versions of the messages understand each other, and neither loses what
// only the other one knows.
func TestVersions(t *testing.T) {
	srv := servers.Start(t, embedded.Config{StoreDir: t.TempDir()})
	js := servers.Connect(t, srv)
	ctx := servers.Within(t, time.Minute)
	start := func(name string, c codec.Codec) *actor.System {
		nodes, err := natskv.New(ctx, js, natskv.Config{})
		if err != nil {
			t.Fatal(err)
		}
		sys, err := actor.NewSystem(actor.Config{Name: name, Logger: slog.New(slog.DiscardHandler), Codec: c, Registry: nodes, Transports: []transport.Transport{tcp.New(tcp.Config{Listen: "127.0.0.1:0"})}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = sys.Shutdown(context.Background()) })
		return sys
	}
	older, newer := start("older", protobuf.New(codec.Limits{})), start("newer", later{protobuf.New(codec.Limits{})})

	// The older node answers with the message that it got before.
	if _, err := older.Spawn("x", accountKind("account", nil)); err != nil {
		t.Fatal(err)
	}
	sent := &bankpb2.Deposit{Amount: 5, Currency: "EUR", Fee: &bankpb2.Entry{Colour: "red"}, Entries: []*bankpb2.Entry{{Amount: 1, Colour: "blue"}}}
	got, err := actor.CallAs[*bankpb2.Balance](ctx, newer.Ref("x@older"), sent)
	equal(t, "to the older node", got, &bankpb2.Balance{Amount: 5}, err)
	got, err = actor.CallAs[*bankpb2.Balance](ctx, newer.Ref("x@older"), sent)
	equal(t, "what the older node had kept", got, &bankpb2.Balance{Amount: 10, Last: sent}, err)

	if _, err := newer.Spawn("y", actor.Define("echo", func() *account { return nil }, actor.AnswerAs(func(_ *account, _ *actor.Context, m *bankpb2.Deposit) (*bankpb2.Balance, error) {
		return &bankpb2.Balance{Amount: m.Amount, Last: m, Currency: "EUR"}, nil
	}))); err != nil {
		t.Fatal(err)
	}
	back, err := actor.CallAs[*bankpb.Balance](ctx, older.Ref("y@newer"), full(3))
	if len(back.ProtoReflect().GetUnknown()) == 0 {
		t.Error("the older node did not keep the field that it does not know")
	}
	back.ProtoReflect().SetUnknown(nil)
	equal(t, "to the newer node", back, &bankpb.Balance{Amount: 3, Last: full(3)}, err)
}

// Another message type of the same name is refused, if both are in one program, or when its body comes.
func TestSameName(t *testing.T) {
	srv := servers.Start(t, embedded.Config{StoreDir: t.TempDir()})
	js := servers.Connect(t, srv)
	ctx := servers.Within(t, time.Minute)
	nodes, err := natskv.New(ctx, js, natskv.Config{})
	if err != nil {
		t.Fatal(err)
	}
	start := func(name string, c codec.Codec) *actor.System {
		sys, err := actor.NewSystem(actor.Config{Name: name, Logger: slog.New(slog.DiscardHandler), Codec: c, Registry: nodes, Transports: []transport.Transport{natsbus.New(js.Conn(), natsbus.Config{})}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = sys.Shutdown(context.Background()) })
		return sys
	}
	far, near := start("far", protobuf.New(codec.Limits{})), start("near", impostor{protobuf.New(codec.Limits{})})
	if _, err := far.Spawn("x", accountKind("account", nil)); err != nil {
		t.Fatal(err)
	}
	_, err = actor.CallAs[*bankpb.Balance](ctx, near.Ref("x@far"), &bankpb2.Impostor{Account: 1})
	if rpc.CodeOf(err) != rpc.Undecodable || rpc.Ran(err) != rpc.NotRun || !strings.Contains(err.Error(), "another message") {
		t.Errorf("another message of the name: %v", err)
	}
	_, err = actor.CallAs[*bankpb.Balance](ctx, near.Ref("x@far"), full(1))
	if rpc.CodeOf(err) != rpc.Invalid || rpc.Ran(err) != rpc.NotRun || !strings.Contains(err.Error(), "both called") {
		t.Errorf("a second type of the name in one program: %v", err)
	}
}

// impostor is the codec of a node whose impostors are called deposits.
type impostor struct{ *protobuf.Codec }

func (c impostor) WireName(t reflect.Type) (string, bool) {
	name, ok := c.Codec.WireName(t)
	return strings.Replace(name, "bank2.Impostor", "bank.Deposit", 1), ok
}
