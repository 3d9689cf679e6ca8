package protobuf

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/rpc/codec/protobuf/internal/bankpb"
)

// What the codec costs above google.golang.org/protobuf itself, and how a small message compares with
// a struct of the same fields in msgpack. The pairs of one run are to be compared.
func BenchmarkThereAndBack(b *testing.B) {
	run := func(name string, there func() []byte, back func([]byte) error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := back(there()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	c, plain := New(codec.Limits{}), codec.Msgpack(codec.Limits{})
	var buf []byte
	for name, m := range map[string]*bankpb.Deposit{"small": {Account: "alice", Amount: 1 << 40, Tags: []string{"x"}}, "full": deposit()} {
		run(name+"/library", func() []byte {
			buf, _ = proto.MarshalOptions{Deterministic: true}.MarshalAppend(buf[:0], m)
			return buf
		}, func(body []byte) error { return proto.Unmarshal(body, new(bankpb.Deposit)) })
		run(name+"/codec", func() []byte {
			buf, _ = c.Append(buf[:0], m)
			return buf
		}, func(body []byte) error {
			var to *bankpb.Deposit
			return c.Decode(body, &to)
		})
	}
	type deposit struct {
		Account string
		Amount  int64
		Tags    []string
	}
	run("small/struct in msgpack", func() []byte {
		buf, _ = plain.Append(buf[:0], deposit{Account: "alice", Amount: 1 << 40, Tags: []string{"x"}})
		return buf
	}, func(body []byte) error { return plain.Decode(body, new(deposit)) })
	run("small/struct beside protobuf", func() []byte {
		buf, _ = c.Append(buf[:0], deposit{Account: "alice", Amount: 1 << 40, Tags: []string{"x"}})
		return buf
	}, func(body []byte) error { return c.Decode(body, new(deposit)) })
}
