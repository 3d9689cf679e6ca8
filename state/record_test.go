package state_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/state"
)

var update = flag.Bool("update", false, "write testdata/*.golden again; a changed line breaks what stores hold")

// golden are what testdata/stored.golden shows.
var golden = []state.Stored{
	{Key: state.Key{Kind: "k", ID: "a"}},
	{Key: state.Key{Kind: "bank.account", ID: "al/ice\x00é"}, Before: state.Revision{Seq: 258, ID: state.ID{15: 2}}, Record: state.Record{
		Token: 0xfedcba9876543210, ID: state.ID{1, 2, 15: 16}, TypeVersion: 3, State: []byte("state"),
		Outcomes: []state.Outcome{
			{Caller: "e1", Counter: 7, Body: []byte("ok")},
			{Caller: "key", Expires: time.UnixMilli(1_700_000_000_123).UTC()},
		},
		Outbox: []state.Message{
			{Index: 1, Since: 9, Verb: state.Tell, To: "audit@n1", Headers: []state.Header{{Key: "h", Value: "v"}, {}}, Body: []byte("body")},
			{Verb: state.Push}, {Verb: state.Publish}, {Verb: state.Submit}, {Verb: state.Remind}, {Verb: state.Forget},
		},
	}},
	{Key: state.Key{Kind: "k", ID: "a"}, Before: state.Revision{Seq: 1}, Deleted: true, Record: state.Record{Token: 5, ID: state.ID{1}}},
}

// The encoding is that of the file: stores keep it for years.
func TestGolden(t *testing.T) {
	path := filepath.Join("testdata", "stored.golden")
	var text strings.Builder
	for _, s := range golden {
		fmt.Fprintf(&text, "%x\n", s.Append(nil))
	}
	if *update {
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run with -update to make it)", err)
	}
	if string(want) != text.String() {
		t.Errorf("got\n%swant\n%s", &text, want)
	}
	i := 0
	for line := range strings.Lines(string(want)) {
		b, err := hex.DecodeString(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		s, err := state.ParseStored(b)
		if err != nil || !reflect.DeepEqual(s, golden[i]) || s.Size() != len(b) {
			t.Errorf("got %+v of %d bytes, %v\nwant %+v of %d", s, s.Size(), err, golden[i], len(b))
		}
		i++
	}
}

