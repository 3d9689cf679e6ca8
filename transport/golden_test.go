package transport_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/transport"
)

var update = flag.Bool("update", false, "write testdata/*.golden anew; a change of an existing file breaks the wire")

// goldenHellos, goldenWelcomes and goldenEnvelopes are the contents of testdata.
var (
	goldenHellos = map[string]transport.Hello{
		"hello": {MinVersion: 1, MaxVersion: 1, Cluster: "prod", Node: "a", Epoch: "e1", WantNode: "b", WantEpoch: "e2"},
		"hello-large": {MinVersion: 1, MaxVersion: 1, Cluster: "prod", Node: "a", Epoch: "e1", WantNode: "b",
			Largest: transport.DefaultMaxMessage},
		"hello-nonce": {MinVersion: 1, MaxVersion: 1, Cluster: "prod", Node: "a", Epoch: "e1", WantNode: "b",
			Largest: transport.DefaultMaxMessage, Nonce: transport.Nonce{0: 0xa0, 15: 0xaf}},
		"hello-nonce-alone": {MinVersion: 1, MaxVersion: 1, Cluster: "prod", Node: "a", Epoch: "e1", WantNode: "b", Nonce: transport.Nonce{0: 0xa0, 15: 0xaf}},
	}
	goldenWelcomes = map[string]transport.Welcome{
		"welcome":         {Version: 1, Node: "b", Epoch: "e2"},
		"welcome-large":   {Version: 1, Node: "b", Epoch: "e2", Largest: transport.DefaultMaxMessage},
		"welcome-nonce":   {Version: 1, Node: "b", Epoch: "e2", Largest: transport.DefaultMaxMessage, Nonce: transport.Nonce{0: 0xb0, 15: 0xbf}},
		"welcome-refused": {Status: transport.StatusIdentity, Version: 1, Node: "c", Epoch: "e3", Reason: "I am c"},
	}
	// goldenProofs are of the greeting of hello-nonce and welcome-nonce.
	goldenProofs = map[string]transport.Proof{
		"proof":         prove("", true),
		"proof-token":   prove("secret", true),
		"proof-answers": prove("secret", false),
		"proof-refused": {Status: transport.StatusDenied, Reason: "another token"},
	}
	grant           = transport.Grant{0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x1b, 0x1c, 0x1d, 0x1e, 0x1f}
	goldenEnvelopes = map[string]transport.Envelope{
		"open":      {Verb: transport.VerbOpen, Seq: 1},
		"open-join": {Verb: transport.VerbOpen, Seq: 2, Grant: grant},
		"opened":    {Verb: transport.VerbOpened, Seq: 2, Grant: grant, Mark: transport.Mark{Below: 4096}},
		"request": {Verb: transport.VerbRequest, Codec: 1, Seq: 258, Mark: transport.Mark{Below: 256, Except: []uint64{17, 200}},
			TypeID: transport.TypeID("bank.Balance"), Grant: grant, Target: "alice", Timeout: 30 * time.Second, Body: []byte{0x80}},
		"request-full": {Verb: transport.VerbRequest, Flags: transport.FlagAcked | transport.FlagResend, Codec: 2, Seq: 3,
			Mark: transport.Mark{Below: 3}, TypeID: transport.TypeID("bank.Deposit"), Target: "alice", Sender: "bob@a",
			Timeout: 1500 * time.Millisecond, Sent: time.Unix(1_700_000_000, 5), Trace: transport.Trace{0: 1, 15: 2, 16: 3, 23: 4, 24: 1},
			Headers: []transport.Header{{Key: "tenant", Value: "acme"}, {Key: "empty"}}, Body: []byte(`{"Amount":5}`)},
		"request-after": {Verb: transport.VerbRequest, Codec: 1, Seq: 259, Mark: transport.Mark{Below: 259},
			TypeID: transport.TypeID("bank.Balance"), Target: "alice", Timeout: time.Second, After: 7, Body: []byte{0x80}},
		"request-waiting": {Verb: transport.VerbRequest, Codec: 1, Seq: 260, Mark: transport.Mark{Below: 260},
			TypeID: transport.TypeID("bank.Balance"), Target: "alice", Sender: "bob@a", Timeout: time.Second, Waiting: []uint64{0x0102030405060708, 9}, Body: []byte{0x80}},
		"opened-durable": {Verb: transport.VerbOpened, Flags: transport.FlagDurable, Seq: 2, Grant: grant, Mark: transport.Mark{Below: 4096}},
		"request-recover": {Verb: transport.VerbRequest, Flags: transport.FlagResend | transport.FlagRecover, Codec: 1, Seq: 258,
			TypeID: transport.TypeID("bank.Deposit"), Grant: grant, Target: "alice", Timeout: time.Second, Key: "order-17", Age: 3 * time.Second, Body: []byte{0x80}},
		"request-numbered": {Verb: transport.VerbRequest, Codec: 1, Seq: 261, Mark: transport.Mark{Below: 261}, TypeID: transport.TypeID("bank.Deposit"), Target: "alice",
			Timeout: 24 * time.Hour, Key: "outbox-1", Age: 2 * time.Second, Number: 0x0102030405060708, Body: []byte{0x80}},
		"request-once": {Verb: transport.VerbRequest, Codec: 1, Seq: 262, Mark: transport.Mark{Below: 262}, TypeID: transport.TypeID("bank.Deposit"), Target: "~bank.account/alice",
			Timeout: time.Second, Once: transport.Once{Number: 0x0102030405060708, Below: 7}, Body: []byte{0x80}},
		"request-class": {Verb: transport.VerbRequest, Codec: 1, Seq: 263, Mark: transport.Mark{Below: 263}, TypeID: transport.TypeID("bank.Balance"), Target: "alice",
			Timeout: time.Second, Class: transport.ClassHigh, Body: []byte{0x80}},
		"tell-class": {Verb: transport.VerbTell, Codec: 3, Seq: 8, TypeID: transport.TypeID("bank.Deposit"), Target: "alice", Class: transport.ClassLow, Body: []byte("raw")},
		"request-behalf": {Verb: transport.VerbRequest, Codec: 2, Seq: 263, Mark: transport.Mark{Below: 263}, TypeID: transport.TypeID("bank.Deposit"), Target: "alice",
			Timeout: time.Second, Key: "order-17", Behalf: "web:ann", Body: []byte(`{}`)},
		"reply": {Verb: transport.VerbReply, Codec: 1, Seq: 258, TypeID: transport.TypeID("int64"), Body: []byte{0x2a}},
		"reply-error": {Verb: transport.VerbReply, Flags: transport.FlagRan, Code: 1, Seq: 258, Message: "no money", UserCode: "bank.broke",
			RetryAfter: time.Second},
		"reply-moved":     {Verb: transport.VerbReply, Flags: transport.FlagNotRun, Code: 22, Seq: 258, Message: "on node b", Elsewhere: "b/f3a1/7"},
		"reply-replayed":  {Verb: transport.VerbReply, Flags: transport.FlagReplayed, Codec: 1, Seq: 258, TypeID: transport.TypeID("int64"), Body: []byte{0x2a}},
		"reply-refused":   {Verb: transport.VerbReply, Flags: transport.FlagNotRun, Code: 8, Seq: 258},
		"tell":            {Verb: transport.VerbTell, Codec: 3, Seq: 7, TypeID: transport.TypeID("bank.Deposit"), Target: "alice", Body: []byte("raw")},
		"ack":             {Verb: transport.VerbAck, Mark: transport.Mark{Below: 300}, Body: []byte{0, 0, 0, 0, 0, 0, 0, 17}},
		"cancel":          {Verb: transport.VerbCancel, Seq: 258},
		"probe":           {Verb: transport.VerbProbe, Seq: 258, Grant: grant},
		"status":          {Verb: transport.VerbStatus, Seq: 258, Code: 2},
		"ping":            {Verb: transport.VerbPing, Seq: 1<<64 - 1},
		"ping-mark":       {Verb: transport.VerbPing, Seq: 5, Mark: transport.Mark{Below: 300, Except: []uint64{17}}, Grant: grant},
		"pong":            {Verb: transport.VerbPong, Seq: 1<<64 - 1},
		"resync":          {Verb: transport.VerbResync},
		"bye":             {Verb: transport.VerbBye},
		"bye-last":        {Verb: transport.VerbBye, Grant: grant, Body: []byte{1, 2, 3, 1, 2, 0, 1, 9, 0}},
		"chunk":           {Verb: transport.VerbChunk, Seq: 3, Mark: transport.Mark{Below: 100_000}, TypeID: 65536, Body: []byte("some of it")},
		"chunk-abandoned": {Verb: transport.VerbChunk, Code: 1, Seq: 3, Mark: transport.Mark{Below: 100_000}, TypeID: 65546},
		"chunked":         {Verb: transport.VerbChunked, Seq: 3, Mark: transport.Mark{Below: 65546}},
		"chunked-again":   {Verb: transport.VerbChunked, Code: 1, Seq: 3, Mark: transport.Mark{Below: 65536}},
		"tells": {Verb: transport.VerbTells, Codec: 3, Seq: 7, TypeID: transport.TypeID("bank.Deposit"), Target: "alice", Sender: "bob@a",
			Body: []byte("\x03raw\x04more")},
	}
)

