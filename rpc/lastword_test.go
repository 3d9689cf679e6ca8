package rpc

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tandem-go/tandem/transport"
)

// What a last word says of a request.
func TestLastWordJudges(t *testing.T) {
	word := &lastWord{ran: spansOf([]uint64{9, 3, 4, 5, 7, 5}), doubt: spansOf([]uint64{6, 12, 13})}
	for _, c := range []struct {
		seq  uint64
		want Verdict
	}{
		{1, NotRun}, {2, NotRun}, {3, HasRun}, {4, HasRun}, {5, HasRun}, {6, Unknown}, {7, HasRun}, {8, NotRun},
		{9, HasRun}, {10, NotRun}, {11, NotRun}, {12, Unknown}, {13, Unknown}, {14, NotRun}, {math.MaxUint64, NotRun},
	} {
		if got := word.judge(c.seq); got != c.want {
			t.Errorf("request %d: %v, want %v", c.seq, got, c.want)
		}
	}
	if v := new(lastWord).judge(1); v != NotRun {
		t.Errorf("of a session in which nothing ran: %v", v)
	}
}

// A word judges the same after it was sent.
func TestLastWordTravels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seqs := rapid.SliceOfN(rapid.Uint64Range(1, 200), 0, 60)
		ran, doubt := seqs.Draw(t, "ran"), seqs.Draw(t, "doubt")
		word := &lastWord{spansOf(slices.Clone(ran)), spansOf(slices.Clone(doubt))}
		back, err := parseWord(word.append(nil))
		if err != nil {
			t.Fatal(err)
		}
		for seq := range uint64(202) {
			want := NotRun
			switch {
			case slices.Contains(doubt, seq):
				want = Unknown
			case slices.Contains(ran, seq):
				want = HasRun
			}
			if got := back.judge(seq); got != want {
				t.Fatalf("request %d: %v, want %v", seq, got, want)
			}
		}
	})
}

// What a node leaves behind is found by its session, and bounded: what does not fit is
// left out, and says nothing.
func TestLastWordsLeftBehind(t *testing.T) {
	var all []said
	for i := range 100 {
		w := lastWord{ran: spansOf([]uint64{uint64(i + 1)})}
		all = append(all, said{transport.Grant{byte(i), 1}, w.append(nil)})
	}
	wide := lastWord{}
	for i := range uint64(3000) {
		wide.ran = append(wide.ran, interval{2*i + 1, 2*i + 1})
	}
	all = append(all, said{transport.Grant{200}, wide.append(nil)})
	b := appendWords(nil, all, maxWords)
	for i := range 100 {
		w := wordIn(b, transport.Grant{byte(i), 1})
		if w == nil || w.judge(uint64(i+1)) != HasRun || w.judge(uint64(i+2)) != NotRun {
			t.Fatalf("session %d: %+v", i, w)
		}
	}
	if w := wordIn(b, transport.Grant{200}); w == nil || w.judge(5999) != HasRun || w.judge(6000) != NotRun {
		t.Errorf("the long one: %+v", w)
	}
	if w := wordIn(b, transport.Grant{201}); w != nil {
		t.Errorf("of a session that is not among it: %+v", w)
	}
	exact := appendWords(nil, all[:100], len(b)-len(all[100].word)-18)
	if wordIn(exact, transport.Grant{99, 1}) == nil {
		t.Error("what just fits was left out")
	}
	small := appendWords(nil, all, len(b)-1)
	if len(small) > len(b)-1 || wordIn(small, transport.Grant{200}) != nil || wordIn(small, transport.Grant{7, 1}) == nil {
		t.Errorf("%d bytes of %d: the longest is what to leave out", len(small), len(b)-1)
	}
}

func TestLastWordRefusesNonsense(t *testing.T) {
	good := (&lastWord{ran: []interval{{1, 3}}, doubt: []interval{{7, 7}}}).append(nil)
	for name, b := range map[string][]byte{
		"nothing":        {},
		"version":        append([]byte{9}, good[1:]...),
		"cut":            good[:len(good)-1],
		"more":           append(bytes.Clone(good), 0),
		"many":           {1, 0xff, 0xff, 0xff, 0x7f},
		"overflow":       {1, 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0},
		"to the largest": {1, 1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0},
	} {
		if w, err := parseWord(b); err == nil {
			t.Errorf("%s: read as %+v", name, w)
		}
	}
	if _, err := parseWord(good); err != nil {
		t.Error(err)
	}
}

// What is read can be written again, and no bytes break the reader.
func FuzzLastWord(f *testing.F) {
	f.Add([]byte{1, 0, 0})
	f.Add((&lastWord{ran: []interval{{1, 3}, {5, 5}}, doubt: []interval{{7, 7}}}).append(nil))
	f.Add(appendWords(nil, []said{{transport.Grant{1}, (&lastWord{ran: []interval{{1, 1}}}).append(nil)}}, maxWords))
	f.Fuzz(func(t *testing.T, b []byte) {
		_ = wordIn(b, transport.Grant{1})
		w, err := parseWord(b)
		if err != nil {
			return
		}
		again, err := parseWord(w.append(nil))
		if err != nil || !slices.Equal(w.ran, again.ran) || !slices.Equal(w.doubt, again.doubt) {
			t.Fatalf("%+v, then %+v, %v", w, again, err)
		}
	})
}
