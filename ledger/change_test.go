package ledger

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write testdata/*.golden again; a changed line breaks what stores hold")

// goldenChanges are what testdata/change.golden shows.
var goldenChanges = []Change{
	{Op: Opened, ID: ID{Grant: [16]byte{1, 2, 15: 16}}, Time: time.Unix(1_700_000_000, 5), Owner: "alice\x00a\x00e1"},
	{Op: Begun, ID: ID{Grant: [16]byte{1, 2, 15: 16}, Seq: 258}, Time: time.Unix(1_700_000_000, 6), Fingerprint: 0xfedcba9876543210},
	{Op: Done, ID: ID{Grant: [16]byte{1, 2, 15: 16}, Seq: 258}, Time: time.Unix(1_700_000_000, 7), Outcome: []byte("done")},
	{Op: Done, ID: ID{Grant: [16]byte{0xff}}, Time: time.Unix(0, 0)}, // of a key; an empty outcome
	{Op: Freed, ID: ID{Grant: [16]byte{1, 2, 15: 16}, Seq: 1<<62 - 1}, Time: time.Unix(1_700_000_000, 8)},
	{Op: Closed, ID: ID{Grant: [16]byte{1, 2, 15: 16}}, Time: time.Unix(-1, 0)}, // a clock can be wrong
	{Op: Submitted, ID: ID{Grant: [16]byte{15: 9}}, Time: time.Unix(1_700_000_005, 0), Outcome: []byte("job")},
}

// TestGoldenChanges compares the encoding with the file: stores keep it for years.
func TestGoldenChanges(t *testing.T) {
	path := filepath.Join("testdata", "change.golden")
	var text strings.Builder
	for _, c := range goldenChanges {
		fmt.Fprintf(&text, "%-6v %x\n", c.Op, c.Append(nil))
	}
	if *update {
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (run with -update to make it)", err)
	}
	if string(golden) != text.String() {
		t.Errorf("got\n%swant\n%s", &text, golden)
	}
	var all []byte
	for line := range strings.Lines(string(golden)) {
		b, err := hex.DecodeString(strings.Fields(line)[1])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	for i, want := range goldenChanges { // one behind the other, as in a batch
		c, rest, err := ParseChange(all)
		if err != nil {
			t.Fatal(err)
		}
		if c.Op != want.Op || c.ID != want.ID || !c.Time.Equal(want.Time) || c.Owner != want.Owner ||
			c.Fingerprint != want.Fingerprint || !bytes.Equal(c.Outcome, want.Outcome) {
			t.Errorf("change %d: %+v, want %+v", i, c, want)
		}
		if used := len(all) - len(rest); used != want.Size() {
			t.Errorf("change %d: %d bytes, Size says %d", i, used, want.Size())
		}
		all = rest
	}
	if len(all) != 0 {
		t.Errorf("%d bytes are left", len(all))
	}
}

func TestBadChanges(t *testing.T) {
	done := goldenChanges[2].Append(nil)
	with := func(at int, b ...byte) []byte {
		c := bytes.Clone(done)
		copy(c[at:], b)
		return c
	}
	for name, b := range map[string][]byte{
		"nothing":                nil,
		"no op":                  with(0, 0),
		"an unknown op":          with(0, byte(lastOp)+1),
		"half a head":            done[:changeSize-1],
		"one byte short":         done[:len(done)-1],
		"4 GiB announced":        with(changeSize-4, 0xff, 0xff, 0xff, 0xff),
		"begun with an outcome":  with(0, byte(Begun)),
		"freed with an outcome":  with(0, byte(Freed)),
		"closed with an outcome": with(0, byte(Closed)),
	} {
		if _, _, err := ParseChange(b); !errors.Is(err, ErrBadChange) {
			t.Errorf("%s: %v", name, err)
		}
		if n := testing.AllocsPerRun(10, func() { ParseChange(b) }); n > 8 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestIDIsAKey(t *testing.T) {
	id := ID{Grant: [16]byte{0xab, 15: 1}, Seq: 0x10}
	if s := id.String(); s != "ab0000000000000000000000000000010000000000000010" {
		t.Error(s)
	}
	if s := fmt.Sprint(Opened, Begun, Done, Freed, Closed, Op(0), Op(99)); s != "opened begun done freed closed op(0) op(99)" {
		t.Error(s)
	}
}

// FuzzParseChange checks that Append makes of a parsed change exactly the bytes that were
// parsed, and that the change does not refer to the input.
func FuzzParseChange(f *testing.F) {
	var all []byte
	for _, c := range goldenChanges {
		f.Add(c.Append(nil))
		all = c.Append(all)
	}
	f.Add(all)
	f.Add(append(bytes.Repeat([]byte{1}, changeSize-4), 0xff, 0xff, 0xff, 0xff))
	f.Add(append(bytes.Repeat([]byte{2}, changeSize-4), 0, 0, 0, 1, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			c, rest, err := ParseChange(b)
			if err != nil {
				if !errors.Is(err, ErrBadChange) {
					t.Fatal(err)
				}
				return
			}
			used := b[:len(b)-len(rest)]
			want := bytes.Clone(used)
			clear(used)
			if got := c.Append(nil); !bytes.Equal(got, want) || c.Size() != len(want) {
				t.Fatalf("%+v of %d bytes:\ngot  %x\nwant %x", c, c.Size(), got, want)
			}
			b = rest
		}
	})
}
