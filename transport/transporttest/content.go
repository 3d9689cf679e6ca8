package transporttest

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/tandem-go/tandem/transport"
)

// full is an envelope with every field set.
func full() transport.Envelope {
	return transport.Envelope{
		Verb:       transport.VerbReply,
		Flags:      transport.FlagAcked | transport.FlagResend | transport.FlagNotRun | transport.FlagRan,
		Codec:      3,
		Code:       0xBEEF,
		Seq:        1<<63 + 7,
		Mark:       transport.Mark{Below: 1<<62 + 5, Except: []uint64{3, 1 << 40, 9}},
		TypeID:     transport.TypeID("conformance.full"),
		Grant:      transport.Grant{1, 2, 3, 15: 16},
		Target:     "alice",
		Sender:     "bob@a",
		Timeout:    1234567 * time.Microsecond,
		Sent:       time.Unix(1_700_000_000, 123_456_789),
		Trace:      transport.Trace{4, 5, 24: 1},
		Headers:    []transport.Header{{Key: "k", Value: "v"}, {Key: "empty", Value: ""}, {Key: "", Value: "no key"}},
		Message:    "it failed",
		After:      1<<63 + 5,
		UserCode:   "bank.broke",
		RetryAfter: 3 * time.Second,
		Elsewhere:  "b/epoch/7",
		Body:       []byte("body\x00\xff"),
	}
}

// equal reports an error if what was received differs from what was sent.
func equal(t testing.TB, got, want transport.Envelope) {
	t.Helper()
	if !got.Sent.Equal(want.Sent) {
		t.Errorf("sent at %v, want %v", got.Sent, want.Sent)
	}
	got.Sent, want.Sent = time.Time{}, time.Time{}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("envelope changed on the way:\n got %+v\nwant %+v", got, want)
	}
}

func testFields(t *testing.T, cfg Config) {
	a, b := newPair(t, cfg)
	from, to := link(t, a, b)
	want := full()
	from.push(t, &want)
	to.push(t, &want)
	equal(t, to.in.waitFor(1)[0], want)
	equal(t, from.in.waitFor(1)[0], want)
}

func testEmptyBody(t *testing.T, cfg Config) {
	a, b := newPair(t, cfg)
	from, to := link(t, a, b)
	from.push(t, &transport.Envelope{Verb: transport.VerbPing, Seq: 1})
	from.push(t, &transport.Envelope{Verb: transport.VerbTell, Seq: 2, Body: []byte{}})
	got := to.in.waitFor(2)
	if len(got[0].Body) != 0 || len(got[1].Body) != 0 || got[0].Seq != 1 || got[1].Seq != 2 {
		t.Errorf("got %+v", got)
	}
}

// testBodiesAreKept keeps all bodies while more arrive, and compares them at the end.
func testBodiesAreKept(t *testing.T, cfg Config) {
	a, b := newPair(t, cfg)
	from, to := link(t, a, b)
	const count = 3000
	for i := range count {
		e := transport.Envelope{Verb: transport.VerbTell, Seq: uint64(i), Target: string(pattern(i, 1+i%100)), Body: pattern(i, i%700)}
		from.push(t, &e)
	}
	for i, got := range to.in.waitFor(count) {
		if !bytes.Equal(got.Body, pattern(i, i%700)) || got.Target != string(pattern(i, 1+i%100)) {
			t.Fatalf("envelope %d changed after it was received", i)
		}
	}
}

// pattern returns n bytes from which i can be recognised.
func pattern(i, n int) []byte {
	b := make([]byte, n)
	for j := range b {
		b[j] = byte('a' + (i+j)%26)
	}
	return b
}

func testBodyMayBeReused(t *testing.T, cfg Config) {
	a, b := newPair(t, cfg)
	from, to := link(t, a, b)
	const count = 500
	body := make([]byte, 64)
	for i := range count {
		copy(body, pattern(i, len(body)))
		from.push(t, &transport.Envelope{Verb: transport.VerbTell, Body: body})
		clear(body)
	}
	for i, got := range to.in.waitFor(count) {
		if !bytes.Equal(got.Body, pattern(i, len(body))) {
			t.Fatalf("envelope %d took what was written to the buffer after Send", i)
		}
	}
}
