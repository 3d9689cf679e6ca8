package rpc

import (
	"reflect"
	"testing"
	"time"

	"github.com/tandem-go/tandem/internal/sendopt"
	"github.com/tandem-go/tandem/rpc/codec"
	"github.com/tandem-go/tandem/transport"
)

// Each option changes the setting of its name and no other. Of two that change the same
// setting the later one counts, and headers add up.
func TestOptions(t *testing.T) {
	type settings = sendopt.Settings[Retry]
	json := codec.JSON(codec.Limits{})
	for _, row := range []struct {
		name string
		opts []Option
		want settings
	}{
		{"the zero Option", []Option{{}}, settings{}},
		{"Acked", []Option{Acked()}, settings{Acked: true}},
		{"WithRetry", []Option{WithRetry(Retry{Attempts: 2})}, settings{Retry: &Retry{Attempts: 2}}},
		{"Idempotent", []Option{Idempotent()}, settings{Idempotent: true}},
		{"Hedge", []Option{Hedge(time.Second), Hedge(0)}, settings{}},
		{"Hedge twice", []Option{Hedge(time.Minute), Hedge(time.Second)}, settings{Hedge: time.Second}},
		{"Key", []Option{Key("a"), Key("b")}, settings{Key: "b", Keyed: true}},
		{"Key of nothing", []Option{Key("")}, settings{Keyed: true}},
		{"Affinity", []Option{Affinity("a")}, settings{Affinity: "a"}},
		{"LinkWait", []Option{LinkWait(time.Second)}, settings{LinkWait: time.Second}},
		{"WithCodec", []Option{WithCodec(json)}, settings{Codec: json}},
		{"WithHeader", []Option{WithHeader("a", "1"), WithHeader("b", "2")}, settings{Headers: []transport.Header{{Key: "a", Value: "1"}, {Key: "b", Value: "2"}}}},
	} {
		var got settings
		for i := range row.opts {
			(*sendopt.Option[Retry])(&row.opts[i]).Apply(&got)
		}
		if !reflect.DeepEqual(got, row.want) {
			t.Errorf("%s: %+v, want %+v", row.name, got, row.want)
		}
	}
}
