package rpc_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/tandem-go/tandem/internal/sendopt"
	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/transport"
)

// Each option changes the setting of its name and no other. Of two that change the same
// setting the later one counts, and headers add up.
func TestOptions(t *testing.T) {
	type settings = sendopt.Settings[rpc.Retry]
	json := codec.JSON(codec.Limits{})
	for _, row := range []struct {
		name string
		opts []rpc.Option
		want settings
	}{
		{"the zero Option", []rpc.Option{{}}, settings{}},
		{"Acked", []rpc.Option{rpc.Acked()}, settings{Acked: true}},
		{"WithRetry", []rpc.Option{rpc.WithRetry(rpc.Retry{Attempts: 2})}, settings{Retry: &rpc.Retry{Attempts: 2}}},
		{"Idempotent", []rpc.Option{rpc.Idempotent()}, settings{Idempotent: true}},
		{"Hedge", []rpc.Option{rpc.Hedge(time.Second), rpc.Hedge(0)}, settings{}},
		{"Hedge twice", []rpc.Option{rpc.Hedge(time.Minute), rpc.Hedge(time.Second)}, settings{Hedge: time.Second}},
		{"Key", []rpc.Option{rpc.Key("a"), rpc.Key("b")}, settings{Key: "b", Keyed: true}},
		{"Key of nothing", []rpc.Option{rpc.Key("")}, settings{Keyed: true}},
		{"Affinity", []rpc.Option{rpc.Affinity("a")}, settings{Affinity: "a"}},
		{"LinkWait", []rpc.Option{rpc.LinkWait(time.Second)}, settings{LinkWait: time.Second}},
		{"WithCodec", []rpc.Option{rpc.WithCodec(json)}, settings{Codec: json}},
		{"WithHeader", []rpc.Option{rpc.WithHeader("a", "1"), rpc.WithHeader("b", "2")}, settings{Headers: []transport.Header{{Key: "a", Value: "1"}, {Key: "b", Value: "2"}}}},
	} {
		var got settings
		for i := range row.opts {
			(*sendopt.Option[rpc.Retry])(&row.opts[i]).Apply(&got)
		}
		if !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s: %+v, want %+v", row.name, got, row.want)
		}
	}
}
