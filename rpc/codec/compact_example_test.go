package codec_test

import (
	"fmt"
	"reflect"

	"github.com/tandem-go/tandem/rpc/codec"
)

// Bodies without the names of fields are shorter. Only a type of the same schema can read them.
func ExampleCompact() {
	type Deposit struct {
		Account string
		Amount  int64
	}
	c := codec.Compact(codec.Limits{})
	short, err := c.Append(nil, Deposit{"alice", 5})
	if err != nil {
		fmt.Println(err)
		return
	}
	long, err := codec.Msgpack(codec.Limits{}).Append(nil, Deposit{"alice", 5})
	if err != nil {
		fmt.Println(err)
		return
	}
	var d Deposit
	err = c.Decode(short, &d)
	fmt.Println(len(short), "bytes, with names", len(long), d, err)
	// Output: 16 bytes, with names 31 {alice 5} <nil>
}

// The schema of a type says what its bodies without names depend on.
func ExampleSchema() {
	type Deposit struct {
		Account string
		Amount  int64
		Notes   []string `msgpack:"notes"`
	}
	fmt.Println(codec.Schema(reflect.TypeFor[Deposit]()))
	_, err := codec.Schema(reflect.TypeFor[chan int]())
	fmt.Println(err)
	// Output:
	// {"Account" string;"Amount" int64;"notes" []string} <nil>
	// codec: unsupported: a chan int
}