// TestGolden compares encoder and parser with the files in testdata.
func TestGolden(t *testing.T) {
	for name, want := range goldenHellos {
		b := golden(t, name, want.Append(nil), want)
		if got, err := transport.ParseHello(b); err != nil || got != want {
			t.Errorf("%s: parsed %+v, %v", name, got, err)
		}
	}
	for name, want := range goldenWelcomes {
		b := golden(t, name, want.Append(nil), want)
		if got, err := transport.ParseWelcome(b); err != nil || got != want {
			t.Errorf("%s: parsed %+v, %v", name, got, err)
		}
	}
	for name, want := range goldenProofs {
		b := golden(t, name, want.Append(nil), want)
		if got, err := transport.ParseProof(b); err != nil || got != want {
			t.Errorf("%s: parsed %+v, %v", name, got, err)
		}
	}
	verbs := make(map[transport.Verb]bool)
	for name, want := range goldenEnvelopes {
		verbs[want.Verb] = true
		b, err := want.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		b = golden(t, name, b, want)
		var got transport.Envelope
		if err := got.Parse(b); err != nil || !same(got, want) {
			t.Errorf("%s: parsed %+v, %v", name, got, err)
		}
	}
	for v := transport.VerbOpen; v <= transport.VerbTells; v++ {
		if !verbs[v] {
			t.Errorf("no golden file for verb %v", v)
		}
	}
}