// sealed returns b with its checksum.
func sealed(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b[:len(b):len(b)], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// Each byte is checked, and each length; the bytes are kept in the error.
func TestParseStoredRefuses(t *testing.T) {
	whole := golden[1].Append(nil)
	for n := range whole {
		cut := whole[:n]
		if _, err := state.ParseStored(cut); !refused(err, cut) {
			t.Errorf("the first %d bytes: %v", n, err)
		}
		if _, err := state.ParseStored(sealed(cut)); n < len(whole)-4 && !refused(err, sealed(cut)) {
			t.Errorf("the first %d bytes and their checksum: %v", n, err)
		}
		changed := bytes.Clone(whole)
		changed[n] ^= 0x10
		if _, err := state.ParseStored(changed); !refused(err, changed) {
			t.Errorf("byte %d changed: %v", n, err)
		}
	}
	body := whole[:len(whole)-4]
	for name, b := range map[string][]byte{
		"a later version": sealed(append([]byte{2}, body[1:]...)),
		"version 0":       sealed(append([]byte{0}, body[1:]...)),
		"unknown flags":   sealed(append([]byte{1, 2}, body[2:]...)),
		"too long":        sealed(append(bytes.Clone(body), 0)),
		"no key":          func() []byte { s := state.Stored{}; return s.Append(nil) }(),
		"a long key": func() []byte {
			s := state.Stored{Key: state.Key{Kind: strings.Repeat("x", state.MaxKey+1), ID: "a"}}
			return s.Append(nil)
		}(),
		"deleted with a state": func() []byte {
			s := state.Stored{Key: state.Key{Kind: "k", ID: "a"}, Deleted: true, Record: state.Record{State: []byte("x")}}
			return s.Append(nil)
		}(),
		"no verb": func() []byte {
			s := state.Stored{Key: state.Key{Kind: "k", ID: "a"}, Record: state.Record{Outbox: []state.Message{{}}}}
			return s.Append(nil)
		}(),
	} {
		_, err := state.ParseStored(b)
		if !refused(err, b) {
			t.Errorf("%s: %v", name, err)
		}
		var f *state.FormatError
		if errors.As(err, &f); name == "a later version" && f.Version != 2 {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func refused(err error, b []byte) bool {
	var f *state.FormatError
	return errors.As(err, &f) && bytes.Equal(f.Data, b)
}

// Next allows what is within the limits, and no token that is too low.
func TestNext(t *testing.T) {
	key := state.Key{Kind: "k", ID: "a"}
	long := strings.Repeat("x", state.MaxText+1)
	for name, rec := range map[string]state.Record{
		"outcomes": {Outcomes: make([]state.Outcome, state.MaxOutcomes+1)},
		"messages": {Outbox: make([]state.Message, state.MaxMessages+1)},
		"caller":   {Outcomes: []state.Outcome{{Caller: long}}},
		"early":    {Outcomes: []state.Outcome{{Expires: time.Unix(-1, 0)}}},
		"late":     {Outcomes: []state.Outcome{{Expires: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}}},
		"verb":     {Outbox: []state.Message{{Verb: 7}}},
		"target":   {Outbox: []state.Message{{Verb: state.Tell, To: long}}},
		"headers":  {Outbox: []state.Message{{Verb: state.Tell, Headers: make([]state.Header, state.MaxHeaders+1)}}},
		"header":   {Outbox: []state.Message{{Verb: state.Tell, Headers: []state.Header{{Value: strings.Repeat("x", state.MaxHeader+1)}}}}},
		"size":     {State: make([]byte, state.MaxRecord)},
	} {
		if _, err := state.Next(key, rec, state.Revision{}); !errors.Is(err, state.ErrInvalid) || !errors.Is(err, state.ErrNotStored) {
			t.Errorf("%s: %v", name, err)
		}
	}
	full := state.Record{Token: 1, Outcomes: make([]state.Outcome, state.MaxOutcomes)}
	s, err := state.Next(key, full, state.Revision{Seq: 3, Token: 1, ID: state.ID{1}})
	if err != nil || s.ID == (state.ID{}) || !s.Fresh || s.Before != (state.Revision{Seq: 3, ID: state.ID{1}}) {
		t.Errorf("got %+v, %v", s, err)
	}
	if s, err = state.Next(key, state.Record{ID: state.ID{7}}, state.Revision{}); err != nil || s.ID != (state.ID{7}) || s.Fresh {
		t.Errorf("got %+v, %v", s, err)
	}
	for _, err := range []error{
		func() error { _, err := state.Next(key, state.Record{Token: 1}, state.Revision{Token: 2}); return err }(),
		func() error { _, err := state.NextDeleted(key, 1, state.Revision{Token: 2}); return err }(),
	} {
		if !errors.Is(err, state.ErrFenced) || !errors.Is(err, state.ErrConflict) || !errors.Is(err, state.ErrNotStored) {
			t.Errorf("got %v", err)
		}
	}
}

// What the last commit of a key says about another one.
func TestJudge(t *testing.T) {
	id := func(n byte) state.ID { return state.ID{n} }
	at := func(seq uint64, n byte) state.Revision { return state.Revision{Seq: seq, ID: id(n)} }
	mine := state.Stored{Before: at(10, 1), Record: state.Record{ID: id(2)}}
	first := state.Stored{Record: state.Record{ID: id(2)}}
	higher, highFirst := mine, first
	higher.Token, highFirst.Token = 7, 7
	for _, c := range []struct {
		what  string
		s     state.Stored
		found state.Stored
		seq   uint64
		want  state.Verdict
	}{
		{"nothing, as it was", first, state.Stored{}, 0, state.Pending},
		{"the first one", first, state.Stored{Record: state.Record{ID: id(2)}}, 5, state.Kept},
		{"another first one", first, state.Stored{Record: state.Record{ID: id(3)}}, 5, state.Refused},
		{"one after the first", first, state.Stored{Before: at(5, 2), Record: state.Record{ID: id(3)}}, 6, state.Replaced},
		{"one after another first", first, state.Stored{Before: at(5, 3), Record: state.Record{ID: id(4)}}, 6, state.Later},
		{"nothing any more", mine, state.Stored{}, 0, state.Missing},
		{"an older one", mine, state.Stored{Record: state.Record{ID: id(9)}}, 7, state.Missing},
		{"as it was", mine, state.Stored{Record: state.Record{ID: id(1)}}, 10, state.Pending},
		{"another one in the place of the one before", mine, state.Stored{Record: state.Record{ID: id(9)}}, 10, state.Missing},
		{"it is there", mine, state.Stored{Before: at(10, 1), Record: state.Record{ID: id(2)}}, 12, state.Kept},
		{"another one in its place", mine, state.Stored{Before: at(10, 1), Record: state.Record{ID: id(3)}}, 12, state.Refused},
		{"one after it", mine, state.Stored{Before: at(12, 2), Record: state.Record{ID: id(3)}}, 13, state.Replaced},
		{"one after others", mine, state.Stored{Before: at(13, 3), Record: state.Record{ID: id(4)}}, 14, state.Later},
		{"one after others, under a higher token", mine, state.Stored{Before: at(13, 3), Record: state.Record{ID: id(4), Token: 1}}, 14, state.Later},
		{"one after others, under a lower token", higher, state.Stored{Before: at(13, 3), Record: state.Record{ID: id(4), Token: 6}}, 14, state.Refused},
		{"the same, and this was to be the first one", highFirst, state.Stored{Before: at(13, 3), Record: state.Record{ID: id(4), Token: 6}}, 14, state.Refused},
	} {
		if got := c.s.Judge(&c.found, c.seq); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

// FuzzParseStored: what can be decoded is encoded to the same bytes, and nothing takes more memory
// than its bytes allow. The checksum is mended, so that the rest is reached.
func FuzzParseStored(f *testing.F) {
	for _, s := range golden {
		b := s.Append(nil)
		f.Add(b[:len(b)-4])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = sealed(b)
		s, err := state.ParseStored(b)
		if err != nil {
			if !refused(err, b) {
				t.Fatal(err)
			}
			return
		}
		if again := s.Append(nil); !bytes.Equal(again, b) || s.Size() != len(b) {
			t.Fatalf("%x is encoded as %x, of size %d", b, again, s.Size())
		}
	})
}

// A clone shares no memory.
func TestClone(t *testing.T) {
	r := golden[1].Record
	c := r.Clone()
	if !reflect.DeepEqual(c, r) {
		t.Fatalf("got %+v, want %+v", c, r)
	}
	c.State[0], c.Outcomes[0].Body[0], c.Outbox[0].Body[0], c.Outbox[0].Headers[0].Key, c.Outbox[1].To = 'x', 'x', 'x', "x", "x"
	if reflect.DeepEqual(c, r) || string(r.State) != "state" || string(r.Outcomes[0].Body) != "ok" || string(r.Outbox[0].Body) != "body" || r.Outbox[0].Headers[0].Key != "h" || r.Outbox[1].To != "" {
		t.Errorf("got %+v", r)
	}
}
