package reminder_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tandem-go/tandem/reminder"
)

// golden are what testdata/entry.golden shows.
var golden = []reminder.Entry{
	{Reminder: reminder.Reminder{Actor: reminder.Actor{Kind: "k", ID: "a"}, Name: "n"}},
	{Reminder: reminder.Reminder{Actor: reminder.Actor{Kind: "k", ID: "al/ice\x00é"}, Name: "n"}, Changes: []reminder.ID{{1, 15: 16}, {2}}},
	{
		Reminder: reminder.Reminder{
			Actor: reminder.Actor{Kind: "bank.account", ID: "alice"}, Name: "interest", When: reminder.Cron("0 3 1 * *", "Europe/Berlin"),
			Message: reminder.Message{Type: "bank.AddInterest", Codec: 2, Headers: []reminder.Header{{Key: "h", Value: "v"}, {}}, Body: []byte("body")},
		},
		Generation: reminder.ID{3}, Since: time.Unix(0, 1_700_000_000_123_456_789).UTC(), Due: time.Unix(1_701_000_000, 0).UTC(), Number: 258, Skipped: 7, Changes: []reminder.ID{{3}},
	},
	{
		Reminder:   reminder.Reminder{Actor: reminder.Actor{Kind: "k", ID: "a"}, Name: "n", When: reminder.Every(90 * time.Second), Message: reminder.Message{Type: "T"}},
		Generation: reminder.ID{4}, Since: time.Unix(1, 0).UTC(), Due: time.Unix(91, 0).UTC(), Number: 1, Changes: []reminder.ID{{4}},
	},
	{
		Reminder:   reminder.Reminder{Actor: reminder.Actor{Kind: "k", ID: "a"}, Name: "n", When: reminder.At(time.Unix(5, 7)), Message: reminder.Message{Type: "T"}},
		Generation: reminder.ID{5}, Since: time.Unix(1, 0).UTC(), Due: time.Unix(5, 7).UTC(), Number: 1, Changes: []reminder.ID{{5}},
	},
}

// The encoding is that of the file: stores keep it for years.
func TestGolden(t *testing.T) {
	path := filepath.Join("testdata", "entry.golden")
	var text strings.Builder
	for _, e := range golden {
		fmt.Fprintf(&text, "%x\n", e.Append(nil))
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
		e, err := reminder.ParseEntry(b)
		if err != nil || !reflect.DeepEqual(e, golden[i]) || e.Size() != len(b) {
			t.Errorf("got %+v of %d bytes, %v\nwant %+v of %d", e, e.Size(), err, golden[i], len(b))
		}
		i++
	}
}

// sealed returns b with its checksum.
func sealed(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b[:len(b):len(b)], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

func refused(err error, b []byte) bool {
	var f *reminder.FormatError
	return errors.As(err, &f) && bytes.Equal(f.Data, b)
}

// Each byte is checked, and each length; the bytes are kept in the error.
func TestParseEntryRefuses(t *testing.T) {
	whole := golden[2].Append(nil)
	for n := range whole {
		cut := whole[:n]
		if _, err := reminder.ParseEntry(cut); !refused(err, cut) {
			t.Errorf("the first %d bytes: %v", n, err)
		}
		if _, err := reminder.ParseEntry(sealed(cut)); n < len(whole)-4 && !refused(err, sealed(cut)) {
			t.Errorf("the first %d bytes and their checksum: %v", n, err)
		}
		changed := bytes.Clone(whole)
		changed[n] ^= 0x10
		if _, err := reminder.ParseEntry(changed); !refused(err, changed) {
			t.Errorf("byte %d changed: %v", n, err)
		}
	}
	body := whole[:len(whole)-4]
	with := func(change func(e *reminder.Entry)) []byte {
		e := golden[3].Clone()
		change(&e)
		return e.Append(nil)
	}
	for name, b := range map[string][]byte{
		"a later version": sealed(append([]byte{2}, body[1:]...)),
		"too long":        sealed(append(bytes.Clone(body), 0)),
		"no name":         with(func(e *reminder.Entry) { e.Name = "" }),
		"no type":         with(func(e *reminder.Entry) { e.Message.Type = "" }),
		"no time":         with(func(e *reminder.Entry) { e.When = reminder.When{} }),
		"not due":         with(func(e *reminder.Entry) { e.Due = time.Time{} }),
		"never set":       with(func(e *reminder.Entry) { e.Since = time.Time{} }),
		"ended and due":   with(func(e *reminder.Entry) { e.Number = 0 }),
		"many changes":    with(func(e *reminder.Entry) { e.Changes = make([]reminder.ID, reminder.MaxChanges+1) }),
		"too large":       with(func(e *reminder.Entry) { e.Message.Body = make([]byte, reminder.MaxSize) }),
	} {
		if _, err := reminder.ParseEntry(b); !refused(err, b) {
			t.Errorf("%s: %v", name, err)
		}
	}
	later := sealed(append([]byte{2}, body[1:]...))
	var f *reminder.FormatError
	if _, err := reminder.ParseEntry(later); !errors.As(err, &f) || f.Version != 2 {
		t.Errorf("got %+v", f)
	}
	// A zone that this machine does not know is no damage: another one may know it.
	strange := bytes.Replace(body, []byte("Europe/Berlin"), []byte("Europe/Merlin"), 1)
	e, err := reminder.ParseEntry(sealed(strange))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Firing(noon, 1); !errors.Is(err, reminder.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// FuzzParseEntry: what can be decoded is encoded to the same bytes. The checksum is mended, so that the
// rest is reached.
func FuzzParseEntry(f *testing.F) {
	for _, e := range golden {
		b := e.Append(nil)
		f.Add(b[:len(b)-4])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = sealed(b)
		e, err := reminder.ParseEntry(b)
		if err != nil {
			if !refused(err, b) {
				t.Fatal(err)
			}
			return
		}
		if again := e.Append(nil); !bytes.Equal(again, b) || e.Size() != len(b) {
			t.Fatalf("%x is encoded as %x, of size %d", b, again, e.Size())
		}
	})
}

// A clone shares no memory.
func TestClone(t *testing.T) {
	e := golden[2]
	c := e.Clone()
	c.Message.Body[0], c.Message.Headers[0].Key, c.Changes[0] = 'x', "x", reminder.ID{}
	if reflect.DeepEqual(c, e) || string(e.Message.Body) != "body" || e.Message.Headers[0].Key != "h" || e.Changes[0] != (reminder.ID{3}) {
		t.Errorf("got %+v", e)
	}
}