// A class that this version does not know is the nearest one; it has one byte.
func TestClasses(t *testing.T) {
	bare, err := (&transport.Envelope{Verb: transport.VerbTell, Seq: 1, Target: "alice"}).Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for b, want := range map[byte]transport.Class{0: transport.ClassLow, 1: transport.ClassLow, 2: 0, 3: transport.ClassHigh, 4: transport.ClassHigh, 129: transport.ClassHigh, 255: transport.ClassHigh} {
		with := append(bytes.Clone(bare), 19, 0, 1, b)
		with[5] += 4
		var got transport.Envelope
		if err := got.Parse(with); err != nil || got.Class != want {
			t.Errorf("%d: class %d, %v; want %d", b, got.Class, err, want)
		}
		for _, cut := range [][]byte{{19, 0, 0}, {19, 0, 2, b, b}} {
			with := append(bytes.Clone(bare), cut...)
			with[5] += byte(len(cut))
			if err := got.Parse(with); !errors.Is(err, transport.ErrProtocol) {
				t.Errorf("%v: %v", cut, err)
			}
		}
	}
	for give, want := range map[transport.Class]transport.Class{-100: transport.ClassLow, 100: transport.ClassHigh} {
		b, err := (&transport.Envelope{Verb: transport.VerbTell, Class: give}).Append(nil)
		var got transport.Envelope
		if err == nil {
			err = got.Parse(b)
		}
		if err != nil || got.Class != want {
			t.Errorf("%d: read %d, %v", give, got.Class, err)
		}
	}
}

