package wire

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/rpc"
	"github.com/tandem-go/tandem/transport"
)

// The table shows what a last word says about each request.
func TestLastWordJudges(t *testing.T) {
	word := &LastWord{Ran: SpansOf([]uint64{9, 3, 4, 5, 7, 5}), MayHaveRun: SpansOf([]uint64{6, 12, 13})}
	for _, c := range []struct {
		seq  uint64
		want rpc.Verdict
	}{
		{1, rpc.NotRun}, {2, rpc.NotRun}, {3, rpc.HasRun}, {4, rpc.HasRun}, {5, rpc.HasRun}, {6, rpc.Unknown}, {7, rpc.HasRun}, {8, rpc.NotRun},
		{9, rpc.HasRun}, {10, rpc.NotRun}, {11, rpc.NotRun}, {12, rpc.Unknown}, {13, rpc.Unknown}, {14, rpc.NotRun}, {math.MaxUint64, rpc.NotRun},
	} {
		if got := word.Judge(c.seq); got != c.want {
			t.Errorf("request %d: %v, want %v", c.seq, got, c.want)
		}
	}
	if v := new(LastWord).Judge(1); v != rpc.NotRun {
		t.Errorf("of a session in which nothing ran: %v", v)
	}
}

// A last word says the same after it was sent.
func TestLastWordTravels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seqs := rapid.SliceOfN(rapid.Uint64Range(1, 200), 0, 60)
		ran, doubt := seqs.Draw(t, "ran"), seqs.Draw(t, "doubt")
		word := &LastWord{SpansOf(slices.Clone(ran)), SpansOf(slices.Clone(doubt))}
		back, err := ParseWord(word.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		for seq := range uint64(202) {
			want := rpc.NotRun
			switch {
			case slices.Contains(doubt, seq):
				want = rpc.Unknown
			case slices.Contains(ran, seq):
				want = rpc.HasRun
			}
			if got := back.Judge(seq); got != want {
				t.Fatalf("request %d: %v, want %v", seq, got, want)
			}
		}
	})
}

// A last word that a node has left behind is found by its session. Its size is limited: what
// does not fit is left out, and nothing is said about it.
func TestLastWordsLeftBehind(t *testing.T) {
	var all []SessionWord
	for i := range 100 {
		w := LastWord{Ran: SpansOf([]uint64{uint64(i + 1)})}
		all = append(all, SessionWord{transport.Grant{byte(i), 1}, w.Append(nil)})
	}
	wide := LastWord{}
	for i := range uint64(3000) {
		wide.Ran = append(wide.Ran, interval{2*i + 1, 2*i + 1})
	}
	all = append(all, SessionWord{transport.Grant{200}, wide.Append(nil)})
	b := AppendWords(nil, all, MaxWords)
	for i := range 100 {
		w := WordIn(b, transport.Grant{byte(i), 1})
		if w == nil || w.Judge(uint64(i+1)) != rpc.HasRun || w.Judge(uint64(i+2)) != rpc.NotRun {
			t.Fatalf("session %d: %+v", i, w)
		}
	}
	if w := WordIn(b, transport.Grant{200}); w == nil || w.Judge(5999) != rpc.HasRun || w.Judge(6000) != rpc.NotRun {
		t.Errorf("the long one: %+v", w)
	}
	if w := WordIn(b, transport.Grant{201}); w != nil {
		t.Errorf("of a session that is not among it: %+v", w)
	}
	exact := AppendWords(nil, all[:100], len(b)-len(all[100].Word)-18)
	if WordIn(exact, transport.Grant{99, 1}) == nil {
		t.Error("what just fits was left out")
	}
	small := AppendWords(nil, all, len(b)-1)
	if len(small) > len(b)-1 || WordIn(small, transport.Grant{200}) != nil || WordIn(small, transport.Grant{7, 1}) == nil {
		t.Errorf("%d bytes of %d: the longest is what to leave out", len(small), len(b)-1)
	}
}

func TestLastWordRefusesNonsense(t *testing.T) {
	good := (&LastWord{Ran: []interval{{1, 3}}, MayHaveRun: []interval{{7, 7}}}).Append(nil)
	for name, b := range map[string][]byte{
		"nothing":        {},
		"version":        append([]byte{9}, good[1:]...),
		"cut":            good[:len(good)-1],
		"more":           append(bytes.Clone(good), 0),
		"many":           {1, 0xff, 0xff, 0xff, 0x7f},
		"overflow":       {1, 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0},
		"to the largest": {1, 1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0},
	} {
		if w, err := ParseWord(b); err == nil {
			t.Errorf("%s: read as %+v", name, w)
		}
	}
	if _, err := ParseWord(good); err != nil {
		t.Error(err)
	}
}

// A last word that was read can be written again, and no bytes break the reader.
func FuzzLastWord(f *testing.F) {
	f.Add([]byte{1, 0, 0})
	f.Add((&LastWord{Ran: []interval{{1, 3}, {5, 5}}, MayHaveRun: []interval{{7, 7}}}).Append(nil))
	f.Add(AppendWords(nil, []SessionWord{{transport.Grant{1}, (&LastWord{Ran: []interval{{1, 1}}}).Append(nil)}}, MaxWords))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = WordIn(b, transport.Grant{1})
		w, err := ParseWord(b)
		if err != nil {
			return
		}
		again, err := ParseWord(w.Append(nil))
		if err != nil || !slices.Equal(w.Ran, again.Ran) || !slices.Equal(w.MayHaveRun, again.MayHaveRun) {
			t.Fatalf("%+v, then %+v, %v", w, again, err)
		}
	})
}
