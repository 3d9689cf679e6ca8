package rpc_test

import (
	"math"
	"testing"

	"github.com/tandem-go/tandem/rpc"
)

// The text of a RequestID is read back, and no other text is one.
func TestRequestID(t *testing.T) {
	for _, id := range []rpc.RequestID{{Session: 1, Seq: 0}, {Session: 0, Seq: 1}, {Session: 0x9f86d081884c7d65, Seq: 17}, {Session: math.MaxUint64, Seq: math.MaxUint64}} {
		if got, err := rpc.ParseRequestID(id.String()); got != id || err != nil {
			t.Errorf("%v: %v, %v", id, got, err)
		}
	}
	if text := (rpc.RequestID{}).String(); text != "" {
		t.Errorf("%q", text)
	}
	for _, text := range []string{"", "-", "1-1", "0000000000000000-0", "9f86d081884c7d65", "9f86d081884c7d65-", "9f86d081884c7d65-017", "9f86d081884c7d65-x", "9F86d081884c7d65-1", "+f86d081884c7d65-1", "9f86d081884c7d65-18446744073709551616", "09f86d081884c7d65-1"} {
		if id, err := rpc.ParseRequestID(text); rpc.CodeOf(err) != rpc.Invalid || !id.IsZero() {
			t.Errorf("%q: %v, %v", text, id, err)
		}
	}
}