// A list of waits that is too long is neither sent nor accepted, and neither is one that is cut.
func TestWaitingLimits(t *testing.T) {
	e := transport.Envelope{Verb: transport.VerbRequest, Seq: 1, Target: "alice"}
	bare, err := e.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 8*transport.MaxWaiting + 17 {
		b := bytes.Clone(bare)
		b[5] += byte(3 + n)
		b = append(append(b, 15, 0, byte(n)), make([]byte, n)...)
		var got transport.Envelope
		err := got.Parse(b)
		if good := n%8 == 0 && n <= 8*transport.MaxWaiting; good != (err == nil) || err != nil && !errors.Is(err, transport.ErrProtocol) {
			t.Errorf("%d bytes: %v", n, err)
		} else if good && len(got.Waiting) != n/8 {
			t.Errorf("%d bytes: %d waits", n, len(got.Waiting))
		}
	}
	for _, n := range []int{transport.MaxWaiting, transport.MaxWaiting + 1} {
		e.Waiting = make([]uint64, n)
		if _, err := e.Append(nil); errors.Is(err, transport.ErrTooLarge) != (n > transport.MaxWaiting) {
			t.Errorf("%d waits: %v", n, err)
		}
	}
	e.Waiting = []uint64{1, 2}
	if c := e.Clone(); !slices.Equal(c.Waiting, e.Waiting) || &c.Waiting[0] == &e.Waiting[0] {
		t.Errorf("cloned: %v", c.Waiting)
	}
}

func prove(token string, dials bool) transport.Proof {
	return transport.Prove(token, dials, goldenHellos["hello-nonce"].Append(nil), goldenWelcomes["welcome-nonce"].Append(nil))
}

// A proof is valid for one side of one greeting, between nodes that know the same token.
func TestProof(t *testing.T) {
	hello, welcome := []byte("hello"), []byte("welcome")
	good := transport.Prove("secret", true, hello, welcome)
	if err := good.Check("secret", true, hello, welcome); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"other token":                 good.Check("guess", true, hello, welcome),
		"no token":                    good.Check("", true, hello, welcome),
		"said by the other side":      good.Check("secret", false, hello, welcome),
		"another hello":               good.Check("secret", true, []byte("hellO"), welcome),
		"another welcome":             good.Check("secret", true, hello, []byte("welcomE")),
		"moved from one to the other": good.Check("secret", true, []byte("hellow"), []byte("elcome")),
		"refused":                     transport.Proof{Status: transport.StatusDenied, Sum: good.Sum}.Check("secret", true, hello, welcome),
	} {
		if !errors.Is(err, transport.ErrDenied) {
			t.Errorf("%s: %v, want ErrDenied", what, err)
		}
	}
	if a, b := transport.NewNonce(), transport.NewNonce(); a == b {
		t.Error("one nonce came twice")
	}
}

// golden compares b with the file of that name, or writes the file, and returns the file's content. A
// file is hexadecimal; what follows '#' is a comment.
func golden(t *testing.T, name string, b []byte, what any) []byte {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		var out strings.Builder
		fmt.Fprintf(&out, "# %T %s, %d bytes\n", what, name, len(b))
		for i := 0; i < len(b); i += 16 {
			line := b[i:min(i+16, len(b))]
			shown := strings.Map(func(r rune) rune {
				if r < ' ' || r > '~' {
					return '.'
				}
				return r
			}, string(bytes.ToValidUTF8(line, []byte("."))))
			fmt.Fprintf(&out, "%-48s # %s\n", fmt.Sprintf("% x", line), shown)
		}
		if err := os.WriteFile(path, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatalf("%v (run with -update to make it)", err)
	}
	defer f.Close()
	var want []byte
	for lines := bufio.NewScanner(f); lines.Scan(); {
		text, _, _ := strings.Cut(lines.Text(), "#")
		line, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(text), " ", ""))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		want = append(want, line...)
	}
	if !bytes.Equal(b, want) {
		t.Errorf("%s: the wire changed\n got % x\nwant % x", name, b, want)
	}
	return want
}

// same reports whether two envelopes are the same. A nil slice and an empty one count as the same.
func same(a, b transport.Envelope) bool {
	if !a.Sent.Equal(b.Sent) || !bytes.Equal(a.Body, b.Body) ||
		len(a.Headers) != len(b.Headers) || len(a.Mark.Except) != len(b.Mark.Except) || !slices.Equal(a.Waiting, b.Waiting) {
		return false
	}
	for i := range a.Headers {
		if a.Headers[i] != b.Headers[i] {
			return false
		}
	}
	for i := range a.Mark.Except {
		if a.Mark.Except[i] != b.Mark.Except[i] {
			return false
		}
	}
	for _, e := range []*transport.Envelope{&a, &b} {
		e.Sent, e.Body, e.Headers, e.Mark.Except, e.Waiting = time.Time{}, nil, nil, nil, nil
	}
	return reflect.DeepEqual(a, b)
}
