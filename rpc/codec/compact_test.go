package codec_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/tandem-go/tandem/rpc/codec"
)

type compactInner struct {
	A int32
	B string `msgpack:"b,omitempty"`
}

type compactTree struct {
	ID    int64
	Name  string
	At    time.Time
	Kids  []*compactTree
	Inner compactInner
	M     map[string]compactInner
	Any   any
	Skip  []int `msgpack:",omitempty"`
	None  struct{}
	Arr   [2]uint16
	Bytes []byte
}

func TestCompactThereAndBack(t *testing.T) {
	c := codec.Compact(codec.Limits{})
	v := compactTree{ID: 7, Name: "x", At: time.Unix(5, 6).UTC(), Kids: []*compactTree{{ID: 8}, nil}, Inner: compactInner{1, "two"},
		M: map[string]compactInner{"k": {3, ""}}, Any: compactInner{4, "z"}, Skip: []int{}, Arr: [2]uint16{9, 10}, Bytes: []byte("b")}
	body, err := c.Append(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	var got compactTree
	if err := c.Decode(body, &got); err != nil {
		t.Fatal(err)
	}
	names := codec.Msgpack(codec.Limits{})
	named, err := names.Append(nil, v)
	if err != nil {
		t.Fatal(err)
	}
	var want compactTree
	if err := names.Decode(named, &want); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("compact: %+v\nby name: %+v", got, want)
	}
	t.Logf("%d bytes by name, %d compact", len(named), len(body))
	s, err := codec.Schema(reflect.TypeOf(v))
	t.Log(s, err)
}
