package stored_test

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/tandem-go/tandem/internal/stored"
	"github.com/tandem-go/tandem/state"
)

// The format of what is stored does not change.
func TestGolden(t *testing.T) {
	o := stored.Outcome{Verdict: 2, Code: 300, User: "bank.funds", Message: "no funds", Codec: 1, Type: 1 << 60, Body: []byte("body")}
	got := stored.AppendOutcome(nil, 1<<63, &o)
	const file = "testdata/outcome.golden"
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%x, want %x, %v", got, want, err)
	}
	back, print, err := stored.Parse(got)
	if err != nil || print != 1<<63 || !bytes.Equal(stored.AppendOutcome(nil, print, &back), got) {
		t.Errorf("%+v, %d, %v", back, print, err)
	}
}

// A record whose outcomes nobody can read is refused, with the bytes.
func TestBadOutcomes(t *testing.T) {
	good := stored.AppendOutcome(nil, 1, &stored.Outcome{})
	for _, bodies := range [][][]byte{
		{nil}, {{1}}, {{2, 1}}, {{1, 3}}, {{1, 2, 0}}, {good[:len(good)-1]}, {append(slices.Clone(good), 0)}, {good, good},
	} {
		rec := state.Record{}
		for _, b := range bodies {
			rec.Outcomes = append(rec.Outcomes, state.Outcome{Caller: "c", Counter: 1, Body: b})
		}
		_, err := stored.New[int](&stored.Config{}, stored.Loaded{Key: key, Record: rec})
		var format *state.FormatError
		if !errors.Is(err, state.ErrFormat) || !errors.As(err, &format) || !bytes.Equal(format.Data, bodies[len(bodies)-1]) {
			t.Errorf("%x: %v", bodies, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(stored.AppendOutcome(nil, 1, &stored.Outcome{User: "u", Message: "m", Body: []byte("b")}))
	f.Add([]byte{1, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		o, print, err := stored.Parse(b)
		if err == nil && !bytes.Equal(stored.AppendOutcome(nil, print, &o), b) {
			t.Errorf("%x is %+v", b, o)
		}
	})
}
